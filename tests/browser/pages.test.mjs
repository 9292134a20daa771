// The gateway's own pages, looked at one by one: can everybody read them? In Chromium.
//
// With `PORTCULLIS_SHOTS=FOLDER` pictures of all of them are kept there, to be looked at.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import axe from "axe-core";
import { browser, tabOf } from "./engines/chromium.mjs";
import { start } from "./house.mjs";
import { PATIENCE } from "./patience.mjs";
import { headings, sights, unhurried } from "./sights.mjs";

const shots = process.env.PORTCULLIS_SHOTS;
const [PHONE, DESKTOP] = [{ width: 320, height: 640 }, { width: 1280, height: 800 }];

let house, chrome;
before(async () => {
  [house, chrome] = await Promise.all([start("tests/browser/desk", { change: unhurried }), browser()]);
  if (shots) await mkdir(shots, { recursive: true });
});
after(async () => {
  await chrome?.close();
  await house?.stop();
});

async function fresh(t, how) {
  const context = await chrome.newContext({ locale: "en", ...how });
  context.setDefaultTimeout(PATIENCE);
  t.after(() => context.close());
  return context.newPage();
}

for (const [name, way] of Object.entries(sights)) {
  for (const locale of ["en", "de"]) {
    test(`${name} (${locale}) can be read by everybody, in light and dark, small and large`, async (t) => {
      const page = await fresh(t, { locale, viewport: DESKTOP });
      const tab = tabOf(page);
      await way(tab, house, { forget: () => page.context().clearCookies() });
      const heading = await tab.heading();
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

test("pages are as dark as the browser and speak its language", async (t) => {
  const page = await fresh(t, { colorScheme: "dark", locale: "de" });
  await page.goto(`${house.origin}/auth/login`);
  assert.equal(await page.locator("html").getAttribute("lang"), "de");
  const [red] = (await page.evaluate("getComputedStyle(document.body).backgroundColor")).match(/\d+/g).map(Number);
  assert.ok(red < 80, `the background is ${red}`);
});
