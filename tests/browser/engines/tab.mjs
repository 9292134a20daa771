// What a person sees and does in one tab, in whichever browser. A browser's own steps are `visit(url)`,
// `reload()`, `back()`, `press(key)` (but in WebKitGTK `Shift+Tab` too), `type(text)`, `click(css)` and
// `run(expression)`. None of them waits for what follows, so that a walk looks for it by `seen`.
import { bounded, until } from "../patience.mjs";

/** Somebody with cookies of their own; see `index.mjs` for the steps. */
export class Person {
  constructor(steps) {
    Object.assign(this, bounded(steps));
  }

  async open(url) {
    const tab = await this.tab();
    await tab.goto(url);
    return tab;
  }
}

export class Tab {
  constructor(steps) {
    Object.assign(this, bounded(steps));
  }

  goto(url) {
    return this.next(() => this.visit(url));
  }

  path() {
    return this.run("location.pathname");
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

  /** Does what leads to another page, and waits until that is whole and its focus where it belongs. */
  async next(step) {
    await until("a page to leave", () => this.run("document.body.id = 'left'"), Boolean);
    await step();
    // On the way to it there may be an empty one, `about:blank`. Browsers move the focus as they draw,
    // which may be after the page is complete.
    const focused = "(document.querySelector('[autofocus]') ?? document.activeElement) === document.activeElement";
    const state = `location.protocol + document.readyState + document.body.id + (${focused})`;
    await until("another page", () => this.run(state), (got) => /^https?:completetrue$/.test(got));
  }

  enter() {
    return this.next(() => this.press("Enter"));
  }

  /** Presses Tab until such a one has the focus. */
  async reach(css) {
    for (let left = 100; !(await this.run(`${ACTIVE}.matches(${JSON.stringify(css)})`)); left--) {
      if (!left) throw new Error(`${css} is not come to by Tab`);
      await this.press("Tab");
    }
  }

  /** Of the innermost page. */
  heading() {
    return this.run(`${PAGE}?.querySelector("h1")?.textContent`);
  }

  /** Waits for that. */
  headed(like) {
    return until(`the heading ${like}`, () => this.heading(), (got) => like.test(got ?? ""));
  }

  /** What of the innermost page a person can use, in order. */
  usable() {
    return this.run(`${USABLE}.map((at) => at.labels?.[0]?.textContent ?? at.textContent)`);
  }

  /** Which of them has the focus, counted from 0 (-1: none), and how well that is to be seen. */
  focus() {
    return this.run(`(() => {
      const at = ${ACTIVE};
      const { outlineStyle: style, outlineWidth: width, outlineColor: colour } = getComputedStyle(at);
      const light = (colour) => {
        const [red, green, blue] = colour.match(/[\\d.]+/g).map((part) => (part / 255) ** 2.2);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
      };
      const [ring, ground] = [colour, getComputedStyle(at.closest("main") ?? at).backgroundColor].map(light);
      const contrast = Math.max(ring / ground, ground / ring);
      return { at: ${USABLE}.indexOf(at), style, width: parseFloat(width), contrast };
    })()`);
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
    await this.enter();
  }

  /** On the page that asks whether to: its button has the focus. */
  async signOut(origin) {
    await this.goto(`${origin}/auth/logout`);
    await this.focused("main button");
    await this.enter();
    await this.at("/auth/login");
  }
}

/** The innermost page: that of a frame, where there is one. */
const PAGE = "(document.querySelector('iframe')?.contentDocument ?? document)";
const ACTIVE = `(document.activeElement.contentDocument ?? document).activeElement`;
const USABLE = `[...${PAGE}.querySelectorAll("a[href], button, input:not([type=hidden], [hidden])")]`;
