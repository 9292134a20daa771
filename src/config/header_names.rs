//! Which headers the operator may name, and for what.

use http::HeaderName;

/// A name as the strictest reader folds it: CGI makes no difference between `-`, `_` and `.`.
pub(super) fn fold(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect()
}

/// Why the gateway alone may write or remove a header; none when the operator may.
pub(super) fn reserved(name: &HeaderName) -> Option<&'static str> {
    let folded = fold(name.as_str());
    match folded.as_str() {
        "connection"
        | "keep-alive"
        | "proxy-connection"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade"
        | "http2-settings" => {
            Some("it belongs to one connection, and ends at the gateway (RFC 9110 section 7.6.1)")
        }
        "content-length" | "expect" => Some("it frames the body, which the gateway does anew"),
        "host" => Some("`preserve_host` says what becomes of it"),
        "cookie" | "set-cookie" => Some("the gateway writes it anew, without its own cookies"),
        "forwarded" | "via" | "x-real-ip" | "x-request-id" | "traceparent" | "tracestate"
        | "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "x-forwarded-port"
        | "x-forwarded-prefix" => {
            Some("the gateway writes it, so that applications can believe it")
        }
        "x-original-url" | "x-rewrite-url" | "proxy" => {
            Some("applications take it for something else, so it is always removed")
        }
        _ => None,
    }
}

/// The same for a route's `headers`, where `X-Forwarded-…` and whatever tells an identity are barred too.
pub(super) fn reserved_for_edits<'a>(
    name: &HeaderName,
    mut identities: impl Iterator<Item = &'a HeaderName>,
) -> Option<&'static str> {
    let folded = fold(name.as_str());
    reserved(name).or_else(|| {
        if identities.any(|identity| fold(identity.as_str()) == folded) {
            Some("it tells an application who the caller is")
        } else if folded.starts_with("x-forwarded") {
            Some("the gateway removes every X-Forwarded header of a client, and writes its own")
        } else if tells_address(&folded) {
            Some("applications take it for the client's address, so it is always removed")
        } else if folded.starts_with("x-portcullis-") {
            Some("names that begin so are the gateway's own")
        } else {
            None
        }
    })
}

/// The same for what a route does to answers.
pub(super) fn reserved_for_answers(name: &HeaderName) -> Option<&'static str> {
    let folded = fold(name.as_str());
    match folded.as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "proxy-authenticate" | "trailer"
        | "transfer-encoding" | "upgrade" | "content-length" => reserved(name),
        "set-cookie" | "set-cookie2" => {
            Some("the gateway's own cookies travel in it, and applications set theirs")
        }
        "clear-site-data" => Some("it would sign the user out of the gateway with every answer"),
        "www-authenticate" => Some("it tells clients how to sign in, here or at the application"),
        "date" => Some("the gateway writes it"),
        cors if cors.starts_with("access-control-") => {
            Some("`cors` says which other origins may read")
        }
        _ => None,
    }
}

fn tells_address(folded: &str) -> bool {
    const NAMES: [&str; 8] = [
        "cf-connecting-ip",
        "client-ip",
        "fastly-client-ip",
        "proxy-client-ip",
        "true-client-ip",
        "wl-proxy-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
    ];
    NAMES.contains(&folded)
}
