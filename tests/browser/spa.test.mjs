// The example of a page of scripts, in every browser there is.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { engines } from "./engines/index.mjs";
import { insecure, start } from "./house.mjs";

for (const engine of engines) {
  describe(engine.name, () => {
    let house, program;
    before(async () => {
      const change = engine.insecure ? insecure : undefined;
      [house, program] = await Promise.all([start("examples/spa-cookies", { change }), engine.launch()]);
    });
    after(async () => {
      await program?.close();
      await house?.stop();
    });

    async function someone(t) {
      const person = await program.person();
      t.after(() => person.close());
      return person;
    }

    test("two tabs: wrong password, login, role, sign out", async (t) => {
      const person = await someone(t);
      const [one, two] = [await person.open(house.origin), await person.open(house.origin)];
      await status(one, /signed out/);
      await signIn(one, "alice", "wrong");
      await status(one, /answer 401/);
      await signIn(one, "alice", "password123");
      await Promise.all([who(one, "alice"), who(two, "alice")]);
      await two.click("#metrics");
      await status(two, /answer 403/);
      assert.equal(await one.run("document.cookie"), "", "no script sees a token");
      const cookies = await person.cookies();
      const kept = ({ httpOnly, secure, sameSite }) => [httpOnly, secure, String(sameSite).toLowerCase()];
      assert.deepEqual(cookies.map(kept), Array(3).fill([true, !engine.insecure, "lax"]), JSON.stringify(cookies));

      await two.click("#logout");
      await Promise.all([status(one, /signed out/), status(two, /signed out/)]);
      // The device stays known, so that nobody can lock its owner out.
      const names = (await person.cookies()).map(({ name }) => name.replace(/_\d+$/, ""));
      assert.deepEqual(names, [engine.insecure ? "pc_dev" : "__Host-Http-pc_dev"]);
      await signIn(two, "admin", "admin-password-123");
      await who(one, "admin");
      await one.click("#metrics");
      await status(one, /metrics: 42/);
    });

    for (const [how, lose] of [
      ["has ended", () => house.later(16)],
      ["is lost", (person) => person.forget(/pc_at/)],
    ]) {
      test(`an access cookie that ${how} is renewed inside the next request, in both tabs at once`, async (t) => {
        const person = await someone(t);
        const one = await person.open(house.origin);
        await signIn(one, "alice", "password123");
        await who(one, "alice");
        const two = await person.open(house.origin);
        await who(two, "alice");
        await lose(person);
        const again = "document.querySelector('#who').textContent = '', location.reload(), 0";
        await Promise.all([one.run(again), two.run(again)]);
        await Promise.all([who(one, "alice"), who(two, "alice")]);
        for (const tab of [one, two]) assert.deepEqual(await asked(tab, "/auth/refresh"), []);
      });
    }

    test("a call after the access token's end is made again by itself, though the page asks nothing", async (t) => {
      const tab = await (await someone(t)).open(house.origin);
      await signIn(tab, "alice", "password123");
      await who(tab, "alice");
      await house.later(16);
      await tab.click("#metrics");
      await status(tab, /answer 403/);
    });

    test("the article's pattern: the access token in memory, from a refresh at the start", async (t) => {
      const tab = await (await someone(t)).open(`${house.origin}/?bearer`);
      await status(tab, /signed out/);
      await signIn(tab, "alice", "password123");
      await who(tab, "alice");
      await tab.run("document.querySelector('#who').textContent = '', location.reload(), 0");
      await who(tab, "alice");
      assert.equal((await asked(tab, "/auth/refresh")).length, 1);
      await house.later(16);
      await tab.click("#metrics");
      await status(tab, /answer 403/);
      assert.equal((await asked(tab, "/auth/refresh")).length, 2, "its own token had ended");
    });

    test("a SPA on a second origin signs in, calls and signs out, and other origins cannot", async (t) => {
      const person = await someone(t);
      const tab = await person.open(`${house.app}/?gateway=${house.origin}`);
      await status(tab, /signed out/);
      await signIn(tab, "alice", "password123");
      await who(tab, "alice");
      await tab.click("#metrics");
      await status(tab, /answer 403/);
      const stranger = await person.open(house.app.replace("localhost", "127.0.0.1"));
      const ask = (path, method) => `
        fetch("${house.origin}${path}", { method: "${method}", credentials: "include" })
          .then((answer) => answer.status, (error) => error.name)
          .then((result) => (document.title = "${method} " + result)), 0`;
      for (const [path, method] of [["/api/me", "GET"], ["/auth/logout", "POST"]]) {
        await stranger.run(ask(path, method));
        await stranger.seen("title", new RegExp(`^${method} TypeError$`));
      }
      await tab.reload();
      await who(tab, "alice");
      await tab.click("#logout");
      await status(tab, /signed out/);
    });
  });
}

async function signIn(tab, name, password) {
  await tab.fill("#login [name=username]", name);
  await tab.fill("#login [name=password]", password);
  await tab.click("#login button");
}

const who = (tab, name) => tab.seen("#who", new RegExp(`^${name}$`));
const status = (tab, text) => tab.seen("#status", text);

/** What the page has asked for since it was loaded. */
const asked = (tab, path) =>
  tab.run(`performance.getEntriesByType("resource").map(({ name }) => name).filter((name) => name.endsWith("${path}"))`);
