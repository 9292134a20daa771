use http::{HeaderName, Version};

use super::*;

fn outcome(head: Parts) -> &'static str {
    match read(head) {
        Ok(_) => "ok",
        Err(Malformed::Bad(_)) => "bad",
        Err(Malformed::Target(_)) => "target",
        Err(Malformed::Host(_)) => "host",
        Err(Malformed::TargetTooLong) => "too long",
        Err(Malformed::TooManyFields) => "too many fields",
        Err(Malformed::Method) => "method",
    }
}

#[test]
fn methods_that_are_never_forwarded_and_look_alikes_are_refused() {
    let cases = [
        ("GET", "ok"),
        ("PROPFIND", "ok"),
        ("M-SEARCH", "ok"),
        ("TRACE", "method"),
        ("TRACK", "method"),
        ("get", "bad"),
        ("Post", "bad"),
        ("Trace", "bad"),
    ];
    for (method, expected) in cases {
        assert_eq!(outcome(head(method, "/", &[])), expected, "{method}");
    }
    assert_eq!(outcome(head("CONNECT", "apps.example.com:443", &[])), "method");
}

#[test]
fn only_origin_form_and_absolute_form_name_a_path() {
    let cases = [
        ("/a?b", "ok"),
        ("http://apps.example.com/a", "ok"),
        ("HTTPS://APPS.example.com:443/a", "ok"),
        ("http://apps.example.com?q", "ok"),
        ("*", "bad"),
        ("apps.example.com:443", "bad"),
        ("ftp://apps.example.com/", "bad"),
        ("http://other.example.com/", "host"),
        ("http://apps.example.com:8080/", "host"),
        ("http://apps.example.com:443/", "host"),
        ("http://user@apps.example.com/", "host"),
        ("http://user:secret@apps.example.com/", "host"),
    ];
    for (target, expected) in cases {
        assert_eq!(outcome(head("GET", target, &[])), expected, "{target}");
    }
}

#[test]
fn of_an_absolute_target_the_path_is_taken() {
    let request = read(head("GET", "http://apps.example.com/%61?q=1", &[])).unwrap();
    assert_eq!(request.target().path_and_query(), "/a?q=1");
    let request = read(head("GET", "http://apps.example.com?q", &[])).unwrap();
    assert_eq!(request.target().path_and_query(), "/?q");
}

#[test]
fn there_is_exactly_one_host() {
    let host = |lines: &[(&str, &str)]| read(bare_head("GET", "/", lines)).err();
    assert_eq!(host(&[]), Some(Malformed::Host(BadHost::Missing)));
    let twice = [("host", "apps.example.com"), ("host", "apps.example.com")];
    assert_eq!(host(&twice), Some(Malformed::Host(BadHost::Repeated)));
    for bad in ["", "a b", "a,b", "a/b", "a@b", "a:b", "a:", "a:0", "a:99999", "a:080", "[::1", "é"]
    {
        let line = [("host", bad)];
        assert_eq!(host(&line), Some(Malformed::Host(BadHost::Invalid)), "{bad:?}");
    }
    assert_eq!(host(&[("host", "Apps.Example.com.:443")]), None);
}

#[test]
fn a_host_that_is_not_served_leaves_the_request_without_an_origin() {
    let origin = |host: &str| {
        read(bare_head("GET", "/", &[("host", host)])).unwrap().origin().map(ToString::to_string)
    };
    assert_eq!(origin("APPS.example.com").as_deref(), Some("https://apps.example.com"));
    assert_eq!(origin("apps.example.com:443").as_deref(), Some("https://apps.example.com"));
    assert_eq!(origin("apps.example.com:80"), None);
    assert_eq!(origin("192.0.2.1"), None);
}

