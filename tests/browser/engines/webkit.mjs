// WebKitGTK by the calls of W3C WebDriver, on a screen that nobody sees. A person is a session of
// the driver, which has one at a time.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { Tab, until } from "./tab.mjs";

export const name = "WebKitGTK";
export const insecure = true;
/** Pages over plain http come back as they were, whatever `no-store` says; over https they do not. */
export const remembersOverHttp = true;

export async function launch() {
  const screen = spawn("Xvfb", ["-displayfd", "3", "-nolisten", "tcp"], {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  const [display] = await once(screen.stdio[3], "data");
  const port = await freePort();
  const driver = spawn("WebKitWebDriver", [`--port=${port}`], {
    stdio: ["ignore", "ignore", "inherit"],
    env: {
      ...process.env,
      DISPLAY: `:${String(display).trim()}`,
      LANGUAGE: "en",
      // Its sandbox wants rights that a container has not; nothing but our pages is opened.
      WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1",
    },
  });
  const ask = (method, path, body) => call(`http://127.0.0.1:${port}${path}`, method, body);
  await until("WebKitWebDriver", () => ask("GET", "/status"), () => true);
  return {
    person: (how) => person(ask, how),
    async close() {
      for (const child of [driver, screen]) {
        const ended = once(child, "exit");
        child.kill();
        await ended;
      }
    },
  };
}

async function person(ask, { scripts = true } = {}) {
  const options = { binary: miniBrowser(), args: ["--automation", `--enable-javascript=${scripts}`] };
  const asked = { capabilities: { alwaysMatch: { "webkitgtk:browserOptions": options } } };
  const { sessionId } = await ask("POST", "/session", asked);
  const session = (method, path, body) => ask(method, `/session/${sessionId}${path}`, body);
  // The driver looks at one tab at a time, so that steps in several must not mix.
  let last = Promise.resolve();
  const inTab = (handle) => (step) => {
    const next = last.then(async () => {
      await session("POST", "/window", { handle });
      return step(session);
    });
    last = next.catch(() => {});
    return next;
  };
  let first = await session("GET", "/window");
  return {
    async open(url) {
      const handle = first ?? (await session("POST", "/window/new", { type: "tab" })).handle;
      first = undefined;
      const tab = new WebKitTab(inTab(handle));
      await tab.goto(url);
      return tab;
    },
    async tabs() {
      const handles = await session("GET", "/window/handles");
      return handles.map((handle) => new WebKitTab(inTab(handle)));
    },
    cookies: () => session("GET", "/cookie"),
    async forget(pattern) {
      for (const { name } of await session("GET", "/cookie")) {
        if (pattern.test(name)) await session("DELETE", `/cookie/${name}`);
      }
    },
    close: () => session("DELETE", ""),
  };
}

class WebKitTab extends Tab {
  constructor(step) {
    super();
    this.step = step;
  }
  goto = (url) => this.step((ask) => ask("POST", "/url", { url }));
  url = () => this.step((ask) => ask("GET", "/url"));
  reload = () => this.step((ask) => ask("POST", "/refresh"));
  back = () => this.step((ask) => ask("POST", "/back"));
  press = (key) => this.type(KEYS[key]);
  type = (text) =>
    this.step(async (ask) => ask("POST", `/element/${idOf(await ask("GET", "/element/active"))}/value`, { text }));
  click = (css) =>
    this.step(async (ask) => {
      const element = await ask("POST", "/element", { using: "css selector", value: css });
      await ask("POST", `/element/${idOf(element)}/click`, {});
    });
  run = (expression) => this.step((ask) => ask("POST", "/execute/sync", { script: `return (${expression})`, args: [] }));
}

/** An element's reference is an object of one key, which the standard names. */
const idOf = (element) => Object.values(element)[0];

/** As the standard numbers them. */
const KEYS = { Tab: "\uE004", Enter: "\uE007" };

async function call(url, method, body) {
  const answer = await fetch(url, {
    method,
    body: method === "POST" ? JSON.stringify(body ?? {}) : undefined,
    signal: AbortSignal.timeout(30_000),
  });
  const { value } = await answer.json();
  if (!answer.ok) throw new Error(`${method} ${url}: ${value.error}: ${value.message}`);
  return value;
}

/** Debian keeps it among its libraries, of which the folder's name holds architecture and version. */
function miniBrowser() {
  const lib = "/usr/lib";
  for (const folder of readdirSync(lib).filter((name) => name.endsWith("-linux-gnu"))) {
    for (const inner of readdirSync(`${lib}/${folder}`).filter((name) => name.startsWith("webkit2gtk-"))) {
      const file = `${lib}/${folder}/${inner}/MiniBrowser`;
      if (existsSync(file)) return file;
    }
  }
  throw new Error("WebKitGTK's MiniBrowser is missing: apt-get install webkit2gtk-driver");
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}
