use http::HeaderMap;
use http::HeaderValue;
use http::header::COOKIE;

use super::*;

fn names() -> CookieNames {
    reader().cookies
}

fn cookies(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    headers
}

fn access(lines: &[&str]) -> CookieValue {
    names().read(&cookies(lines)).access
}

fn stripped(lines: &[&str]) -> Vec<String> {
    let mut headers = cookies(lines);
    names().strip(&mut headers);
    headers.get_all(COOKIE).iter().map(|line| line.to_str().unwrap().to_owned()).collect()
}

#[test]
fn names_follow_the_public_origin() {
    let access =
        |origin: &str, prefix| CookieNames::new(&Origin::read(origin).unwrap(), prefix).access;
    use CookiePrefix::{Bare, HostHttp};
    for (origin, prefix, expected) in [
        ("https://apps.example.com", HostHttp, "__Host-Http-pc_at"),
        ("https://apps.example.com", Bare, "__Host-Http-pc_at"),
        ("https://localhost:8443", HostHttp, "__Host-Http-pc_at"),
        ("http://localhost:8080", HostHttp, "__Host-Http-pc_at_8080"),
        ("http://127.0.0.1:8080", Bare, "pc_at_8080"),
        ("http://apps.lan", Bare, "pc_at"),
    ] {
        assert_eq!(access(origin, prefix), expected, "{origin} {prefix:?}");
    }
}

#[test]
fn a_cookie_is_read_from_one_line_or_several() {
    let one = CookieValue::One("x.y=z".to_owned());
    assert_eq!(access(&["a=b; __Host-Http-pc_at=x.y=z; c=d"]), one);
    assert_eq!(access(&["a=b", "__Host-Http-pc_at=x.y=z", "c=d"]), one);
    assert_eq!(access(&["a=b;__Host-Http-pc_at=x.y=z;"]), one);
    assert_eq!(access(&["a=b; pc_at=x; __Host-pc_at=y"]), CookieValue::Absent);
    assert_eq!(access(&[]), CookieValue::Absent);
}

#[test]
fn a_doubled_cookie_or_a_look_alike_counts_as_none() {
    for lines in [
        ["__Host-Http-pc_at=x; __Host-Http-pc_at=x", ""],
        ["__Host-Http-pc_at=x", "__Host-Http-pc_at=y"],
        ["__Host-Http-pc_at=x; __HOST-HTTP-PC_AT=y", ""],
        ["__host-http-pc_at=x", ""],
        ["\"__Host-Http-pc_at\"=x", ""],
        ["__Host-Http-pc_at =x", ""],
        ["__Host-Http-pc_at", ""],
        ["=__Host-Http-pc_at=x", ""],
        ["a=b, __Host-Http-pc_at=x", ""],
        ["a=b __Host-Http-pc_at=x", ""],
        ["__Host-Http-pc_at=x; a=b __Host-Http-pc_at =y", ""],
        ["\u{a0}__Host-Http-pc_at=x", ""],
        ["__Host-Http-pc_at=x; __Host-Http-pc_%61t=y", ""],
        ["$Version=1; __Host-Http-pc_at=x; $Path=/", ""],
        ["__Host-Http-pc_at=x", "$version=1"],
    ] {
        assert_eq!(access(&lines), CookieValue::Doubled, "{lines:?}");
    }
}

#[test]
fn cookies_of_applications_stay_byte_for_byte() {
    for lines in [
        vec!["a=b;c=\"d,e\" ;  f"],
        vec!["a=b", "c=d"],
        vec!["a=my pc_at; b=1=pc_at; c=x=pc_at=y; d=pc_at pc_rt"],
        vec!["$Version=1; a=b; $Path=/"],
        vec!["pc_atx=1; xpc_at=2; pc_at_=3; pc_at_8x=4; my_pc_rt=5; __Hostpc_at=6"],
        vec!["a%20b=1; c+d=%70c_at; %=2; %7=3; %zz=4; pc_%61tx=5; %u00=6"],
    ] {
        assert_eq!(stripped(&lines), lines);
    }
    assert_eq!(stripped(&["a=b ;__Host-Http-pc_at=x;  c=\"d\"; e=f"]), ["a=b ;  c=\"d\"; e=f"]);
    assert_eq!(stripped(&["__Host-Http-pc_rt=x; a=b"]), ["a=b"]);
    assert_eq!(stripped(&["a=b; __Host-Http-pc_dev=x"]), ["a=b"]);
    assert_eq!(stripped(&["a=b", "__Host-Http-pc_own=x", "c=d"]), ["a=b", "c=d"]);
    assert_eq!(stripped(&["__Host-Http-pc_at=x; __Host-Http-pc_rt=y"]), [""; 0]);
}

#[test]
fn no_spelling_of_a_gateway_cookie_reaches_an_application() {
    for ours in [
        "__Host-Http-pc_at=SECRET",
        "__HOST-HTTP-PC_AT=SECRET",
        "__Host-pc_rt=SECRET",
        "__Secure-pc_dev=SECRET",
        "pc_own=SECRET",
        "pc_at_8080=SECRET",
        "__Host-Http-pc_rt_443=SECRET",
        "\"pc_at\"=SECRET",
        "\" pc_at \" = SECRET",
        "pc_at\t=SECRET",
        "=pc_at=SECRET",
        "pc_at=SECRET; $Path=/; $Domain=\"x\"",
        "x=y, pc_at=SECRET",
        "x=y pc_at=SECRET",
        "x=y\tpc_at=SECRET",
        "x=y z=1 \"pc_at\" = SECRET",
        "x=\"y\" __Host-Http-pc_rt=SECRET z=1",
        "x pc_at=SECRET",
        "\u{a0}pc_at=SECRET",
        "\u{85}pc_at\u{3000}=SECRET",
        "x=y\u{2003}pc_at=SECRET",
        "%70c_at=SECRET",
        "__Host-Http-pc_%61t_8080=SECRET",
        "__%48ost-Http%2Dpc%5frt=SECRET",
        "pc_%2561t=SECRET",
        "pc_%u0061t=SECRET",
        "+pc_at=SECRET",
        "pc_at%20=SECRET",
        "%22pc_at%22=SECRET",
        "pc_at%00x=SECRET",
        "x=y pc_%61t=SECRET",
    ] {
        let left = stripped(&[&format!("a=b; {ours}; c=d")]);
        assert_eq!(left, ["a=b; c=d"], "{ours}");
        assert_eq!(stripped(&[&format!("$Version=1; {ours}")]), [""; 0], "{ours}");
        assert_eq!(stripped(&[ours]), [""; 0], "{ours}");
    }
    assert_eq!(
        stripped(&["$Version=1; pc_at=SECRET; $Path=/; a=b; $Path=/a"]),
        ["$Version=1; a=b; $Path=/a"]
    );
}
