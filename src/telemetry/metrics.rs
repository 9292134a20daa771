//! The names of the metrics, each with its kind, labels and meaning, said once.

/// A family of samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

/// The kinds of Prometheus that occur here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What is counted by whoever knows of it. The label's values are constants of the code, so that
/// nobody from outside can make a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Logins; label: the outcome.
    Login,
    /// Refreshes, explicit and within other requests; label: the outcome.
    Refresh,
    /// Attempts refused by a rate limit; label: the limit.
    Throttled,
    /// Requests refused because of where they came from; label: why.
    CsrfRejected,
    /// Sessions ended before their time; label: the reason.
    SessionRevoked,
    /// Streams ended under their clients; label: why.
    StreamsCut,
    /// Replays from elsewhere than the rotation; label: what differs.
    ReplayChanged,
    /// Hashes of other programs replaced by ours; label: what they were.
    Rehash,
    /// Requests that were no HTTP; no label.
    ParseErrors,
    /// Connections that found no place; no label.
    TurnedAway,
    /// Reloads of the configuration; label: the outcome.
    Reload,
    /// Requests with a forwarding header from a peer that is not trusted; no label.
    UntrustedForwarding,
}

impl Counter {
    pub(super) const ALL: [Self; 12] = [
        Self::Login,
        Self::Refresh,
        Self::Throttled,
        Self::CsrfRejected,
        Self::SessionRevoked,
        Self::StreamsCut,
        Self::ReplayChanged,
        Self::Rehash,
        Self::ParseErrors,
        Self::TurnedAway,
        Self::Reload,
        Self::UntrustedForwarding,
    ];

    pub(super) const fn metric(self) -> Metric {
        let (name, labels, help): (_, &[_], _) = match self {
            Self::Login => (
                "portcullis_login_total",
                &["outcome"],
                "Logins, by outcome: success, failure, throttled, busy, unavailable, no_token, left (before the password was compared).",
            ),
            Self::Refresh => ("portcullis_refresh_total", &["outcome"], "Refreshes, by outcome."),
            Self::Throttled => {
                ("portcullis_throttled_total", &["limit"], "Attempts that a rate limit refused.")
            }
            Self::CsrfRejected => (
                "portcullis_csrf_rejected_total",
                &["why"],
                "Requests with a cookie refused for the origin they came from.",
            ),
            Self::SessionRevoked => (
                "portcullis_session_revoked_total",
                &["reason"],
                "Sessions ended before their time. Alert on reuse, integrity and store_rollback.",
            ),
            Self::StreamsCut => (
                "portcullis_streams_cut_total",
                &["why"],
                "Downloads, event streams, tunnels and requests under way cut since their session was ended (session) or ran out (time), since a change of roles (role) or of the routes (policy) no longer permits them, or since their client read too slowly while others waited for its place (slow).",
            ),
            Self::ReplayChanged => (
                "portcullis_refresh_replay_changed_total",
                &["what"],
                "Refresh tokens given again to another network or user agent than rotated them, by what differs: network, agent, both.",
            ),
            Self::Rehash => (
                "portcullis_rehash_total",
                &["from"],
                "Password hashes of other programs replaced by argon2id, by what they were.",
            ),
            Self::ParseErrors => (
                "portcullis_parse_errors_total",
                &[],
                "Connections closed over bytes that are not HTTP, and requests of HTTP/2 whose client left before their end came.",
            ),
            Self::TurnedAway => (
                "portcullis_connections_turned_away_total",
                &[],
                "Connections closed at once, since server.max_connections or max_connections_per_ip were reached.",
            ),
            Self::Reload => (
                "portcullis_config_reloads_total",
                &["outcome"],
                "Reloads of the configuration, by outcome: success, refused.",
            ),
            Self::UntrustedForwarding => (
                "portcullis_untrusted_forwarding_total",
                &[],
                "Requests whose forwarding headers were dropped since their peer is not in server.trusted_proxies.",
            ),
        };
        Metric { name, kind: Kind::Counter, labels, help }
    }
}

/// A process-wide value that goes up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gauge {
    /// Sessions that are not over.
    SessionsActive,
    /// Passwords waiting to be hashed.
    PasswordHashQueue,
    /// 1 when the store takes transactions, else 0.
    StoreUp,
    /// Ended sessions whose access tokens have not run out.
    RevocationSetSize,
    /// How long the active key has signed access tokens.
    KeyAge,
    /// Open client connections.
    Connections,
    /// Which configuration is in force; 1 at the start.
    ConfigGeneration,
    /// 1 when the last reload did what it was asked for, else 0.
    ReloadSuccessful,
    /// When a configuration was last put into force, seconds since 1970.
    ReloadTimestamp,
    /// When the first certificate ends, in seconds since 1970.
    TlsCertNotAfter,
}

/// What is measured by whoever knows of it, beside requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timing {
    /// From a rotation to a replay of the token before it; no label.
    ReplayAge,
    /// One hash of a password, without the wait for it; label: the algorithm.
    PasswordHash,
}

