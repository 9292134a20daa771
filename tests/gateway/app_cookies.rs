//! An application's own session is never the next user's: `app_cookies`.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::connect::accept_of;
use crate::support::{Answer, Gateway, House, Then, Upstream, eventually};

/// Behaves as OctoPrint does: once it has a session it answers as that session's user, whatever the
/// identity header says; without one it makes one for whom the header names.
fn stubborn() -> Upstream {
    let made = AtomicUsize::new(0);
    let users: Mutex<Vec<String>> = Mutex::default();
    Upstream::scripted(move |seen, stream| {
        let cookies = seen.all("cookie").join("; ");
        let session = cookies
            .split(';')
            .filter_map(|pair| pair.trim().strip_prefix("session_P5000="))
            .find_map(|number| number.parse::<usize>().ok());
        let mut users = users.lock().unwrap();
        let (user, set) = match session.and_then(|number| users.get(number)) {
            Some(user) => (user.clone(), String::new()),
            None => {
                let user = seen.header("remote-user").unwrap_or("nobody").to_owned();
                users.push(user.clone());
                let number = made.fetch_add(1, Ordering::SeqCst);
                (user, format!("Set-Cookie: session_P5000={number}; HttpOnly; Path=/\r\n"))
            }
        };
        let length = user.len();
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nCache-Control: public\r\n{set}\r\n{user}"
        );
        Then::KeepOpen
    })
}

fn house(upstream: &Upstream) -> Gateway {
    Gateway::start(&format!(
        r#"
[[routes]]
path = "/*"
access = "optional"
identity = "octoprint"
upstream = "{url}"
[[routes]]
path = "/own/*"
identity = "default"
app_cookies = ["theme", "sess*", "php_session"]
cache = "upstream"
upstream = "{url}"
[[routes]]
path = "/plain/*"
upstream = "{url}"
"#,
        url = upstream.url()
    ))
}

/// What a browser keeps: the cookies of answers, by name.
#[derive(Default)]
struct Jar(Vec<(String, String)>);

