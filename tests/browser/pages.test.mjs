// The gateway's own pages, looked at one by one: may everybody read and use them? In Chromium.
//
// With `PORTCULLIS_SHOTS=FOLDER` pictures of all of them are kept there, to be looked at.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import axe from "axe-core";
import { browser } from "./engines/chromium.mjs";
import { start } from "./house.mjs";
import { headings, sights } from "./sights.mjs";

const shots = process.env.PORTCULLIS_SHOTS;
const [PHONE, DESKTOP] = [{ width: 320, height: 640 }, { width: 1280, height: 800 }];

let house, chrome;
before(async () => {
  [house, chrome] = await Promise.all([start("tests/browser/desk", unhurried), browser()]);
  if (shots) await mkdir(shots, { recursive: true });
});
after(async () => {
  await chrome?.close();
  await house?.stop();
});

/** So many wrong passwords from one address would be slowed down. */
function unhurried(toml) {
  return toml.replace("[cookies]", '[rate_limits]\nlogin_per_ip = "1000/minute"\n\n[cookies]');
}

async function fresh(t, how) {
  const context = await chrome.newContext({ locale: "en", ...how });
  context.setDefaultTimeout(20_000);
  t.after(() => context.close());
  return context.newPage();
}

for (const [name, way] of Object.entries(sights)) {
  for (const locale of ["en", "de"]) {
    test(`${name} (${locale}) can be read and used by everybody, in light and dark, small and large`, async (t) => {
      const page = await fresh(t, { locale, viewport: DESKTOP });
      await way(page, house);
      const heading = await page.frames().at(-1).locator("h1").textContent();
      if (locale === "en") assert.equal(heading, headings[name]);
      else assert.notEqual(heading, headings[name], "not translated");
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        for (const [size, viewport] of Object.entries({ phone: PHONE, desktop: DESKTOP })) {
          await page.setViewportSize(viewport);
          const label = `${name.replaceAll(/\W+/g, "-")}.${locale}.${colorScheme}.${size}`;
          if (shots) await page.screenshot({ path: `${shots}/${label}.png`, fullPage: true });
          assert.deepEqual(await violations(page), [], label);
          const wide = await page.evaluate("document.documentElement.scrollWidth");
          assert.ok(wide <= viewport.width, `${label} is ${wide} pixels wide (WCAG 2.2, success criterion 1.4.10)`);
        }
      }
    });
  }
}

/** What axe found in the gateway's page, the innermost one: what, where, and why. */
async function violations(page) {
  const frame = page.frames().at(-1);
  await frame.evaluate(`if (!globalThis.axe) { ${axe.source} }`);
  const { violations } = await frame.evaluate("axe.run(document, { resultTypes: ['violations'] })");
  return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html)}`);
}

for (const javaScriptEnabled of [true, false]) {
  test(`all by keyboard, scripts ${javaScriptEnabled ? "on" : "off"}: login, account, logout`, async (t) => {
    const page = await fresh(t, { javaScriptEnabled });
    const at = (path) => page.waitForURL(house.origin + path);
    await page.goto(`${house.origin}/auth/account`);
    await page.locator("[name=username]:focus").waitFor();
    await keys(page, "alice", "Tab", "password123", "Enter");
    await at("/auth/account");
    // Each session has its button.
    const stops = [];
    for (let name; (name = await nextStop(page)); ) stops.push(name);
    assert.deepEqual([...new Set(stops)], [
      "Sign out",
      "Sign out all others",
      "Sign out everywhere",
      "current_password",
      "new_password",
      "Change password",
    ]);
    await page.goto(`${house.origin}/auth/account`);
    await Promise.all([page.waitForNavigation(), keys(page, "Tab", "Tab", "Enter")]);
    await at("/auth/account");
    await page.goto(`${house.origin}/auth/logout`);
    await page.locator("main button:focus").waitFor();
    await keys(page, "Enter");
    await at("/auth/login");
    await page.locator("[name=username]:focus").waitFor();
    await keys(page, "alice", "Tab", "wrong", "Tab", "Space", "Tab", "Enter");
    await page.locator("[role=alert]").waitFor();
    assert.equal(await page.evaluate("document.activeElement.name"), "username", "where to go on");
    assert.equal(await page.isChecked("[name=remember]"), true);
  });
}

async function keys(page, ...all) {
  for (const key of all) {
    if (["Tab", "Enter", "Space"].includes(key)) await page.keyboard.press(key);
    else await page.keyboard.type(key);
  }
}

/** What Tab comes to; nothing after the last. It must have an outline that can be seen. */
async function nextStop(page) {
  await page.keyboard.press("Tab");
  const [name, outline] = await page.evaluate(() => {
    const at = document.activeElement;
    return [at.name && at.tagName === "INPUT" ? at.name : at === document.body ? "" : at.textContent, getComputedStyle(at).outlineStyle];
  });
  if (name) assert.equal(outline, "solid", name);
  return name;
}

test("pages are as dark as the browser and speak its language", async (t) => {
  const page = await fresh(t, { colorScheme: "dark", locale: "de" });
  await page.goto(`${house.origin}/auth/login`);
  assert.equal(await page.locator("html").getAttribute("lang"), "de");
  const [red] = (await page.evaluate("getComputedStyle(document.body).backgroundColor")).match(/\d+/g).map(Number);
  assert.ok(red < 80, `the background is ${red}`);
});
