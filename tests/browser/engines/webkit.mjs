// WebKitGTK by the calls of W3C WebDriver, on a screen that nobody sees. A person is a session of
// the driver, which has one at a time, so that each has a driver too.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { bounded, inTime, LOST, PATIENCE, until } from "../patience.mjs";
import { Person, Tab } from "./tab.mjs";

export const name = "WebKitGTK";
export const insecure = true;
/** Only over https does it heed `no-store`; over plain http pages come back as they were. */
export const remembersOverHttp = true;

export async function launch() {
  const screen = spawn("Xvfb", ["-displayfd", "3", "-nolisten", "tcp"], {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  const [display] = await inTime("Xvfb", once(screen.stdio[3], "data"));
  return bounded({
    person: (how) => person(`:${String(display).trim()}`, how),
    close: () => ended(screen),
  });
}

async function driver(display) {
  const port = await freePort();
  const program = spawn("WebKitWebDriver", [`--port=${port}`], {
    stdio: ["ignore", "ignore", "inherit"],
    env: {
      ...process.env,
      DISPLAY: display,
      LANGUAGE: "en",
      // Its sandbox wants rights that a container has not; nothing but our pages is opened.
      WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1",
    },
  });
  const ask = (method, path, body) => call(`http://127.0.0.1:${port}${path}`, method, body);
  await until("WebKitWebDriver", () => ask("GET", "/status"), () => true);
  return [ask, () => ended(program)];
}

async function ended(child) {
  const exit = once(child, "exit");
  child.kill();
  await exit;
}

async function person(display, { scripts = true } = {}) {
  const [ask, end] = await driver(display);
  const options = { binary: miniBrowser(), args: ["--automation", `--enable-javascript=${scripts}`] };
  // The driver's own waiting never ends where going back is led elsewhere.
  const pageLoadStrategy = "none";
  const wanted = { acceptInsecureCerts: true, pageLoadStrategy, "webkitgtk:browserOptions": options };
  const { sessionId } = await ask("POST", "/session", { capabilities: { alwaysMatch: wanted } });
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
  return new Person({
    async tab() {
      const handle = first ?? (await session("POST", "/window/new", { type: "tab" })).handle;
      first = undefined;
      return tabOf(inTab(handle));
    },
    async tabs() {
      const handles = await session("GET", "/window/handles");
      return handles.map((handle) => tabOf(inTab(handle)));
    },
    cookies: () => session("GET", "/cookie"),
    async forget(pattern) {
      for (const { name } of await session("GET", "/cookie")) {
        if (pattern.test(name)) await session("DELETE", `/cookie/${name}`);
      }
    },
    close: () => session("DELETE", "").finally(end),
  });
}

function tabOf(step) {
  const type = (text) =>
    step(async (ask) => ask("POST", `/element/${idOf(await ask("GET", "/element/active"))}/value`, { text }));
  return new Tab({
    visit: (url) => step((ask) => ask("POST", "/url", { url })),
    reload: () => step((ask) => ask("POST", "/refresh")),
    back: () => step((ask) => ask("POST", "/back")),
    press: (key) => type(KEYS[key]),
    type,
    click: (css) =>
      step(async (ask) => {
        const element = await ask("POST", "/element", { using: "css selector", value: css });
        await ask("POST", `/element/${idOf(element)}/click`, {});
      }),
    run: (expression) => step((ask) => ask("POST", "/execute/sync", { script: `return (${expression})`, args: [] })),
  });
}

/** An element's reference is an object of one key, which the standard names. */
const idOf = (element) => Object.values(element)[0];

/** As the standard numbers them. */
const KEYS = { Tab: "\uE004", Enter: "\uE007" };

async function call(url, method, body) {
  const answer = await fetch(url, {
    method,
    body: method === "POST" ? JSON.stringify(body ?? {}) : undefined,
    signal: AbortSignal.timeout(url.endsWith("/execute/sync") ? LOST : PATIENCE),
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
