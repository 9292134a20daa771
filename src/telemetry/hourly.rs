//! What the operator is told about once an hour, since it comes with request after request:
//! forwarding headers from a peer that is not trusted, most often a proxy that nobody told us of;
//! hosts that are not served, most often since a proxy changes them; cookies of ours that come twice;
//! applications that give no answer; a store that fails; a lack of descriptors.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::io::Errno;

use super::line::escape;
use super::{Core, Counter, RequestId, Worker, descriptor_limit, lock};
use crate::request::Host;

/// When the operator is told next, in seconds of uptime. All workers read it and one writes it,
/// once an hour.
#[derive(Debug, Default)]
pub struct Hourly(AtomicU64);

impl Hourly {
    /// Whether nobody was told for an hour of this uptime; then it counts as told.
    pub fn is_due(&self, now: Duration) -> bool {
        let (now, due) = (now.as_secs(), self.0.load(Ordering::Relaxed));
        let next = now.saturating_add(3_600);
        now >= due
            && self.0.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Worker {
    /// Counts a request whose peer is no trusted proxy and says for whom it asks; tells the operator
    /// about once an hour, with the remedy.
    pub fn forwarded_by_a_stranger(&self, peer: IpAddr) {
        self.count(Counter::UntrustedForwarding, "");
        let core = &self.0.core;
        if core.stranger_told.is_due(core.clock.uptime()) {
            tracing::warn!(
                "{peer} sends forwarding headers and is no trusted proxy, so they are dropped: if it \
                 is a proxy of yours, all clients behind it count as one, and share one rate limit; \
                 did you mean server.trusted_proxies = [\"{peer}\"]?"
            );
        }
    }

    /// Tells the operator of a request for a host that is not served, about once an hour, with the
    /// remedy.
    pub fn asked_for_another_host(&self, peer: IpAddr, host: &Host) {
        let core = &self.0.core;
        if core.misdirected_told.is_due(core.clock.uptime()) {
            tracing::warn!(
                "{peer} asks for {host}, which is not served (421): if it is a proxy of yours, let it \
                 keep Host as the client wrote it; if users are to come by that name, add it to a \
                 route's hosts or to server.public_origins"
            );
        }
    }

    /// Tells the operator of a cookie of ours that came twice in a request; its value is not told.
    pub fn doubled_cookie(&self, name: &str, request: RequestId) {
        let core = &self.0.core;
        if core.doubling_told.is_due(core.clock.uptime()) {
            tracing::warn!(
                "the cookie {name} came twice in request {request}, and such cookies count as none: \
                 its user cannot stay signed in while something else under this host name or above it \
                 sets one of that name; did an application get the host name of the gateway?"
            );
        }
    }

    /// As [`Telemetry::cannot_accept`](super::Telemetry::cannot_accept).
    pub fn cannot_accept(&self, cause: &io::Error) {
        self.0.core.cannot_accept(cause);
    }
}

/// Upstreams that gave no answer, each with the kinds of reasons why.
#[derive(Debug, Default)]
pub(super) struct Failing(Mutex<BTreeMap<(Arc<str>, &'static str), Hourly>>);

impl Failing {
    fn is_due(&self, upstream: &Arc<str>, kind: &'static str, now: Duration) -> bool {
        lock(&self.0).entry((Arc::clone(upstream), kind)).or_default().is_due(now)
    }
}

impl Core {
    pub(super) fn cannot_accept(&self, cause: &io::Error) {
        if !self.accepting_told.is_due(self.clock.uptime()) {
            return;
        }
        let ours = Errno::from_io_error(cause) == Some(Errno::MFILE);
        let remedy = match descriptor_limit().filter(|_| ours) {
            Some(limit) => format!(
                "; the limit of open files is {limit}: raise it (LimitNOFILE= of systemd), or lower \
                 server.max_connections"
            ),
            None => String::new(),
        };
        tracing::warn!(
            "connections cannot be accepted and wait: {cause}{remedy} (told about once an hour)"
        );
    }

    /// Tells the operator why an upstream gives no answer: of each kind of reason about once an hour.
    pub(super) fn gives_no_answer(&self, upstream: &Arc<str>, (kind, why): (&'static str, &str)) {
        if self.failing.is_due(upstream, kind, self.clock.uptime()) {
            let shown = |text: &str| {
                let mut shown = Vec::new();
                escape(&mut shown, text);
                String::from_utf8_lossy(&shown).into_owned()
            };
            tracing::warn!(
                "the upstream {} gives no answer: {} (told about once an hour; the access lines \
                 tell of each request)",
                shown(upstream),
                shown(why)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_is_told_at_once_and_then_once_an_hour() {
        let hourly = Hourly::default();
        let told = [0, 1, 3_599, 3_600, 3_601, 9_000, 9_001]
            .map(|second| hourly.is_due(Duration::from_secs(second)));
        assert_eq!(told, [true, false, false, true, false, true, false]);
    }

    #[test]
    fn each_kind_of_failure_of_each_upstream_is_told_once_an_hour() {
        let (failing, [one, other]) = (Failing::default(), ["one", "other"].map(Arc::<str>::from));
        let told = [(&one, "a"), (&one, "b"), (&one, "a"), (&other, "a"), (&other, "a")]
            .map(|(upstream, kind)| failing.is_due(upstream, kind, Duration::ZERO));
        assert_eq!(told, [true, true, false, true, false]);
        assert!(failing.is_due(&one, "a", Duration::from_secs(3_600)));
    }
}
