export interface Options {
  /** Origin of the gateway; empty (the default) when it serves this page. */
  base?: string;
  /** `auth.path` of the gateway: "/auth". */
  auth?: string;
  /** Keep the access token in memory and send it as Bearer; needs `cookies.access_token_in_body`. */
  bearer?: boolean;
  /** The session is over: ask for a login. Never called for 429 or 503. */
  onSignedOut?: () => void;
}

export interface Portcullis {
  /** 200 signed in, 401 wrong, 429 and 503 later. */
  login(username: string, password: string, more?: { remember?: boolean; device_name?: string }): Promise<Response>;
  /** Renews; callers at the same time share one request, and tabs take turns. 401: not signed in. */
  refresh(): Promise<Response>;
  /** As `fetch`; a 401 is tried once more after a refresh. `init.body` must be sendable twice. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  logout(): Promise<Response>;
}

export function portcullis(options?: Options): Portcullis;
