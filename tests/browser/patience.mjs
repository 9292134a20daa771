// Waiting for browsers and servers, never for ever: whatever does not come in time says what it was.

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

/** What is promised, if it comes in so many milliseconds. */
export async function inTime(what, promised, limit = PATIENCE) {
  let timer;
  const late = new Promise((_, failed) => {
    timer = setTimeout(() => failed(new Error(`${what} took more than ${limit / 1000} s`)), limit);
  });
  try {
    return await Promise.race([promised, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The same steps, each in time. */
export function bounded(steps) {
  const inTimeEach = ([name, step]) => {
    const limit = name === "run" ? LOST : PATIENCE;
    return [name, (...how) => inTime(`${name}(${how.map(shown)})`, step(...how), limit)];
  };
  return Object.fromEntries(Object.entries(steps).map(inTimeEach));
}

const shown = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));

/** Machines that test have much else to do. */
export const PATIENCE = 120_000;

/** What a page is asked while it goes away is now and then never answered; who waits asks again. */
export const LOST = 15_000;