#[test]
fn framing_that_two_servers_could_read_differently_is_refused() {
    let cases: [(&[(&str, &str)], &str); 22] = [
        (&[], "ok"),
        (&[("content-length", "3")], "ok"),
        (&[("content-length", "0")], "ok"),
        (&[("transfer-encoding", "chunked")], "ok"),
        (&[("transfer-encoding", "Chunked")], "ok"),
        (&[("content-length", "003")], "bad"),
        (&[("content-length", "00")], "bad"),
        (&[("content-length", "+3")], "bad"),
        (&[("content-length", "")], "bad"),
        (&[("content-length", "3, 3")], "bad"),
        (&[("content-length", "0x3")], "bad"),
        (&[("content-length", "18446744073709551616")], "bad"),
        (&[("content-length", "3"), ("content-length", "3")], "bad"),
        (&[("content-length", "3"), ("transfer-encoding", "chunked")], "bad"),
        (&[("transfer-encoding", "gzip, chunked")], "bad"),
        (&[("transfer-encoding", "chunked, chunked")], "bad"),
        (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], "bad"),
        (&[("transfer-encoding", "identity")], "bad"),
        (&[("transfer-encoding", "")], "bad"),
        (&[("content_length", "3")], "bad"),
        (&[("transfer_encoding", "chunked")], "bad"),
        (&[("content.length", "3")], "bad"),
    ];
    for (lines, expected) in cases {
        assert_eq!(outcome(head("POST", "/", lines)), expected, "{lines:?}");
    }
}

#[test]
fn chunks_are_for_http_1_1_and_not_for_get() {
    let chunked = [("transfer-encoding", "chunked")];
    for method in ["GET", "HEAD"] {
        assert_eq!(outcome(head(method, "/", &chunked)), "bad", "{method}");
        assert_eq!(outcome(head(method, "/", &[("content-length", "3")])), "ok", "{method}");
    }
    let mut old = head("POST", "/", &chunked);
    old.version = Version::HTTP_10;
    assert_eq!(outcome(old), "bad");
    let mut newer = head("GET", "/", &[]);
    newer.version = Version::HTTP_3;
    assert_eq!(outcome(newer), "bad");
}

#[test]
fn over_http_2_the_authority_is_the_host_and_a_host_beside_it_is_the_same() {
    let outcome = |authority: Option<&str>, hosts: &[&str]| {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.version = Version::HTTP_2;
        head.uri = match authority {
            Some(authority) => format!("https://{authority}/x").parse().unwrap(),
            None => "/x".parse().unwrap(),
        };
        for host in hosts {
            head.headers.append("host", host.parse().unwrap());
        }
        match read(head) {
            Ok(request) => request.host().to_string(),
            Err(refused) => format!("{refused}"),
        }
    };
    let apps = "apps.example.com";
    assert_eq!(outcome(Some(apps), &[]), apps);
    assert_eq!(outcome(Some("Apps.Example.com"), &[apps]), apps);
    assert_eq!(outcome(None, &[apps]), apps);
    for (authority, hosts) in [
        (None, &[][..]),
        (Some(apps), &["other.example"]),
        (Some(apps), &[apps, apps]),
        (Some("user@apps.example.com"), &[]),
        (Some("user@apps.example.com"), &[apps]),
    ] {
        let got = outcome(authority, hosts);
        assert!(got.contains(' '), "{authority:?} {hosts:?}: {got}");
    }
}

#[test]
fn over_http_2_an_empty_body_that_does_not_end_is_told_as_what_it_is() {
    let mut head = head("POST", "/", &[("content-length", "0"), ("transfer-encoding", "chunked")]);
    head.version = Version::HTTP_2;
    let told = read(head).err().map(|refused| refused.to_string());
    let fault = "a Content-Length of 0 and a body that does not end";
    assert!(told.as_ref().is_some_and(|told| told.contains(fault)), "{told:?}");
}

