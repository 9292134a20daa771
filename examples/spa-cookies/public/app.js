import { portcullis } from "./portcullis.js";

const at = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
// `?gateway=ORIGIN` for a page on an origin of its own, `?bearer` for the article's pattern: the
// access token in memory, the refresh token in its cookie.
const gate = portcullis({
  base: query.get("gateway") ?? "",
  bearer: query.has("bearer"),
  onSignedOut: () => show(undefined),
});
const tabs = new BroadcastChannel("signed-in");
tabs.onmessage = ({ data }) => (data ? me() : show(undefined));

function show(user) {
  at("app").hidden = !user;
  at("login").hidden = Boolean(user);
  at("who").textContent = user?.username ?? "";
  at("status").textContent = user ? "" : "signed out";
}

function tell(answer) {
  const wait = answer.headers.get("Retry-After");
  at("status").textContent = wait ? `try again in ${wait} s` : `answer ${answer.status}`;
}

async function me() {
  const answer = await gate.fetch("/api/me");
  if (answer.ok) show(await answer.json());
  else if (answer.status !== 401) tell(answer);
}

at("login").onsubmit = async (event) => {
  event.preventDefault();
  const { username, password } = Object.fromEntries(new FormData(event.target));
  const answer = await gate.login(username, password);
  if (!answer.ok) return tell(answer);
  event.target.reset();
  tabs.postMessage(true);
  await me();
};

at("metrics").onclick = async () => {
  const answer = await gate.fetch("/api/admin/metrics");
  if (answer.ok) at("status").textContent = `metrics: ${(await answer.json()).metrics}`;
  else tell(answer);
};

at("logout").onclick = async () => {
  const answer = await gate.logout();
  if (!answer.ok) return tell(answer);
  tabs.postMessage(false);
  show(undefined);
};

// With a token to be kept in memory a page begins by fetching one; a cookie needs nothing.
if (query.has("bearer")) await gate.refresh();
await me();
