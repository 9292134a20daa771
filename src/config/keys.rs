//! Every key of the file, section by section: those that work, and those that are promised.
//!
//! "Unknown key", "did you mean" and the reference in `docs/reference/config.md` all follow from
//! these tables; a test holds the readers and the reference to them.

/// The keys of one table of the file.
#[derive(Debug)]
pub(super) struct Keys {
    /// How the reference and the messages call the table.
    pub(super) table: &'static str,
    /// Keys that work.
    pub(super) built: &'static [&'static str],
    /// Keys that are refused as "not supported yet".
    pub(super) later: &'static [&'static str],
}

/// The top of the main file.
pub(super) const ROOT: Keys = Keys {
    table: "the file",
    built: &[
        "server",
        "log",
        "store",
        "tokens",
        "sessions",
        "cookies",
        "passwords",
        "rate_limits",
        "auth",
        "bootstrap",
        "cors",
        "identity",
        "upstreams",
        "routes",
        "tests",
        "include",
    ],
    later: &["cluster", "oidc"],
};

/// The top of an included file.
pub(super) const INCLUDED: Keys = Keys {
    table: "an included file",
    built: &["cors", "identity", "upstreams", "routes", "tests"],
    later: &[],
};

pub(super) const SERVER: Keys = Keys {
    table: "[server]",
    built: &[
        "listen",
        "public_url",
        "public_origins",
        "trusted_proxies",
        "client_ip",
        "data_dir",
        "max_body",
        "max_connections",
        "max_connections_per_ip",
        "limits",
        "timeouts",
        "strict_paths",
        "admin",
        "workers",
        "tls",
        "hsts",
        "http_redirect",
    ],
    later: &[],
};
pub(super) const TLS: Keys =
    Keys { table: "server.tls", built: &["cert", "key"], later: &["acme"] };
pub(super) const HTTP_REDIRECT: Keys =
    Keys { table: "server.http_redirect", built: &["listen", "acme_webroot"], later: &[] };
pub(super) const MAX_BODY: Keys =
    Keys { table: "server.max_body", built: &["signed_in", "public"], later: &[] };
pub(super) const LIMITS: Keys = Keys {
    table: "server.limits",
    built: &["target", "headers", "fields", "body_min_rate"],
    later: &[],
};
pub(super) const TIMEOUTS: Keys = Keys {
    table: "server.timeouts",
    built: &["header", "idle", "drain", "tls_handshake"],
    later: &[],
};

pub(super) const LOG: Keys = Keys {
    table: "[log]",
    built: &["format", "level", "access", "output", "audit_output", "address"],
    later: &[],
};
pub(super) const STORE: Keys =
    Keys { table: "[store]", built: &["url"], later: &["password", "password_file"] };

pub(super) const TOKENS: Keys = Keys {
    table: "[tokens]",
    built: &[
        "algorithm",
        "secret",
        "secret_file",
        "key_dir",
        "issuer",
        "audience",
        "access_ttl",
        "access_jitter",
        "leeway",
        "sub",
        "rotate_every",
    ],
    later: &[],
};
pub(super) const SESSIONS: Keys = Keys {
    table: "[sessions]",
    built: &[
        "remember_default",
        "remember_idle",
        "remember_absolute",
        "idle",
        "absolute",
        "retry_window",
        "max_per_user",
        "reauth_max_age",
        "master_keys",
    ],
    later: &["max_revocation_lag"],
};
pub(super) const RETRY_WINDOW: Keys =
    Keys { table: "sessions.retry_window", built: &["cookie", "keyed"], later: &[] };
pub(super) const MASTER_KEY: Keys =
    Keys { table: "sessions.master_keys", built: &["id", "file"], later: &[] };

pub(super) const COOKIES: Keys = Keys {
    table: "[cookies]",
    built: &["same_site", "insecure", "access_token_in_body", "allow_browser_body"],
    later: &["domain", "embed"],
};
pub(super) const PASSWORDS: Keys = Keys {
    table: "[passwords]",
    built: &["argon2", "concurrent", "queue", "queue_per_network", "min_length", "blocklist_file"],
    later: &[],
};
pub(super) const ARGON2: Keys =
    Keys { table: "passwords.argon2", built: &["memory", "passes", "lanes"], later: &[] };
pub(super) const RATE_LIMITS: Keys = Keys {
    table: "[rate_limits]",
    built: &[
        "login_per_ip",
        "login_per_network",
        "login_per_username",
        "login_per_user",
        "refresh_per_session",
        "refresh_per_ip",
        "sessions_per_session",
        "admin_per_user",
        "auth_per_ip",
    ],
    later: &["strict_max_failures"],
};
pub(super) const RATE: Keys = Keys { table: "a rate", built: &["burst", "every"], later: &[] };

