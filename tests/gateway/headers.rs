//! What an upstream is told, and what it never sees (`docs/http.md`), judged by its own bytes.

use crate::support::{Gateway, House, Seen, Upstream};

const OTHER_IDENTITY: &str = r#"
[identity.legacy]
user = ["X-Legacy-User", "X.Legacy.Id"]
roles = { header = "X-Legacy-Roles", separator = ";" }
email = "X-Legacy-Mail"
"#;

fn house(upstream: &Upstream) -> Gateway {
    let url = upstream.url();
    Gateway::start(&format!(
        r#"{OTHER_IDENTITY}
{}
[[routes]]
path = "/legacy/*"
identity = "legacy"
upstream = "{url}"
[[routes]]
path = "/silent/*"
identity = "none"
upstream = "{url}"
[[routes]]
path = "/dav/*"
identity = "radicale"
upstream = "{url}"
[[routes]]
path = "/ours/*"
bearer = "ours"
upstream = "{url}"
[[routes]]
path = "/under/*"
allow = ["underscore_headers"]
upstream = "{url}"
"#,
        crate::support::routes(&url)
    ))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Every value whose name reads as this one to a CGI program.
fn as_cgi<'a>(seen: &'a Seen, name: &str) -> Vec<&'a str> {
    let fold =
        |name: &str| name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    seen.fields().filter(|(other, _)| fold(other) == fold(name)).map(|(_, value)| value).collect()
}

#[test]
fn row_46_the_upstream_gets_the_identity_once_and_none_of_ours() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let login = gateway.login_by_cookie("alice");
    let cookies = format!("a=1; {}; b=\"x y\"; weird; a=2", login.cookie_header());
    gateway.get("/x", &[("Cookie", &cookies), ("Remote-User", "admin")]).expect(200);
    let seen = upstream.only();
    assert_eq!(as_cgi(&seen, "remote-user"), ["alice"]);
    assert_eq!(as_cgi(&seen, "remote-groups"), ["user"]);
    assert_eq!(seen.header("cookie"), Some("a=1; b=\"x y\"; weird; a=2"));
    assert!(!seen.head.contains("pc_"), "{}", seen.head);
}

#[test]
fn no_spelling_of_an_identity_header_comes_through() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let alice = bearer(&gateway.login("alice").access);
    let names = [
        "Remote-User",
        "remote-user",
        "REMOTE-USER",
        "Remote_User",
        "Remote.User",
        "Remote~User",
        "remote-User",
        "Remote-Groups",
        "Remote_Groups",
        "Remote-Name",
        "Remote_Email",
        "X-Remote-User",
        "X_Remote_User",
        "X-Legacy-User",
        "X_Legacy_User",
        "X.Legacy.User",
        "X-Legacy-Id",
        "X.Legacy-Id",
        "X-Legacy-Roles",
        "X-Legacy-Mail",
        "X-Forwarded-For",
        "X_Forwarded_For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-User",
        "X-Forwarded-Whatever",
        "Forwarded",
        "X-Real-IP",
        "X_Real_IP",
        "X-Real~IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X_Original_URL",
        "Proxy",
        "X-Request-Id",
        "True-Client-IP",
        "X-Client-IP",
        "X_Cluster_Client_IP",
        "CF-Connecting-IP",
        "Client-IP",
        "Client_IP",
        "Proxy-Client-IP",
        "WL-Proxy-Client-IP",
        "X-Scheme",
        "X-Url-Scheme",
        "Front-End-Https",
        "X-Original-URI",
        "X-Original-Method",
        "X-Original-Host",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X_Method_Override",
    ];
    let mut paths = vec![
        ("/x", true),
        ("/legacy/x", true),
        ("/dav/x", true),
        ("/silent/x", true),
        ("/under/x", true),
    ];
    paths.extend([
        ("/optional/x", true),
        ("/optional/x", false),
        ("/public/x", true),
        ("/public/x", false),
    ]);
    for (path, known) in paths {
        let mut headers: Vec<(&str, &str)> = names.iter().map(|name| (*name, "forged")).collect();
        if known {
            headers.push(("Authorization", &alice));
        }
        gateway.get(path, &headers).expect(200);
        let seen = upstream.last();
        assert!(!seen.head.contains("forged"), "{path}: {}", seen.head);
        let (user, told) = match path {
            "/legacy/x" => ("x-legacy-user", known),
            "/dav/x" => ("x-remote-user", known),
            "/silent/x" | "/public/x" => ("remote-user", false),
            _ => ("remote-user", known),
        };
        let expected: &[&str] = if told { &["alice"] } else { &[] };
        assert_eq!(as_cgi(&seen, user), expected, "{path}");
    }
}

