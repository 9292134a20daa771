import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { browser, start } from "./house.mjs";

let house, chrome;
before(async () => {
  [house, chrome] = await Promise.all([start("spa-cookies"), browser()]);
});
after(async () => {
  await chrome?.close();
  await house?.stop();
});

/** A person with a browser of their own; pages are closed with it. */
async function person(t) {
  const context = await chrome.newContext();
  context.setDefaultTimeout(10_000);
  t.after(() => context.close());
  const open = async (url) => {
    const page = await context.newPage();
    await page.goto(url);
    return page;
  };
  return { context, open };
}

async function signIn(page, name, password) {
  await page.fill("[name=username]", name);
  await page.fill("[name=password]", password);
  await page.click("#login button");
}

const who = (page, name) => page.locator("#who", { hasText: new RegExp(`^${name}$`) }).waitFor();
const status = (page, text) => page.locator("#status", { hasText: text }).waitFor();

test("the SPA in two tabs: wrong password, login, role, sign out", async (t) => {
  const { context, open } = await person(t);
  const [one, two] = [await open(house.origin), await open(house.origin)];
  await status(one, "signed out");
  await signIn(one, "alice", "wrong");
  await status(one, "answer 401");
  await signIn(one, "alice", "password123");
  await Promise.all([who(one, "alice"), who(two, "alice")]);
  await two.click("#metrics");
  await status(two, "answer 403");
  assert.equal(await one.evaluate("document.cookie"), "", "no script sees a token");
  const cookies = await context.cookies();
  assert.equal(cookies.length, 3, JSON.stringify(cookies.map(({ name }) => name)));
  assert.ok(cookies.every((cookie) => cookie.httpOnly && cookie.secure && cookie.sameSite === "Lax"));

  await two.click("#logout");
  await Promise.all([status(one, "signed out"), status(two, "signed out")]);
  // The device stays known, so that nobody can lock its owner out.
  assert.deepEqual((await context.cookies()).map(({ name }) => name.slice(0, 18)), ["__Host-Http-pc_dev"]);
  await signIn(two, "admin", "admin-password-123");
  await who(one, "admin");
  await one.click("#metrics");
  await status(one, "metrics: 42");
});

test("a lost access cookie is renewed inside the next request, in both tabs at once", async (t) => {
  const { context, open } = await person(t);
  const one = await open(house.origin);
  await signIn(one, "alice", "password123");
  await who(one, "alice");
  const two = await open(house.origin);
  await context.clearCookies({ name: /pc_at/ });
  const asked = [];
  context.on("request", (request) => asked.push(request.url()));
  await Promise.all([one.reload(), two.reload()]);
  await Promise.all([who(one, "alice"), who(two, "alice")]);
  assert.ok(!asked.some((url) => url.endsWith("/auth/refresh")), asked.join("\n"));
});

test("the article's pattern: the access token in memory, from a refresh at the start", async (t) => {
  const { open } = await person(t);
  const page = await open(`${house.origin}/?bearer`);
  await status(page, "signed out");
  await signIn(page, "alice", "password123");
  await who(page, "alice");
  const refreshed = page.waitForResponse(`${house.origin}/auth/refresh`);
  const asked = page.waitForRequest(`${house.origin}/api/me`);
  await page.reload();
  assert.equal((await refreshed).status(), 200);
  assert.match((await asked).headers().authorization ?? "", /^Bearer ey/);
  await who(page, "alice");
});

test("a SPA on a second origin signs in, calls and signs out, and other origins cannot", async (t) => {
  const { open } = await person(t);
  const page = await open(`${house.app}/?gateway=${house.origin}`);
  await status(page, "signed out");
  await signIn(page, "alice", "password123");
  await who(page, "alice");
  await page.click("#metrics");
  await status(page, "answer 403");
  const other = house.app.replace("localhost", "127.0.0.1");
  const stranger = await open(`${other}/`);
  const tried = await stranger.evaluate(async (gate) => {
    const ask = (path, init) =>
      fetch(gate + path, { credentials: "include", ...init }).then((answer) => answer.status, String);
    return [await ask("/api/me"), await ask("/auth/logout", { method: "POST" })];
  }, house.origin);
  assert.deepEqual(tried, ["TypeError: Failed to fetch", "TypeError: Failed to fetch"]);
  await page.reload();
  await who(page, "alice");
  await page.click("#logout");
  await status(page, "signed out");
});
