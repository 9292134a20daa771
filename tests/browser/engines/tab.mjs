// What a person sees and does in one tab, in whichever browser. A browser's own tab has `goto(url)`,
// `url()`, `reload()`, `back()`, `press(key)`, `type(text)`, `click(css)` and `run(expression)`; none
// but `goto` waits for what follows, so that a walk looks for it by `seen`.

export class Tab {
  async path() {
    return new URL(await this.url()).pathname;
  }

  /** Waits until the path is this one. */
  at(path) {
    return until(`at ${path}`, () => this.path(), (got) => got === path);
  }

  /** Text of the first element; undefined where there is none. */
  text(css) {
    return this.run(`document.querySelector(${JSON.stringify(css)})?.textContent`);
  }

  value(css) {
    return this.run(`document.querySelector(${JSON.stringify(css)})?.value`);
  }

  /** Waits until the first element's text is like this one. */
  seen(css, like) {
    return until(`${css} like ${like}`, () => this.text(css), (got) => like.test(got ?? ""));
  }

  /** Waits until what has the focus is such a one. */
  focused(css) {
    const ask = `document.hasFocus() && document.activeElement.matches(${JSON.stringify(css)})`;
    return until(`the focus on ${css}`, () => this.run(ask), Boolean);
  }

  async fill(css, text) {
    await this.run(`document.querySelector(${JSON.stringify(css)}).value = ""`);
    await this.click(css);
    await this.type(text);
  }

  /** On the gateway's own form, by keyboard: the name's field has the focus already. */
  async signIn(name, password) {
    await this.focused("[name=username]");
    await this.type(name);
    await this.press("Tab");
    await this.type(password);
    await this.press("Enter");
  }

  /** On the page that asks whether to: its button has the focus. */
  async signOut(origin) {
    await this.goto(`${origin}/auth/logout`);
    await this.focused("main button");
    await this.press("Enter");
    await this.at("/auth/login");
  }
}

/** Asks again and again, also when a page that goes away cannot be asked. */
export async function until(what, ask, isIt) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    let got;
    try {
      got = await ask();
      if (isIt(got)) return got;
    } catch (error) {
      got = error;
    }
    if (Date.now() > end) throw new Error(`waited for ${what}, got ${got}`);
    await new Promise((done) => setTimeout(done, 30));
  }
}

const PATIENCE = 30_000;
