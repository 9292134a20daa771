// Firefox ESR by WebDriver BiDi. Whether scripts run is a setting of the whole browser, so that
// there are two.
import puppeteer from "puppeteer-core";
import { Tab } from "./tab.mjs";

export const name = "Firefox";
export const insecure = false;
export const remembersOverHttp = false;

export async function launch() {
  const programs = new Map();
  const program = (scripts) => {
    if (!programs.has(scripts)) programs.set(scripts, begin(scripts));
    return programs.get(scripts);
  };
  return {
    person: async ({ scripts = true } = {}) => person(await program(scripts)),
    close: () => Promise.all([...programs.values()].map(async (begun) => (await begun).close())),
  };
}

function begin(scripts) {
  return puppeteer.launch({
    browser: "firefox",
    acceptInsecureCerts: true,
    timeout: 120_000,
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
  return {
    async open(url) {
      const tab = new FirefoxTab(await context.newPage());
      await tab.goto(url);
      return tab;
    },
    tabs: async () => (await context.pages()).map((page) => new FirefoxTab(page)),
    cookies: () => context.cookies(),
    async forget(pattern) {
      await context.deleteCookie(...(await context.cookies()).filter((cookie) => pattern.test(cookie.name)));
    },
    close: () => context.close(),
  };
}

class FirefoxTab extends Tab {
  constructor(page) {
    super();
    this.page = page;
  }
  goto = (url) => this.next(() => unawaited(this.page.goto(url, BRIEFLY)));
  reload = () => unawaited(this.page.reload(BRIEFLY));
  back = () => unawaited(this.page.goBack(BRIEFLY));
  async press(key) {
    const [last, ...held] = key.split("+").reverse();
    for (const each of held) await this.page.keyboard.down(each);
    await this.page.keyboard.press(last);
    for (const each of held) await this.page.keyboard.up(each);
  }
  type = (text) => this.page.keyboard.type(text);
  click = (css) => this.page.click(css);
  run = (expression) => this.page.evaluate(expression);
}

/** A page out of the back-forward cache has no load that could be waited for. */
async function unawaited(step) {
  try {
    await step;
  } catch (error) {
    if (error.name !== "TimeoutError") throw error;
  }
}

const BRIEFLY = { timeout: 1000 };
