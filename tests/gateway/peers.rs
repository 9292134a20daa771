//! What befell others: a test for each published advisory against a gateway, a proxy or a library
//! that could concern this one, by its number, with the essence of its text.
//!
//! GHSA-7x63-xv5r-3p2x is CVE-2026-40575.
//!
//! None of our concern, for what they are about is not here:
//! - CVE-2024-47616, a service account's token that opens another service's interface: there are no
//!   such accounts, and what administers is a role of a user or the socket of the machine.
//! - CVE-2026-27585, characters of a pattern in the name of a file: no files are served.
//!
//! CVE-2026-44699 is known by number only; nobody here found its text, so no test and no guess.

mod floods;
mod framing;
mod headers;
mod paths;
mod tokens;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::support::{Answer, Gateway, Upstream};

struct Pair {
    gateway: Gateway,
    upstream: Upstream,
}

impl Pair {
    fn new() -> Self {
        let upstream = Upstream::hello();
        Self { gateway: Gateway::before(&upstream.url()), upstream }
    }

    /// Sends bytes (HOST stands for the gateway's own); None: closed without an answer.
    fn send(&self, bytes: &[u8]) -> Option<Answer> {
        let host = self.gateway.host();
        let parts: Vec<&[u8]> = split(bytes, b"HOST");
        let mut client = self.gateway.connect();
        client.send(parts.join(host.as_bytes()));
        client.answer()
    }

    /// Refused by 400, and nothing came through.
    #[track_caller]
    fn refuses(&self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let status = self.send(bytes).map(|answer| answer.status);
        assert_eq!(status, Some(400), "{}", String::from_utf8_lossy(bytes));
        assert_eq!(self.upstream.seen().len(), 0, "{}", String::from_utf8_lossy(bytes));
    }

    /// Whatever the answer, no second request was found in the bytes.
    #[track_caller]
    fn smuggles_nothing(&self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.send(bytes);
        let seen = self.upstream.seen();
        let smuggled = seen.iter().find(|seen| seen.head.contains("smuggled"));
        assert!(smuggled.is_none(), "{}: {smuggled:?}", String::from_utf8_lossy(bytes));
    }

    /// An administrator's path stays shut for whoever is not signed in.
    #[track_caller]
    fn guards(&self, target: &str, headers: &[(&str, &str)]) {
        let answer = self.gateway.ask(&format!("GET {target}"), headers, "");
        assert!((400..405).contains(&answer.status), "{target} {headers:?}: {}", answer.status);
        assert_eq!(self.upstream.seen().len(), 0, "{target} {headers:?}");
    }

    /// What the upstream got of a request to a public path.
    fn passes(&self, headers: &[(&str, &str)]) -> crate::support::Seen {
        self.gateway.get("/public/x", headers).expect(200);
        self.upstream.last()
    }
}

fn split<'a>(bytes: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let Some(at) = bytes.windows(mark.len()).position(|window| window == mark) else {
        return vec![bytes];
    };
    let mut parts = vec![&bytes[..at]];
    parts.extend(split(&bytes[at + mark.len()..], mark));
    parts
}

fn post(headers: &str, rest: &str) -> String {
    format!("POST /public/x HTTP/1.1\r\nHost: HOST\r\n{headers}\r\n\r\n{rest}")
}

const SMUGGLED: &str = "GET /public/smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n";

// Paths

#[test]
fn cve_2019_9901_paths_that_are_not_normalised() {
    let pair = Pair::new();
    for target in ["/public/../admin/x", "/public/./../admin/x", "/public/%2e%2e/admin/x"] {
        pair.guards(target, &[]);
    }
}

#[test]
fn cve_2025_32431_and_cve_2025_47952_dot_segments_plain_and_encoded() {
    let pair = Pair::new();
    for target in
        ["/public/../admin", "/public/%2e%2e/admin", "/public/%2E./admin", "/public/..%2fadmin"]
    {
        pair.guards(target, &[]);
    }
}

#[test]
fn cve_2021_29492_and_cve_2021_31920_escaped_and_doubled_slashes() {
    let pair = Pair::new();
    for target in
        ["/public%2f..%2fadmin/x", "/public/..%5cadmin/x", "//admin/x", "/admin%2Fx", "/%5cadmin/x"]
    {
        pair.guards(target, &[]);
    }
}

#[test]
fn cve_2021_32779_cve_2023_45539_and_cve_2023_47106_a_fragment_in_the_target() {
    let pair = Pair::new();
    for target in ["/admin/x#/public/x", "/admin#.png", "/admin/x#/../../public/x"] {
        pair.guards(target, &[]);
    }
    pair.gateway.get("/public/x#/admin/y", &[]);
    assert!(pair.upstream.seen().iter().all(|seen| !seen.head.contains('#')));
}

