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
    /// Hashes of other programs replaced by ours; label: what they were.
    Rehash,
    /// Requests that were no HTTP; no label.
    ParseErrors,
    /// Connections that found no place; no label.
    TurnedAway,
}

impl Counter {
    pub(super) const ALL: [Self; 8] = [
        Self::Login,
        Self::Refresh,
        Self::Throttled,
        Self::CsrfRejected,
        Self::SessionRevoked,
        Self::Rehash,
        Self::ParseErrors,
        Self::TurnedAway,
    ];

    pub(super) const fn metric(self) -> Metric {
        let (name, labels, help): (_, &[_], _) = match self {
            Self::Login => ("portcullis_login_total", &["outcome"], "Logins, by outcome."),
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
            Self::Rehash => (
                "portcullis_rehash_total",
                &["from"],
                "Password hashes of other programs replaced by argon2id, by what they were.",
            ),
            Self::ParseErrors => (
                "portcullis_parse_errors_total",
                &[],
                "Connections closed over bytes that are not HTTP.",
            ),
            Self::TurnedAway => (
                "portcullis_connections_turned_away_total",
                &[],
                "Connections closed at once, since server.max_connections or max_connections_per_ip were reached.",
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
    /// 1 when the store answers, else 0.
    StoreUp,
    /// Ended sessions whose access tokens have not run out.
    RevocationSetSize,
    /// Open client connections.
    Connections,
}

impl Gauge {
    pub(super) const ALL: [Self; 5] = [
        Self::SessionsActive,
        Self::PasswordHashQueue,
        Self::StoreUp,
        Self::RevocationSetSize,
        Self::Connections,
    ];

    pub(super) const fn metric(self) -> Metric {
        let (name, help) = match self {
            Self::SessionsActive => ("portcullis_sessions_active", "Sessions that are not over."),
            Self::PasswordHashQueue => {
                ("portcullis_password_hash_queue", "Passwords waiting to be hashed.")
            }
            Self::StoreUp => ("portcullis_store_up", "1 when the store answers, else 0."),
            Self::RevocationSetSize => (
                "portcullis_revocation_set_size",
                "Ended sessions whose access tokens have not run out.",
            ),
            Self::Connections => ("portcullis_connections", "Open connections of clients."),
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
