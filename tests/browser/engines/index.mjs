// The browsers to walk in: `PORTCULLIS_BROWSERS`, a list with commas, of which Chromium is the default.
//
// Each has `name`, `insecure` (it keeps no Secure cookie on http://localhost), `remembersOverHttp`
// (going back over plain http shows what was there, `no-store` or not) and `launch()`. What that gives
// has `close()` and `person({ scripts })`: a `Person` by the steps `tab()` (a new one),
// `tabs()`, `cookies()`, `forget(pattern)` and `close()`.

const named = (process.env.PORTCULLIS_BROWSERS ?? "chromium").split(",");

export const engines = await Promise.all(named.map((name) => import(`./${name}.mjs`)));
