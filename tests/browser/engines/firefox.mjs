// Firefox ESR by WebDriver BiDi. Whether scripts run is a setting of the whole browser, so that
// there are two.
import puppeteer from "puppeteer-core";
import { bounded, PATIENCE } from "../patience.mjs";
import { Person, Tab } from "./tab.mjs";

export const name = "Firefox";
export const insecure = false;
export const remembersOverHttp = false;

export async function launch() {
  const programs = new Map();
  const program = (scripts) => {
    if (!programs.has(scripts)) programs.set(scripts, begin(scripts));
    return programs.get(scripts);
  };
  return bounded({
    person: async ({ scripts = true } = {}) => person(await program(scripts)),
    close: () => Promise.all([...programs.values()].map(async (begun) => (await begun).close())),
  });
}

function begin(scripts) {
  return puppeteer.launch({
    browser: "firefox",
    acceptInsecureCerts: true,
    timeout: PATIENCE,
    executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
    extraPrefsFirefox: {
      "javascript.enabled": scripts,
      "intl.accept_languages": "en",
      // A reload that sends a form again asks in a window that nobody answers here.
      "dom.confirm_repost.testing.always_accept": true,
    },
  });
}

async function person(program) {
  const context = await program.createBrowserContext();
  return new Person({
    tab: async () => tabOf(await context.newPage()),
    tabs: async () => (await context.pages()).map(tabOf),
    cookies: () => context.cookies(),
    async forget(pattern) {
      await context.deleteCookie(...(await context.cookies()).filter((cookie) => pattern.test(cookie.name)));
    },
    close: () => context.close(),
  });
}

const tabOf = (page) =>
  new Tab({
    visit: (url) => unawaited(page.goto(url, BRIEFLY)),
    reload: () => unawaited(page.reload(BRIEFLY)),
    back: () => unawaited(page.goBack(BRIEFLY)),
    async press(key) {
      await page.bringToFront();
      const [last, ...held] = key.split("+").reverse();
      for (const each of held) await page.keyboard.down(each);
      await page.keyboard.press(last);
      for (const each of held) await page.keyboard.up(each);
    },
    async type(text) {
      await page.bringToFront();
      await page.keyboard.type(text);
    },
    async click(css) {
      // Behind another tab a page is painted ever more seldom, and a click waits for that.
      await page.bringToFront();
      await page.click(css);
    },
    run: (expression) => page.evaluate(expression),
  });

/** A page out of the back-forward cache has no load that could be waited for. */
async function unawaited(step) {
  try {
    await step;
  } catch (error) {
    if (error.name !== "TimeoutError") throw error;
  }
}

const BRIEFLY = { timeout: 1000 };
