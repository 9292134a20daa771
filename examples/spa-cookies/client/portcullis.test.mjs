import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, test } from "node:test";
import { portcullis } from "./portcullis.js";

const real = globalThis.fetch;
afterEach(() => { globalThis.fetch = real; });

/** A gateway that answers by a table of path to list of statuses; the last one stays. */
function gateway(table) {
  const calls = [];
  globalThis.fetch = async (path, init) => {
    calls.push({ path, authorization: init.headers.get("authorization"), credentials: init.credentials });
    await new Promise(setImmediate);
    const statuses = table[path];
    const status = statuses.length > 1 ? statuses.shift() : statuses[0];
    return new Response(JSON.stringify({ access_token: `t${calls.length}` }), { status });
  };
  const asked = (path) => calls.filter((call) => call.path === path).length;
  return { calls, asked };
}

function client(more) {
  let signedOut = 0;
  const it = portcullis({ onSignedOut: () => signedOut++, ...more });
  return { ...it, signedOut: () => signedOut };
}

test("it is smaller than two kilobytes", () => {
  const bytes = readFileSync(new URL("./portcullis.js", import.meta.url)).length;
  assert.ok(bytes < 2000, `${bytes} bytes`);
});

test("many calls that meet 401 share one refresh and are each tried once more", async () => {
  const { asked } = gateway({ "/me": [401, 401, 401, 401, 200], "/auth/refresh": [200] });
  const it = client();
  const answers = await Promise.all([1, 2, 3, 4].map(() => it.fetch("/me")));
  assert.deepEqual(answers.map((answer) => answer.status), [200, 200, 200, 200]);
  assert.equal(asked("/auth/refresh"), 1);
  assert.equal(asked("/me"), 8);
  assert.equal(it.signedOut(), 0);
});

test("a call that stays 401 after a refresh is not tried a third time", async () => {
  const { asked } = gateway({ "/me": [401], "/auth/refresh": [200] });
  const it = client();
  assert.equal((await it.fetch("/me")).status, 401);
  assert.equal(asked("/me"), 2);
  assert.equal(it.signedOut(), 0);
});

test("a refresh that says 401 is told as signed out, and the call's own answer is given", async () => {
  const { asked } = gateway({ "/me": [401], "/auth/refresh": [401] });
  const it = client();
  assert.equal((await it.fetch("/me")).status, 401);
  assert.equal(asked("/me"), 1);
  assert.equal(it.signedOut(), 1);
});

for (const status of [429, 503]) {
  test(`${status} is never taken for signed out`, async () => {
    const { asked } = gateway({ "/me": [401], "/other": [status], "/auth/refresh": [status] });
    const it = client();
    const answers = await Promise.all([it.fetch("/me"), it.fetch("/me")]);
    for (const answer of answers) {
      assert.equal(answer.status, status);
      await answer.json();
    }
    assert.equal((await it.fetch("/other")).status, status);
    assert.equal(asked("/auth/refresh"), 1);
    assert.equal(it.signedOut(), 0);
  });
}

test("tabs take turns by a lock of the gateway's name", async (t) => {
  const names = [];
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  const locks = { request: (name, work) => (names.push(name), work()) };
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
  t.after(() => before ? Object.defineProperty(globalThis, "navigator", before) : delete globalThis.navigator);
  gateway({ "http://gate/auth/refresh": [200] });
  await client({ base: "http://gate" }).refresh();
  assert.deepEqual(names, ["portcullis http://gate/auth"]);
});

test("the access token is sent only when it is asked to be kept, and forgotten at logout", async () => {
  const table = { "/auth/login": [200], "/auth/logout": [200], "/me": [200] };
  for (const [bearer, sent] of [[true, "Bearer t1"], [false, null]]) {
    const { calls } = gateway(table);
    const it = client({ bearer });
    await it.login("alice", "password123");
    await it.fetch("/me");
    assert.equal(calls.at(-1).authorization, sent);
    assert.equal(calls.at(-1).credentials, "same-origin");
    await it.logout();
    await it.fetch("/me");
    assert.equal(calls.at(-1).authorization, null);
  }
});
