//! On what terms a request is carried: for whom, and how long each of its waits may last.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::Upstream;
use crate::identity::SessionId;
use crate::policy::{Patience, Timeouts};

/// What is known of a request beside itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terms {
    /// Who sends it; None in tests alone.
    pub(super) client: Option<IpAddr>,
    /// The session that asks, for upstreams where it always has the same server.
    pub(super) session: Option<SessionId>,
    /// What its route says.
    pub(super) timeouts: Timeouts,
}

/// How long each wait may last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// For a connection.
    pub(super) connect: Duration,
    /// For the head of the answer; None: for ever.
    pub(super) response: Option<Duration>,
    /// Between two bytes.
    pub(super) idle: Duration,
}

impl Waits {
    /// Those of an upstream.
    pub(super) fn of(upstream: &Upstream) -> Self {
        Self {
            connect: upstream.connect_timeout.min(A_YEAR),
            response: upstream.response_timeout.map(|limit| limit.min(A_YEAR)),
            idle: upstream.idle_timeout.min(A_YEAR),
        }
    }

    /// The same with what a route says instead.
    #[must_use]
    pub(super) fn with(self, route: &Timeouts) -> Self {
        Self {
            connect: route.connect.map_or(self.connect, |limit| limit.min(A_YEAR)),
            response: match route.response {
                Some(Patience::Endless) => None,
                Some(Patience::Ends(limit)) => Some(limit.min(A_YEAR)),
                None => self.response,
            },
            idle: route.idle.map_or(self.idle, |limit| limit.min(A_YEAR)),
        }
    }
}

/// No time-out is longer: a moment beyond the clock's reach cannot be waited for.
pub(super) const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
