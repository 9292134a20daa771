// A gateway and an application on free ports, and a browser before them.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const top = fileURLToPath(new URL("../..", import.meta.url));
const target = resolve(top, process.env.CARGO_TARGET_DIR ?? "target");

/** Starts the gateway of an example, its ports (`8010`, `8011`) replaced, and its application. */
export async function start(example, change = (toml) => toml) {
  const folder = await mkdtemp(join(tmpdir(), "portcullis-browser-"));
  const [gate, app] = await freePorts(2);
  const toml = await readFile(join(top, "examples", example, "gateway.toml"), "utf8");
  const file = join(folder, "gateway.toml");
  await writeFile(file, change(toml.replaceAll("8010", gate).replaceAll("8011", app)));
  const running = [
    begin("node", [join(top, "examples", example, "upstream.mjs"), String(app)]),
    begin(join(target, "debug/portcullis"), ["run", "-c", file], { STATE_DIRECTORY: join(folder, "data") }),
  ];
  const stop = async () => {
    await Promise.all(running.map(end));
    await rm(folder, { recursive: true });
  };
  try {
    await Promise.all([answers(`http://127.0.0.1:${gate}/auth/ping`), answers(`http://127.0.0.1:${app}/`)]);
  } catch (error) {
    await stop();
    throw error;
  }
  return { origin: `http://localhost:${gate}`, app: `http://localhost:${app}`, stop };
}

/** Debian's Chromium, without anything that calls home. */
export function browser() {
  return chromium.launch({
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

function begin(program, args, more = {}) {
  return spawn(program, args, { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, ...more } });
}

function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((done) => child.once("exit", done));
  child.kill();
  return ended;
}

async function answers(url) {
  const until = Date.now() + 20_000;
  for (;;) {
    try {
      return await fetch(url, { signal: AbortSignal.timeout(2000) });
    } catch (error) {
      if (Date.now() > until) throw error;
      await new Promise((done) => setTimeout(done, 50));
    }
  }
}

/** All held at once, so that they differ. */
async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(servers.map((server) => new Promise((done) => server.listen(0, "127.0.0.1", done))));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}
