use http::HeaderValue;

use super::*;
use crate::upstream::tests::{cookie_names, lines, map, route};

fn rules(route: Route) -> TrailerRules {
    let headers = HeaderRules::new([&route].into_iter(), &[], &cookie_names());
    TrailerRules::new(&headers, Arc::new(route))
}

fn asked(route: Route, sent: &[(&'static str, &'static str)]) -> Vec<String> {
    let mut trailers = map(sent);
    rules(route).strip_request(&mut trailers);
    lines(&trailers)
}

fn answered(route: Route, sent: &[(&'static str, &'static str)]) -> Vec<String> {
    let mut trailers = map(sent);
    rules(route).strip_answer(&mut trailers);
    lines(&trailers)
}

const NEVER_SENT: [(&str, &str); 8] = [
    ("Remote-User", "admin"),
    ("remote.user", "admin"),
    ("Set-Cookie", "a=b"),
    ("Content-Length", "1"),
    ("Transfer-Encoding", "x"),
    ("X-Forwarded-For", "x"),
    ("X.Forwarded.For", "x"),
    ("Cache-Control", "public"),
];

#[test]
fn trailers_carry_data_only() {
    let mut sent = vec![("grpc-status", "0"), ("X-Sum", "1")];
    sent.extend(NEVER_SENT);
    assert_eq!(asked(route("/*"), &sent), ["grpc-status: 0", "x-sum: 1"]);
    assert_eq!(answered(route("/*"), &sent), ["grpc-status: 0", "x-sum: 1"]);
}

#[test]
fn trailers_of_requests_are_filtered_as_headers_are() {
    let mut edited = route("/*");
    edited.allow.method_override = true;
    edited.headers.set = vec![(HeaderName::from_static("x-set"), HeaderValue::from_static("v"))];
    edited.headers.remove = vec![HeaderName::from_static("x-debug")];
    let kept = [("grpc-message", "m"), ("grpc-status", "0"), ("trace-bin", "AA"), ("x-sum", "1")];
    let dropped = [
        ("X-Set", "evil"),
        ("X_Set", "e"),
        ("X.Set", "e"),
        ("X-Debug", "on"),
        ("a_b", "1"),
        ("Cookie", "sess=stolen; __Host-Http-pc_at=q"),
        ("Authorization", "Basic QTpC"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("Destination", "/b"),
        ("Origin", "https://apps.example.com"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Expect", "100-continue"),
        ("Range", "bytes=0-1"),
        ("If-Match", "*"),
        ("TE", "gzip"),
    ];
    for (name, value) in dropped {
        let mut sent = kept.to_vec();
        sent.push((name, value));
        let left = asked(edited.clone(), &sent);
        assert_eq!(left, kept.map(|(name, value)| format!("{name}: {value}")), "{name}");
    }
    edited.allow.underscore_headers = true;
    assert_eq!(asked(edited, &[("a_b", "1"), ("X_Set", "e")]), ["a_b: 1"]);
}

#[test]
fn trailers_of_answers_say_nothing_that_caches_and_browsers_obey() {
    let mut edited = route("/*");
    edited.answer.set = vec![(HeaderName::from_static("x-set"), HeaderValue::from_static("v"))];
    edited.answer.remove = vec![HeaderName::from_static("server")];
    let kept = [
        ("content-digest", "sha-256=:AA==:"),
        ("grpc-message", "m"),
        ("grpc-status", "0"),
        ("server-timing", "db;dur=5"),
        ("x-sum", "1"),
    ];
    let dropped = [
        ("X-Set", "evil"),
        ("X_Set", "evil"),
        ("Server", "x"),
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Service-Worker-Allowed", "/"),
        ("Surrogate-Control", "max-age=60"),
        ("CDN-Cache-Control", "max-age=60"),
        ("Cloudflare-CDN-Cache-Control", "max-age=60"),
        ("Content-Location", "/b"),
        ("X-Accel-Redirect", "/secret"),
        ("X-Accel-Expires", "60"),
        ("Content-Security-Policy", "default-src *"),
        ("Content-Security-Policy-Report-Only", "default-src *"),
        ("X-Frame-Options", "SAMEORIGIN"),
    ];
    for (name, value) in dropped {
        let mut sent = kept.to_vec();
        sent.push((name, value));
        let left = answered(edited.clone(), &sent);
        assert_eq!(left, kept.map(|(name, value)| format!("{name}: {value}")), "{name}");
    }
}
