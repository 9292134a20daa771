// Debian's Chromium, without anything that calls home.
import { chromium } from "playwright-core";
import { Tab } from "./tab.mjs";

export const name = "Chromium";
export const insecure = false;
export const remembersOverHttp = false;

export function browser() {
  return chromium.launch({
    timeout: 120_000,
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-default-apps",
      "--disable-sync",
      "--no-first-run",
    ],
  });
}

export async function launch() {
  const program = await browser();
  return { person: (how) => person(program, how), close: () => program.close() };
}

async function person(program, { scripts = true } = {}) {
  const context = await program.newContext({ javaScriptEnabled: scripts, locale: "en", ignoreHTTPSErrors: true });
  context.setDefaultTimeout(120_000);
  return {
    async open(url) {
      const tab = new ChromiumTab(await context.newPage());
      await tab.goto(url);
      return tab;
    },
    tabs: async () => context.pages().map((page) => new ChromiumTab(page)),
    cookies: () => context.cookies(),
    forget: (pattern) => context.clearCookies({ name: pattern }),
    close: () => context.close(),
  };
}

export class ChromiumTab extends Tab {
  constructor(page) {
    super();
    this.page = page;
  }
  goto = (url) => this.page.goto(url);
  reload = () => this.page.reload({ waitUntil: "commit" });
  back = () => this.page.goBack({ waitUntil: "commit" });
  press = (key) => this.page.keyboard.press(key);
  type = (text) => this.page.keyboard.type(text);
  click = (css) => this.page.click(css, { noWaitAfter: true });
  run = (expression) => this.page.evaluate(expression);
}
