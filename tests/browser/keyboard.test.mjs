// The gateway's own pages by keyboard alone, in every browser there is but WebKitGTK: its driver types
// into elements, not into the window.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { engines } from "./engines/index.mjs";
import { start } from "./house.mjs";
import { headings, leads, sights, unhurried } from "./sights.mjs";

for (const engine of engines.filter(({ name }) => name !== "WebKitGTK")) {
  describe(engine.name, () => {
    let house, program;
    before(async () => {
      const desk = start("tests/browser/desk", { change: unhurried });
      [house, program] = await Promise.all([desk, engine.launch()]);
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

    for (const [name, way] of Object.entries(sights)) {
      test(`${name}: Tab comes to all that can be used, and shows where it is`, async (t) => {
        const person = await someone(t);
        const tab = await person.tab();
        await way(tab, house, person);
        await tab.headed(new RegExp(`^${escaped(headings[name])}$`));
        const usable = await tab.usable();
        for (let back = (await tab.focus()).at; back > 0; back--) await tab.press("Shift+Tab");
        for (const [at, what] of usable.entries()) {
          if (at || (await tab.focus()).at) await tab.press("Tab");
          const focus = await tab.focus();
          assert.equal(focus.at, at, `${what} of ${usable}`);
          assert.ok(focus.style === "solid" && focus.width >= 2, `${what}: ${JSON.stringify(focus)}`);
          assert.ok(focus.contrast >= 3, `${what}: ${JSON.stringify(focus)} (WCAG 2.2, success criterion 1.4.11)`);
        }
        if (!leads[name]) return;
        for (let back = usable.length - 1; back > 0; back--) await tab.press("Shift+Tab");
        await tab.enter();
        await tab.headed(new RegExp(`^${escaped(leads[name])}$`));
      });
    }

    for (const scripts of [true, false]) {
      test(`an invitation, passwords, sessions, in and out, scripts ${scripts ? "on" : "off"}`, async (t) => {
        const name = `by-keyboard-${scripts}`;
        const [first, second] = ["as good as any", "even better than that"];
        const tab = await (await someone(t, { scripts })).open(await house.invitation(name));
        await tab.focused("[type=password]");
        await tab.type(first);
        await tab.enter();
        await tab.headed(new RegExp(`^Desk of ${name}$`));

        const sessions = () => tab.run("document.querySelectorAll('ul.list li').length");
        for (const button of ["li:not(:has(.mark)) button", "form.end button:first-child"]) {
          await house.signIn(name, first);
          await tab.goto(`${house.origin}/auth/account`);
          assert.equal(await sessions(), 2);
          await tab.reach(button);
          await tab.enter();
          assert.equal(await sessions(), 1, button);
        }

        await tab.reach("[name=current_password]");
        await change(tab, first, "password1234");
        await tab.seen("[role=alert]", /common/);
        await tab.focused("[name=new_password][aria-invalid]");
        await tab.press("Shift+Tab");
        await change(tab, first, second);
        await tab.seen("[role=status]", /^The password was changed\.$/);
        assert.ok(!(await tab.text("[role=alert]")), "changed");

        await tab.signOut(house.origin);
        await tab.signIn(name, first);
        await tab.seen("[role=alert]", /wrong/);
        await tab.focused("[name=username]");
        await tab.reach("[name=remember]");
        await tab.type(" ");
        await tab.press("Shift+Tab");
        await tab.press("Shift+Tab");
        await tab.signIn(name, second);
        await tab.headed(new RegExp(`^Desk of ${name}$`));

        await tab.goto(`${house.origin}/admin`);
        await tab.reach("main a:last-child");
        await tab.enter();
        await tab.headed(/^Sign in$/);
        await tab.goto(`${house.origin}/auth/account`);
        await tab.reach("form.end button:last-child");
        await tab.enter();
        await tab.at("/auth/login");
      });
    }
  });
}

async function change(tab, from, to) {
  await tab.type(from);
  await tab.press("Tab");
  await tab.type(to);
  await tab.enter();
}

const escaped = (text) => text.replaceAll("?", "\\?");
