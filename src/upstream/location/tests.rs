use super::*;
use crate::request::HostName;
use crate::upstream::tests::route;

fn turned(said: &str, prefix: Option<&str>) -> String {
    let mut route = route("/*");
    route.strip_prefix = prefix.map(str::to_owned);
    let origin = Origin::new(Scheme::Https, HostName::new("apps.example.com").unwrap(), 443);
    let server = |scheme, authority: &str| (scheme, authority.to_owned());
    let servers = [
        server(Scheme::Http, "10.0.0.1:3000"),
        server(Scheme::Http, "10.0.0.2:3000"),
        server(Scheme::Https, "inside.example"),
    ];
    let mut headers = HeaderMap::new();
    headers.insert(LOCATION, HeaderValue::from_bytes(said.as_bytes()).unwrap());
    rewrite(&mut headers, &route, (&origin, &servers));
    String::from_utf8_lossy(headers[LOCATION].as_bytes()).into_owned()
}

#[test]
fn what_the_application_says_of_itself_is_turned_round() {
    for (said, expected) in [
        ("http://10.0.0.1:3000", "https://apps.example.com/cal"),
        ("http://10.0.0.1:3000/", "https://apps.example.com/cal/"),
        ("HTTP://10.0.0.1:3000/x?y#z", "https://apps.example.com/cal/x?y#z"),
        ("http://10.0.0.1:3000?y", "https://apps.example.com/cal?y"),
        (
            "http://10.0.0.1:3000//elsewhere.example",
            "https://apps.example.com/cal//elsewhere.example",
        ),
        ("http://10.0.0.1:3000/cal/x", "https://apps.example.com/cal/x"),
        ("http://10.0.0.2:3000/x", "https://apps.example.com/cal/x"),
        ("https://inside.example/x", "https://apps.example.com/cal/x"),
        ("https://inside.example:443/x", "https://apps.example.com/cal/x"),
        ("http://apps.example.com/x", "https://apps.example.com/cal/x"),
        ("/x", "/cal/x"),
        ("/", "/cal/"),
        ("/calendar", "/cal/calendar"),
        ("/cal", "/cal"),
        ("/cal?x", "/cal?x"),
        ("/cal/x", "/cal/x"),
        ("/ä", "/cal/ä"),
    ] {
        assert_eq!(turned(said, Some("/cal")), expected, "{said}");
    }
    assert_eq!(turned("http://10.0.0.1:3000/x", None), "https://apps.example.com/x");
    assert_eq!(turned("/x", None), "/x");
}

#[test]
fn no_other_origin_and_nothing_that_could_be_read_as_one_is_touched() {
    for said in [
        "https://10.0.0.1:3000/x",
        "https://apps.example.com/x",
        "http://inside.example/x",
        "https://inside.example:80/x",
        "https://inside.example:4430/x",
        "http://elsewhere.example/x",
        "http://10.0.0.1/x",
        "http://10.0.0.1:30000/x",
        "http://10.0.0.1:3000.elsewhere.example/x",
        "http://10.0.0.1:3000@elsewhere.example/x",
        "http://x@10.0.0.1:3000/x",
        "http://10.0.0.1:3000\\@elsewhere.example/x",
        "http:/10.0.0.1:3000/x",
        "http:10.0.0.1:3000/x",
        "//elsewhere.example/x",
        "//10.0.0.1:3000/x",
        "/\\elsewhere.example/x",
        "\\\\elsewhere.example/x",
        "x",
        "../x",
        "?x",
        "",
        "javascript:alert(1)",
    ] {
        assert_eq!(turned(said, Some("/cal")), said);
        assert_eq!(turned(said, None), said);
    }
}

#[test]
fn of_two_lines_none_is_turned_round() {
    let mut headers = HeaderMap::new();
    for said in ["http://10.0.0.1:3000/x", "/y"] {
        headers.append(LOCATION, HeaderValue::from_static(said));
    }
    let origin = Origin::new(Scheme::Https, HostName::new("apps.example.com").unwrap(), 443);
    let servers = [(Scheme::Http, "10.0.0.1:3000".to_owned())];
    rewrite(&mut headers, &route("/*"), (&origin, &servers));
    let said: Vec<_> = headers.get_all(LOCATION).iter().collect();
    assert_eq!(said, ["http://10.0.0.1:3000/x", "/y"]);
}
