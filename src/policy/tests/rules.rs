use super::*;

fn with(change: impl FnOnce(&mut Route), mut route: Route) -> Route {
    change(&mut route);
    route
}

#[test]
fn literals_beat_segments_and_segments_beat_the_rest() {
    let paths = ["/*", "/a", "/a/*", "/a/{x}", "/a/b", "/{x}/b", "/{x}/{y}/c", "/a/b/*", "/d/"];
    let table = table(&paths.map(|path| route(path, public())));
    for (path, expected) in [
        ("/", "/*"),
        ("/a", "/a"),
        ("/a/", "/a/*"),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b/*"),
        ("/a/x", "/a/{x}"),
        ("/a/x/c", "/a/*"),
        ("/z/b", "/{x}/b"),
        ("/z/b/c", "/{x}/{y}/c"),
        ("/z//c", "/*"),
        ("/z/b/d", "/*"),
        ("/d/", "/d/"),
        ("/d", "/*"),
        ("/ab", "/*"),
    ] {
        assert_eq!(found(&table, get(path)).as_deref(), Ok(expected), "{path}");
    }
}

#[test]
fn where_nothing_matches_nothing_is_found() {
    let table = table(&[route("/a/*", public())]);
    for path in ["/", "/b", "/ab", "/A"] {
        assert_eq!(found(&table, get(path)), Err(404), "{path}");
    }
}

#[test]
fn a_method_goes_to_the_route_that_names_it_and_never_to_a_wider_path() {
    let table = table(&[
        with(|r| r.name = "wide".into(), route("/*", public())),
        with(|r| r.methods = methods(&["GET", "PURGE"]), route("/a", public())),
        with(
            |r| {
                r.name = "posts".into();
                r.methods = methods(&["POST"]);
            },
            route("/a", public()),
        ),
        with(|r| r.methods = methods(&["GET"]), route("/b", public())),
        with(|r| r.name = "b".into(), route("/b", public())),
    ]);
    let of = |method: &str, path: &str| found(&table, request(method, HOST, path, &[]).unwrap());
    for (method, path, expected) in [
        ("GET", "/a", Ok("/a")),
        ("HEAD", "/a", Ok("/a")),
        ("PURGE", "/a", Ok("/a")),
        ("POST", "/a", Ok("posts")),
        ("PUT", "/a", Err(405)),
        ("OPTIONS", "/a", Err(405)),
        ("GET", "/b", Ok("/b")),
        ("HEAD", "/b", Ok("/b")),
        ("OPTIONS", "/b", Ok("b")),
        ("PROPFIND", "/b", Ok("b")),
        ("PURGE", "/b", Err(405)),
        ("PURGE", "/", Err(405)),
    ] {
        assert_eq!(of(method, path), expected.map(ToOwned::to_owned), "{method} {path}");
    }
    let (_, unmatched) = table.find(request("PUT", HOST, "/a", &[]).unwrap()).unwrap_err();
    let allow = ["GET", "PURGE", "POST", "HEAD"].map(|name| name.parse().unwrap()).to_vec();
    assert_eq!(unmatched, Unmatched::Method { allow });
}

#[test]
fn a_host_has_a_table_of_its_own_and_nothing_falls_through() {
    let host = |path: &str, name: &str, names: &[&str]| {
        with(
            |r| {
                r.name = name.into();
                r.hosts = hosts(names);
            },
            route(path, public()),
        )
    };
    let table = table(&[
        host("/x", "a", &["a.example.com"]),
        host("/w/*", "wild", &["*.wild.example.com"]),
        host("/e", "exact", &["e.wild.example.com"]),
        host("/s/*", "shared", &["*"]),
        host("/s/own", "own", &["a.example.com"]),
        host("/t", "both", &["a.example.com"]),
        host("/t", "all", &["*"]),
    ]);
    let of = |host: &str, path: &str| found(&table, request("GET", host, path, &[]).unwrap());
    for (host, path, expected) in [
        ("a.example.com", "/x", Ok("a")),
        ("A.Example.com.", "/x", Ok("a")),
        ("a.example.com", "/s/1", Ok("shared")),
        ("a.example.com", "/s/own", Ok("own")),
        ("b.example.com", "/s/own", Ok("shared")),
        ("a.example.com", "/t", Ok("both")),
        ("b.example.com", "/t", Ok("all")),
        ("a.example.com", "/w/1", Err(404)),
        ("b.example.com", "/x", Err(404)),
        (HOST, "/s/", Ok("shared")),
        ("1.wild.example.com", "/w/1", Ok("wild")),
        ("1.wild.example.com", "/s/1", Ok("shared")),
        ("e.wild.example.com", "/e", Ok("exact")),
        ("e.wild.example.com", "/w/1", Err(404)),
        ("other.example.com", "/s/1", Err(421)),
        ("1.2.wild.example.com", "/w/1", Err(421)),
        ("wild.example.com", "/w/1", Err(421)),
    ] {
        assert_eq!(of(host, path), expected.map(ToOwned::to_owned), "{host}{path}");
    }
}

#[test]
fn endpoints_stand_in_every_table_and_the_rest_below_them_is_not_found() {
    let table = table(&[
        with(|r| r.hosts = hosts(&["a.example.com"]), route("/*", public())),
        with(|r| r.hosts = hosts(&["*"]), route("/{any}/{path}", public())),
    ]);
    let of = |method: &str, host: &str, path: &str| match table
        .find(request(method, host, path, &[]).unwrap())
    {
        Ok(matched) => {
            matched.into_endpoint().map(|(endpoint, _)| endpoint).map_err(|_forwarded| 0)
        }
        Err((_, Unmatched::Misdirected)) => Err(421),
        Err((_, Unmatched::NotFound)) => Err(404),
        Err((_, Unmatched::Method { .. })) => Err(405),
    };
    for host in ["a.example.com", HOST] {
        for (method, path, expected) in [
            ("POST", "/auth/login", Ok(Endpoint::Login)),
            ("POST", "/auth/refresh", Ok(Endpoint::Refresh)),
            ("POST", "/auth/logout", Ok(Endpoint::Logout)),
            ("GET", "/auth/me", Ok(Endpoint::Me)),
            ("HEAD", "/auth/me", Ok(Endpoint::Me)),
            ("GET", "/auth/sessions", Ok(Endpoint::Sessions)),
            ("DELETE", "/auth/sessions/abc", Ok(Endpoint::EndSession)),
            ("GET", "/auth/jwks.json", Ok(Endpoint::Jwks)),
            ("GET", "/%61uth/ping", Ok(Endpoint::Ping)),
            ("GET", "/auth/login", Ok(Endpoint::LoginPage)),
            ("HEAD", "/auth/logout", Ok(Endpoint::LogoutPage)),
            ("GET", "/auth/refresh", Err(405)),
            ("OPTIONS", "/auth/login", Err(405)),
            ("PURGE", "/auth/me", Err(405)),
            ("GET", "/auth", Err(404)),
            ("GET", "/auth/", Err(404)),
            ("POST", "/auth/login/", Err(404)),
            ("GET", "/auth/login.php", Err(404)),
            ("DELETE", "/auth/sessions/", Err(404)),
            ("GET", "/auth/sessions/a/b", Err(404)),
            ("GET", "/auth//me", Err(404)),
        ] {
            assert_eq!(of(method, host, path), expected, "{method} {host} {path}");
        }
    }
    assert_eq!(of("GET", "other.example.com", "/auth/ping"), Ok(Endpoint::Ping));
    for path in ["/auth/me", "/auth/ping/", "/auth/ping%2F", "/"] {
        assert_eq!(of("GET", "other.example.com", path), Err(421), "{path}");
    }
    assert_eq!(of("POST", "other.example.com", "/auth/ping"), Err(421));
}

#[test]
fn an_endpoint_is_never_permitted_to_an_upstream() {
    let table = table(&[route("/*", public())]);
    let matched = table.find(get("/auth/ping")).unwrap();
    assert_eq!(authorise(matched, known(&["admin"]), false).unwrap_err().1, Denied::NotFound);
}

#[test]
fn a_rule_admits_whom_it_names() {
    let either = Rule { users: vec![Username::new("Alice").unwrap()], ..role("admin") };
    let other = Rule { users: vec![Username::new("bob").unwrap()], ..signed_in() };
    for (rule, expected) in [
        (public(), [200, 200, 200]),
        (optional(), [200, 200, 200]),
        (signed_in(), [401, 200, 200]),
        (role("admin"), [401, 403, 200]),
        (either, [401, 200, 200]),
        (other, [401, 403, 403]),
    ] {
        assert_eq!(statuses(&table(&[route("/*", rule.clone())]), "/"), expected, "{rule:?}");
    }
}

#[test]
fn a_public_route_is_told_nobody_and_an_optional_one_who_it_is() {
    let caller_at = |rule: Rule| {
        let matched = table(&[route("/*", rule)]).find(get("/")).unwrap();
        (matched.takes_identity(), authorise(matched, known(&[]), false).unwrap().caller().clone())
    };
    assert_eq!(caller_at(public()), (false, anonymous()));
    assert_eq!(caller_at(optional()), (true, known(&[])));
    assert_eq!(caller_at(signed_in()), (true, known(&[])));
}

#[test]
fn a_public_path_that_could_be_read_as_a_guarded_one_takes_an_identity() {
    let table = table(&[route("/*", public()), route("/admin/*", role("admin"))]);
    for (path, takes) in [("/x", false), ("/x%2Fy", false), ("/admin%2Fx", true), ("/admin", true)]
    {
        assert_eq!(table.find(get(path)).unwrap().takes_identity(), takes, "{path}");
    }
    let matched = table.find(get("/admin%2Fx")).unwrap();
    let permitted = authorise(matched, known(&["admin"]), false).unwrap();
    assert_eq!((&*permitted.route().name, permitted.caller()), ("/*", &anonymous()));
}

#[test]
fn why_a_caller_is_anonymous_is_handed_on() {
    let matched = table(&[route("/*", signed_in())]).find(get("/")).unwrap();
    let denied = authorise(matched, Caller::Anonymous(Why::Expired), false).unwrap_err().1;
    assert_eq!(denied, Denied::SignIn(Why::Expired));
}

#[test]
fn a_strict_route_refuses_every_second_reading() {
    let table = table(&[with(|r| r.strict_paths = true, route("/*", signed_in()))]);
    for (path, expected) in
        [("/a", 200), ("/A/", 200), ("/a%20b", 400), ("//a", 400), ("/a;b", 400)]
    {
        assert_eq!(statuses(&table, path)[1], expected, "{path}");
    }
}

#[test]
fn bytes_that_are_not_utf8_pass_where_the_route_says_so() {
    let lax = |allow| with(|r| r.allow.non_utf8 = allow, route("/*", signed_in()));
    for (path, refused, allowed) in [
        ("/caf%E9", 400, 200),
        ("/caf%25E9", 400, 200),
        ("/caf%C3%A9", 200, 200),
        ("/%c0%ae", 400, 400),
    ] {
        assert_eq!(statuses(&table(&[lax(false)]), path)[1], refused, "{path}");
        assert_eq!(statuses(&table(&[lax(true)]), path)[1], allowed, "{path}");
    }
}

#[test]
fn an_overriding_method_must_be_permitted_too() {
    let routes = |allow| {
        [
            with(
                |r| {
                    r.methods = methods(&["POST"]);
                    r.allow.method_override = allow;
                },
                route("/a", signed_in()),
            ),
            with(
                |r| {
                    r.name = "deletes".into();
                    r.methods = methods(&["DELETE"]);
                },
                route("/a", role("admin")),
            ),
        ]
    };
    let lax = table(&routes(true));
    let of = |table: &Table, lines: &[(&str, &str)], caller| {
        status(table, request("POST", HOST, "/a", lines), caller, false)
    };
    let user = || known(&["user"]);
    for name in ["x-http-method-override", "X-HTTP-Method", "x-method-override"] {
        for (value, expected) in [
            ("POST", [401, 200, 200]),
            ("DELETE", [401, 403, 200]),
            ("delete", [401, 403, 200]),
            ("POST, DELETE", [401, 403, 200]),
            ("PUT", [401, 405, 405]),
            ("D ELETE", [401, 405, 405]),
            ("", [401, 200, 200]),
        ] {
            let line = [(name, value)];
            let callers = [anonymous(), user(), known(&["admin"])];
            assert_eq!(
                callers.map(|caller| of(&lax, &line, caller)),
                expected,
                "{name}: {value:?}"
            );
        }
    }
    let two = [("x-method-override", "POST"), ("x-http-method", "DELETE")];
    assert_eq!(of(&lax, &two, user()), 403);
    assert_eq!(
        of(&table(&routes(false)), &[("x-method-override", "DELETE")], user()),
        200,
        "it is removed"
    );
}

#[test]
fn a_reading_must_take_the_method_too() {
    let table = table(&[
        route("/*", signed_in()),
        with(|r| r.methods = methods(&["GET"]), route("/r/*", signed_in())),
    ]);
    let of = |method: &str| status(&table, request(method, HOST, "/r;x/1", &[]), known(&[]), false);
    assert_eq!(["GET", "HEAD", "POST"].map(of), [200, 200, 404]);
}

#[test]
fn ten_thousand_routes_and_hosts_are_told_apart() {
    let by_path = |at: usize| route(&format!("/p{}/{at}/*", at % 7), public());
    let by_host =
        |at: usize| with(|r| r.hosts = hosts(&[&format!("h{at}.wild.example.com")]), by_path(at));
    let paths = table(&(0..10_000).map(by_path).collect::<Vec<_>>());
    let hosted = table(&(0..10_000).map(by_host).collect::<Vec<_>>());
    for (target, expected) in [("/p3/9999/x", Ok("/p3/9999/*")), ("/p4/9999/x", Err(404))] {
        let expected = expected.map(ToOwned::to_owned);
        assert_eq!(found(&paths, get(target)), expected, "{target}");
        for (host, expected) in
            [("h9999.wild.example.com", &expected), ("h9998.wild.example.com", &Err(404))]
        {
            let request = request("GET", host, target, &[]).unwrap();
            assert_eq!(&found(&hosted, request), expected, "{host}{target}");
        }
    }
}
