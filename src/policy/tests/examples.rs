use super::*;

/// Anonymous, a user, an administrator.
type Statuses = [u16; 3];

fn check(routes: &[(&str, Rule)], cases: &[(&str, Statuses)]) {
    let routes: Vec<_> = routes.iter().map(|(path, rule)| route(path, rule.clone())).collect();
    let table = table(&routes);
    for (target, expected) in cases {
        assert_eq!(statuses(&table, target), *expected, "{target}");
    }
}

#[test]
fn no_spelling_of_a_guarded_path_reaches_past_its_rule() {
    check(
        &[("/*", public()), ("/admin/*", role("admin")), ("/app/*", signed_in())],
        &[
            ("/x", [200, 200, 200]),
            ("/admin/u", [401, 403, 200]),
            ("/admin", [401, 403, 200]),
            ("/Admin/u", [401, 403, 200]),
            ("/ADMIN", [401, 403, 200]),
            ("/admin/", [401, 403, 200]),
            ("/%61dmin/u", [401, 403, 200]),
            ("/admin;x/u", [401, 403, 200]),
            ("/admin;x", [401, 403, 200]),
            ("/;x/admin", [401, 403, 200]),
            ("/admin%3Bx/u", [401, 403, 200]),
            ("/admin%2Fu", [401, 403, 200]),
            ("/admin%5Cu", [401, 403, 200]),
            ("/%5Cadmin/u", [401, 403, 200]),
            ("/%5Cx/admin/u", [401, 403, 200]),
            ("/admin./u", [401, 403, 200]),
            ("/admin%20/u", [401, 403, 200]),
            ("/admin.%20./u", [401, 403, 200]),
            ("/admin%252Fu", [401, 403, 200]),
            ("/%2561dmin/u", [401, 403, 200]),
            ("/%25%36%31dmin/u", [401, 403, 200]),
            ("/%252561dmin/u", [401, 403, 200]),
            ("//admin/u", [401, 403, 200]),
            ("///admin/u", [401, 403, 200]),
            ("//x/admin/u", [401, 403, 200]),
            ("/%2Fx/admin/u", [401, 403, 200]),
            ("/admin%3Fx", [401, 403, 200]),
            ("/admin%23x", [401, 403, 200]),
            ("/App;x/u", [401, 200, 200]),
            ("/a/..%20/b", [400, 400, 400]),
            ("/a/../b", [400, 400, 400]),
            ("/a/%2e%2e/b", [400, 400, 400]),
            ("/a/..;/admin", [400, 400, 400]),
            ("/a%00", [400, 400, 400]),
            ("/admin%09", [400, 400, 400]),
            ("/a%zz", [400, 400, 400]),
            ("/%c0%afadmin", [400, 400, 400]),
            ("/caf%E9", [400, 400, 400]),
            ("/administrator", [200, 200, 200]),
            ("/xadmin/admin", [200, 200, 200]),
            ("/x?/admin/u", [200, 200, 200]),
            ("/file.txt", [200, 200, 200]),
            ("/Report%20Final.pdf", [200, 200, 200]),
            ("/a%20/b", [200, 200, 200]),
        ],
    );
}

#[test]
fn patterns_are_read_as_paths_are() {
    check(
        &[("/admin", role("admin")), ("/*", public())],
        &[("/admin/", [401, 403, 200]), ("/admin", [401, 403, 200]), ("/admin/x", [200, 200, 200])],
    );
    check(
        &[("/Admin/*", role("admin")), ("/*", public())],
        &[("/admin/x", [401, 403, 200]), ("/Admin/x", [401, 403, 200])],
    );
    check(&[("/API", public())], &[("/API", [200; 3]), ("/api", [404; 3]), ("/API/", [404; 3])]);
    check(&[("/docs", public())], &[("/docs", [200; 3]), ("/docs/", [404; 3])]);
    check(
        &[("/docs", public()), ("/docs/", signed_in())],
        &[("/docs", [401, 200, 200]), ("/docs/", [401, 200, 200])],
    );
    for pattern in ["/my%20docs/*", "/my docs/*"] {
        check(
            &[(pattern, role("admin")), ("/*", public())],
            &[
                ("/my%20docs%2Fy", [401, 403, 200]),
                ("/my%20docs/y", [401, 403, 200]),
                ("/my%20docs%5Cy", [401, 403, 200]),
                ("/my%2520docs/y", [401, 403, 200]),
                ("/mydocs/y", [200, 200, 200]),
            ],
        );
    }
    check(
        &[("/a%2Fb/*", role("admin")), ("/*", public())],
        &[("/a/b/c", [401, 403, 200]), ("/a%2Fb/c", [401, 403, 200]), ("/a/c", [200; 3])],
    );
}

#[test]
fn an_application_with_one_rule_never_notices() {
    let kinds = [
        "/api/v4/projects/group%2Fname",
        "/api/queues/%2F/q",
        "/job/a%252Fb/",
        "/app;jsessionid=AB12/x",
        "/proxy/https://x.org/y",
        "/@scope%2fpkg",
        "//a",
        "/A/",
    ];
    let cases = kinds.map(|path| (path, [401, 200, 200]));
    check(&[("/*", signed_in())], &cases);
    check(
        &[("/gitlab/*", signed_in()), ("/admin/*", role("admin"))],
        &[("/gitlab/api/v4/projects/group%2Fname", [401, 200, 200])],
    );
}

#[test]
fn beside_a_guarded_path_each_of_the_same_kinds_is_refused() {
    check(
        &[("/*", signed_in()), ("/admin/*", role("admin"))],
        &[
            ("/admin%2Fname", [401, 403, 200]),
            ("/admin/queues/%2F/q", [401, 403, 200]),
            ("/admin%252Fb/", [401, 403, 200]),
            ("/admin;jsessionid=AB12/x", [401, 403, 200]),
            ("//x.org/admin", [401, 403, 200]),
            ("/api/v4/projects/group%2Fname", [401, 200, 200]),
            ("/api/queues/%2F/q", [401, 200, 200]),
        ],
    );
}

#[test]
fn a_reading_without_a_route_refuses_and_a_literal_segment_beats_a_named_one() {
    check(
        &[("/p/{id}", signed_in())],
        &[("/p/group%2Fname", [401, 404, 404]), ("/p/x", [401, 200, 200])],
    );
    check(
        &[("/{tenant}/admin/*", role("admin")), ("/public/*", public())],
        &[("/public/admin/x", [200; 3]), ("/x/admin/y", [401, 403, 200])],
    );
}

#[test]
fn a_reading_that_is_one_of_our_endpoints_is_not_found() {
    let uniform = [("/*", signed_in())];
    let cases = [
        "/Auth/login",
        "/auth;x/login",
        "/auth%2Flogin",
        "/x%2F",
        "//x/auth/me",
        "/%61uth%2Fsessions",
    ];
    let expected = [
        [401, 404, 404],
        [401, 404, 404],
        [401, 404, 404],
        [401, 200, 200],
        [401, 404, 404],
        [401, 404, 404],
    ];
    let cases: Vec<_> = cases.into_iter().zip(expected).collect();
    check(&uniform, &cases);
    check(&[("/*", signed_in()), ("/x/*", public())], &cases[..3]);
}