#[test]
fn connection_cannot_nominate_what_the_gateway_writes() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let alice = bearer(&gateway.login("alice").access);
    let nominated = "Remote-User, remote-groups, X-Forwarded-For, X-Forwarded-Proto, X-Real-IP, X-Request-Id, \
                     Host, Cookie, X-Own, close";
    let headers = [
        ("Authorization", alice.as_str()),
        ("Connection", nominated),
        ("Connection", "x-second"),
        ("X-Own", "dropped"),
        ("X-Second", "dropped"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("TE", "trailers, deflate"),
        ("Trailer", "Remote-User"),
        ("Upgrade", "websocket, h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ("Kept", "kept"),
    ];
    gateway.get("/x", &headers).expect(200);
    let seen = upstream.only();
    assert_eq!(seen.header("remote-user"), Some("alice"));
    assert_eq!(seen.header("remote-groups"), Some("user"));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(seen.header("host"), Some(gateway.host().as_str()));
    assert_eq!(seen.header("kept"), Some("kept"));
    for name in [
        "x-own",
        "x-second",
        "keep-alive",
        "proxy-authorization",
        "trailer",
        "upgrade",
        "proxy-connection",
    ] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    if let Some(te) = seen.header("te") {
        assert_eq!(te, "trailers");
    }
    assert!(!seen.header("connection").unwrap_or("").to_lowercase().contains("upgrade"));
}

#[test]
fn names_with_an_underscore_pass_only_where_they_are_let() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let alice = bearer(&gateway.login("alice").access);
    let headers = [("Authorization", alice.as_str()), ("my_header", "1")];
    gateway.get("/x", &headers).expect(200);
    assert_eq!(upstream.last().header("my_header"), None);
    gateway.get("/under/x", &headers).expect(200);
    assert_eq!(upstream.last().header("my_header"), Some("1"));
}

#[test]
fn the_forwarding_headers_tell_the_truth() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    gateway.get("/public/x", &[]).expect(200);
    let seen = upstream.only();
    assert_eq!(seen.header("host"), Some(gateway.host().as_str()));
    assert_eq!(seen.header("x-forwarded-host"), Some(gateway.host().as_str()));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(
        seen.header("x-forwarded-port"),
        Some(gateway.address().port().to_string().as_str())
    );
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-request-id").map(str::len), Some(26));
    assert_eq!(seen.header("forwarded"), None);
}