#[test]
fn cve_2021_40438_a_query_that_names_another_upstream() {
    let pair = Pair::new();
    let other = Upstream::hello();
    let query = format!("unix:{}|{}/x", "A".repeat(4096), other.url());
    pair.gateway.get(&format!("/public/x?{query}"), &[]).expect(200);
    assert_eq!(other.connections(), 0);
    assert_eq!(pair.upstream.seen().len(), 1);
}

#[test]
fn cve_2025_54576_a_query_that_reads_like_an_open_path() {
    let pair = Pair::new();
    for target in ["/admin/x?/public/x", "/admin/x?a=/public/", "/x?/../public/x"] {
        pair.guards(target, &[]);
    }
}

#[test]
fn cve_2025_66490_encoded_characters_that_split_the_view() {
    let pair = Pair::new();
    for target in [
        "/admin%2F",
        "/admin%2Fx",
        "/admin%5Cx",
        "/admin%00",
        "/admin%3Bx",
        "/admin%3Fx",
        "/admin%23x",
        "/public%2F..%2Fadmin",
    ] {
        pair.guards(target, &[]);
    }
}

// Headers

#[test]
fn cve_2024_21494_an_address_of_the_clients_own_writing() {
    let pair = Pair::new();
    let seen = pair.passes(&[("X-Forwarded-For", "10.0.0.1"), ("X-Real-IP", "10.0.0.1")]);
    assert!(!seen.head.contains("10.0.0.1"), "{}", seen.head);
    assert!(!pair.gateway.access_log().contains("10.0.0.1"));
}

#[test]
fn cve_2026_33433_an_identity_header_in_another_case_than_the_configured_one() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!(
        "[identity.odd]\nuser = \"x-auth-USER\"\n\
         [[routes]]\npath = \"/*\"\nidentity = \"odd\"\nupstream = \"{}\"\n",
        upstream.url()
    ));
    let token = format!("Bearer {}", gateway.login("alice").access);
    for name in ["X-Auth-User", "x-auth-user", "X-AUTH-USER", "x-auth-USER", "X_Auth_User"] {
        gateway.get("/x", &[("Authorization", &token), (name, "admin")]).expect(200);
        let seen = upstream.last();
        let told: Vec<_> =
            seen.fields().filter(|(name, _)| name.eq_ignore_ascii_case("x-auth-user")).collect();
        assert_eq!(told.iter().map(|(_, value)| *value).collect::<Vec<_>>(), ["alice"], "{name}");
        assert!(!seen.head.contains("admin"), "{}", seen.head);
    }
}

#[test]
fn cve_2016_5385_proxy_becomes_http_proxy() {
    let seen = Pair::new().passes(&[("Proxy", "http://evil.example"), ("PROXY", "x")]);
    assert_eq!(seen.header("proxy"), None, "{}", seen.head);
}

#[test]
fn cve_2018_14773_x_original_url_overrides_the_path() {
    let pair = Pair::new();
    let names = ["X-Original-URL", "X-Rewrite-URL", "X_Original_URL", "X_REWRITE_URL"];
    let headers: Vec<_> = names.iter().map(|name| (*name, "/admin/x")).collect();
    let seen = pair.passes(&headers);
    assert!(!seen.head.contains("/admin"), "{}", seen.head);
    pair.gateway.get("/admin/x", &[("X-Original-URL", "/public/x")]).expect(401);
}

#[test]
fn cve_2019_9900_nul_in_a_header() {
    let pair = Pair::new();
    pair.refuses("GET /public/x HTTP/1.1\r\nHost: HOST\r\nX-Role: user\0admin\r\n\r\n");
    pair.refuses("GET /public/x HTTP/1.1\r\nHost: HOST\0.evil\r\n\r\n");
}

#[test]
fn cve_2021_32777_a_repeated_header_of_which_one_value_is_looked_at() {
    let pair = Pair::new();
    let seen = pair.passes(&[("Remote-User", "a"), ("Remote-User", "admin")]);
    assert_eq!(seen.header("remote-user"), None, "{}", seen.head);
    pair.gateway.get("/public/x", &[("Authorization", "a"), ("Authorization", "b")]).expect(400);
}

#[test]
fn cve_2021_32813_cve_2024_45410_and_cve_2025_48865_connection_removes_what_the_proxy_wrote() {
    let pair = Pair::new();
    let named =
        "close, X-Forwarded-For, x-forwarded-host, X-Real-Ip, X-Forwarded-Proto, Remote-User";
    let seen = pair.passes(&[("Connection", named), ("X-Forwarded-For", "6.6.6.6")]);
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-host"), Some(pair.gateway.host().as_str()));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    let token = format!("Bearer {}", pair.gateway.login("alice").access);
    pair.gateway.get("/x", &[("Connection", named), ("Authorization", &token)]).expect(200);
    assert_eq!(pair.upstream.last().header("remote-user"), Some("alice"));
}