/// What counts lengths with a sign reads a larger one as none, or as less than nothing.
#[test]
fn a_length_is_one_that_every_server_can_count() {
    let length = |digits: &str| outcome(head("POST", "/", &[("content-length", digits)]));
    assert_eq!(length("9223372036854775807"), "ok");
    for longer in ["9223372036854775808", "18446744073709551615", "18446744073709551616"] {
        assert_ne!(length(longer), "ok", "{longer}");
    }
}

#[test]
fn cookies_that_http_2_splits_are_one_line_again() {
    let cookies = [("cookie", "a=1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")];
    let mut head = head("GET", "/", &cookies);
    head.version = Version::HTTP_2;
    let read = read(head).unwrap();
    let lines: Vec<_> = read.headers().get_all("cookie").iter().collect();
    assert_eq!(lines, ["a=1; b=2; c=3; d=4"]);
}

#[test]
fn a_head_has_so_many_fields_and_no_more() {
    let names: Vec<String> = (0..reader().field_limit).map(|n| format!("x-{n}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    assert_eq!(outcome(head("GET", "/", &fields)), "too many fields", "Host is one too");
    assert_eq!(outcome(head("GET", "/", &fields[1..])), "ok");
}

#[test]
fn a_host_other_than_the_handshakes_has_no_origin() {
    let origin = |name: Option<&str>| {
        let mut head = head("GET", "/", &[]);
        if let Some(name) = name {
            head.extensions
                .insert(crate::request::ServerName(crate::request::HostName::new(name).unwrap()));
        }
        read(head).unwrap().origin().is_some()
    };
    let own = read(head("GET", "/", &[])).unwrap().host().name.to_string();
    assert!(origin(None) && origin(Some(&own)) && !origin(Some("other.example")));
}

#[test]
fn a_target_may_be_as_long_as_the_limit() {
    let limit = reader().target_limit;
    let target = |length: usize| format!("/{}", "a".repeat(length - 1));
    assert_eq!(outcome(head("GET", &target(limit), &[])), "ok");
    assert_eq!(outcome(head("GET", &target(limit + 1), &[])), "too long");
}

#[test]
fn a_bearer_token_is_read_in_every_spelling_of_its_header() {
    let bearer = |value: &str| {
        let request = read(head("GET", "/", &[("authorization", value)])).unwrap();
        request.bearer().map(ToOwned::to_owned)
    };
    for spelling in [
        "Bearer abc",
        "bearer abc",
        "BEARER   abc",
        "Bearer\tabc",
        " Bearer \t abc\t",
        "\u{a0}Bearer\u{a0}abc",
        "Basic eDp5, Bearer abc",
        ",bearer\tabc , Basic eDp5",
    ] {
        assert_eq!(bearer(spelling).as_deref(), Some("abc"), "{spelling}");
    }
    assert_eq!(bearer("Bearer abc\u{e9}").as_deref(), Some(""));
    for other in ["Basic abc", "Bearer", "Bearer ", "Bearerabc", "Basic, Bearer", " ", ""] {
        assert_eq!(bearer(other), None, "{other:?}");
    }
    let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    assert_eq!(outcome(head("GET", "/", &twice)), "bad");
}

#[test]
fn an_upgrade_is_asked_for_by_both_headers_together() {
    let asks = |lines: &[(&str, &str)]| read(head("GET", "/", lines)).unwrap().asks_upgrade();
    assert!(asks(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]));
    assert!(asks(&[("connection", "a"), ("connection", "UPGRADE"), ("upgrade", "x")]));
    assert!(!asks(&[("upgrade", "websocket")]));
    assert!(!asks(&[("connection", "upgrade")]));
    assert!(!asks(&[("connection", "upgrades"), ("upgrade", "websocket")]));
}

#[test]
fn names_are_folded_as_cgi_folds_them() {
    let folded = |name: &str| fold(&HeaderName::from_bytes(name.as_bytes()).unwrap()).into_owned();
    for name in ["Remote-User", "remote_user", "REMOTE.user", "remote~user"] {
        assert_eq!(folded(name), "remote-user", "{name}");
    }
}
