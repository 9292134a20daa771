use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::ACCEPT;

use super::*;
use crate::identity::{Role, SessionId, UserId, Username, Why};
use crate::policy::IdentityHeaders;
use crate::request::HostName;
use crate::upstream::tests::{cookie_names, route};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn alice(roles: &[&str]) -> Caller {
    Caller::Known(Identity {
        user: UserId::from_bytes([1; 16]),
        username: Username::new("alice").unwrap(),
        roles: roles.iter().map(|role| Role::new(role).unwrap()).collect(),
        session: SessionId::from_bytes([2; 16]),
    })
}

fn host(port: Option<u16>) -> Host {
    Host { name: HostName::new("apps.example.com").unwrap(), port, rooted: false }
}

fn facts<'a>(rules: &'a HeaderRules, profile: Option<&'a Profile>) -> Facts<'a> {
    let request_id = "01J";
    Facts {
        rules,
        profile,
        request_id,
        trace: None,
        own_credential: false,
        assertion: None,
        withheld: &[],
    }
}

fn rules(route: &Route) -> HeaderRules {
    HeaderRules::new([route].into_iter(), &[], &cookie_names())
}

struct Case {
    route: Route,
    caller: Caller,
    profile: Option<Profile>,
    port: u16,
    client: IpAddr,
}

impl Case {
    fn of(caller: Caller) -> Self {
        Self { route: route("/*"), caller, profile: None, port: 443, client: CLIENT }
    }

    fn written(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let origin =
            Origin::new(Scheme::Https, HostName::new("apps.example.com").unwrap(), self.port);
        let host = host((self.port != 443).then_some(self.port));
        let request = Asked { host: &host, origin: Some(&origin), client: self.client };
        let sender = Sender { request, caller: &self.caller };
        let rules = rules(&self.route);
        let facts = facts(&rules, self.profile.as_ref());
        Writer::new(&mut headers, &self.route).write(&sender, &facts);
        headers
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn a_known_caller_is_told_once_and_an_anonymous_one_not_at_all() {
    let headers = Case::of(alice(&["user", "admin"])).written();
    assert_eq!(text(&headers, "remote-user"), Some("alice"));
    assert_eq!(text(&headers, "remote-groups"), Some("user,admin"));
    assert_eq!(text(&headers, "remote-name"), None);
    for name in headers.keys() {
        assert_eq!(headers.get_all(name).iter().count(), 1, "{name}");
    }
    let headers = Case::of(Caller::Anonymous(Why::NoCredential)).written();
    for name in ["remote-user", "remote-groups", "remote-name", "remote-email"] {
        assert_eq!(text(&headers, name), None);
    }
}

#[test]
fn no_header_is_ever_empty() {
    let mut case = Case::of(alice(&[]));
    case.profile = Some(Profile { name: Some(" ".to_owned()), email: None });
    let headers = case.written();
    for name in ["remote-groups", "remote-name", "remote-email"] {
        assert_eq!(text(&headers, name), None, "{name}");
    }
    assert_eq!(text(&headers, "remote-user"), Some("alice"));
}

#[test]
fn values_beyond_ascii_are_percent_encoded() {
    let mut case = Case::of(alice(&["user"]));
    case.profile =
        Some(Profile { name: Some("Zoë 100%".to_owned()), email: Some("z@x.org".to_owned()) });
    let headers = case.written();
    assert_eq!(text(&headers, "remote-name"), Some("Zo%C3%AB 100%25"));
    assert_eq!(text(&headers, "remote-email"), Some("z@x.org"));
    let mut written = Text::default();
    written.identity("a\r\nb\0\x7f");
    assert_eq!(written.value().unwrap(), "a%0D%0Ab%00%7F");
}

#[test]
fn a_field_may_have_several_headers_and_separators() {
    let mut case = Case::of(alice(&["a", "b"]));
    case.route.identity = IdentityHeaders {
        user: ["x-one", "x-two"].map(HeaderName::from_static).into(),
        roles: vec![
            (HeaderName::from_static("x-comma"), ",".to_owned()),
            (HeaderName::from_static("x-bar"), " | ".to_owned()),
        ],
        ..IdentityHeaders::default()
    }
    .into();
    let headers = case.written();
    assert_eq!((text(&headers, "x-one"), text(&headers, "x-two")), (Some("alice"), Some("alice")));
    assert_eq!((text(&headers, "x-comma"), text(&headers, "x-bar")), (Some("a,b"), Some("a | b")));
}

#[test]
fn forwarding_headers_tell_the_served_origin_and_the_client() {
    let headers = Case::of(alice(&[])).written();
    let told = [
        "host",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-for",
        "x-real-ip",
        "x-request-id",
    ]
    .map(|name| text(&headers, name).unwrap());
    let expected =
        ["apps.example.com", "apps.example.com", "443", "https", "192.0.2.7", "192.0.2.7", "01J"];
    assert_eq!(told, expected);
    assert_eq!(text(&headers, "x-forwarded-prefix"), None);

    let mut case = Case::of(alice(&[]));
    case.port = 8443;
    case.client = Ipv6Addr::LOCALHOST.into();
    case.route.strip_prefix = Some("/cal".to_owned());
    let headers = case.written();
    assert_eq!(text(&headers, "host"), Some("apps.example.com:8443"));
    assert_eq!(text(&headers, "x-forwarded-host"), Some("apps.example.com:8443"));
    assert_eq!(text(&headers, "x-forwarded-port"), Some("8443"));
    assert_eq!(text(&headers, "x-forwarded-for"), Some("::1"));
    assert_eq!(text(&headers, "x-forwarded-prefix"), Some("/cal"));
}

#[test]
fn host_is_the_canonical_one_or_the_upstreams() {
    let mut headers = HeaderMap::new();
    headers.append(HOST, HeaderValue::from_static("APPS.Example.com."));
    let request = Asked { host: &host(None), origin: None, client: CLIENT };
    let kept = route("/*");
    Writer::new(&mut headers, &kept).host(request, &rules(&kept));
    assert_eq!(text(&headers, "host"), Some("apps.example.com"));
    let mut replaced = route("/*");
    replaced.preserve_host = false;
    for (name, port, expected) in [("10.0.0.1", 80, "10.0.0.1"), ("::1", 81, "[::1]:81")] {
        let mut upstream = crate::upstream::tests::config(port);
        upstream.servers = vec![crate::upstream::tests::server(name, port)];
        let rules = HeaderRules::new([&replaced].into_iter(), &[upstream], &cookie_names());
        Writer::new(&mut headers, &replaced).host(request, &rules);
        assert_eq!(text(&headers, "host"), Some(expected));
    }
}

#[test]
fn the_operators_headers_come_last() {
    let mut case = Case::of(alice(&["user"]));
    case.route.headers.set = vec![
        (HeaderName::from_static("x-script-name"), HeaderValue::from_static("/cal")),
        (HeaderName::from_static("remote-user"), HeaderValue::from_static("shared")),
    ];
    let headers = case.written();
    assert_eq!(text(&headers, "x-script-name"), Some("/cal"));
    assert_eq!(text(&headers, "remote-user"), Some("shared"));
}

#[test]
fn our_credentials_go_and_all_others_stay() {
    let route = route("/*");
    let rules = rules(&route);
    let sent = || {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; __Host-pc_at=secret; b=2"));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Basic eDp5"));
        headers.append(ACCEPT, HeaderValue::from_static("*/*"));
        headers
    };
    let mut headers = sent();
    strip(&mut headers, &route, &facts(&rules, None));
    assert_eq!(text(&headers, "authorization"), Some("Basic eDp5"));
    assert_eq!(text(&headers, "cookie"), Some("a=1; b=2"));
    let mut headers = sent();
    strip(&mut headers, &route, &Facts { own_credential: true, ..facts(&rules, None) });
    assert_eq!(text(&headers, "authorization"), None);
    assert_eq!(text(&headers, "accept"), Some("*/*"));
}

