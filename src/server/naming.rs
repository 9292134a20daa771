//! The name that a client gave in its handshake, beside the host that it asks for.

use hyper::body::Incoming;

use http::Request;
use http::header::HOST;

use super::stream::Stream;
use crate::request::{HostName, ServerName};

/// The name given for a connection. Most requests ask for just that host, and are passed on as they
/// are; others are marked, for whoever reads them to judge.
#[derive(Clone, Debug)]
pub(super) struct Given(Option<HostName>);

impl Given {
    pub(super) fn of(stream: &Stream) -> Self {
        Self(stream.server_name().and_then(|name| HostName::new(name).ok()))
    }

    pub(super) fn mark(&self, request: &mut Request<Incoming>) {
        let Some(name) = &self.0 else { return };
        let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let host = authority.or_else(|| request.headers().get(HOST).map(|host| host.as_bytes()));
        if !host.is_some_and(|host| is_plainly(name, host)) {
            request.extensions_mut().insert(ServerName(name.clone()));
        }
    }
}

/// Whether a host is written just as the name, but for case and port. False says nothing.
fn is_plainly(name: &HostName, host: &[u8]) -> bool {
    let Some((host, port)) = host.split_at_checked(name.as_str().len()) else {
        return false;
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_port && host.eq_ignore_ascii_case(name.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_name_is_taken_for_it() {
        let name = HostName::new("apps.example.com").unwrap();
        for (host, expected) in [
            ("apps.example.com", true),
            ("Apps.Example.com:8443", true),
            ("apps.example.com.", false),
            ("apps.example.com.evil", false),
            ("apps.example.co", false),
            ("apps.example.com:8443@evil", false),
            ("", false),
        ] {
            assert_eq!(is_plainly(&name, host.as_bytes()), expected, "{host}");
        }
    }
}