#[test]
fn cve_2025_29927_a_header_that_says_the_check_was_done() {
    let pair = Pair::new();
    let again = ["middleware"; 5].join(":");
    pair.guards("/admin/x", &[("x-middleware-subrequest", &again)]);
    pair.guards("/admin/x", &[("x-middleware-subrequest", "src/middleware")]);
}

#[test]
fn cve_2025_64484_an_underscore_in_the_place_of_a_hyphen() {
    let pair = Pair::new();
    let names =
        ["Remote_User", "X_Forwarded_For", "X_Forwarded-User", "REMOTE_GROUPS", "X_Real_IP"];
    let headers: Vec<_> = names.iter().map(|name| (*name, "forged")).collect();
    let seen = pair.passes(&headers);
    assert!(!seen.head.contains("forged"), "{}", seen.head);
}

// Framing

#[test]
fn cve_2019_18277_a_vertical_tab_before_chunked() {
    let pair = Pair::new();
    let body = format!("0\r\n\r\n{SMUGGLED}");
    pair.refuses(post("Content-Length: 6\r\nTransfer-Encoding:\u{b}chunked", &body));
    pair.refuses(post("Transfer-Encoding:\u{c}chunked", &body));
}

#[test]
fn rustsec_2021_0020_transfer_encoding_twice() {
    let pair = Pair::new();
    pair.refuses(post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", SMUGGLED));
    pair.refuses(post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", SMUGGLED));
}

#[test]
fn cve_2021_32714_a_chunk_size_beyond_64_bits() {
    let pair = Pair::new();
    for size in ["f0000000000000003", "10000000000000000", "ffffffffffffffffff"] {
        let rest = format!("{size}\r\nabc\r\n0\r\n\r\n{SMUGGLED}");
        pair.smuggles_nothing(post("Transfer-Encoding: chunked", &rest));
    }
    assert_eq!(pair.upstream.seen().len(), 0);
}

#[test]
fn cve_2021_32715_a_sign_in_content_length() {
    let pair = Pair::new();
    pair.refuses(post("Content-Length: +3", "abc"));
    pair.refuses(post("Content-Length: -0", SMUGGLED));
}

#[test]
fn cve_2021_40346_a_name_so_long_that_its_length_wraps() {
    let pair = Pair::new();
    let host = pair.gateway.host();
    let smuggled = SMUGGLED.replace("HOST", &host);
    for padding in [256 - 15, 270 - 15, 256] {
        let name = format!("Content-Length0{}", "a".repeat(padding));
        let head = format!("{name}:\r\nContent-Length: {}", smuggled.len());
        pair.smuggles_nothing(post(&head, &smuggled).replace("HOST", &host));
        assert_eq!(pair.upstream.last().body, smuggled.as_bytes(), "the body, all of it");
    }
    let name = format!("Content-Length0{}", "a".repeat(65_536 - 15));
    pair.smuggles_nothing(post(&format!("{name}:"), ""));
}

#[test]
fn cve_2023_25725_an_empty_header_name() {
    let pair = Pair::new();
    pair.refuses(post(":\r\nContent-Length: 5", "abcde"));
    pair.refuses(post("X: y\r\n: z\r\nContent-Length: 5", "abcde"));
}

#[test]
fn cve_2023_40225_an_empty_content_length() {
    let pair = Pair::new();
    pair.refuses(post("Content-Length:", SMUGGLED));
    pair.refuses(post("Content-Length: ", SMUGGLED));
    pair.refuses(post("Content-Length: ,", SMUGGLED));
}

#[test]
fn cve_2025_22871_and_cve_2025_55315_a_bare_line_feed_in_a_chunk_size_line() {
    let pair = Pair::new();
    for line in ["3\n", "3;x\n", "3;\nxx\r\n", "3;a=\"\n\"\r\n", "3;\rx\r\n"] {
        let rest = format!("{line}abc\r\n0\r\n\r\n{SMUGGLED}");
        pair.send(post("Transfer-Encoding: chunked", &rest).as_bytes());
    }
    for seen in pair.upstream.seen() {
        assert!(!seen.head.contains("smuggled") || seen.body.is_empty(), "{seen:?}");
        assert!(seen.body == b"abc" || seen.body.is_empty(), "framed otherwise: {seen:?}");
    }
}

#[test]
fn cve_2025_43859_a_chunk_that_does_not_end_in_a_line_end() {
    let pair = Pair::new();
    for end in ["XX", "\rX", "X\n", "0\r"] {
        let rest = format!("3\r\nabc{end}0\r\n\r\n{SMUGGLED}");
        pair.smuggles_nothing(post("Transfer-Encoding: chunked", &rest));
    }
    assert_eq!(pair.upstream.seen().len(), 0);
}

#[test]
fn cve_2023_38697_signs_and_0x_in_lengths_and_a_line_feed_in_an_extension() {
    let pair = Pair::new();
    for length in ["+3", "0x3", "-3", "3_0"] {
        pair.refuses(post(&format!("Content-Length: {length}"), "abc"));
    }
    for line in ["0x3\r\n", "+3\r\n", "3;a\nb\r\n"] {
        let rest = format!("{line}abc\r\n0\r\n\r\n{SMUGGLED}");
        pair.smuggles_nothing(post("Transfer-Encoding: chunked", &rest));
    }
    assert_eq!(pair.upstream.seen().len(), 0);
}

#[test]
fn rustsec_2025_0037_a_body_that_nobody_read_becomes_the_next_request() {
    let pair = Pair::new();
    let smuggled = SMUGGLED.replace("HOST", &pair.gateway.host());
    let framing = format!("Content-Length: {}", smuggled.len());
    let host = pair.gateway.host();
    for asked in ["POST /admin/x", "GET /admin/x", "POST /nowhere/../x", "GET /nowhere/../x"] {
        let mut client = pair.gateway.connect();
        client.send(format!("{asked} HTTP/1.1\r\nHost: {host}\r\n{framing}\r\n\r\n"));
        let answer = client.answer().expect("refused before the body comes");
        assert!((400..405).contains(&answer.status), "{asked}: {}", answer.status);
        client.send(&smuggled);
        assert!(client.is_closed(), "{asked}: answered, or left open");
        assert_eq!(pair.upstream.seen().len(), 0, "{asked}");
    }
}

// Tokens

fn base64(text: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// A good token of an administrator with another header and signature.
fn forged(token: &str, change: impl Fn(&mut serde_json::Value), signature: &[u8]) -> String {
    let mut parts = token.split('.');
    let header = BASE64_URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap();
    let mut header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    change(&mut header);
    format!("{}.{}.{}", base64(header.to_string()), parts.next().unwrap(), base64(signature))
}

#[track_caller]
fn is_no_token(pair: &Pair, token: &str) {
    let answer = pair.gateway.get_as("/admin/x", token);
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert_eq!(pair.upstream.seen().len(), 0);
}

#[test]
fn cve_2015_9235_an_algorithm_of_the_tokens_own_choice() {
    let pair = Pair::new();
    let good = pair.gateway.login("admin").access;
    let jwks = pair.gateway.get("/auth/jwks.json", &[]).text();
    for algorithm in ["none", "None", "NONE", "", "HS256", "hs256", "RS256"] {
        for signature in [&b""[..], jwks.as_bytes(), &[0; 64]] {
            let token = forged(&good, |header| header["alg"] = algorithm.into(), signature);
            is_no_token(&pair, &token);
        }
    }
}

#[test]
fn cve_2018_0114_a_key_within_the_token() {
    let pair = Pair::new();
    let good = pair.gateway.login("admin").access;
    let signature = BASE64_URL_SAFE_NO_PAD.decode(good.rsplit('.').next().unwrap()).unwrap();
    let jwks = pair.gateway.get("/auth/jwks.json", &[]).json();
    for (member, value) in [
        ("jwk", jwks["keys"][0].clone()),
        ("jku", "https://evil.example/jwks".into()),
        ("x5u", "https://evil.example/x".into()),
        ("x5c", serde_json::json!(["MIIB"])),
    ] {
        is_no_token(&pair, &forged(&good, |header| header[member] = value.clone(), &signature));
    }
}

#[test]
fn cve_2022_21449_a_signature_of_zeros() {
    let upstream = Upstream::hello();
    let routes = crate::support::routes(&upstream.url());
    for algorithm in ["ES256", "EdDSA"] {
        let gateway = Gateway::start(&format!("[tokens]\nalgorithm = \"{algorithm}\"\n{routes}"));
        let pair = Pair { gateway, upstream: upstream.clone() };
        let good = pair.gateway.login("admin").access;
        for signature in [&[0; 64][..], &[0x30, 6, 2, 1, 0, 2, 1, 0], b""] {
            is_no_token(&pair, &forged(&good, |_| {}, signature));
        }
    }
}

#[test]
fn cve_2025_27144_and_cve_2025_30204_a_token_of_nothing_but_dots() {
    let pair = Pair::new();
    for count in [2, 3, 30_000] {
        is_no_token(&pair, &format!("pca_{}", ".".repeat(count)));
        let good = pair.gateway.login("admin").access;
        is_no_token(&pair, &format!("{good}{}", ".".repeat(count)));
    }
}
