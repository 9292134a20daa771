// Every page of the gateway: how a person comes to see it, before the desk.
//
// A way is given a fresh page of Playwright and the house. It leaves the page where it is to be
// looked at. What is then its heading in English is said below.

export const sights = {
  login: (page, { origin }) => page.goto(`${origin}/auth/login`),

  async "login refused"(page, house) {
    await sights.login(page, house);
    await signIn(page, "alice", "wrong");
  },

  async "login once more"(page, house) {
    await enter(page, house);
    await page.goto(`${house.origin}/auth/login?prompt=login`);
  },

  "no cookie kept": (page, { origin }) => page.goto(`${origin}/auth/done?to=%2F`),

  async account(page, house) {
    await enter(page, house);
    await page.goto(`${house.origin}/auth/account`);
  },

  async "new password refused"(page, house) {
    await sights.account(page, house);
    await page.fill("[name=current_password]", PASSWORD);
    await page.fill("[name=new_password]", "alicealicealice");
    await page.click("form.narrow button");
  },

  async "sign out?"(page, house) {
    await enter(page, house);
    await page.goto(`${house.origin}/auth/logout`);
  },

  "signed out": (page, { origin }) => page.goto(`${origin}/auth/logout`),

  async denied(page, house) {
    await enter(page, house);
    await page.goto(`${house.origin}/admin`);
  },

  async "form held"(page, house) {
    await enter(page, house);
    await page.context().clearCookies();
    await page.fill("[name=note]", "text");
    await page.keyboard.press("Enter");
    await page.locator("main").waitFor();
  },

  async framed(page, house) {
    await enter(page, house);
    await page.context().clearCookies();
    await page.evaluate(() => {
      const frame = document.createElement("iframe");
      Object.assign(frame, { src: "/safe", title: "a part", style: "border:0;width:100%;height:20rem" });
      const main = document.createElement("main");
      main.append(document.querySelector("h1"), frame);
      document.body.replaceChildren(main);
      document.title = "A page around a frame";
      return new Promise((done) => (frame.onload = done));
    });
  },

  async "sign in once more"(page, house) {
    await enter(page, house);
    await house.later(30);
    await page.goto(`${house.origin}/auth/account`);
    await page.locator("form.end button").last().click();
  },

  async "first password"(page, house) {
    await page.goto(await house.invitation(`new-${++invited}`));
  },

  async "first password refused"(page, house) {
    await sights["first password"](page, house);
    await page.fill("[type=password]", "password1234");
    await page.click("main button");
  },

  "bad link": (page, { origin }) => page.goto(`${origin}/auth/setup?t=nothing`),

  "not found": (page, { origin }) => page.goto(`${origin}/auth/nothing`),

  "application gone": (page, { origin }) => page.goto(`${origin}/gone`),

  async "from elsewhere"(page, house) {
    await page.goto(house.app.replace("localhost", "127.0.0.1"));
    await page.evaluate((to) => {
      const form = Object.assign(document.createElement("form"), { method: "post", action: to });
      document.body.append(form);
      form.submit();
    }, `${house.origin}/auth/logout`);
    await page.locator("main").waitFor();
  },
};

export const headings = {
  login: "Sign in",
  "login refused": "Sign in",
  "login once more": "Sign in",
  "no cookie kept": "Sign-in did not work",
  account: "Your account",
  "new password refused": "Your account",
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
  "from elsewhere": "Stopped for your safety",
};

let invited = 0;
const PASSWORD = "password123";

async function enter(page, house) {
  await page.goto(house.origin);
  await signIn(page, "alice", PASSWORD);
  await page.waitForURL(`${house.origin}/`);
}

async function signIn(page, name, password) {
  await page.fill("[name=username]", name);
  await page.fill("[name=password]", password);
  await page.click("main button");
  await page.waitForLoadState();
}
