//! WebDAV's second target: COPY and MOVE write where `Destination` says, if that is permitted too.

use crate::support::{Answer, Gateway, Upstream};

fn house(upstream: &Upstream, other: &Upstream) -> Gateway {
    Gateway::start(&format!(
        r#"
[[routes]]
path = "/*"
upstream = "{url}"
[[routes]]
path = "/admin/*"
roles = ["admin"]
upstream = "{url}"
[[routes]]
path = "/read/*"
methods = ["GET", "COPY"]
upstream = "{url}"
[[routes]]
path = "/strict/*"
strict_paths = true
upstream = "{url}"
[[routes]]
path = "/open/*"
access = "public"
upstream = "{url}"
[[routes]]
path = "/dav/*"
strip_prefix = "/dav"
upstream = "{url}"
[[routes]]
path = "/inner/*"
preserve_host = false
upstream = "{url}"
[[routes]]
path = "/elsewhere/*"
upstream = "{other}"
[[routes]]
path = "/fixed"
respond = {{ status = 200, body = "x" }}
"#,
        url = upstream.url(),
        other = other.url()
    ))
}

struct Asker<'a> {
    gateway: &'a Gateway,
    bearer: String,
}

impl Asker<'_> {
    #[track_caller]
    fn moves(&self, path: &str, destinations: &[&str]) -> Answer {
        let mut headers = vec![("Authorization", self.bearer.as_str())];
        headers.extend(destinations.iter().map(|text| ("Destination", *text)));
        self.gateway.ask(&format!("MOVE {path}"), &headers, "")
    }
}

fn asker<'a>(gateway: &'a Gateway, user: &str) -> Asker<'a> {
    Asker { gateway, bearer: format!("Bearer {}", gateway.login(user).access) }
}

#[test]
fn a_destination_is_forwarded_as_it_was_decided() {
    let (upstream, other) = (Upstream::hello(), Upstream::hello());
    let gateway = house(&upstream, &other);
    let alice = asker(&gateway, "alice");
    let origin = gateway.origin();
    let own = upstream.address();
    for (path, sent, expected) in [
        ("/a", "/b", "/b".to_owned()),
        ("/a", "/%62%2D?x=%62", "/b-?x=%62".to_owned()),
        ("/a", &format!("{origin}/b%20c"), format!("{origin}/b%20c")),
        ("/a", &format!("{}/b", origin.to_uppercase()), format!("{origin}/b")),
        ("/dav/a", "/dav/b/c", "/b/c".to_owned()),
        ("/dav/a", "/dav", "/".to_owned()),
        ("/dav/a", &format!("{origin}/dav/b"), format!("{origin}/b")),
        ("/inner/a", "/inner/b", "/inner/b".to_owned()),
        // The application does not know by which name browsers call it.
        ("/inner/a", &format!("{origin}/inner/b"), "/inner/b".to_owned()),
    ] {
        alice.moves(path, &[sent]).expect(200);
        let seen = upstream.last();
        assert_eq!(seen.header("destination"), Some(expected.as_str()), "{path} {sent}");
    }
    assert_eq!(upstream.last().header("host"), Some(own.to_string().as_str()));
    alice.moves("/a", &[]).expect(200);
    assert_eq!(upstream.last().header("destination"), None);
}

#[test]
fn nothing_is_copied_or_moved_to_where_its_sender_may_not_write() {
    let (upstream, other) = (Upstream::hello(), Upstream::hello());
    let gateway = house(&upstream, &other);
    let alice = asker(&gateway, "alice");
    let origin = gateway.origin();
    for sent in [
        "/admin/x",
        "/admin",
        "/ADMIN/x",
        "/%61dmin/x",
        "/x%2F..%2Fadmin",
        "//admin/x",
        "/x/%2e%2e/admin/x",
        "/admin;v=1/x",
        "/%2561dmin/x",
        "/\\admin/x",
        "/read/x",
        "/strict/a;b",
        "/auth/login",
        "/auth/x",
        "/elsewhere/x",
        "/fixed",
        "/dav/x",
        "/%ff",
        "x",
        "",
        "/x y",
    ] {
        let expected = if sent.starts_with("//") { 502 } else { 403 };
        for text in [sent.to_owned(), format!("{origin}{sent}")] {
            let answer = alice.moves("/a", &[&text]);
            let expected = if text.starts_with("http") { 403 } else { expected };
            assert_eq!(answer.status, expected, "{text:?}: {answer:?}");
        }
    }
    // On the way out of a prefix: the application could not name what lies beside it.
    alice.moves("/dav/a", &["/x"]).expect(403);
    alice.moves("/dav/a", &["/dav//x"]).expect(400);
    // Any method, and any route.
    let put = [("Authorization", alice.bearer.as_str()), ("Destination", "/admin/x")];
    gateway.ask("PUT /a", &put, "").expect(403);
    gateway.ask("GET /open/a", &put, "").expect(403);
    assert_eq!(upstream.seen().len() + other.seen().len(), 0);

    asker(&gateway, "admin").moves("/a", &["/admin/x"]).expect(200);
    alice.moves("/read/a", &["/x"]).expect(405);
    // Who is not signed in is told so; who may write nowhere else still may where everybody may.
    let to = |path: &'static str| [("Destination", path)];
    gateway.ask("MOVE /open/a", &to("/x"), "").expect(401);
    gateway.ask("MOVE /open/a", &to("/open/b"), "").expect(200);
}

#[test]
fn a_destination_on_another_server_is_told_apart_and_two_are_refused() {
    let (upstream, other) = (Upstream::hello(), Upstream::hello());
    let gateway = house(&upstream, &other);
    let alice = asker(&gateway, "alice");
    let port = gateway.address().port();
    for sent in [
        "http://evil.example/x",
        "//evil.example/x",
        &format!("https://localhost:{port}/x"),
        &format!("http://localhost.evil.example:{port}/x"),
        "http://localhost/x",
        &format!("{}/x", upstream.url()),
    ] {
        let answer = alice.moves("/a", &[sent]).expect(502);
        assert_eq!(answer.member("code"), "foreign_destination", "{sent}");
    }
    alice.moves("/a", &["/x", "/x"]).expect(400);
    alice.moves("/a", &["/x", "/admin/x"]).expect(400);
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn lock_tokens_beside_a_destination_stay_as_they_are() {
    let (upstream, other) = (Upstream::hello(), Upstream::hello());
    let gateway = house(&upstream, &other);
    let alice = asker(&gateway, "alice");
    let tagged = format!("<{}/dav/b> (<urn:uuid:1>)", gateway.origin());
    let headers = [
        ("Authorization", alice.bearer.as_str()),
        ("Destination", "/dav/b"),
        ("If", tagged.as_str()),
        ("Overwrite", "F"),
        ("Depth", "0"),
    ];
    gateway.ask("COPY /dav/a", &headers, "").expect(200);
    let seen = upstream.last();
    assert_eq!(seen.header("if"), Some(tagged.as_str()));
    assert_eq!((seen.header("overwrite"), seen.header("depth")), (Some("F"), Some("0")));
}
