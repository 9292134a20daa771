//! What the metrics tell of refresh tokens and keys.

use std::time::Duration;

use crate::support::{Client, Gateway, request};

const ON: &str = "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\n\
    admin = \"127.0.0.1:0\"\nworkers = 1\n";

fn value(gateway: &Gateway, series: &str) -> Option<f64> {
    let ask = request("GET /metrics", &[], "");
    let metrics = Client::connect(gateway.admin_address()).ask(ask).expect(200).text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|number| number.parse().unwrap())
}

#[test]
fn replays_are_measured_by_their_age_and_by_what_changed() {
    let gateway = Gateway::start(ON);
    let age =
        |what: &str| value(&gateway, &format!("portcullis_refresh_replay_age_seconds_{what}"));
    let changed = |what: &str| {
        let series = format!("portcullis_refresh_replay_changed_total{{what=\"{what}\"}}");
        value(&gateway, &series)
    };
    assert_eq!((age("count"), age("sum")), (Some(0.0), Some(0.0)));
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    gateway.advance(Duration::from_secs(60));
    let refresh = |agent: &str| {
        let headers = [("Cookie", &*cookies), ("User-Agent", agent)];
        gateway.ask("POST /auth/refresh", &headers, "").expect(200)
    };
    refresh("one");
    gateway.advance(Duration::from_secs(7));
    refresh("one");
    assert_eq!((age("count"), age("sum")), (Some(1.0), Some(7.0)));
    assert_eq!(changed("agent"), None);
    refresh("another");
    assert_eq!((age("count"), changed("agent")), (Some(2.0), Some(1.0)));
}

#[test]
fn the_age_of_the_signing_key_is_told() {
    let gateway = Gateway::start(ON);
    let age = || value(&gateway, "portcullis_jwt_key_age_seconds");
    let before = age().unwrap();
    gateway.advance(Duration::from_secs(1000));
    assert_eq!(age(), Some(before + 1000.0));
    let shared = Gateway::start(&format!(
        "{ON}[tokens]\nalgorithm = \"HS256\"\nsecret = \"qWxvbmcgc2hhcmVkIHNlY3JldCB0aGF0IG5v\"\n"
    ));
    assert_eq!(value(&shared, "portcullis_jwt_key_age_seconds"), None);
}
