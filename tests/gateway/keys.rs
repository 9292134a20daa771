//! Signing keys that come and go: the behaviour of row 40 in `docs/sessions.md`, and the commands.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use portcullis::app::administration;
use portcullis::app::control::{Answer, Command};
use portcullis::app::keys::{self, KeyOrder};
use portcullis::config::{self, Config, Environment};
use portcullis::token::OldKeys;

use crate::support::{Gateway, Tokens, Upstream};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// So many connections that each of two workers gets some, but for one chance in a million.
const ENOUGH: usize = 20;
const LONG: &str = "[tokens]\naccess_ttl = \"60m\"\naccess_jitter = 0.0\n";
/// Without it, the port would be part of the issuer, and tokens would end with the port.
const ISSUER: &str = "[tokens]\nissuer = \"https://app.example.com\"\n";

fn config(gateway: &Gateway) -> Config {
    let text = fs::read_to_string(gateway.file()).unwrap();
    config::read(&text, &gateway.file(), &Environment::fixed([])).unwrap().config
}

/// What the command line would be told.
fn order(gateway: &Gateway, order: KeyOrder) -> Answer {
    let (config, command) = (config(gateway), Command::Key(order));
    let asked = administration::ask(&config.server.data_dir, &command).expect("it can be asked");
    asked.unwrap_or_else(|| administration::administer(config, command).expect("it is answered"))
}

fn states(gateway: &Gateway) -> Vec<String> {
    match order(gateway, KeyOrder::List) {
        Answer::Keys(keys) => keys.into_iter().map(|key| key.state).collect(),
        other => panic!("{other:?}"),
    }
}

/// The kids that every worker publishes.
fn published(gateway: &Gateway) -> Vec<String> {
    let jwks: Vec<_> = (0..ENOUGH).map(|_| gateway.get("/auth/jwks.json", &[]).json()).collect();
    assert!(jwks.iter().all(|other| *other == jwks[0]), "{jwks:?}");
    let keys = jwks[0]["keys"].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn kid(access: &str) -> String {
    use base64::Engine;
    let header = access.split('.').next().unwrap();
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&json).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

#[track_caller]
fn everywhere(gateway: &Gateway, access: &str, status: u16) {
    for _ in 0..ENOUGH {
        gateway.get_as("/x", access).expect(status);
    }
}

#[test]
fn row_40_a_new_key_is_published_before_it_signs_and_old_tokens_live_out() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!("{LONG}{}", crate::support::routes(&upstream.url())));
    let before = gateway.login("alice");
    let old = kid(&before.access);
    assert!(matches!(order(&gateway, KeyOrder::Rotate { revoke_old: false }), Answer::Done(_)));
    assert_eq!(states(&gateway), ["active", "next"]);
    let kids = published(&gateway);
    assert_eq!((kids.len(), &kids[0]), (2, &old));

    gateway.advance(15 * MINUTE);
    let last = Tokens::of(&gateway.refresh(&before.refresh).expect(200));
    assert_eq!(kid(&last.access), old, "for a quarter of an hour the new one signs nothing");
    gateway.advance(Duration::from_secs(1));
    let fresh = Tokens::of(&gateway.refresh(&last.refresh).expect(200));
    assert_eq!(kid(&fresh.access), kids[1]);
    assert_eq!(states(&gateway), ["retired", "active"]);
    everywhere(&gateway, &last.access, 200);

    gateway.advance(59 * MINUTE);
    gateway.auth().keys().keep_house().unwrap();
    everywhere(&gateway, &last.access, 200);
    gateway.advance(4 * MINUTE);
    gateway.auth().keys().keep_house().unwrap();
    assert_eq!(published(&gateway), [kids[1].as_str()]);
    gateway.refresh(&fresh.refresh).expect(200);
}

