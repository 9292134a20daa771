use super::*;

fn name(text: &str) -> HostName {
    HostName::new(text).unwrap()
}

fn origin(text: &str) -> Origin {
    Origin::read(text).unwrap()
}

#[test]
fn spellings_of_one_host_are_one_name() {
    let cases = [
        ("Apps.Example.COM.", "apps.example.com"),
        ("my_host-1", "my_host-1"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8:0::1]", "[2001:db8::1]"),
        ("[::1]", "[::1]"),
    ];
    for (text, canonical) in cases {
        assert_eq!(name(text).as_str(), canonical, "{text}");
    }
}

#[test]
fn what_is_no_name_and_no_address_is_refused() {
    let long_label = "a".repeat(64);
    let long = ["a".repeat(63).as_str(); 4].join(".");
    for text in [
        "",
        ".",
        "a..b",
        ".a",
        "a..",
        "a b",
        "a\u{e9}",
        "a%41",
        "a:1",
        "::1",
        "[::1",
        "::1]",
        "[fe80::1%1]",
        "[127.0.0.1]",
        "127.1",
        "127.0.0.01",
        "256.1.1.1",
        "1.2.3.4.5",
        "0x7f.1",
        "a.0x7f",
        "2130706433",
        &long_label,
        &long,
    ] {
        assert_eq!(HostName::new(text), Err(BadHost::Invalid), "{text:?}");
    }
}

#[test]
fn loopback_is_known_by_each_of_its_names() {
    for text in ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.8.7", "[::1]", "[0:0::1]"] {
        assert!(name(text).is_loopback(), "{text}");
    }
    for text in ["localhost.example.com", "127.example.com", "128.0.0.1", "[::2]"] {
        assert!(!name(text).is_loopback(), "{text}");
    }
}

#[test]
fn a_port_is_split_off() {
    let read = |text: &str| Host::read(text).map(|h| (h.name.as_str().to_owned(), h.port));
    assert_eq!(read("a:8080"), Ok(("a".into(), Some(8080))));
    assert_eq!(read("[::1]:80"), Ok(("[::1]".into(), Some(80))));
    assert_eq!(read("[::1]"), Ok(("[::1]".into(), None)));
    for bad in ["a:", ":80", "a:+80", "a:65536", "a:8o", "a:80:80", "[::1]80", "[::1]:"] {
        assert_eq!(read(bad), Err(BadHost::Invalid), "{bad}");
    }
}

#[test]
fn an_origin_is_scheme_host_and_port_and_nothing_else() {
    for (text, shown) in [
        ("https://Apps.Example.com", "https://apps.example.com"),
        ("https://apps.example.com:443/", "https://apps.example.com"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:80", "http://[::1]"),
    ] {
        assert_eq!(origin(text).to_string(), shown);
    }
    for text in [
        "null",
        "https://",
        "https://a/b",
        "https://a?b",
        "https://u@a",
        "ftp://a",
        "//a",
        "a",
        "https://a https://b",
    ] {
        assert_eq!(Origin::read(text), None, "{text}");
    }
}

#[test]
fn a_loopback_origin_stands_for_every_name_of_its_socket() {
    let served = ServedOrigins::new(&[origin("http://localhost:8080")], &[], &[]);
    let own = |host: &str| served.own(&Host::read(host).unwrap()).map(|o| o.to_string());
    for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080"] {
        assert_eq!(own(host), Some(format!("http://{host}")));
    }
    for host in ["localhost", "localhost:8081", "127.0.0.2:8080", "example.com:8080"] {
        assert_eq!(own(host), None, "{host}");
    }
    assert_eq!(served.exact()[0].to_string(), "http://localhost:8080");
}

#[test]
fn hosts_of_routes_are_served_with_the_public_scheme_and_port() {
    let hosts = [
        HostPattern::read("cal.example.com").unwrap(),
        HostPattern::read("*.team.example.com").unwrap(),
        HostPattern::read("*").unwrap(),
    ];
    let public = [origin("https://apps.example.com:8443")];
    let served = ServedOrigins::new(&public, &[origin("https://old.example.com")], &hosts);
    let own = |host: &str| served.own(&Host::read(host).unwrap()).map(|o| o.to_string());
    for (host, expected) in [
        ("apps.example.com:8443", Some("https://apps.example.com:8443")),
        ("cal.example.com:8443", Some("https://cal.example.com:8443")),
        ("a.team.example.com:8443", Some("https://a.team.example.com:8443")),
        ("old.example.com", Some("https://old.example.com")),
        ("old.example.com:8443", None),
        ("cal.example.com", None),
        ("team.example.com:8443", None),
        ("a.b.team.example.com:8443", None),
        ("other.example.com:8443", None),
    ] {
        assert_eq!(own(host).as_deref(), expected, "{host}");
    }
}
