use super::*;
use crate::identity::Username;
use crate::token::MasterKey;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn masters(ids: &[u8]) -> MasterKeys {
    let key = |id: &u8| MasterKey { id: *id, key: Secret::new([*id; 32]) };
    MasterKeys::new(ids.iter().map(key).collect()).unwrap()
}

fn user(id: u8, password_epoch: u32) -> User {
    User {
        id: UserId::from_bytes([id; 16]),
        username: Username::new("alice").unwrap(),
        name: None,
        email: None,
        roles: Vec::new(),
        hash: None,
        password_epoch,
        disabled: None,
        created: NOW,
    }
}

#[test]
fn a_device_cookie_is_of_its_user_its_password_and_its_time_alone() {
    let masters = masters(&[1]);
    let alice = user(7, 3);
    let cookie = cookie(&masters, (alice.id, 3), NOW);
    let cookie = cookie.expose_str().unwrap();
    let of = |user: Option<&User>, now| is_of(&masters, cookie, user, now);
    assert!(of(Some(&alice), NOW));
    assert!(of(Some(&alice), NOW.plus(DEVICE_LIFE - Duration::from_secs(1))));
    assert!(!of(Some(&alice), NOW.plus(DEVICE_LIFE)));
    assert!(!of(Some(&user(7, 4)), NOW), "the password changed");
    assert!(!of(Some(&user(8, 3)), NOW), "somebody else");
    assert!(!of(None, NOW), "nobody");
}

#[test]
fn a_device_cookie_outlives_the_rotation_of_the_master_key_but_not_its_loss() {
    let alice = user(7, 0);
    let old = cookie(&masters(&[1]), (alice.id, 0), NOW);
    let old = old.expose_str().unwrap();
    assert!(is_of(&masters(&[2, 1]), old, Some(&alice), NOW));
    assert!(!is_of(&masters(&[2]), old, Some(&alice), NOW));
}

#[test]
fn no_other_text_is_a_device_cookie() {
    let masters = masters(&[1]);
    let alice = user(7, 0);
    let good = cookie(&masters, (alice.id, 0), NOW);
    let good = good.expose_str().unwrap();
    for at in 0..good.len() {
        let mut bytes = good.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(bytes).unwrap();
        assert!(!is_of(&masters, &other, Some(&alice), NOW), "{other}");
    }
    let nobody = cookie(&masters, (UserId::from_bytes([0; 16]), 0), NOW);
    assert!(!is_of(&masters, nobody.expose_str().unwrap(), None, NOW));
    for other in [
        "",
        "A",
        good.get(1..).unwrap(),
        &format!("{good}="),
        &format!("{good}A"),
        &"A".repeat(9999),
    ] {
        assert!(!is_of(&masters, other, Some(&alice), NOW), "{other}");
    }
}

#[test]
fn a_browser_is_named_by_what_it_says_and_a_program_is_not() {
    for (agent, expected) in [
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            Some("Firefox on Linux"),
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
            Some("Edge on Windows"),
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
            Some("Chrome on Android"),
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
            Some("Safari on iPhone"),
        ),
        ("curl/8.14.1", None),
        ("", None),
    ] {
        assert_eq!(device_name(agent, "on").as_deref(), expected, "{agent}");
    }
}
