// Debian's Chromium, without anything that calls home.
import { chromium } from "playwright-core";
import { bounded, PATIENCE } from "../patience.mjs";
import { Person, Tab } from "./tab.mjs";

export const name = "Chromium";
export const insecure = false;
export const remembersOverHttp = false;

export function browser() {
  return chromium.launch({
    timeout: PATIENCE,
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
  return bounded({ person: (how) => person(program, how), close: () => program.close() });
}

async function person(program, { scripts = true } = {}) {
  const context = await program.newContext({ javaScriptEnabled: scripts, locale: "en", ignoreHTTPSErrors: true });
  context.setDefaultTimeout(PATIENCE);
  return new Person({
    tab: async () => tabOf(await context.newPage()),
    tabs: async () => context.pages().map(tabOf),
    cookies: () => context.cookies(),
    forget: (pattern) => context.clearCookies({ name: pattern }),
    close: () => context.close(),
  });
}

export const tabOf = (page) =>
  new Tab({
    visit: (url) => page.goto(url, { waitUntil: "commit" }),
    reload: () => page.reload({ waitUntil: "commit" }),
    back: () => page.goBack({ waitUntil: "commit" }),
    press: (key) => page.keyboard.press(key),
    type: (text) => page.keyboard.type(text),
    click: (css) => page.click(css, { noWaitAfter: true }),
    run: (expression) => page.evaluate(expression),
  });
