//! How many files, sockets among them, the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Server;
use crate::telemetry::descriptor_limit;

/// The soft limit, most often 1024, is raised to what the operating system allows. Where it does
/// not, that many must do.
pub(super) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(cause) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("the limit of open files stays at {:?}: {cause}", limit.current);
    }
}

/// What to tell the operator where the limit is too low for so many connections.
pub(super) fn too_few(server: &Server) -> Option<String> {
    let written = server.max_connections_written;
    lacking(descriptor_limit()?, (server.max_connections, written))
}

/// Each connection is a descriptor, and its way to an upstream another. The default is for many more
/// than most have, so that only a limit is told of that is too low for anybody.
fn lacking(limit: u64, (connections, written): (usize, bool)) -> Option<String> {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_mul(2);
    let least = if written { wanted.saturating_add(OWN) } else { LEAST };
    (limit < least).then(|| {
        format!(
            "the hard limit of open files is {limit}, too low for server.max_connections = \
             {connections}, each of which may need two: raise it (LimitNOFILE= of systemd), or set \
             a lower max_connections"
        )
    })
}

/// A usual limit.
const LEAST: u64 = 1024;

/// What a gateway has open beside its connections: listeners, logs, the store, what its threads wait
/// by.
const OWN: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_too_low_that_does_not_hold_two_for_each_connection_and_the_gateways_own() {
        for (limit, suffices) in [(50, false), (2000, false), (2099, false), (2100, true)] {
            assert_eq!(lacking(limit, (1000, true)).is_none(), suffices, "{limit}");
        }
        assert!(lacking(u64::MAX, (usize::MAX, true)).is_none());
        let told = lacking(1024, (20_000, true)).unwrap();
        assert!(told.contains("1024") && told.contains("max_connections = 20000"), "{told}");
    }

    #[test]
    fn beside_the_default_a_limit_is_too_low_that_is_too_low_for_anybody() {
        for (limit, suffices) in [(1023, false), (1024, true), (4096, true)] {
            assert_eq!(lacking(limit, (20_000, false)).is_none(), suffices, "{limit}");
        }
    }
}