#[test]
fn row_40_revoking_ends_access_tokens_on_every_worker_and_no_session() {
    let upstream = Upstream::hello();
    let routes = crate::support::routes(&upstream.url());
    let mut gateway = Gateway::start(&format!("{ISSUER}{routes}"));
    let before = gateway.login("alice");
    everywhere(&gateway, &before.access, 200);
    let answer = order(&gateway, KeyOrder::Rotate { revoke_old: true });
    assert!(matches!(&answer, Answer::Done(text) if text.contains("sessions go on")), "{answer:?}");
    everywhere(&gateway, &before.access, 401);
    let after = Tokens::of(&gateway.refresh(&before.refresh).expect(200));
    everywhere(&gateway, &after.access, 200);
    assert_eq!(published(&gateway), [kid(&after.access)]);
    assert!(gateway.audit().contains("auth.key.rotated"), "{}", gateway.audit());

    gateway.restart();
    everywhere(&gateway, &before.access, 401);
    everywhere(&gateway, &after.access, 200);
}

#[test]
fn keys_rotate_by_age() {
    let gateway = Gateway::start("[tokens]\nrotate_every = \"2d\"\n");
    let before = kid(&gateway.login("alice").access);
    gateway.advance(2 * DAY - 16 * MINUTE);
    gateway.auth().keys().keep_house().unwrap();
    assert_eq!(published(&gateway), [before.as_str()]);
    gateway.advance(MINUTE);
    gateway.auth().keys().keep_house().unwrap();
    assert_eq!(published(&gateway).len(), 2);
    assert_eq!(kid(&gateway.login("alice").access), before);
    gateway.advance(16 * MINUTE);
    assert_ne!(kid(&gateway.login("alice").access), before);
    let audit = gateway.audit();
    assert!(
        audit.contains(
            r#""event":"auth.key.rotated","level":"info","outcome":"success","reason":"age""#
        ),
        "{audit}"
    );
}

#[test]
fn the_command_works_on_the_files_when_no_gateway_runs() {
    let mut gateway = Gateway::start(ISSUER);
    let before = gateway.login("alice");
    gateway.restart();
    gateway.get_as("/auth/me", &before.access).expect(200);
    gateway.stop();
    let answer = order(&gateway, KeyOrder::Rotate { revoke_old: true });
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
    gateway.restart();
    // The command line has the machine's clock: its key waits for that moment unless it is alone.
    gateway.get_as("/auth/me", &before.access).expect(401);
    let after = Tokens::of(&gateway.refresh(&before.refresh).expect(200));
    gateway.get_as("/auth/me", &after.access).expect(200);
}

#[test]
fn a_rotation_survives_a_restart() {
    let mut gateway = Gateway::start("");
    gateway.auth().keys().rotate(OldKeys::Overlap).access.unwrap();
    let kids = published(&gateway);
    gateway.restart();
    assert_eq!(published(&gateway), kids);
    assert_eq!(kid(&gateway.login("alice").access), kids[0]);
    gateway.advance(16 * MINUTE);
    assert_eq!(kid(&gateway.login("alice").access), kids[1]);
}

