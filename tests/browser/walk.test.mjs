// A person before pages of an application and the gateway's own, in every browser there is.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { engines } from "./engines/index.mjs";
import { insecure, start } from "./house.mjs";
import { inTime, until } from "./patience.mjs";

/** Past any access token's life, and past any session's. */
const [QUARTER, DAY] = [16, 25 * 60];

for (const engine of engines) {
  describe(engine.name, () => {
    let house, program;
    before(async () => {
      const change = engine.insecure ? insecure : undefined;
      [house, program] = await Promise.all([start("tests/browser/desk", { change }), engine.launch()]);
    });
    after(async () => {
      await program?.close();
      await house?.stop();
    });

    async function someone(t, how) {
      const person = await program.person(how);
      t.after(() => person.close());
      return person;
    }

    async function alice(t, path = "/") {
      const person = await someone(t);
      const tab = await person.open(house.origin + path);
      await tab.signIn("alice", "password123");
      await tab.at(path);
      return [person, tab];
    }

    const access = async (person) => (await person.cookies()).find(({ name }) => name.includes("pc_at")).value;

    for (const scripts of [true, false]) {
      test(`in and out again, scripts ${scripts ? "on" : "off"}`, async (t) => {
        const person = await someone(t, { scripts });
        const tab = await person.open(`${house.origin}/safe`);
        await tab.at("/auth/login");
        await tab.signIn("alice", "wrong");
        await tab.seen("[role=alert]", /wrong/);
        assert.equal(await tab.value("[name=username]"), "", "what was typed is not shown again");
        await tab.signIn("alice", "password123");
        await tab.seen("h1", /^Safe of alice$/);
        assert.equal(await tab.path(), "/safe");
        await tab.goto(`${house.origin}/admin`);
        await tab.seen("h1", /may not see/);
        await tab.goto(`${house.origin}/auth/account`);
        await tab.seen("main", /Signed in as alice/);
        await tab.signOut(house.origin);
        await tab.goto(`${house.origin}/safe`);
        await tab.at("/auth/login");
      });
    }

    if (engine.insecure) {
      test("without cookies.insecure a login says which browser keeps no cookie there, and what helps", async (t) => {
        const strict = await start("tests/browser/desk");
        t.after(strict.stop);
        const tab = await (await someone(t)).open(`${strict.origin}/safe`);
        await tab.signIn("alice", "password123");
        await tab.at("/auth/done");
        await tab.seen("main", /Safari does not keep such cookies for http:\/\/localhost.*cookies\.insecure/s);
      });
    }

    test("one who comes back after the access token's end notices nothing", async (t) => {
      const [person, tab] = await alice(t);
      const before = await access(person);
      await house.later(QUARTER);
      await tab.goto(`${house.origin}/safe`);
      await tab.seen("h1", /^Safe of alice$/);
      assert.notEqual(await access(person), before, "renewed on the way");
    });

    test("two tabs that wake at once both go on, and later too", async (t) => {
      const [person, one] = await alice(t);
      const two = await person.open(`${house.origin}/safe`);
      for (const _ of [1, 2, 3]) {
        await house.later(QUARTER);
        const again = "document.querySelector('h1').textContent = 'before', location.reload(), 0";
        await Promise.all([one.run(again), two.run(again)]);
        await Promise.all([one.seen("h1", /^Desk of alice$/), two.seen("h1", /^Safe of alice$/)]);
      }
    });

    test("a form sent after the session's end keeps its text, and is sent again after a login", async (t) => {
      const [person, tab] = await alice(t);
      const note = `by ${engine.name}`;
      await tab.fill("[name=note]", note);
      await house.later(DAY);
      await tab.press("Enter");
      await tab.seen("h1", /signed out/);
      assert.equal(await tab.path(), "/notes", "the answer stands in place of the form's");
      await tab.reach("main a");
      await tab.press("Enter");
      const other = await until("a tab beside it", () => beside(person, "/auth/login"), Boolean);
      await other.signIn("alice", "password123");
      await other.seen("h1", /^Desk of alice$/);
      await tab.reload();
      await tab.seen("h1", /^Kept$/);
      assert.deepEqual(await kept(house, note), [["alice", note]]);
    });

    test("a form sent after the session's end is there with its text when one goes back", async (t) => {
      const [, tab] = await alice(t);
      await tab.fill("[name=note]", "long thought about");
      await house.later(DAY);
      await tab.press("Enter");
      await tab.seen("h1", /signed out/);
      await tab.back();
      await tab.seen("h1", /^Desk of alice$/);
      assert.equal(await tab.value("[name=note]"), "long thought about");
    });

    test("a form that met no application is sent again by a reload", async (t) => {
      const [, tab] = await alice(t, "/fickle");
      const note = `twice by ${engine.name}`;
      await tab.fill("[name=note]", note);
      await tab.press("Enter");
      await tab.seen("h1", /does not answer/);
      await tab.reload();
      await tab.seen("h1", /^Kept$/);
      assert.deepEqual(await kept(house, note), [["alice", note]]);
    });

    test("a form of the gateway's own that was refused is sent again by a reload", async (t) => {
      const tab = await (await someone(t)).open(`${house.origin}/auth/login`);
      await tab.signIn("alice", "wrong");
      await tab.seen("[role=alert]", /wrong/);
      await tab.run("void (document.querySelector('[role=alert]').id = 'before')");
      await tab.reload();
      await tab.seen("[role=alert]:not(#before)", /wrong/);
    });

    for (const tls of [true, false]) {
      const skip = !tls && engine.remembersOverHttp && "over plain http WebKit keeps pages whatever no-store says";
      test(`after signing out the back button shows nothing private, ${tls ? "https" : "http"}`, { skip }, async (t) => {
        const place = tls ? await start("tests/browser/desk", { tls }) : house;
        if (tls) t.after(place.stop);
        const tab = await (await someone(t)).open(`${place.origin}/safe`);
        await tab.signIn("alice", "password123");
        await tab.seen("h1", /^Safe of alice$/);
        await tab.goto(`${place.origin}/auth/account`);
        await tab.seen("main", /Signed in as alice/);
        await tab.signOut(place.origin);
        // The question, the account, the safe: each is asked for anew, or was never private.
        const shown = [];
        for (const _ of [1, 2, 3]) {
          await tab.next(() => tab.back());
          shown.push(`${await tab.path()}: ${await tab.text("h1")}`);
          assert.doesNotMatch(await tab.text("body"), /alice/, shown.join("\n"));
        }
        assert.match(shown.at(-1), /: Sign in$/, "the safe's address leads to the login");
      });
    }
  });
}

async function kept(house, note) {
  const all = await (await inTime("all notes", fetch(`${house.app}/kept`))).json();
  return all.filter(([, text]) => text === note);
}

async function beside(person, path) {
  for (const tab of await person.tabs()) {
    if ((await tab.path()) === path) return tab;
  }
}
