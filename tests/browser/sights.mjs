// Every page of the gateway: how a person comes to see it, before the desk, by keyboard alone and in
// any language.
//
// A way is given a fresh tab, the house and the person. It leaves the tab where it is to be looked
// at. What is then the heading, in English, and what the page's first link leads to, is said below.
import { until } from "./patience.mjs";

/** Many wrong passwords from one address, and few for one name. */
export function unhurried(toml) {
  const limits = 'login_per_ip = "1000/minute"\nlogin_per_username = { burst = 3, every = "1m" }';
  return toml.replace("[cookies]", `[rate_limits]\n${limits}\n\n[cookies]`);
}

export const sights = {
  login: (tab, { origin }) => tab.goto(`${origin}/auth/login`),

  async "login refused"(tab, house) {
    await sights.login(tab, house);
    await tab.signIn("bob", "wrong");
  },

  async "login once more"(tab, house) {
    await enter(tab, house);
    await tab.goto(`${house.origin}/auth/login?prompt=login`);
  },

  /** After as many wrong passwords as it takes. */
  async "too many attempts"(tab, house) {
    do {
      await sights.login(tab, house);
      await tab.signIn("mallory", "wrong");
    } while (await tab.text("[role=alert]"));
  },

  "no cookie kept": (tab, { origin }) => tab.goto(`${origin}/auth/done?to=%2F`),

  async account(tab, house) {
    await enter(tab, house);
    await tab.goto(`${house.origin}/auth/account`);
  },

  async "new password refused"(tab, house) {
    await sights.account(tab, house);
    await tab.reach("[name=current_password]");
    await tab.type(PASSWORD);
    await tab.press("Tab");
    await tab.type("alicealicealice");
    await tab.enter();
  },

  async "new password set"(tab, house) {
    const name = `changed-${++invited}`;
    const [first, second] = ["as good as any", "even better than that"];
    await tab.goto(await house.invitation(name));
    await tab.focused("[type=password]");
    await tab.type(first);
    await tab.enter();
    await tab.goto(`${house.origin}/auth/account`);
    await tab.reach("[name=current_password]");
    await tab.type(first);
    await tab.press("Tab");
    await tab.type(second);
    await tab.enter();
    await tab.seen("[role=status]", /./);
  },

  async "sign out?"(tab, house) {
    await enter(tab, house);
    await tab.goto(`${house.origin}/auth/logout`);
  },

  "signed out": (tab, { origin }) => tab.goto(`${origin}/auth/logout`),

  async denied(tab, house) {
    await enter(tab, house);
    await tab.goto(`${house.origin}/admin`);
  },

  async "form held"(tab, house, person) {
    await enter(tab, house);
    await person.forget(/./);
    await tab.reach("[name=note]");
    await tab.type("text");
    await tab.enter();
  },

  framed: (tab, { origin }) => tab.goto(`${origin}/framing`),

  async "sign in once more"(tab, house) {
    await enter(tab, house);
    await house.later(30);
    await tab.goto(`${house.origin}/auth/account`);
    await tab.reach("form.end button:last-child");
    await tab.enter();
  },

  "first password": async (tab, house) => tab.goto(await house.invitation(`new-${++invited}`)),

  async "first password refused"(tab, house) {
    await sights["first password"](tab, house);
    await tab.focused("[type=password]");
    await tab.type("password1234");
    await tab.enter();
  },

  "bad link": (tab, { origin }) => tab.goto(`${origin}/auth/setup?t=nothing`),

  "not found": (tab, { origin }) => tab.goto(`${origin}/auth/nothing`),

  "application gone": (tab, { origin }) => tab.goto(`${origin}/gone`),

  /** Once it has been asked how it is. */
  "application starting": (tab, { origin }) =>
    until(
      "the upstream to be found down",
      async () => {
        await tab.goto(`${origin}/asleep`);
        return tab.text(".small");
      },
      (reference) => reference.includes("upstream_starting"),
    ),

  "application slow": (tab, { origin }) => tab.goto(`${origin}/slow`),

  async "from elsewhere"(tab, house) {
    await tab.goto(house.app.replace("localhost", "127.0.0.1"));
    const form = "Object.assign(document.createElement('form'), { method: 'post', action })";
    const send = `(action) => { const form = ${form}; document.body.append(form); form.submit() }`;
    await tab.next(() => tab.run(`void (${send})("${house.origin}/auth/logout")`));
  },
};

export const headings = {
  login: "Sign in",
  "login refused": "Sign in",
  "login once more": "Sign in",
  "too many attempts": "Too many attempts",
  "no cookie kept": "You are not signed in",
  account: "Your account",
  "new password refused": "Your account",
  "new password set": "Your account",
  "sign out?": "Sign out?",
  "signed out": "You are signed out",
  denied: "You may not see this",
  "form held": "You were signed out",
  framed: "Not signed in",
  "sign in once more": "Please sign in once more",
  "first password": "Set a password",
  "first password refused": "Set a password",
  "bad link": "This link is not valid",
  "not found": "Nothing here",
  "application gone": "The application does not answer",
  "application starting": "Starting",
  "application slow": "The application is too slow",
  "from elsewhere": "Stopped for your safety",
};

/** Where the first link leads, if there is one. */
export const leads = {
  "too many attempts": "Sign in",
  "no cookie kept": "Sign in",
  "signed out": "Sign in",
  denied: "Desk of alice",
  framed: "Sign in",
  "sign in once more": "Sign in",
  "bad link": "Sign in",
  "not found": "Sign in",
  "application gone": "The application does not answer",
  "application starting": "Starting",
  "application slow": "The application is too slow",
  "from elsewhere": "Sign in",
};

let invited = 0;
const PASSWORD = "password123";

async function enter(tab, house) {
  await tab.goto(house.origin);
  await tab.signIn("alice", PASSWORD);
  await tab.seen("h1", /^Desk of alice$/);
}