#[test]
fn our_token_goes_no_further_and_a_foreign_one_goes_on() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let tokens = gateway.login("alice");
    let last = |path: &str, authorization: &str, cookies: &str| {
        gateway.get(path, &[("Authorization", authorization), ("Cookie", cookies)]).expect(200);
        upstream.last().header("authorization").map(str::to_owned)
    };
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    for path in ["/x", "/optional/x", "/public/x"] {
        assert_eq!(last(path, &bearer(&tokens.access), ""), None, "{path}");
    }
    for path in ["/optional/x", "/public/x"] {
        assert_eq!(last(path, &bearer(&tokens.refresh), ""), None, "{path}");
        assert_eq!(last(path, "bearer pcr_x", ""), None, "{path}");
        assert_eq!(last(path, "Bearer  pca_x", ""), None, "{path}");
        // As the password of Basic: base64 of `x:pcr_x`.
        for spelled in [
            "eDpwY3JfeA==",
            "eDpwY3JfeA",
            "eDpwY3JfeA=",
            "eDpwY3JfeA====",
            "eDpwY3JfPz8/eA",
            "eDpwY3JfPz8_eA",
        ] {
            assert_eq!(last(path, &format!("Basic {spelled}"), ""), None, "{path} {spelled}");
        }
        let expired_or_broken = bearer(&(tokens.access.clone() + "x"));
        assert_eq!(last(path, &expired_or_broken, ""), None, "{path}");
    }
    for foreign in
        ["Bearer abc.def", "Basic eDp5", "Bearer eyJhbGciOiJub25lIn0.e30.", "Digest username=\"x\""]
    {
        for path in ["/x", "/optional/x", "/public/x"] {
            assert_eq!(last(path, foreign, &cookies).as_deref(), Some(foreign), "{path}");
        }
    }
}

#[test]
fn a_bearer_of_ours_decides_alone_and_a_foreign_one_leaves_it_to_the_cookie() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let admin = gateway.login_by_cookie("admin").cookie_header();
    let alice = bearer(&gateway.login("alice").access);
    gateway.get("/admin/x", &[("Cookie", &admin), ("Authorization", &alice)]).expect(403);
    gateway.get("/x", &[("Cookie", &admin), ("Authorization", "Bearer pcr_bad")]).expect(401);
    gateway.get("/x", &[("Authorization", "Bearer foreign")]).expect(401);
    gateway.get("/admin/x", &[("Cookie", &admin), ("Authorization", "Bearer foreign")]).expect(200);
    assert_eq!(upstream.only().header("remote-user"), Some("admin"));
}

#[test]
fn where_ours_alone_counts_a_foreign_bearer_is_none_in_any_spelling() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    let ask = |path: &str, authorization: &str| {
        gateway.get(path, &[("Cookie", &cookies), ("Authorization", authorization)]).status
    };
    for foreign in [
        "Bearer foreign",
        "Bearer\tforeign",
        "BEARER \t foreign",
        "Bearer foreign\u{e9}",
        "Bearer\u{a0}foreign",
        "\u{a0}Bearer foreign",
        "Basic eDp5, Bearer foreign",
        "Basic eDp5,bearer\tforeign",
        ", Bearer foreign",
    ] {
        assert_eq!(ask("/ours/x", foreign), 401, "{foreign:?}");
        assert_eq!(upstream.seen().len(), 0, "{foreign:?}");
    }
    for other in
        ["Basic eDp5", "Digest username=\"Bearer\", realm=\"x\"", "Bearerforeign", "Bearer"]
    {
        assert_eq!(ask("/ours/x", other), 200, "{other:?}");
    }
    // What claims to be ours decides alone, and goes no further.
    let before = upstream.seen().len();
    for path in ["/ours/x", "/x"] {
        for ours in ["Bearer\tpcr_x", "bearer \t pca_x", "Basic eDp5, Bearer pca_x"] {
            assert_eq!(ask(path, ours), 401, "{path} {ours:?}");
        }
    }
    assert_eq!(upstream.seen().len(), before);
    for ours in ["Bearer\tpcr_x", "Basic eDp5, Bearer pca_x"] {
        assert_eq!(ask("/public/x", ours), 200, "{ours:?}");
        assert_eq!(upstream.last().header("authorization"), None, "{ours:?}");
    }
}

