use super::*;
use crate::request::BadTarget;

#[test]
fn a_pattern_is_brought_to_normal_form() {
    for (text, normal) in [
        ("/", "/"),
        ("/*", "/*"),
        ("/admin/*", "/admin/*"),
        ("/docs/", "/docs/"),
        ("/{a}/b/{c-d_1}", "/{a}/b/{c-d_1}"),
        ("/my docs/%61%2fb", "/my%20docs/a%2Fb"),
        ("/café<x>", "/caf%C3%A9%3Cx%3E"),
        ("/API", "/API"),
    ] {
        assert_eq!(PathPattern::read(text).unwrap().as_str(), normal, "{text}");
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_its_reason() {
    use BadPattern::*;
    for (text, expected) in [
        ("", NoSlash),
        ("admin", NoSlash),
        ("*", NoSlash),
        ("/a?b", Query),
        ("/a#b", Query),
        ("/*/a", Star),
        ("/a*", Star),
        ("/**", Star),
        ("/a/*b", Star),
        ("/{}", Segment("{}".into())),
        ("/{a", Segment("{a".into())),
        ("/a}", Segment("a}".into())),
        ("/{a}b", Segment("{a}b".into())),
        ("/{a b}", Segment("{a b}".into())),
        ("/{{a}}", Segment("{{a}}".into())),
        ("/{a}/{a}", Duplicate("a".into())),
        ("//a", EmptySegment),
        ("/a//b", EmptySegment),
        ("//", EmptySegment),
        ("/a/../b", Target(BadTarget::DotSegment)),
        ("/%2e", Target(BadTarget::DotSegment)),
        ("/a%2F..", Target(BadTarget::DotSegment)),
        ("/a\\..\\b", Target(BadTarget::DotSegment)),
        ("/a%00", Target(BadTarget::Control)),
        ("/a\u{1}", Target(BadTarget::Control)),
        ("/a%2501", Target(BadTarget::Control)),
        ("/a%", Target(BadTarget::Percent)),
    ] {
        assert_eq!(PathPattern::read(text), Err(expected), "{text:?}");
    }
}

#[test]
fn one_pattern_covers_another_where_it_matches_all_of_its_paths() {
    let covers = |one: &str, other: &str| {
        PathPattern::read(one).unwrap().covers(&PathPattern::read(other).unwrap())
    };
    for (one, other) in [
        ("/*", "/"),
        ("/*", "/a/{b}/*"),
        ("/a/*", "/a"),
        ("/a/*", "/a/*"),
        ("/a/*", "/a/"),
        ("/{x}", "/a"),
        ("/{x}", "/{y}"),
        ("/{x}/*", "/a/b"),
    ] {
        assert!(covers(one, other), "{one} {other}");
    }
    for (one, other) in [
        ("/a", "/a/*"),
        ("/a", "/{x}"),
        ("/{x}", "/"),
        ("/{x}", "/*"),
        ("/a/*", "/ab"),
        ("/a", "/a/"),
        ("/a/b", "/a"),
    ] {
        assert!(!covers(one, other), "{one} {other}");
    }
}
