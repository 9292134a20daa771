use super::*;

type Lines = &'static [(&'static str, &'static str)];

fn why(method: &str, lines: &[(&str, &str)]) -> Option<&'static str> {
    check_origin(&request(method, HOST, "/", lines).unwrap(), None).err().map(|refused| refused.why)
}

const UPGRADE: [(&str, &str); 2] = [("connection", "upgrade"), ("upgrade", "websocket")];

#[test]
fn an_unsafe_method_needs_the_own_origin() {
    let cases: [(Lines, Option<&str>); 19] = [
        (&[("sec-fetch-site", "same-origin")], None),
        (&[("sec-fetch-site", "none")], None),
        (&[("sec-fetch-site", "same-site")], Some("site")),
        (&[("sec-fetch-site", "cross-site")], Some("site")),
        (&[("sec-fetch-site", "Same-Origin")], Some("site")),
        (&[("sec-fetch-site", "")], Some("site")),
        (&[("sec-fetch-site", "none"), ("sec-fetch-site", "none")], Some("site")),
        (&[("sec-fetch-site", "cross-site"), ("origin", "https://apps.example.com")], Some("site")),
        (&[], None),
        (&[("origin", "https://apps.example.com")], None),
        (&[("origin", "http://apps.example.com")], Some("origin")),
        (&[("origin", "https://apps.example.com:8443")], Some("origin")),
        (&[("origin", "https://a.example.com")], Some("origin")),
        (&[("origin", "https://apps.example.com.evil.org")], Some("origin")),
        (&[("origin", "https://apps.example.com/")], Some("origin")),
        (&[("origin", "https://apps.example.com.")], Some("origin")),
        (
            &[("origin", "https://apps.example.com"), ("origin", "https://apps.example.com")],
            Some("origin"),
        ),
        (&[("origin", "null")], Some("null")),
        (&[("origin", "")], Some("origin")),
    ];
    for (lines, expected) in cases {
        for method in ["POST", "PUT", "DELETE", "PROPFIND"] {
            assert_eq!(why(method, lines), expected, "{method} {lines:?}");
        }
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert_eq!(why(method, lines), None, "{method} {lines:?}");
            let upgrade = [lines, &UPGRADE].concat();
            assert_eq!(why(method, &upgrade), expected, "upgrade by {method} {lines:?}");
        }
    }
}

#[test]
fn whoever_comes_by_the_name_with_a_final_dot_has_it_in_the_origin_too() {
    let why = |origin: &str| {
        let request = request("POST", "apps.example.com.", "/", &[("origin", origin)]).unwrap();
        check_origin(&request, None).err().map(|refused| refused.why)
    };
    assert_eq!(why("https://apps.example.com."), None);
    assert_eq!(why("https://apps.example.com./"), Some("origin"));
    assert_eq!(why("https://apps.example.com.."), Some("origin"));
    assert_eq!(why("https://a.example.com."), Some("origin"));
}

#[test]
fn a_browser_that_tells_nothing_gets_no_tunnel() {
    let mode = [("sec-fetch-mode", "websocket")];
    assert_eq!(why("GET", &[&mode[..], &UPGRADE].concat()), Some("upgrade"));
    assert_eq!(why("POST", &mode), None);
}

#[test]
fn the_rule_holds_where_a_cookie_decides_and_only_there() {
    let evil = [("sec-fetch-site", "cross-site")];
    for (rule, by_cookie, by_bearer) in
        [(public(), 200, 200), (optional(), 403, 200), (signed_in(), 403, 200)]
    {
        let table = table(&[route("/*", rule.clone())]);
        let of =
            |by_cookie| status(&table, request("POST", HOST, "/", &evil), known(&[]), by_cookie);
        assert_eq!((of(true), of(false)), (by_cookie, by_bearer), "{rule:?}");
    }
}

#[test]
fn the_rule_holds_for_a_guarded_reading_of_a_public_path() {
    let table = table(&[route("/*", public()), route("/app/*", signed_in())]);
    let of = |site: &str| {
        let line = [("sec-fetch-site", site)];
        status(&table, request("POST", HOST, "/app%2Fx", &line), known(&[]), true)
    };
    assert_eq!((of("cross-site"), of("same-origin")), (403, 200));
}