#[test]
fn cookies_of_ours_are_taken_out_in_every_spelling() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let planted = "x=1; __Host-Http-pc_at=a; __host-http-PC_RT=b; __Host-pc_at=c; __Secure-pc_rt=d; pc_at=e; \
                   pc_dev=f; pc_own_8080=g; \"pc_at\"=h;  __Host-Http-pc_at_80 = i; $Version=1; y=2; z";
    gateway.get("/public/x", &[("Cookie", planted)]).expect(200);
    let cookie = upstream.only().header("cookie").unwrap_or_default().to_owned();
    assert!(!cookie.to_lowercase().contains("pc_"), "{cookie}");
    for kept in ["x=1", "y=2", "z"] {
        assert!(cookie.split("; ").any(|part| part.trim() == kept), "{kept}: {cookie}");
    }
    let only_ours = gateway.login_by_cookie("alice").cookie_header();
    gateway.get("/x", &[("Cookie", &only_ours)]).expect(200);
    assert_eq!(upstream.last().all("cookie"), Vec::<&str>::new());
}

#[test]
fn row_47_a_doubled_cookie_counts_as_none() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let one = gateway.login_by_cookie("alice");
    let two = gateway.login_by_cookie("admin");
    let cookies = format!("{}; {}", one.cookie_header(), two.cookie_header());
    gateway.get("/x", &[("Cookie", &cookies)]).expect(401);
    let refused = gateway.refresh_by_cookie(&cookies).expect(401);
    assert_eq!(refused.cookies(), []);
    gateway.get("/x", &[("Cookie", &one.cookie_header())]).expect(200);
    gateway.refresh_by_cookie(&one.cookie_header()).expect(200);
}

#[test]
fn the_operator_is_told_of_doubled_cookies_once_and_never_what_they_hold() {
    for (line, cookie) in
        [("GET /x", "pc_at"), ("GET /x", "pc_rt"), ("POST /auth/refresh", "pc_rt")]
    {
        let upstream = Upstream::hello();
        let house = House::new(&crate::support::routes(&upstream.url()));
        let gateway = house.start();
        let cookies = house.login_by_cookie("alice").cookies();
        let (name, _) = cookies.iter().find(|(name, _)| name.contains(cookie)).expect(cookie);
        for _ in 0..3 {
            house.ask(line, &[("Cookie", &format!("{name}=s3cret; {name}=t0ken"))], "").expect(401);
        }
        let log = crate::support::eventually("the operator is told", || {
            Some(gateway.said()).filter(|log| log.contains("cookies count as none"))
        });
        assert_eq!(log.matches("cookies count as none").count(), 1, "{log}");
        assert!(log.contains(name), "{log}");
        assert!(!log.contains("s3cret") && !log.contains("t0ken"), "{log}");
    }
}

#[test]
fn an_upstream_can_neither_set_nor_read_nor_clear_our_cookies() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: __Host-Http-pc_at=x; Path=/\r\nSet-Cookie: app=1\r\n\
         Set-Cookie: __HOST-HTTP-PC_RT_8080=y\r\nSet-Cookie: pc_dev=z\r\nClear-Site-Data: \"cookies\", \"cache\"\r\n\
         Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nProxy-Authenticate: Basic\r\nX-Kept: 1\r\n\r\nok",
    );
    let gateway = house(&upstream);
    let answer = gateway.get("/public/x", &[]).expect(200);
    assert_eq!(answer.all("set-cookie").collect::<Vec<_>>(), ["app=1"]);
    assert_eq!(answer.header("clear-site-data"), Some("\"cache\""));
    assert_eq!(answer.header("x-hop"), None);
    assert_eq!(answer.header("keep-alive"), None);
    assert_eq!(answer.header("x-kept"), Some("1"));
}

