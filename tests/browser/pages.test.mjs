// The gateway's own pages as a person meets them: with and without scripts, by keyboard alone.
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

async function page(t, javaScriptEnabled) {
  const context = await chrome.newContext({ javaScriptEnabled, locale: "en" });
  context.setDefaultTimeout(10_000);
  t.after(() => context.close());
  return context.newPage();
}

const at = (page) => new URL(page.url()).pathname;

/** Signs in by keyboard: the name's field has the focus already. */
async function signIn(page, name, password) {
  await page.keyboard.type(name);
  await page.keyboard.press("Tab");
  await page.keyboard.type(password);
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
}

for (const scripts of [true, false]) {
  test(`a protected page asks for a login and is shown after it, scripts ${scripts ? "on" : "off"}`, async (t) => {
    const one = await page(t, scripts);
    await one.goto(`${house.origin}/api/me`);
    assert.equal(at(one), "/auth/login");
    await signIn(one, "alice", "wrong");
    assert.equal(at(one), "/auth/login");
    await one.locator("[role=alert]").waitFor();
    assert.equal(await one.inputValue("[name=username]"), "", "what was typed is not shown again");
    await one.focus("[name=username]");
    await signIn(one, "alice", "password123");
    assert.equal(at(one), "/api/me");
    assert.match(await one.content(), /"username":"alice"/);

    const denied = await one.goto(`${house.origin}/api/admin/metrics`);
    assert.equal(denied.status(), 403);
    await one.goto(`${house.origin}/auth/account`);
    assert.match(await one.content(), /alice/);
    await one.goto(`${house.origin}/auth/logout`);
    await one.locator("main button").focus();
    await Promise.all([one.waitForNavigation(), one.keyboard.press("Enter")]);
    await one.goto(`${house.origin}/api/me`);
    assert.equal(at(one), "/auth/login");
  });
}

test("a browser that keeps no cookies is told so, and not sent round in circles", async (t) => {
  const one = await page(t, false);
  // Where a login leads, without what it set.
  const answer = await one.goto(`${house.origin}/auth/done?to=%2Fapi%2Fme`);
  assert.equal(answer.status(), 400);
  assert.match(await one.content(), /cookie/i);
});

test("pages are as dark as the browser and speak its language", async (t) => {
  const context = await chrome.newContext({ colorScheme: "dark", locale: "de", javaScriptEnabled: true });
  t.after(() => context.close());
  const one = await context.newPage();
  await one.goto(`${house.origin}/auth/login`);
  assert.equal(await one.locator("html").getAttribute("lang"), "de");
  const [red] = (await one.evaluate("getComputedStyle(document.body).backgroundColor")).match(/\d+/g).map(Number);
  assert.ok(red < 80, `the background is ${red}`);
});
