use super::*;
use crate::upstream::tests::{lines, map};

fn cleaned(keeper: Keeper, sent: &[(&'static str, &'static str)]) -> Vec<String> {
    let mut headers = map(sent);
    clean_answer(&mut headers, keeper);
    lines(&headers)
}

#[test]
fn an_answer_keeps_its_length_and_loses_its_hops() {
    let sent = [
        ("Connection", "close, X-Hop, Content-Length"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authenticate", "Basic"),
        ("Upgrade", "h2c"),
        ("Content-Length", "5"),
        ("Server", "gunicorn"),
    ];
    assert_eq!(cleaned(Keeper::AsSent, &sent), ["content-length: 5", "server: gunicorn"]);
}

#[test]
fn an_upstream_can_neither_set_nor_delete_our_cookies() {
    let ours = [
        "__Host-pc_at=x; Path=/",
        "__HOST-PC_AT=x",
        "__Secure-pc_rt=x",
        "pc_at_8080=x",
        " __Host-pc_rt =; Max-Age=0",
        "=__Host-pc_at=x",
        " = pc_at=x",
        "pc_at",
        "\"pc_at\"=x",
        "a=1, pc_at=x",
        "$Version=1",
    ];
    for cookie in ours {
        let left =
            cleaned(Keeper::AsSent, &[("Set-Cookie", cookie), ("Set-Cookie", "sid=1; Path=/")]);
        assert_eq!(left, ["set-cookie: sid=1; Path=/"], "{cookie:?}");
    }
    let kept = [("Set-Cookie", "b=2"), ("Set-Cookie", "a=__Host-pc_at=x")];
    assert_eq!(cleaned(Keeper::AsSent, &kept), ["set-cookie: a=__Host-pc_at=x", "set-cookie: b=2"]);
}

#[test]
fn clearing_the_site_spares_cookies() {
    let left = cleaned(
        Keeper::AsSent,
        &[
            ("Clear-Site-Data", "\"cache\", \"cookies\" , \"storage\""),
            ("Clear-Site-Data", "\"*\""),
        ],
    );
    assert_eq!(left, ["clear-site-data: \"cache\", \"storage\""]);
    assert_eq!(cleaned(Keeper::AsSent, &[("Clear-Site-Data", "\"Cookies\",*")]), [""; 0]);
}

#[test]
fn the_answer_to_a_known_caller_is_no_shared_caches_business() {
    let cases = [
        ("public, max-age=60", "max-age=60, private"),
        ("PUBLIC , S-MaxAge=5, no-store", "no-store"),
        ("no-store", "no-store"),
        ("private", "private"),
        ("private=\"x, public\", max-age=1", "max-age=1, private"),
        ("no-cache=\"a, public, b\"", "no-cache=\"a, public, b\", private"),
        ("s-maxage = 5,, proxy-revalidate", "private"),
        ("max-age=1, x=\"a, public", "no-store"),
    ];
    for (sent, expected) in cases {
        assert_eq!(
            cleaned(Keeper::Browser, &[("Cache-Control", sent)]),
            [format!("cache-control: {expected}")]
        );
        assert_eq!(
            cleaned(Keeper::AsSent, &[("Cache-Control", sent)]),
            [format!("cache-control: {sent}")]
        );
    }
    let sent = [
        ("Cache-Control", "max-age=1"),
        ("Cache-Control", "public"),
        ("Surrogate-Control", "x"),
        ("CDN-Cache-Control", "x"),
        ("Cloudflare-CDN-Cache-Control", "x"),
        ("X-Accel-Expires", "600"),
        ("Edge-Control", "max-age=600"),
        ("ETag", "x"),
    ];
    assert_eq!(cleaned(Keeper::Browser, &sent), ["cache-control: max-age=1, private", "etag: x"]);
    assert_eq!(cleaned(Keeper::Browser, &[]), ["cache-control: private"]);
    assert_eq!(cleaned(Keeper::AsSent, &[]), [""; 0]);
}

#[test]
fn nobody_keeps_what_nobody_may() {
    let sent = [
        ("Cache-Control", "public, max-age=600"),
        ("Cache-Control", "immutable"),
        ("CDN-Cache-Control", "max-age=600"),
        ("ETag", "x"),
    ];
    assert_eq!(cleaned(Keeper::Nobody, &sent), ["cache-control: no-store", "etag: x"]);
    assert_eq!(cleaned(Keeper::Nobody, &[]), ["cache-control: no-store"]);
}

#[test]
fn what_turns_out_to_be_one_users_is_narrowed_afterwards() {
    let narrowed = |keeper, sent: &[(&'static str, &'static str)]| {
        let mut headers = map(sent);
        keep_from_others(&mut headers, keeper);
        lines(&headers)
    };
    let shared = [("Cache-Control", "public, max-age=1"), ("Surrogate-Control", "x")];
    assert_eq!(narrowed(Keeper::AsSent, &shared), ["cache-control: max-age=1, private"]);
    assert_eq!(narrowed(Keeper::Browser, &shared), ["cache-control: max-age=1, private"]);
    assert_eq!(narrowed(Keeper::Nobody, &shared), ["cache-control: no-store"]);
    assert_eq!(
        narrowed(Keeper::Browser, &[("Cache-Control", "no-store")]),
        ["cache-control: no-store"]
    );
}

#[test]
fn a_route_decides_who_may_keep_its_answers() {
    use CachePolicy::{NoStore, Private, Upstream};
    for (policy, known, unknown) in [
        (Private, Keeper::Browser, Keeper::AsSent),
        (NoStore, Keeper::Nobody, Keeper::Nobody),
        (Upstream, Keeper::AsSent, Keeper::AsSent),
    ] {
        assert_eq!(
            (Keeper::of(policy, true), Keeper::of(policy, false)),
            (known, unknown),
            "{policy:?}"
        );
    }
}