#[test]
fn a_prefix_is_cut_on_a_segment_boundary_and_leaves_a_normal_path() {
    let cases = [
        ("/cal/x", Ok("/x")),
        ("/cal", Ok("/")),
        ("/cal/", Ok("/")),
        ("/cal/a%2Fb/", Ok("/a%2Fb/")),
        ("/calendar", Err(Unforwardable::Prefix)),
        ("/cal//evil.example", Err(Unforwardable::Prefix)),
        (r"/cal/\h/x", Err(Unforwardable::Prefix)),
        ("/cal/%2Fh/x", Err(Unforwardable::Prefix)),
        ("/cal/%253B/h/x", Err(Unforwardable::Prefix)),
        ("/cal/A;b/c//d", Ok("/A;b/c//d")),
        ("/other", Err(Unforwardable::Prefix)),
    ];
    for (path, expected) in cases {
        let target = crate::request::Target::read(path).unwrap();
        assert_eq!(stripped_path(&target, Some("/cal")), expected, "{path}");
        assert_eq!(stripped_path(&target, None), Ok(path));
    }
}

#[test]
fn the_target_is_the_normal_path_and_the_query_byte_for_byte() {
    let cases = [
        ("/", None, "/"),
        ("/a%20b", Some("x=1&y=?/%00"), "/a%20b?x=1&y=?/%00"),
        ("/a", Some(""), "/a?"),
    ];
    let mut text = Text::default();
    for (path, query, expected) in cases {
        assert_eq!(rewritten(&mut text, path, query).unwrap().to_string(), expected);
    }
    assert_eq!(rewritten(&mut text, "/a#b", None), Err(Unforwardable::Target));
    assert_eq!(rewritten(&mut text, "/a b", None), Err(Unforwardable::Target));
}

#[test]
fn values_of_one_buffer_are_each_their_own() {
    let mut text = Text::default();
    for (number, written) in [(0, "0"), (7, "7"), (80, "80"), (10_000, "10000"), (65_535, "65535")]
    {
        text.number(number);
        assert_eq!(text.value().unwrap(), written);
    }
    let longer_than_the_buffer = "a".repeat(1000);
    text.authority(&longer_than_the_buffer, Some(81));
    let authority = text.value().unwrap();
    for address in ["127.0.0.1", "255.10.0.99", "2001:db8::1"] {
        text.address(address.parse().unwrap());
        assert_eq!(text.value().unwrap(), address);
    }
    assert_eq!(authority, format!("{longer_than_the_buffer}:81"));
    assert_eq!(text.value(), None, "nothing is no value");
}
