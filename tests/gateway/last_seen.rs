//! When a session was last used: noted once a minute, shown by the hour.

use std::time::Duration;

use crate::sessions::row;
use crate::support::{Gateway, eventually};

const MINUTE: Duration = Duration::from_secs(60);
const LONG: &str = "[tokens]\naccess_ttl = \"60m\"\naccess_jitter = 0.0\n";

fn seen(gateway: &Gateway, session: &str) -> i64 {
    row(gateway, session, "last_seen_at").unwrap().parse().unwrap()
}

#[test]
fn a_session_in_use_is_noted_within_a_minute_whatever_carries_its_token() {
    let gateway = Gateway::start(LONG);
    let script = gateway.login("alice");
    let browser = gateway.login_by_cookie("alice");
    let idle = gateway.login("alice");
    let began = seen(&gateway, &script.session);
    gateway.advance(50 * MINUTE);
    let now = began + 50 * 60_000;
    let by_cookie = [("Cookie", &*browser.cookie_header())];
    // Each worker has a round of its own, which may have to end first.
    for session in [&script.session, &browser.member("session_id")] {
        eventually("it is noted", || {
            gateway.get_as("/auth/me", &script.access).expect(200);
            gateway.get("/auth/me", &by_cookie).expect(200);
            gateway.advance(Duration::from_secs(1));
            (seen(&gateway, session) >= now).then_some(())
        });
    }
    assert_eq!(seen(&gateway, &idle.session), began, "nobody used it");
    let list = gateway.get("/auth/sessions", &by_cookie).expect(200).json();
    for session in list["sessions"].as_array().unwrap() {
        let shown = session["last_seen_at"].as_str().unwrap();
        assert!(shown.ends_with(":00:00Z"), "the hour and no more: {shown}");
    }
}

#[test]
fn no_request_writes_and_a_session_that_has_ended_stays_as_it_was() {
    let gateway = Gateway::start(LONG);
    let tokens = gateway.login("alice");
    let began = seen(&gateway, &tokens.session);
    // The clock stands still, so no round ends.
    for _ in 0..20 {
        gateway.get_as("/auth/me", &tokens.access).expect(200);
    }
    assert_eq!(seen(&gateway, &tokens.session), began);
    gateway.advance(30 * MINUTE);
    gateway.get_as("/auth/me", &tokens.access).expect(200);
    let body = format!(r#"{{"refresh_token":"{}"}}"#, tokens.refresh);
    gateway.post_json("/auth/logout", &[], &body).expect(200);
    let at_the_end = seen(&gateway, &tokens.session);
    gateway.advance(2 * MINUTE);
    let other = gateway.login("alice");
    let later = seen(&gateway, &other.session);
    gateway.advance(2 * MINUTE);
    eventually("the other one is noted", || {
        gateway.get_as("/auth/me", &other.access).expect(200);
        gateway.advance(Duration::from_secs(1));
        (seen(&gateway, &other.session) > later).then_some(())
    });
    assert_eq!(seen(&gateway, &tokens.session), at_the_end);
}
