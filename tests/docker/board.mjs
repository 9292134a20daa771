// A person at the board of examples/legacy-headers: board.mjs ORIGIN PASSWORD. Signs in on the
// gateway's page, writes by WebSocket, and sees the socket closed once signed out in another tab.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const { chromium } = createRequire(new URL("../browser/", import.meta.url))("playwright-core");
const [origin, password] = process.argv.slice(2);
const chrome = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
});
try {
  const context = await chrome.newContext({ locale: "en" });
  context.setDefaultTimeout(30_000);
  const board = await context.newPage();
  await board.goto(`${origin}/board/`);
  assert.equal(new URL(board.url()).pathname, "/auth/login");
  await board.fill("[name=username]", "alice");
  await board.fill("[name=password]", password);
  await Promise.all([board.waitForURL(`${origin}/board/`), board.keyboard.press("Enter")]);
  await board.getByText("connected").waitFor();
  await board.fill("[name=line]", "is anybody here?");
  await board.keyboard.press("Enter");
  await board.getByText("alice: is anybody here?").waitFor();

  const other = await context.newPage();
  await other.goto(`${origin}/auth/logout`);
  await Promise.all([other.waitForNavigation(), other.locator("main button").click()]);
  await board.getByText("closed").waitFor();
  await board.reload();
  assert.equal(new URL(board.url()).pathname, "/auth/login");
  console.log("in Chromium: signed in, wrote by WebSocket, signed out, closed");
} finally {
  await chrome.close();
}
