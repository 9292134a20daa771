use proptest::prelude::*;

use super::*;
use crate::upstream::tests::{cookie_names, lines, map, route};

fn rules() -> HeaderRules {
    HeaderRules::new([&route("/*")].into_iter(), &[], &cookie_names())
}

fn stripped(route: &Route, sent: &[(&'static str, &'static str)]) -> Vec<String> {
    let mut headers = map(sent);
    rules().strip_request(&mut headers, route);
    lines(&headers)
}

#[test]
fn hop_by_hop_headers_and_what_connection_names_are_removed() {
    let sent = [
        ("Connection", "close, X-Secret"),
        ("Connection", "x-more ,, remote-user"),
        ("Keep-Alive", "5"),
        ("Proxy-Connection", "x"),
        ("Proxy-Authorization", "x"),
        ("Proxy-Authenticate", "x"),
        ("TE", "gzip"),
        ("Trailer", "x"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "1"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "x"),
        ("X-Secret", "1"),
        ("X-More", "1"),
        ("Accept", "a"),
        ("Accept", "b"),
    ];
    assert_eq!(stripped(&route("/*"), &sent), ["accept: a", "accept: b"]);
}

#[test]
fn every_spelling_of_a_reserved_name_is_removed() {
    let names = [
        "Remote-User",
        "REMOTE-USER",
        "remote_user",
        "Remote.User",
        "Remote~User",
        "remote!user",
        "Remote-Groups",
        "remote'groups",
        "Remote-Name",
        "remote|email",
        "X-Forwarded-For",
        "X-Forwarded-Anything",
        "x.forwarded.for",
        "X-Forwarded",
        "X-Real-IP",
        "X.Real.IP",
        "Forwarded",
        "Proxy",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X.Rewrite.Url",
        "X-Request-Id",
        "X-Portcullis-Jwt",
        "x+portcullis+jwt",
        "Content.Length",
        "Transfer~Encoding",
        "Content_Length",
        "X-HTTP-Method-Override",
        "X.Http.Method",
        "X-Method-Override",
        "Other_Name",
    ];
    for name in names {
        let left = stripped(&route("/*"), &[(name, "evil"), ("Accept", "a")]);
        assert_eq!(left, ["accept: a"], "{name}");
    }
}

#[test]
fn names_of_other_routes_are_removed_too() {
    let mut other = route("/other");
    let mut identity = (*other.identity).clone();
    identity.user = vec![HeaderName::from_static("x-webauth-user")];
    other.identity = identity.into();
    let rules = HeaderRules::new([&route("/*"), &other].into_iter(), &[], &cookie_names());
    let mut headers = map(&[("X-WebAuth-User", "admin"), ("X.Webauth.User", "admin")]);
    rules.strip_request(&mut headers, &route("/*"));
    assert_eq!(lines(&headers), [""; 0]);
}

#[test]
fn allowances_let_through_what_they_name_and_nothing_reserved() {
    let mut lenient = route("/*");
    lenient.allow.underscore_headers = true;
    let sent =
        [("a_b", "1"), ("remote_user", "admin"), ("x_forwarded_for", "1"), ("x_http_method", "x")];
    assert_eq!(stripped(&lenient, &sent), ["a_b: 1"]);
    let mut lenient = route("/*");
    lenient.allow.method_override = true;
    let sent = [("X-HTTP-Method-Override", "PUT"), ("x_method_override", "PUT")];
    assert_eq!(stripped(&lenient, &sent), ["x-http-method-override: PUT"]);
}

#[test]
fn what_the_operator_sets_or_removes_has_no_second_spelling() {
    let mut edited = route("/*");
    edited.headers.set =
        vec![(HeaderName::from_static("x-script-name"), HeaderValue::from_static("/a"))];
    edited.headers.remove = vec![HeaderName::from_static("x-debug")];
    let sent =
        [("X-Script-Name", "/b"), ("X.Script.Name", "/c"), ("X.Debug", "1"), ("X-Other", "1")];
    assert_eq!(stripped(&edited, &sent), ["x-other: 1"]);
}

#[test]
fn te_survives_as_trailers_alone() {
    let left = stripped(&route("/*"), &[("TE", "deflate;q=0.5, Trailers"), ("Connection", "TE")]);
    assert_eq!(left, ["connection: te", "te: trailers"]);
}

#[test]
fn a_long_name_is_compared_too() {
    let name = "x-".to_owned() + &"long".repeat(20);
    let mut other = route("/other");
    let mut identity = (*other.identity).clone();
    identity.user = vec![HeaderName::from_bytes(name.as_bytes()).unwrap()];
    other.identity = identity.into();
    let rules = HeaderRules::new([&other].into_iter(), &[], &cookie_names());
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("x"));
    headers.insert(
        HeaderName::from_bytes((name + "y").as_bytes()).unwrap(),
        HeaderValue::from_static("x"),
    );
    rules.strip_request(&mut headers, &route("/*"));
    assert_eq!(headers.len(), 1);
}

/// Names that are near the reserved ones, in any spelling.
fn near_names() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "remote",
        "user",
        "groups",
        "x",
        "forwarded",
        "for",
        "real",
        "ip",
        "proxy",
        "accept",
        "portcullis",
        "request",
        "id",
        "original",
        "url",
        "content",
        "length",
    ]);
    let separators = prop::sample::select(vec!["-", "_", ".", "~", "!", "'", "|", "--", ""]);
    let parts = prop::collection::vec((words, separators, any::<bool>()), 1..4);
    parts.prop_map(|parts| {
        let mut name = String::new();
        for (at, (word, separator, upper)) in parts.iter().enumerate() {
            name += if at > 0 { separator } else { "" };
            name += &if *upper { word.to_uppercase() } else { (*word).to_owned() };
        }
        name
    })
}

/// The rule once more, without a look at the code.
fn must_go(name: &str) -> bool {
    let folded: String = name
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' })
        .collect();
    let trusted = [
        "remote-user",
        "remote-groups",
        "remote-name",
        "remote-email",
        "forwarded",
        "proxy",
        "x-real-ip",
        "x-request-id",
        "x-original-url",
        "x-rewrite-url",
        "content-length",
        "transfer-encoding",
    ];
    name.contains('_')
        || trusted.contains(&folded.as_str())
        || folded.starts_with("x-forwarded")
        || folded.starts_with("x-portcullis-")
}

proptest! {
    #[test]
    fn exactly_the_names_that_read_like_trusted_ones_go(name in near_names(), nominated in any::<bool>()) {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("v"));
        if nominated {
            headers.insert(CONNECTION, HeaderValue::from_str(&name).unwrap());
        }
        rules().strip_request(&mut headers, &route("/*"));
        prop_assert_eq!(headers.is_empty(), nominated || must_go(&name), "{}: {:?}", name, headers);
    }
}
