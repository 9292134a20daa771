use super::*;

#[test]
fn an_explanation_tells_what_the_gateway_does() {
    let mut posts = route("/admin/*", role("admin"));
    posts.name = "posts".into();
    posts.methods = methods(&["POST"]);
    let table = table(&[route("/*", public()), route("/admin/*", role("admin")), posts]);
    let told = explain(&table, get("/Admin%2Fx"), known(&["user"]), false);
    assert_eq!(
        serde_json::to_value(&told).unwrap(),
        serde_json::json!({
            "path": "/Admin%2Fx",
            "readings": [
                { "reading": "/admin%2fx", "routes": ["/*"] },
                { "reading": "/admin/x", "routes": ["/admin/*"] },
            ],
            "candidates": [{ "route": "/*", "pattern": "/*", "why_lost": null }],
            "verdict": "forbidden",
            "route": "/*",
            "upstream": 0,
        })
    );
    let told = explain(&table, get("/admin/x"), known(&["admin"]), false);
    let lost: Vec<_> = told.candidates.iter().map(|c| (c.route.as_str(), c.why_lost)).collect();
    let expected = [
        ("/admin/*", None),
        ("posts", Some("its methods")),
        ("/*", Some("a more specific path matches")),
    ];
    assert_eq!(lost, expected);
    assert_eq!(told.verdict, Verdict::Permitted);
    assert_eq!(&*told.permitted.unwrap().route().name, "/admin/*");
}

#[test]
fn where_no_host_of_ours_is_asked_every_candidate_lost_by_its_host() {
    let mut gets = route("/g", signed_in());
    gets.methods = methods(&["GET"]);
    let table = table(&[gets, route("/*", public())]);
    let asked = request("GET", "other.example.com", "/g", &[]).unwrap();
    let told = explain(&table, asked, anonymous(), false);
    assert_eq!(told.verdict.code(), "misdirected");
    let lost: Vec<_> = told.candidates.iter().map(|candidate| candidate.why_lost).collect();
    assert_eq!(lost, [Some("the host is none of ours"); 2]);
}

#[test]
fn refusals_and_endpoints_have_codes() {
    let mut gets = route("/g", signed_in());
    gets.methods = methods(&["GET"]);
    let table = table(&[gets, route("/p/{x}", public())]);
    let code = |method: &str, host: &str, path: &str| {
        explain(&table, request(method, host, path, &[]).unwrap(), anonymous(), false)
            .verdict
            .code()
    };
    assert_eq!(code("GET", HOST, "/g"), "sign_in");
    assert_eq!(code("PUT", HOST, "/g"), "method_not_allowed");
    assert_eq!(code("GET", HOST, "/x"), "not_found");
    assert_eq!(code("GET", HOST, "/p/a%2Fb"), "not_found");
    assert_eq!(code("GET", HOST, "/p/%FF"), "ambiguous_path");
    assert_eq!(code("GET", HOST, "/auth/me"), "endpoint");
    assert_eq!(code("GET", "other.example.com", "/g"), "misdirected");
}