impl Jar {
    fn take(&mut self, answer: &Answer) {
        for line in answer.all("set-cookie") {
            let pair = line.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.0.retain(|(known, _)| known != name);
            if !line.contains("Max-Age=0") {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn header(&self) -> String {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    fn named(&self, part: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| name.contains(part));
        found.map(|(_, value)| value.as_str())
    }

    fn get(&mut self, gateway: &Gateway, path: &str) -> Answer {
        let answer = gateway.get(path, &[("Cookie", &self.header())]);
        self.take(&answer);
        answer
    }

    fn sign_in(&mut self, gateway: &Gateway, user: &str) {
        self.take(&gateway.login_by_cookie(user));
    }

    fn sign_out(&mut self, gateway: &Gateway) {
        let answer = gateway.ask("POST /auth/logout", &[("Cookie", &self.header())], "");
        assert!(answer.status < 400, "{answer:?}");
        self.take(&answer);
    }
}

#[test]
fn whoever_signs_in_next_is_never_taken_for_the_one_before() {
    let upstream = stubborn();
    let gateway = house(&upstream);
    let mut browser = Jar::default();
    browser.sign_in(&gateway, "alice");
    assert_eq!(browser.get(&gateway, "/api/currentuser").text(), "alice");
    assert_eq!(browser.get(&gateway, "/api/currentuser").text(), "alice");
    assert_eq!(upstream.last().header("cookie"), Some("session_P5000=0"), "her own comes back");
    browser.sign_out(&gateway);
    assert_eq!(browser.named("session_P5000"), Some("0"), "the browser still has it");
    assert_eq!(browser.named("pc_own"), None);

    assert_eq!(browser.get(&gateway, "/api/currentuser").text(), "nobody");
    browser.sign_in(&gateway, "admin");
    assert_eq!(browser.get(&gateway, "/api/currentuser").text(), "admin");
    assert_eq!(browser.get(&gateway, "/api/currentuser").text(), "admin");
    assert_eq!(upstream.last().header("cookie"), Some("session_P5000=2"));
}

#[test]
fn without_a_logout_too_each_user_has_a_session_of_their_own() {
    let upstream = stubborn();
    let gateway = house(&upstream);
    let mut browser = Jar::default();
    for user in ["alice", "admin", "alice", "admin"] {
        browser.sign_in(&gateway, user);
        for _ in 0..2 {
            assert_eq!(browser.get(&gateway, "/").text(), user);
        }
    }
    // The login has run out, and nobody signed out.
    browser.0.retain(|(name, _)| !name.contains("pc_at") && !name.contains("pc_rt"));
    assert_eq!(browser.get(&gateway, "/").text(), "nobody");
}

#[test]
fn no_companion_of_another_user_lets_a_session_through() {
    let upstream = stubborn();
    let gateway = house(&upstream);
    let (mut alice, mut admin) = (Jar::default(), Jar::default());
    alice.sign_in(&gateway, "alice");
    alice.get(&gateway, "/");
    admin.sign_in(&gateway, "admin");
    let name = |jar: &Jar| jar.0.iter().find(|(name, _)| name.contains("pc_own")).unwrap().clone();
    let (own, value) = name(&alice);
    let signed_in = admin.header();
    for planted in [
        format!("{own}={value}"),
        format!("{own}={value}; {own}={value}"),
        format!("{own}="),
        format!("{own}=x"),
        format!("{own}={}", &value[1..]),
    ] {
        let cookies = format!("{signed_in}; session_P5000=0; {planted}");
        let answer = gateway.get("/", &[("Cookie", &cookies)]).expect(200);
        assert_eq!(answer.text(), "admin", "{planted}");
        assert_eq!(upstream.last().all("cookie"), [""; 0], "{planted}");
    }
    // The same companion, of the same user, as a parser of another style reads it.
    let cookies = format!("$Version=1; {}", alice.header());
    gateway.get("/", &[("Cookie", &cookies)]);
    let sent = upstream.last().all("cookie").join(";");
    assert!(!sent.contains("session_P5000"), "{sent}");
}

#[test]
fn what_is_withheld_is_withheld_in_every_spelling_and_the_rest_stays_as_it_was() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let mine = gateway.login_by_cookie("alice").cookie_header();
    for (sent, expected) in [
        ("a=1; session=2; b=\"3\"", Some("a=1; b=\"3\"")),
        ("SESSION=2;b=3", Some("b=3")),
        ("b=3; \"session\"=2", Some("b=3")),
        ("b=3 ;  theme = 2", Some("b=3")),
        ("b=3, sessionid=2; c=4", Some("c=4")),
        ("b=3; theme", Some("b=3")),
        ("themes=1; xsession=2; b=%20", Some("themes=1; xsession=2; b=%20")),
        ("session=1", None),
        ("session=1; session=2", None),
        // Parted by blanks, as Python's cookies are.
        ("b=3; a=1 session=2; c=4", Some("b=3; c=4")),
        ("b=3; a=1\tsession=2", Some("b=3")),
        ("b=3; a=\"1\" session =2", Some("b=3")),
        ("b=3; a=1  \"session\" = 2", Some("b=3")),
        // What is no ASCII is a blank to some.
        ("b=3; \u{a0}session=2", Some("b=3")),
        ("b=3; session\u{3000}=2", Some("b=3")),
        ("b=3; a=1\u{a0}session=2", Some("b=3")),
        // PHP reads these as one name.
        ("b=3; php.session=2; php_session=3", Some("b=3")),
        ("b=3; php session=2; php[session=3", Some("b=3")),
        // CGI.pm, Rack and older PHP decode names.
        ("b=3; sess%69on=2; %73ession=3; %u0073ession=4", Some("b=3")),
        ("b=3; %2573ession=2; +session=3; session%20=4; theme%00x=5", Some("b=3")),
        ("b=3; php%5fsession=2; php%2Esession=3; php+session=4", Some("b=3")),
        ("b%20c=%73ession; b+session=1", Some("b%20c=%73ession; b+session=1")),
        // A word of a value is no name, nor what follows a second sign.
        ("b=my session; c=2=session", Some("b=my session; c=2=session")),
        ("b=session=2", Some("b=session=2")),
    ] {
        gateway.get("/own/x", &[("Cookie", &format!("{sent}; {mine}"))]).expect(200);
        assert_eq!(upstream.last().header("cookie"), expected, "{sent}");
    }
    // No other route holds back a cookie that is not ours.
    gateway.get("/plain/x", &[("Cookie", &format!("session=1; {mine}"))]).expect(200);
    assert_eq!(upstream.last().header("cookie"), Some("session=1"));
}

fn setting(line: &'static str) -> (Upstream, Gateway) {
    let upstream = Upstream::answering(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nCache-Control: public, max-age=9\r\n{line}\r\n\r\n"
    ));
    let gateway = house(&upstream);
    (upstream, gateway)
}

/// As Rack and CGI.pm write them.
#[test]
fn a_cookie_whose_name_is_written_encoded_comes_back_in_each_spelling_of_it() {
    let (upstream, gateway) = setting("Set-Cookie: sess%5Ba%20b%5D=1; Path=/");
    let alice = gateway.login_by_cookie("alice").cookie_header();
    let set = gateway.get("/own/x", &[("Cookie", &alice)]);
    let companion = companion_of(&set).unwrap();
    let companion = companion.split(';').next().unwrap();
    for own in ["sess%5Ba%20b%5D=1", "sess%5ba%20b%5d=1"] {
        let sent = format!("{alice}; {companion}; {own}; sess%5Bother%5D=2");
        gateway.get("/own/x", &[("Cookie", &sent)]).expect(200);
        assert_eq!(upstream.last().header("cookie"), Some(own));
    }
}

fn companion_of(answer: &Answer) -> Option<String> {
    let lines: Vec<_> = answer.all("set-cookie").filter(|line| line.contains("pc_own")).collect();
    assert!(lines.len() < 2, "{lines:?}");
    lines.first().map(|line| (*line).to_owned())
}

#[test]
fn the_companion_lives_as_long_as_what_it_accompanies() {
    for (line, life) in [
        ("Set-Cookie: session=1", None),
        ("Set-Cookie: session=1; Max-Age=100", Some("Max-Age=100")),
        (
            "Set-Cookie: session=1; Max-Age=100\r\nSet-Cookie: theme=1; Max-Age=50",
            Some("Max-Age=100"),
        ),
        // The clock stands at 2027-01-15 08:00:00.
        (
            "Set-Cookie: session=1; Expires=Fri, 15 Jan 2027 08:01:00 GMT; HttpOnly",
            Some("Max-Age=60"),
        ),
        ("Set-Cookie: session=1; Max-Age=99999999999999", Some("Max-Age=34560000")),
    ] {
        let (_upstream, gateway) = setting(line);
        let mine = gateway.login_by_cookie("alice").cookie_header();
        let answer = gateway.get("/own/x", &[("Cookie", &mine)]).expect(200);
        let companion = companion_of(&answer).expect("a companion");
        let found = companion.split("; ").find(|part| part.starts_with("Max-Age"));
        assert_eq!(found, life, "{line}: {companion}");
        assert!(companion.contains("HttpOnly") && companion.contains("Path=/"), "{companion}");
        // It is one user's, whatever the route says of caches.
        assert_eq!(answer.header("cache-control"), Some("max-age=9, private"), "{line}");
    }
}

#[test]
fn what_sets_nothing_of_the_applications_session_brings_no_companion() {
    for line in [
        "X-Nothing: 1",
        "Set-Cookie: other=1",
        "Set-Cookie: session=; Max-Age=0",
        "Set-Cookie: session=; Max-Age=-1",
        "Set-Cookie: session=; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "Set-Cookie: =session",
    ] {
        let (_upstream, gateway) = setting(line);
        let mine = gateway.login_by_cookie("alice").cookie_header();
        let answer = gateway.get("/own/x", &[("Cookie", &mine)]).expect(200);
        assert_eq!(companion_of(&answer), None, "{line}");
        let answer = gateway.get("/plain/x", &[("Cookie", &mine)]).expect(200);
        assert_eq!(companion_of(&answer), None, "{line}");
    }
}

#[test]
fn the_companion_of_one_route_says_nothing_of_another() {
    let (upstream, gateway) = setting("Set-Cookie: session_P1=1\r\nSet-Cookie: session=2");
    let mut browser = Jar::default();
    browser.sign_in(&gateway, "alice");
    browser.get(&gateway, "/own/x").expect(200);
    let both = format!("{}; session_P1=1", browser.header());
    gateway.get("/own/x", &[("Cookie", &both)]).expect(200);
    let sent = upstream.last().all("cookie").join("; ");
    assert!(sent.contains("session=2") && sent.contains("session_P1=1"), "{sent}");
    // The same name, and a route that has not set it.
    gateway.get("/x", &[("Cookie", &both)]).expect(200);
    let sent = upstream.last().all("cookie").join("; ");
    assert!(sent.contains("session=2") && !sent.contains("session_P1"), "{sent}");
}

#[test]
fn an_answer_that_comes_late_takes_its_own_companion_along() {
    let (upstream, gateway) = setting("Set-Cookie: session=alices");
    let (mut browser, mut admin) = (Jar::default(), Jar::default());
    browser.sign_in(&gateway, "alice");
    browser.get(&gateway, "/own/x").expect(200);
    let late = gateway.get("/own/x", &[("Cookie", &browser.header())]).expect(200);
    admin.sign_in(&gateway, "admin");
    admin.get(&gateway, "/own/x").expect(200);
    admin.take(&late);
    gateway.get("/own/x", &[("Cookie", &admin.header())]).expect(200);
    let seen = upstream.last();
    assert_eq!((seen.header("remote-user"), seen.header("cookie")), (Some("admin"), None));
}

/// The handshake's cookie is alice's; then bob signs in, and opens a tunnel that sets his own.
#[test]
fn a_cookie_that_comes_with_a_tunnel_has_its_companion_too() {
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    let upstream = Upstream::scripted(|seen, stream| {
        let user = seen.header("remote-user").unwrap_or("nobody");
        let set = format!("Set-Cookie: session={user}s; HttpOnly");
        let Some(key) = seen.header("sec-websocket-key") else {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{set}\r\n\r\n");
            return Then::KeepOpen;
        };
        let _ = write!(
            stream,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{set}\r\n\r\n",
            accept_of(key)
        );
        let _ = stream.read(&mut [0; 1]);
        Then::Close
    });
    let gateway = house(&upstream);
    let by_upgrade = |browser: &Jar| {
        let mut client = gateway.connect();
        let own = gateway.origin();
        let fields = [
            ("Cookie", browser.header()),
            ("Connection", "Upgrade".to_owned()),
            ("Upgrade", "websocket".to_owned()),
            ("Sec-WebSocket-Version", "13".to_owned()),
            ("Sec-WebSocket-Key", KEY.to_owned()),
            ("Origin", own),
        ];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        client.send(gateway.request("GET /own/ws", &fields, ""));
        let (status, headers) = client.head().expect("an answer");
        Answer { status, headers, body: Vec::new() }.expect(101)
    };
    let by_connect = |browser: &Jar| {
        let (status, headers) = by_connect(&gateway, &browser.header());
        Answer { status, headers, body: Vec::new() }.expect(200)
    };
    let ways: [&dyn Fn(&Jar) -> Answer; 2] = [&by_upgrade, &by_connect];
    for (at, open) in ways.into_iter().enumerate() {
        let mut browser = Jar::default();
        browser.sign_in(&gateway, "alice");
        browser.get(&gateway, "/own/x").expect(200);
        browser.sign_in(&gateway, "admin");
        let opened = open(&browser);
        assert!(companion_of(&opened).is_some(), "way {at}: {opened:?}");
        browser.take(&opened);
        assert_eq!(browser.named("session"), Some("admins"), "way {at}");
        // His own comes back to him, and to nobody else.
        browser.get(&gateway, "/own/x").expect(200);
        assert_eq!(upstream.last().header("cookie"), Some("session=admins"), "way {at}");
        browser.take(&open(&browser));
        browser.sign_in(&gateway, "alice");
        gateway.get("/own/x", &[("Cookie", &browser.header())]).expect(200);
        let seen = upstream.last();
        let told = (seen.header("remote-user"), seen.header("cookie"));
        assert_eq!(told, (Some("alice"), None), "way {at}");
    }
}

/// Opens a tunnel by HTTP/2's CONNECT: the status and the headers of the answer.
fn by_connect(gateway: &Gateway, cookies: &str) -> (u16, Vec<(String, String)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let (mut client, connection) = h2::client::handshake(tcp).await.unwrap();
        tokio::spawn(connection);
        while !client.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let request = http::Request::connect(format!("http://{}/own/ws", gateway.host()))
            .extension(h2::ext::Protocol::from_static("websocket"))
            .header("cookie", cookies)
            .header("origin", gateway.origin())
            .header("sec-websocket-version", "13")
            .body(())
            .unwrap();
        let (answer, _sending) = client.send_request(request, false).unwrap();
        let answer = answer.await.unwrap();
        let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        (answer.status().as_u16(), answer.headers().iter().map(field).collect())
    })
}