pub(super) const AUTH: Keys = Keys {
    table: "[auth]",
    built: &["path", "roles", "admin_role", "after_logout", "page", "cors"],
    later: &["oidc", "passkeys", "totp"],
};
pub(super) const PAGE: Keys =
    Keys { table: "auth.page", built: &["title", "logo", "accent", "language"], later: &[] };
pub(super) const BOOTSTRAP: Keys = Keys {
    table: "[[bootstrap]]",
    built: &["name", "roles", "password", "password_file", "hash"],
    later: &[],
};

pub(super) const CORS: Keys = Keys {
    table: "[cors.NAME]",
    built: &["origins", "credentials", "methods", "headers", "expose", "max_age"],
    later: &[],
};

pub(super) const IDENTITY: Keys = Keys {
    table: "[identity.NAME]",
    built: &["user", "roles", "name", "email", "jwt", "proof", "app_cookies"],
    later: &[],
};
pub(super) const PROOF: Keys =
    Keys { table: "identity.NAME.proof", built: &["header", "value", "value_file"], later: &[] };
pub(super) const IDENTITY_ROLES: Keys =
    Keys { table: "identity.NAME.roles", built: &["header", "separator"], later: &[] };

pub(super) const UPSTREAM: Keys = Keys {
    table: "[upstreams.NAME]",
    built: &[
        "servers",
        "balance",
        "health",
        "eject",
        "retries",
        "tls",
        "timeouts",
        "max_connections",
        "max_idle",
        "header_case",
        "tolerate",
    ],
    later: &[],
};
pub(super) const HEALTH: Keys = Keys {
    table: "upstreams.NAME.health",
    built: &["path", "every", "fail_after", "pass_after", "slow_start"],
    later: &[],
};
pub(super) const UPSTREAM_TLS: Keys =
    Keys { table: "upstreams.NAME.tls", built: &["ca", "server_name", "verify"], later: &[] };
pub(super) const EJECT: Keys =
    Keys { table: "upstreams.NAME.eject", built: &["failures", "for", "at_most"], later: &[] };
pub(super) const UPSTREAM_TIMEOUTS: Keys =
    Keys { table: "upstreams.NAME.timeouts", built: &["connect", "response", "idle"], later: &[] };

pub(super) const ROUTE: Keys = Keys {
    table: "[[routes]]",
    built: &[
        "name",
        "host",
        "path",
        "methods",
        "access",
        "roles",
        "users",
        "upstream",
        "respond",
        "identity",
        "app_cookies",
        "strip_prefix",
        "preserve_host",
        "rewrite_location",
        "upgrades",
        "headers",
        "bearer",
        "on_denied",
        "allow",
        "allow_ips",
        "max_body",
        "strict_paths",
        "timeouts",
        "access_log",
        "overrides",
        "cors",
        "cache",
        "logout",
    ],
    later: &["basic", "max_revocation_lag"],
};
pub(super) const ROUTE_HEADERS: Keys = Keys {
    table: "routes.headers",
    built: &["set", "remove", "set_response", "remove_response"],
    later: &[],
};

pub(super) const RESPOND: Keys =
    Keys { table: "routes.respond", built: &["status", "body", "content_type"], later: &[] };
pub(super) const ROUTE_TIMEOUTS: Keys =
    Keys { table: "routes.timeouts", built: &["connect", "response", "idle"], later: &[] };

pub(super) const TEST: Keys =
    Keys { table: "[[tests]]", built: &["request", "as", "from", "expect"], later: &[] };
pub(super) const TEST_AS: Keys = Keys { table: "tests.as", built: &["roles", "user"], later: &[] };
pub(super) const TEST_EXPECT: Keys =
    Keys { table: "tests.expect", built: &["route", "upstream"], later: &[] };

/// Every table, in the order of the reference.
#[cfg(test)]
pub(super) const ALL: &[&Keys] = &[
    &ROOT,
    &SERVER,
    &MAX_BODY,
    &LIMITS,
    &TIMEOUTS,
    &TLS,
    &HTTP_REDIRECT,
    &LOG,
    &STORE,
    &TOKENS,
    &SESSIONS,
    &RETRY_WINDOW,
    &MASTER_KEY,
    &COOKIES,
    &PASSWORDS,
    &ARGON2,
    &RATE_LIMITS,
    &RATE,
    &AUTH,
    &PAGE,
    &BOOTSTRAP,
    &CORS,
    &IDENTITY,
    &IDENTITY_ROLES,
    &PROOF,
    &UPSTREAM,
    &HEALTH,
    &EJECT,
    &UPSTREAM_TLS,
    &UPSTREAM_TIMEOUTS,
    &ROUTE,
    &ROUTE_TIMEOUTS,
    &ROUTE_HEADERS,
    &RESPOND,
    &TEST,
    &TEST_AS,
    &TEST_EXPECT,
];

/// The known key that a writer most likely meant.
pub(super) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = written.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|key| (key, strsim::normalized_damerau_levenshtein(&lower, key)))
        .filter(|(_, likeness)| *likeness >= 0.6)
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
        .map(|(key, _)| key)
}
