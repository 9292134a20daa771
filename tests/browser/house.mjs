// A gateway and an application on free ports. The gateway is the program as it ships; its clock is
// moved from outside, by libfaketime.
import { execFile, spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { inTime, PATIENCE, until } from "./patience.mjs";

const top = fileURLToPath(new URL("../..", import.meta.url));
const program = join(resolve(top, process.env.CARGO_TARGET_DIR ?? "target"), "debug/portcullis");

/**
 * Starts the application of a folder and the gateway before it, its ports (`8010`, `8011`) replaced.
 * With `tls` browsers are to come by https, and have to take a certificate that nobody vouches for.
 */
export async function start(from, { change = (toml) => toml, tls = false } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "portcullis-browser-"));
  const [gate, app] = await freePorts(2);
  const origin = `${tls ? "https" : "http"}://localhost:${gate}`;
  const written = await readFile(join(top, from, "gateway.toml"), "utf8");
  let toml = change(written.replaceAll("8010", gate).replaceAll("8011", app));
  if (tls) toml = toml.replace("[server]\n", await certified(folder, origin));
  const file = join(folder, "gateway.toml");
  await writeFile(file, toml);
  const clock = await Clock.at(join(folder, "clock"));
  const environment = { ...clock.environment, STATE_DIRECTORY: join(folder, "data") };
  const running = [
    begin("node", [join(top, from, "upstream.mjs"), String(app)]),
    begin(program, ["run", "-c", file], environment),
  ];
  const stop = async () => {
    await Promise.all(running.map(end));
    await rm(folder, { recursive: true });
  };
  try {
    await Promise.all([gate, app].map(listens));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    origin,
    app: `http://localhost:${app}`,
    /** Moves the gateway's clock on by so many minutes. */
    later: (minutes) => clock.advance(minutes * 60),
    /** A link that lets somebody new set a password. */
    async invitation(name) {
      const env = { ...process.env, ...environment };
      const args = ["-c", file, "user", "invite", name, "--role", "user"];
      return (await ran(args, { env })).match(/http\S+/)[0];
    },
    /** From elsewhere. */
    async signIn(username, password) {
      const headers = { "Content-Type": "application/json" };
      const body = JSON.stringify({ username, password });
      const login = fetch(`${origin}/auth/login`, { method: "POST", headers, body });
      const { status } = await inTime("the login from elsewhere", login);
      if (status !== 200) throw new Error(`no login: ${status}`);
    },
    stop,
  };
}

/** For browsers that keep no Secure cookie on http://localhost. */
export function insecure(toml) {
  const changed = toml.replace("[cookies]\n", "[cookies]\ninsecure = true\n");
  if (changed === toml) throw new Error("there is no [cookies]");
  return changed;
}

/** The head of `[server]` with a certificate that was made in that folder. */
async function certified(folder, origin) {
  await ran(["cert", "self-signed", "localhost", "--folder", folder]);
  const [cert, key] = ["crt", "key"].map((kind) => join(folder, `localhost.${kind}`));
  return `[server]\npublic_url = "${origin}"\ntls = { cert = "${cert}", key = "${key}" }\n`;
}

/** What the program printed. */
async function ran(args, how) {
  const { stdout } = await promisify(execFile)(program, args, { ...how, timeout: PATIENCE });
  return stdout;
}

/** The wall clock of one process, as a file tells it; durations are measured truly. */
class Clock {
  #file;
  #seconds = 0;

  static async at(file) {
    const clock = new Clock();
    clock.#file = file;
    await clock.advance(0);
    return clock;
  }

  get environment() {
    return {
      LD_PRELOAD: libfaketime(),
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    };
  }

  /** In one step, so that nobody reads half a number. */
  async advance(seconds) {
    this.#seconds += seconds;
    await writeFile(`${this.#file}.new`, `+${this.#seconds}`);
    await rename(`${this.#file}.new`, this.#file);
  }
}

function libfaketime() {
  const names = readdirSync("/usr/lib").map((name) => `/usr/lib/${name}/faketime/libfaketime.so.1`);
  const found = [process.env.LIBFAKETIME ?? "", ...names].find(existsSync);
  if (!found) throw new Error("libfaketime is missing: apt-get install faketime, or name it by LIBFAKETIME");
  return found;
}

function begin(program, args, more = {}) {
  return spawn(program, args, { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, ...more } });
}

function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((done) => child.once("exit", done));
  child.kill();
  return inTime(`the end of ${child.spawnfile}`, ended);
}

/** Until somebody can be connected to there. */
const listens = (port) => until(`a server at ${port}`, () => connected(port), () => true);

function connected(port) {
  return new Promise((done, failed) => {
    const socket = connect(port, "127.0.0.1", () => done(void socket.end()));
    socket.once("error", failed);
  });
}

/** All held at once, so that they differ. */
async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(servers.map((server) => new Promise((done) => server.listen(0, "127.0.0.1", done))));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}