#[test]
fn an_answer_to_somebody_is_kept_by_nobody_else() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: public, max-age=60, s-maxage=600, proxy-revalidate\r\n\
         Surrogate-Control: max-age=9\r\nCDN-Cache-Control: max-age=9\r\nCloudflare-CDN-Cache-Control: max-age=9\r\n\
         ETag: \"x\"\r\n\r\nok",
    );
    let gateway = house(&upstream);
    let access = gateway.login("alice").access;
    let answer = gateway.get_as("/x", &access).expect(200);
    let directives = answer.all("cache-control").collect::<Vec<_>>().join(",");
    for gone in ["public", "s-maxage", "proxy-revalidate"] {
        assert!(!directives.contains(gone), "{directives}");
    }
    assert!(directives.contains("private") && directives.contains("max-age=60"), "{directives}");
    for gone in ["surrogate-control", "cdn-cache-control", "cloudflare-cdn-cache-control"] {
        assert_eq!(answer.header(gone), None);
    }
    assert_eq!(answer.header("etag"), Some("\"x\""));
    let public = gateway.get("/public/x", &[]).expect(200);
    assert!(public.header("cache-control").unwrap().contains("s-maxage"));
}

#[test]
fn what_the_operator_sets_and_removes_is_set_and_removed() {
    let upstream = Upstream::hello();
    let url = upstream.url();
    let gateway = Gateway::start(&format!(
        r#"
[[routes]]
path = "/cal/*"
access = "public"
strip_prefix = "/cal"
headers = {{ set = {{ "X-Script-Name" = "/cal", "X-Scheme" = "https" }}, remove = ["X-Debug"] }}
upstream = "{url}"
[[routes]]
path = "/inside/*"
access = "public"
preserve_host = false
upstream = "{url}"
"#
    ));
    let forged = [
        ("X-Debug", "1"),
        ("X-Script-Name", "forged"),
        ("X_Script_Name", "forged"),
        ("X-Scheme", "forged"),
    ];
    gateway.get("/cal/a/b?c", &forged).expect(200);
    let seen = upstream.last();
    assert_eq!(seen.line(), "GET /a/b?c");
    assert_eq!(as_cgi(&seen, "x-script-name"), ["/cal"]);
    assert_eq!(as_cgi(&seen, "x-scheme"), ["https"]);
    assert_eq!(seen.header("x-forwarded-prefix"), Some("/cal"));
    assert_eq!(seen.header("x-debug"), None);
    gateway.get("/cal", &[]).expect(200);
    assert_eq!(upstream.last().line(), "GET /");
    gateway.get("/inside/x", &[]).expect(200);
    assert_eq!(upstream.last().header("host"), Some(upstream.address().to_string().as_str()));
    assert_eq!(upstream.last().header("x-forwarded-host"), Some(gateway.host().as_str()));
}

#[test]
fn names_and_addresses_reach_those_who_ask_for_them_percent_encoded() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let newcomer = portcullis::auth::Newcomer {
        name: portcullis::identity::Username::new("jörg").unwrap(),
        full_name: Some("Jörg 100% Müller".to_owned()),
        email: Some("joerg@example.com".to_owned()),
        roles: vec![
            portcullis::identity::Role::new("editor").unwrap(),
            portcullis::identity::Role::new("user").unwrap(),
        ],
        password: Some(portcullis::secret::Secret::new("a long passphrase")),
    };
    crate::sessions::block_on(gateway.auth().users().add(newcomer)).unwrap();
    let access = gateway.login("jörg").access;
    gateway.get_as("/x", &access).expect(200);
    let seen = upstream.last();
    assert_eq!(seen.header("remote-user"), Some("j%C3%B6rg"));
    assert_eq!(seen.header("remote-groups"), Some("editor,user"));
    assert_eq!(seen.header("remote-name"), Some("J%C3%B6rg 100%25 M%C3%BCller"));
    assert_eq!(seen.header("remote-email"), Some("joerg@example.com"));
    gateway.get_as("/legacy/x", &access).expect(200);
    let seen = upstream.last();
    assert_eq!(seen.header("x-legacy-user"), Some("j%C3%B6rg"));
    assert_eq!(seen.header("x.legacy.id"), Some("j%C3%B6rg"));
    assert_eq!(seen.header("x-legacy-roles"), Some("editor;user"));
    assert_eq!(seen.header("remote-user"), None);
    let alice = gateway.login("alice").access;
    gateway.get_as("/x", &alice).expect(200);
    assert_eq!(upstream.last().header("remote-name"), None, "absent, never empty");
}