impl Timing {
    pub(super) const ALL: [Self; 2] = [Self::ReplayAge, Self::PasswordHash];

    pub(super) const fn metric(self) -> Metric {
        let (name, labels, help): (_, &[_], _) = match self {
            Self::ReplayAge => (
                "portcullis_refresh_replay_age_seconds",
                &[],
                "From a rotation to a retry with the token before it, which was given the same successor.",
            ),
            Self::PasswordHash => (
                "portcullis_password_hash_seconds",
                &["alg"],
                "One hash of a password, made or compared, without its wait in the queue: argon2id, bcrypt.",
            ),
        };
        Metric { name, kind: Kind::Histogram, labels, help }
    }
}

impl Gauge {
    pub(super) const ALL: [Self; 10] = [
        Self::SessionsActive,
        Self::PasswordHashQueue,
        Self::StoreUp,
        Self::RevocationSetSize,
        Self::KeyAge,
        Self::Connections,
        Self::ConfigGeneration,
        Self::ReloadSuccessful,
        Self::ReloadTimestamp,
        Self::TlsCertNotAfter,
    ];

    pub(super) const fn metric(self) -> Metric {
        let (name, help) = match self {
            Self::SessionsActive => ("portcullis_sessions_active", "Sessions that are not over."),
            Self::PasswordHashQueue => {
                ("portcullis_password_hash_queue", "Passwords waiting to be hashed.")
            }
            Self::StoreUp => {
                ("portcullis_store_up", "1 when the store takes transactions, else 0.")
            }
            Self::RevocationSetSize => (
                "portcullis_revocation_set_size",
                "Ended sessions whose access tokens have not run out.",
            ),
            Self::KeyAge => (
                "portcullis_jwt_key_age_seconds",
                "How long the active key has signed access tokens; none with HS256.",
            ),
            Self::Connections => ("portcullis_connections", "Open connections of clients."),
            Self::ConfigGeneration => (
                "portcullis_config_generation",
                "Which configuration is in force: 1 is that of the start, each reload is one more.",
            ),
            Self::ReloadSuccessful => (
                "portcullis_config_last_reload_successful",
                "1 when the last reload put its configuration into force, 0 when it was refused. Alert on 0.",
            ),
            Self::ReloadTimestamp => (
                "portcullis_config_last_reload_success_timestamp_seconds",
                "When a configuration was last put into force, since 1970.",
            ),
            Self::TlsCertNotAfter => (
                "portcullis_tls_cert_not_after_seconds",
                "When the first of the TLS certificates in use ends, since 1970.",
            ),
        };
        Metric { name, kind: Kind::Gauge, labels: &[], help }
    }
}

pub(super) const SERVED: Metric = Metric {
    name: "http_server_request_duration_seconds",
    kind: Kind::Histogram,
    labels: &["http_request_method", "http_response_status_code", "http_route"],
    help: "From a request's head to the end of its answer. The route is the configured name.",
};

pub(super) const ACTIVE: Metric = Metric {
    name: "http_server_active_requests",
    kind: Kind::Gauge,
    labels: &[],
    help: "Requests being served.",
};

pub(super) const FORWARDED: Metric = Metric {
    name: "http_client_request_duration_seconds",
    kind: Kind::Histogram,
    labels: &["upstream"],
    help: "From forwarding a request to the head of the upstream's answer.",
};

pub(super) const UPSTREAM_HEALTHY: Metric = Metric {
    name: "portcullis_upstream_healthy",
    kind: Kind::Gauge,
    labels: &["upstream", "server"],
    help: "1 when neither a health check nor a worker has anything against the server, else 0.",
};

pub(super) const DECISIONS: Metric = Metric {
    name: "portcullis_authz_decisions_total",
    kind: Kind::Counter,
    labels: &["route", "decision", "reason"],
    help: "What became of requests: permitted, refused, failed, own.",
};

pub(super) const BUILD: Metric = Metric {
    name: "portcullis_build_info",
    kind: Kind::Gauge,
    labels: &["version"],
    help: "Always 1; the version that runs.",
};

pub(super) const LINES_LOST: Metric = Metric {
    name: "portcullis_log_lines_dropped_total",
    kind: Kind::Counter,
    labels: &["stream"],
    help: "Log lines that could not be written: access, audit. Alert on audit.",
};

pub(super) const RESIDENT: Metric = Metric {
    name: "process_resident_memory_bytes",
    kind: Kind::Gauge,
    labels: &[],
    help: "Memory of the process that is in RAM.",
};

pub(super) const CPU: Metric = Metric {
    name: "process_cpu_seconds_total",
    kind: Kind::Counter,
    labels: &[],
    help: "User and system time of the process.",
};

pub(super) const DESCRIPTORS: Metric = Metric {
    name: "process_open_fds",
    kind: Kind::Gauge,
    labels: &[],
    help: "Open file descriptors of the process.",
};

pub(super) const STARTED: Metric = Metric {
    name: "process_start_time_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "When the process started, since 1970.",
};
