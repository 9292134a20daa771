//! Advisories about paths and hosts, continued.

use super::Pair;
use crate::support::{Gateway, Upstream, request};

#[test]
fn cve_2023_48223_cve_2026_33494_a_path_that_climbs_out_of_an_open_one() {
    let pair = Pair::new();
    for target in [
        "/public/../admin/secrets",
        "/public/%2e%2e/admin/secrets",
        "/public/x/..%2f..%2fadmin/secrets",
        "/public/./%2e./admin",
        "/public/..;/admin/x",
    ] {
        pair.guards(target, &[]);
    }
}

#[test]
fn cve_2026_26205_two_slashes_first_are_no_host() {
    let pair = Pair::new();
    for target in
        ["//admin/x", "//public/admin/x", "///admin/x", "//evil.example/admin", "/%2Fx/admin/y"]
    {
        pair.guards(target, &[]);
    }
}

#[test]
fn cve_2026_27587_an_escape_in_the_pattern_or_the_path_and_another_case() {
    let upstream = Upstream::hello();
    let url = upstream.url();
    let gateway = Gateway::start(&format!(
        "[[routes]]\npath = \"/*\"\naccess = \"public\"\nupstream = \"{url}\"\n\
         [[routes]]\npath = \"/admin%2Fpanel/*\"\nroles = [\"admin\"]\nupstream = \"{url}\"\n"
    ));
    for target in [
        "/admin%2Fpanel",
        "/admin%2fpanel/x",
        "/ADMIN%2Fpanel/x",
        "/Admin%2FPANEL",
        "/%41dmin%2Fp%41nel/x",
    ] {
        gateway.get(target, &[]).expect(401);
    }
    assert_eq!(upstream.seen().len(), 0);
    gateway.get("/administration", &[]).expect(200);
}

#[test]
fn cve_2026_27588_and_cve_2022_23632_a_host_in_another_case_or_with_its_final_dot() {
    let upstream = Upstream::hello();
    let url = upstream.url();
    let hosts: Vec<String> = (0..150).map(|n| format!("\"a{n}.example\"")).collect();
    let hosts = hosts.join(", ");
    let gateway = Gateway::start(&format!(
        "[[routes]]\nhost = \"*.example\"\npath = \"/*\"\naccess = \"public\"\nupstream = \"{url}\"\n\
         [[routes]]\nname = \"many\"\nhost = [{hosts}]\npath = \"/*\"\nroles = [\"admin\"]\nupstream = \"{url}\"\n"
    ));
    let port = gateway.address().port();
    for host in ["a7.example", "A7.EXAMPLE", "a149.Example", "a7.example.", "A7.example."] {
        let host = format!("{host}:{port}");
        let answer = gateway.connect().ask(request("GET /x", &[("Host", &host)], ""));
        assert_eq!(answer.status, 401, "{host}: {}", answer.text());
    }
    assert_eq!(upstream.seen().len(), 0);
    let other = format!("a150.example:{port}");
    gateway.connect().ask(request("GET /x", &[("Host", &other)], "")).expect(200);
}

#[test]
fn cve_2026_40912_cve_2026_48020_and_cve_2026_65600_what_is_left_of_a_stripped_path() {
    let upstream = Upstream::hello();
    let url = upstream.url();
    let gateway = Gateway::start(&format!(
        "[[routes]]\npath = \"/app/*\"\naccess = \"public\"\nstrip_prefix = \"/app\"\nupstream = \"{url}\"\n\
         [[routes]]\npath = \"/app/admin/*\"\nroles = [\"admin\"]\nupstream = \"{url}\"\n"
    ));
    for target in [
        "/app../admin/x",
        "/app/../admin/x",
        "/app/./admin/x",
        "/app/%2e%2e/admin",
        "/app%2F..%2Fadmin",
        "/app%2Fadmin/x",
        "/app//admin/x",
        "/app/%2Fadmin/x",
        "/app//evil.example/x",
        "/app/%5Cadmin/x",
        "/app;x/admin/x",
        "/APP/admin/x",
        "/app/%2561dmin/x",
    ] {
        let answer = gateway.get(target, &[]);
        assert!((400..405).contains(&answer.status), "{target}: {}", answer.status);
        assert_eq!(upstream.seen().len(), 0, "{target}");
    }
    gateway.get("/app/x%2Fy", &[]).expect(200);
    assert_eq!(upstream.last().line(), "GET /x%2Fy");
}

#[test]
fn cve_2026_41059_an_escaped_fragment_that_ends_like_an_open_path() {
    let pair = Pair::new();
    for target in ["/admin%23/public/x", "/admin%23", "/admin/x%2523/public", "/admin%3F/public/x"]
    {
        pair.guards(target, &[]);
    }
    let host = pair.gateway.host();
    let bytes = format!("GET http://{host}/admin/x#/public/y HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let answer = pair.send(bytes.as_bytes()).expect("an answer");
    assert!((400..405).contains(&answer.status), "{}", answer.status);
}

#[test]
fn cve_2026_52844_a_backslash_that_an_application_on_windows_takes_for_a_slash() {
    let pair = Pair::new();
    for target in ["/admin%5Cx", "/%5Cadmin%5Cx", "/x%5C..%5Cadmin", "/admin%255Cx", "/admin.%5Cx"]
    {
        pair.guards(target, &[]);
    }
    for target in ["/public%5C..%5Cadmin", "/public/..%5Cadmin", "/public\\..\\admin"] {
        pair.guards(target, &[]);
    }
}