#[test]
fn an_applications_logout_leaves_no_companion_behind() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: session=guest\r\n\r\n",
    );
    let gateway = Gateway::start(&format!(
        "[[routes]]\npath = \"/*\"\nlogout = \"/logout\"\napp_cookies = \"session\"\nupstream = \"{}\"\n",
        upstream.url()
    ));
    let mut browser = Jar::default();
    browser.sign_in(&gateway, "alice");
    browser.get(&gateway, "/x").expect(200);
    assert!(browser.named("pc_own").is_some());
    let out = gateway.ask("POST /logout", &[("Cookie", &browser.header())], "").expect(200);
    assert!(companion_of(&out).expect("it is deleted").contains("Max-Age=0"), "{out:?}");
}

#[test]
fn the_companion_outlives_a_restart_and_a_renewal() {
    let upstream = stubborn();
    let mut gateway = house(&upstream);
    let mut browser = Jar::default();
    browser.sign_in(&gateway, "alice");
    browser.get(&gateway, "/");
    gateway.advance(Duration::from_secs(16 * 60));
    let port = format!("_{}", gateway.address().port());
    gateway.restart();
    let new = format!("_{}", gateway.address().port());
    browser.0.iter_mut().for_each(|(name, _)| *name = name.replace(&port, &new));
    assert_eq!(browser.get(&gateway, "/").text(), "alice");
    assert_eq!(upstream.last().header("cookie"), Some("session_P5000=0"));
}

#[test]
fn a_session_that_nobody_named_is_warned_of_once() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: plain=1\r\n\
         Set-Cookie: the\"session=1; Path=/; HttpOnly\r\n\r\n",
    );
    let url = upstream.url();
    let route = |path: &str, more: &str| {
        format!(
            "[[routes]]\npath = \"{path}\"\naccess = \"public\"\nupstream = \"{url}\"\n{more}\n"
        )
    };
    let house = House::new(
        &[
            route("/*", ""),
            route("/none/*", "identity = \"none\""),
            route("/named/*", "app_cookies = []"),
        ]
        .concat(),
    );
    let process = house.start();
    for path in ["/none/x", "/named/x", "/x", "/x", "/x"] {
        house.get(path, &[]).expect(200);
    }
    let warned = || process.said().lines().filter(|l| l.contains("app_cookies")).count();
    eventually("a warning", || (warned() > 0).then_some(()));
    let said = process.said();
    assert_eq!(warned(), 1, "{said}");
    assert!(said.contains("route \"/*\"") && said.contains("[\"the\\\"session\"]"), "{said}");
    process.stop();
}