#[test]
fn shared_secrets_are_rotated_in_the_file() {
    let secret = "R3VhcmQgdGhlIGdhdGUgd2VsbCwgc3RyYW5nZXI";
    let gateway =
        Gateway::start(&format!("[tokens]\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n"));
    for revoke_old in [false, true] {
        match order(&gateway, KeyOrder::Rotate { revoke_old }) {
            Answer::Refused(why) => assert!(why.contains("tokens.secret = [NEW, OLD]"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(states(&gateway), ["active"]);
    assert_eq!(published(&gateway), [] as [String; 0]);
}

#[test]
fn a_backup_holds_every_key_for_its_owner_alone_and_overwrites_nothing() {
    let gateway = Gateway::start("");
    gateway.auth().keys().rotate(OldKeys::Overlap).access.unwrap();
    let to = gateway.folder().join("keys.tar");
    let said = keys::backup(&config(&gateway), &to).unwrap();
    assert!(said.contains("3 keys") && said.contains("tar -xpf"), "{said}");
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(&to).unwrap();
    let master = fs::read(gateway.folder().join("data/master")).unwrap();
    assert!(bytes.windows(master.len()).any(|window| window == master));
    let error = keys::backup(&config(&gateway), &to).unwrap_err().to_string();
    assert!(error.contains("never overwritten"), "{error}");
    assert_eq!(fs::read(&to).unwrap(), bytes);
}

const SECRET: &str =
    "[tokens]\nalgorithm = \"HS256\"\nsecret = \"R3VhcmQgdGhlIGdhdGUgd2VsbCwgc3RyYW5nZXI\"\n";

/// A route that tells its application by an assertion who asks.
fn signed(upstream: &Upstream) -> String {
    let url = upstream.url();
    format!(
        "[upstreams.wiki]\nservers = [\"{url}\"]\n[[routes]]\npath = \"/*\"\nidentity = \"signed\"\nupstream = \"wiki\"\n"
    )
}

/// Purpose and state of every key, as `key list` shows them.
fn listed(gateway: &Gateway) -> Vec<String> {
    match order(gateway, KeyOrder::List) {
        Answer::Keys(keys) => {
            keys.into_iter().map(|key| format!("{} {}", key.purpose, key.state)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn done(answer: Answer) -> String {
    match answer {
        Answer::Done(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_keys_of_assertions_are_listed_and_rotated_beside_those_of_access_tokens() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&signed(&upstream));
    assert_eq!(listed(&gateway), ["access active", "assertion active"]);
    let text = done(order(&gateway, KeyOrder::Rotate { revoke_old: false }));
    assert_eq!(text.matches("is published, and signs from").count(), 2, "{text}");
    assert!(text.starts_with("assertion key ") && text.contains("\nkey "), "{text}");
    let next = ["access active", "access next", "assertion active", "assertion next"];
    assert_eq!(listed(&gateway), next);
    let again = done(order(&gateway, KeyOrder::Rotate { revoke_old: false }));
    assert_eq!(again.matches("was on its way already").count(), 2, "{again}");
    assert_eq!(listed(&gateway), next, "and no other came");
    let text = done(order(&gateway, KeyOrder::Rotate { revoke_old: true }));
    assert!(text.contains("every assertion before it is refused"), "{text}");
    assert_eq!(listed(&gateway), ["access active", "assertion active"]);
    let audit = gateway.audit();
    for (event, times) in [
        ("auth.key.rotated", 2),
        ("auth.key.removed", 2),
        ("auth.assertion_key.rotated", 2),
        ("auth.assertion_key.removed", 2),
    ] {
        let line = format!("\"event\":\"{event}\"");
        let told: Vec<_> = audit.lines().filter(|told| told.contains(&line)).collect();
        assert_eq!(told.len(), times, "{event}: {audit}");
        assert!(told.iter().all(|told| told.contains("\"kid\":\"")), "{told:?}");
    }
}

#[test]
fn beside_shared_secrets_the_keys_of_assertions_are_listed_and_rotated() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!("{SECRET}{}", signed(&upstream)));
    assert_eq!(listed(&gateway), ["access active", "assertion active"]);
    let text = done(order(&gateway, KeyOrder::Rotate { revoke_old: false }));
    assert!(text.starts_with("assertion key "), "{text}");
    for part in ["is published, and signs from", "tokens.secret = [NEW, OLD]", "portcullis reload"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let first = published(&gateway)[0].clone();
    let text = done(order(&gateway, KeyOrder::Rotate { revoke_old: true }));
    assert!(text.contains("signs from now on") && text.contains("take OLD out"), "{text}");
    let now = published(&gateway);
    assert!(now.len() == 1 && now[0] != first, "{now:?}");
    assert_eq!(listed(&gateway), ["access active", "assertion active"]);
}

#[test]
fn a_key_that_cannot_be_removed_is_rotated_and_told_all_the_same() {
    let gateway = Gateway::start("");
    let before = gateway.login("alice");
    let folder = gateway.folder().join("data/keys");
    let file =
        fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).find(|at| at.is_file());
    // A folder of its name cannot be removed as a file.
    let file = file.unwrap();
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    match order(&gateway, KeyOrder::Rotate { revoke_old: true }) {
        Answer::Refused(why) => assert!(why.contains("remove it by hand"), "{why}"),
        other => panic!("{other:?}"),
    }
    gateway.get_as("/auth/me", &before.access).expect(401);
    assert!(gateway.audit().contains("auth.key.rotated"), "{}", gateway.audit());
    fs::remove_dir(&file).unwrap();
}