#[test]
fn a_method_override_passes_only_where_it_is_let_and_permitted() {
    let upstream = Upstream::hello();
    let url = upstream.url();
    let gateway = Gateway::start(&format!(
        r#"
[[routes]]
path = "/o/*"
access = "public"
methods = ["POST", "PUT"]
allow = ["method_override"]
upstream = "{url}"
[[routes]]
name = "deletes"
path = "/o/*"
methods = ["DELETE"]
roles = ["admin"]
upstream = "{url}"
"#
    ));
    let ask =
        |method: &str| gateway.ask("POST /o/x", &[("X-HTTP-Method-Override", method)], "").status;
    assert_eq!(ask("PUT"), 200);
    assert_eq!(upstream.last().header("x-http-method-override"), Some("PUT"));
    assert_eq!(ask("DELETE"), 401);
    assert!(ask("PATCH") >= 400);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_method_override_is_judged_in_every_spelling_that_passes() {
    let upstream = Upstream::hello();
    let url = upstream.url();
    let gateway = Gateway::start(&format!(
        r#"
[[routes]]
path = "/o/*"
access = "public"
methods = ["POST", "PUT"]
allow = ["method_override", "underscore_headers"]
upstream = "{url}"
[[routes]]
name = "deletes"
path = "/o/*"
methods = ["DELETE"]
roles = ["admin"]
upstream = "{url}"
"#
    ));
    for name in ["X_HTTP_Method_Override", "X.HTTP.Method", "X~Method-Override"] {
        gateway.ask("POST /o/x", &[(name, "DELETE")], "").expect(401);
        assert_eq!(upstream.seen().len(), 0, "{name}");
    }
    gateway.ask("POST /o/x", &[("X_Method_Override", "PUT")], "").expect(200);
}

#[test]
fn no_reading_of_a_path_without_its_prefix_begins_with_a_host() {
    let upstream = Upstream::hello();
    let url = upstream.url();
    let gateway = Gateway::start(&format!(
        r#"
[[routes]]
path = "/app/*"
access = "public"
strip_prefix = "/app"
upstream = "{url}"
[[routes]]
path = "/app/admin/*"
roles = ["admin"]
strip_prefix = "/app"
upstream = "{url}"
"#
    ));
    for path in [
        "/app//h/admin/x",
        r"/app/\h/admin/x",
        "/app/%5Ch/admin/x",
        "/app/%2Fh/admin/x",
        "/app/%252Fh/admin/x",
        "/app/;a/h/admin/x",
        "/app/%3Ba/h/admin/x",
    ] {
        gateway.get(path, &[]).expect(400);
    }
    assert_eq!(upstream.seen().len(), 0);
    gateway.get("/app/a%2F%2Fb/c;d//e", &[]).expect(200);
    assert_eq!(upstream.only().line(), "GET /a%2F%2Fb/c;d//e");
}

#[test]
fn an_upstream_sets_no_cookie_that_would_be_taken_for_one_of_ours() {
    let lines = ["\"pc_at\"=x", "a=1, pc_at=x", "$Version=1", "=pc_rt=x", "'pc_dev'=x", "ok=1"];
    let set: String = lines.iter().map(|line| format!("Set-Cookie: {line}\r\n")).collect();
    let upstream =
        Upstream::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{set}\r\nok"));
    let gateway = Gateway::before(&upstream.url());
    let answer = gateway.get("/public/x", &[]).expect(200);
    assert_eq!(answer.all("set-cookie").collect::<Vec<_>>(), ["ok=1"]);
}
