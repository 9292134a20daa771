// For pages whose tokens are in HttpOnly cookies; see portcullis.d.ts.
export function portcullis({ base = "", auth = "/auth", bearer = false, onSignedOut = () => {} } = {}) {
  let token, renewals = 0, refreshing;
  const locked = (work) => {
    const locks = globalThis.navigator?.locks;
    return locks ? locks.request("portcullis " + base + auth, work) : work();
  };
  const send = (path, init = {}) => {
    const headers = new Headers(init.headers);
    if (bearer && token) headers.set("Authorization", "Bearer " + token);
    return fetch(base + path, { credentials: base ? "include" : "same-origin", ...init, headers });
  };
  const post = (what, json) =>
    send(auth + what, {
      method: "POST",
      headers: json && { "Content-Type": "application/json" },
      body: json && JSON.stringify(json),
    });
  const keep = async (answer) => {
    if (answer.ok) {
      token = (await answer.clone().json()).access_token;
      renewals++;
    } else if (answer.status === 401) token = undefined;
    return answer;
  };
  // One at a time, across tabs too.
  const refresh = async () => {
    refreshing ??= locked(() => post("/refresh").then(keep)).finally(() => (refreshing = undefined));
    return (await refreshing).clone();
  };
  return {
    refresh,
    login: (username, password, more) => post("/login", { username, password, ...more }).then(keep),
    async logout() {
      const answer = await post("/logout");
      if (answer.ok) token = undefined;
      return answer;
    },
    async fetch(path, init) {
      const before = renewals;
      const answer = await send(path, init);
      if (answer.status !== 401) return answer;
      if (before === renewals) {
        const renewed = await refresh();
        // Only 401 is "signed out"; 429 and 503 are "later".
        if (renewed.status === 401) onSignedOut();
        if (!renewed.ok) return renewed.status === 401 ? answer : renewed;
      }
      return send(path, init);
    },
  };
}
