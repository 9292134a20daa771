use proptest::prelude::*;

use super::*;

fn normal(text: &str) -> Result<String, BadTarget> {
    Target::read(text).map(|target| target.path_and_query().to_string())
}

fn folded(text: &str) -> Vec<String> {
    let target = Target::read(text).unwrap();
    target.readings().iter().map(|r| String::from_utf8_lossy(r).into_owned()).collect()
}

#[test]
fn the_normal_form_decodes_unreserved_characters_alone() {
    for (sent, expected) in [
        ("/", "/"),
        ("/%61%2d%7e%5F%2E%41?%61", "/a-~_.A?%61"),
        ("/%2f%3a%25", "/%2F%3A%25"),
        ("/a;b=c,d@e:f!$&'()*+", "/a;b=c,d@e:f!$&'()*+"),
        ("/a|b^c{d}[e]\"f", "/a|b^c{d}[e]\"f"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/x?a=/../b;c%zz", "/x?a=/../b;c%zz"),
    ] {
        assert_eq!(normal(sent).as_deref(), Ok(expected), "{sent}");
    }
}

#[test]
fn what_no_reading_can_make_harmless_is_refused() {
    use BadTarget::*;
    for (sent, expected) in [
        ("/a/../b", DotSegment),
        ("/a/%2e%2e/b", DotSegment),
        ("/a/.%2e", DotSegment),
        ("/a/..;/b", DotSegment),
        ("/a/..;x=y/b", DotSegment),
        ("/a/..%3bx/b", DotSegment),
        ("/a/.%2e%20/b", DotSegment),
        ("/a/%20../b", DotSegment),
        ("/a/..%2fb", DotSegment),
        ("/a/..%252fb", DotSegment),
        ("/a/%252e%252e/b", DotSegment),
        ("/a/%25252e%25252e/b", DotSegment),
        ("/a\\..\\b", DotSegment),
        ("/a%5c..%5cb", DotSegment),
        ("/a/..%3Fb", DotSegment),
        ("/a/..%23b", DotSegment),
        ("/a/...", DotSegment),
        ("/.", DotSegment),
        ("/..", DotSegment),
        ("/a%00", Control),
        ("/a%2500", Control),
        ("/admin%09", Control),
        ("/a%0d%0ab", Control),
        ("/a%7F", Control),
        ("/a%C2%85", Control),
        ("/%c0%ae%c0%ae/", Overlong),
        ("/%c1%9c", Overlong),
        ("/%e0%80%af", Overlong),
        ("/%f0%80%80%af", Overlong),
        ("/%25c0%25af", Overlong),
        ("/a%zz", Percent),
        ("/a%", Percent),
        ("/a%2", Percent),
        ("/%u002e", Percent),
        ("/%2%35", Percent),
        ("/caf\u{e9}", RawByte),
        ("/a?caf\u{e9}", RawByte),
        ("a", Syntax),
        ("", Syntax),
        ("?a", Syntax),
        ("/a#b", Syntax),
        ("/a b", Syntax),
    ] {
        assert_eq!(normal(sent), Err(expected), "{sent}");
    }
}

#[test]
fn a_plain_path_has_no_reading_but_itself() {
    for path in ["/", "/a", "/a/b.c", "/a.b/c-d_e~f", "/a:b/@c", "/.well-known/x", "/a+b", "/a/.b"]
    {
        let target = Target::read(path).unwrap();
        assert_eq!((target.readings().len(), target.is_ambiguous()), (0, false), "{path}");
    }
}

#[test]
fn readings_are_the_closure_under_what_servers_do() {
    for (path, expected) in [
        ("/A/", &["/a"][..]),
        ("/a%2Fb", &["/a%2fb", "/a/b"]),
        ("/a;x/b", &["/a;x/b", "/a/b"]),
        ("//a", &["//a", "/a", "/"]),
        ("/%5Ca", &["/%5ca", "/\\a", "//a", "/a", "/"]),
        ("/a%3Fx", &["/a%3fx", "/a?x", "/a"]),
        ("/a%2523x", &["/a%2523x", "/a%23x", "/a#x", "/a"]),
        ("/a./b", &["/a./b", "/a/b"]),
        ("/a%20/b", &["/a%20/b", "/a /b", "/a/b"]),
        ("/a%25zz%2541", &["/a%25zz%2541", "/a%zz%41", "/a%zza"]),
        ("/p/https://x.org/y", &["/p/https://x.org/y", "/p/https:/x.org/y"]),
    ] {
        assert_eq!(folded(path), expected, "{path}");
    }
}

#[test]
fn readings_are_counted_before_they_are_folded() {
    for (path, ambiguous) in [("/A/", false), ("/a%20b", true), ("/a.", true), ("/a;b", true)] {
        assert_eq!(Target::read(path).unwrap().is_ambiguous(), ambiguous, "{path}");
    }
}

#[test]
fn three_decodings_are_looked_through_and_bytes_stay_bytes() {
    assert!(folded("/%25252561dmin").contains(&"/%61dmin".to_owned()));
    assert!(folded("/%252561dmin").contains(&"/admin".to_owned()));
    let latin1 = Target::read("/caf%E9").unwrap();
    assert!(!latin1.is_utf8());
    assert!(latin1.readings().iter().any(|reading| &**reading == b"/caf\xe9"));
    assert!(Target::read("/caf%C3%A9").unwrap().is_utf8());
    assert!(!Target::read("/caf%25E9").unwrap().is_utf8(), "under the second reading");
}

#[test]
fn hostile_paths_cost_little_and_are_cut_off() {
    let hosts: String = (0..4000).map(|at| format!("//{}", at % 10)).collect();
    let mixed = "%5C;.%20/%252F".repeat(1100);
    let cases = [
        ("/".repeat(16_000), true),
        ("/;".repeat(8_000), true),
        (format!("/{}", "%25".repeat(5_000)), true),
        (format!("/{}", "a%2Fb//".repeat(2_000)), true),
        (format!("/{}", "x".repeat(16_000)), true),
        (hosts, false),
        (format!("/{mixed}"), false),
    ];
    for (path, passes) in cases {
        assert_eq!(Target::read(&path).is_ok(), passes, "{path:.20}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn normalising_twice_equals_once(path in "(/|%[0-9A-Fa-f]{2}|[a-zA-Z.;\\\\_~!%:@ -]){0,24}") {
        if let Ok(once) = Target::read(&format!("/{path}")) {
            let twice = Target::read(once.path_and_query().as_str()).unwrap();
            prop_assert_eq!(once.path_and_query(), twice.path_and_query());
            prop_assert_eq!(once.readings(), twice.readings());
        }
    }

    /// Of whatever hyper makes of a target.
    #[test]
    fn what_is_decided_on_is_what_is_forwarded_and_never_nothing(
        target in "(http://h)?[/?#*]?([a-z/?#*;]|%[0-9A-F]{2}){0,8}",
    ) {
        let uri = http::Uri::try_from(target.as_str());
        if let Some(Ok(read)) = uri.ok().and_then(|uri| uri.path_and_query().map(Target::of)) {
            let forwarded = http::Uri::from(read.path_and_query().clone()).to_string();
            let decided = match read.query() {
                Some(query) => format!("{}?{query}", read.path()),
                None => read.path().to_owned(),
            };
            prop_assert_eq!(&forwarded, &decided);
            prop_assert!(forwarded.starts_with('/') || forwarded == "*", "{:?}", forwarded);
        }
    }

    #[test]
    fn a_normal_path_differs_from_what_was_sent_in_escapes_alone(path in "(/|%[0-9A-F]{2}|[a-z.;]){0,24}") {
        let decode = |text: &str| {
            let mut bytes = text.bytes();
            let mut all = Vec::new();
            while let Some(byte) = bytes.next() {
                all.push(match byte {
                    b'%' => {
                        let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                        u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                    }
                    byte => byte,
                });
            }
            all
        };
        let sent = format!("/{path}");
        if let Ok(target) = Target::read(&sent) {
            prop_assert_eq!(decode(target.path()), decode(&sent));
        }
    }

    #[test]
    fn readings_hold_nothing_that_is_always_refused(path in "(/|%2e|%5C|%20|%00|%09|%25|%2F|%C0|%AF|[a.;]){0,12}") {
        if let Ok(target) = Target::read(&format!("/{path}")) {
            for reading in target.readings() {
                prop_assert!(reading.iter().all(|byte| !byte.is_ascii_control()));
                for segment in reading.split(|byte| *byte == b'/') {
                    let blank: Vec<_> = segment.iter().filter(|byte| **byte != b' ').collect();
                    prop_assert!(blank.is_empty() || blank.iter().any(|byte| **byte != b'.'), "{:?}", segment);
                }
            }
        }
    }
}
