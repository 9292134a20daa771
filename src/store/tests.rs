//! What every back end must do, run for each.

use std::sync::Barrier;
use std::thread;

use tempfile::TempDir;

use super::*;
use crate::session::{Presented, Transport, Verdict, Windows};

/// A store on a clock that the test moves.
pub(super) struct Bench {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) folder: Option<TempDir>,
}

pub(super) const CHECKS: [(u8, [u8; 32]); 1] = [(1, [0xc1; 32])];
pub(super) const START: Timestamp = Timestamp::from_millis(1_800_000_000_400);
const WINDOWS: Windows =
    Windows { cookie: Duration::from_secs(30), keyed: Duration::from_secs(120) };
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const ALICE: UserId = UserId::from_bytes([0xa1; 16]);
const BOB: UserId = UserId::from_bytes([0xb0; 16]);

pub(super) fn on_file() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(START);
    let place = folder.path().join("portcullis.db");
    let store = Store::open(Place::File(&place), &CHECKS, &clock).unwrap();
    Bench { store, clock, folder: Some(folder) }
}

fn in_memory() -> Bench {
    let clock = Clock::manual(START);
    let store = Store::open(Place::Memory, &CHECKS, &clock).unwrap();
    Bench { store, clock, folder: None }
}

macro_rules! conformance {
    ($($name:ident)*) => {
        mod file {
            $(#[tokio::test] async fn $name() { super::$name(super::on_file()).await; })*
        }
        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(super::in_memory()).await; })*
        }
    };
}

conformance! {
    a_user_is_found_as_added_by_name_and_by_id
    a_name_is_taken_once_and_stays_reserved_when_deleted
    a_freed_name_can_be_used_again_by_somebody_else
    a_name_that_somebody_ever_had_is_told_though_it_is_free
    a_changed_user_that_is_unknown_or_deleted_is_told_so
    a_session_begins_as_asked_and_reads_back
    no_session_begins_for_who_lost_the_right_meanwhile
    a_login_replaces_the_session_of_its_cookie
    a_login_replaces_an_unrefreshed_body_session_of_the_same_device
    the_session_beyond_the_limit_evicts_in_the_order_of_worth
    a_body_token_rotates_at_once_and_pins_its_session
    idle_end_moves_with_a_rotation_but_never_beyond_the_absolute_end
    a_clock_that_steps_back_and_is_put_right_ends_no_session
    a_session_of_a_clock_that_was_ahead_rotates_and_a_thief_is_found
    a_replayed_body_token_ends_its_family
    a_verdict_inside_a_request_ends_nothing
    a_retry_with_its_key_is_answered_and_another_key_ends_the_family
    a_young_cookie_token_is_its_own_answer
    an_old_cookie_token_rotates_and_its_predecessor_is_replayed
    a_successor_given_late_is_not_rotated_before_the_other_tabs_have_it
    an_old_token_again_and_again_does_not_keep_its_window_open
    a_successor_given_again_at_the_windows_end_is_as_new_as_one_given_late
    a_replay_from_elsewhere_does_not_make_a_successor_new
    late_answers_cost_what_timely_ones_earn_and_the_ninth_in_a_row_ends_the_session
    a_window_of_nothing_always_rotates
    the_other_transport_ends_the_session
    a_token_from_the_future_of_a_store_ends_the_session
    a_known_session_with_another_secret_ends
    ends_by_time_are_told_and_change_nothing
    an_unknown_session_is_unknown
    disabling_ends_every_session_and_enabling_revives_none
    a_password_change_ends_every_session_and_moves_the_epoch
    a_rehash_never_undoes_a_change_of_password
    changed_roles_raise_the_version_of_live_sessions
    who_is_last_with_a_role_keeps_it
    a_device_is_named_while_its_session_lives
    a_session_ends_once
    all_but_one_session_end
    only_live_sessions_are_listed_newest_first
    an_access_token_confirms_the_rotation_it_came_from
    an_access_token_from_before_a_giving_in_time_shows_that_nothing_was_lost
    endings_are_recorded_for_a_week_that_a_corrected_clock_finds_them
    a_sweep_takes_what_ended_a_week_ago_and_at_most_a_thousand_rows
    sixteen_refreshes_of_one_body_token_rotate_once
    sixteen_refreshes_of_one_cookie_rotate_once_and_end_nothing
    no_token_survives_a_logout_that_raced_a_refresh
    the_store_says_that_it_answers
    an_applicant_is_near_where_a_live_session_of_theirs_is
    users_are_added_all_or_none
    a_link_renews_a_password_once_and_ends_what_the_old_one_proved
    an_old_password_renews_only_while_it_is_the_current_one
    a_session_was_last_seen_when_it_was_last_touched
    lowered_lifetimes_shorten_sessions_and_higher_ones_lengthen_none
}

async fn an_applicant_is_near_where_a_live_session_of_theirs_is(bench: Bench) {
    let store = &bench.store;
    let _ = with_session(store, Transport::Body).await;
    let _ = store.add_user(named(BOB, "bob")).await.unwrap();
    let near = async |name: &str, network: Option<&str>| {
        store.applicant(&username(name), network.map(str::to_owned)).await.unwrap().is_near
    };
    assert!(near("alice", Some("192.0.2.0/24")).await);
    for (name, network) in [
        ("alice", Some("192.0.3.0/24")),
        ("alice", None),
        ("bob", Some("192.0.2.0/24")),
        ("nobody", Some("192.0.2.0/24")),
    ] {
        assert!(!near(name, network).await, "{name} {network:?}");
    }
    let found = store.applicant(&username("Alice"), None).await.unwrap().user.unwrap();
    assert_eq!(found.id, ALICE);
    bench.clock.advance(HOUR);
    assert!(!near("alice", Some("192.0.2.0/24")).await, "it ended when idle");
}

async fn users_are_added_all_or_none(bench: Bench) {
    let store = &bench.store;
    let _ = store.add_user(named(ALICE, "alice")).await.unwrap();
    let _ = store.delete_user(ALICE, false).await.unwrap();
    let names = vec![username("bob"), username("Alice"), username("carol")];
    assert_eq!(store.taken(names).await.unwrap(), [username("alice")]);
    let carol = UserId::from_bytes([0xca; 16]);
    let both = |second: &str| vec![named(BOB, "bob"), named(carol, second)];
    assert_eq!(store.add_users(both("alice")).await.unwrap(), Added::NameTaken);
    assert!(store.add_users(both("bob")).await.is_err(), "the same name twice");
    assert!(store.users().await.unwrap().is_empty());
    assert_eq!(store.add_users(both("carol")).await.unwrap(), Added::Yes);
    assert_eq!(store.users().await.unwrap().len(), 2);
}

fn renewal(by: RenewedBy, epoch: u32, n: u8) -> Renewal {
    let session = NewSession { password_epoch: epoch, ..new_session(n) };
    Renewal { by, hash: hash("2"), session }
}

async fn a_link_renews_a_password_once_and_ends_what_the_old_one_proved(bench: Bench) {
    let store = &bench.store;
    let _ = with_session(store, Transport::Body).await;
    let link = |n: u8| NewLink { hash: [n; 32], user: ALICE, expires: START.plus(HOUR) };
    assert!(store.add_link(link(1)).await.unwrap());
    assert!(store.add_link(link(2)).await.unwrap());
    assert!(!store.add_link(NewLink { user: BOB, ..link(3) }).await.unwrap());
    assert_eq!(store.link([1; 32]).await.unwrap().unwrap().id, ALICE);
    assert!(store.link([9; 32]).await.unwrap().is_none());
    let never = store.renew(renewal(RenewedBy::Link([9; 32]), 0, 2)).await.unwrap();
    assert!(matches!(never, Begun::Refused));

    let (row, ended) = begun(store.renew(renewal(RenewedBy::Link([1; 32]), 0, 2)).await.unwrap());
    assert_eq!(ended, [(sid(1), EndReason::Password)]);
    assert!(!row.user_barred && row.revoked.is_none());
    let alice = store.user_by_id(ALICE).await.unwrap().unwrap();
    assert_eq!((alice.hash, alice.password_epoch), (Some(hash("2")), 1));
    assert_eq!(ended_sessions(store).await, [sid(1)]);
    for used in [1, 2] {
        assert!(store.link([used; 32]).await.unwrap().is_none(), "{used}");
        let again = store.renew(renewal(RenewedBy::Link([used; 32]), 1, 3)).await.unwrap();
        assert!(matches!(again, Begun::Refused), "{used}");
    }
    assert!(store.add_link(link(4)).await.unwrap());
    bench.clock.advance(HOUR);
    assert!(store.link([4; 32]).await.unwrap().is_none(), "too old");
    let _ = store.sweep().await.unwrap();
    let _ = store.set_disabled(ALICE, true).await.unwrap();
    assert!(!store.add_link(link(5)).await.unwrap(), "disabled");
}

async fn an_old_password_renews_only_while_it_is_the_current_one(bench: Bench) {
    let store = &bench.store;
    let _ = with_session(store, Transport::Cookie).await;
    let by = RenewedBy::OldPassword;
    let (row, ended) = begun(store.renew(renewal(by, 0, 2)).await.unwrap());
    assert_eq!((row.identity.session, ended), (sid(2), vec![(sid(1), EndReason::Password)]));
    let late = store.renew(renewal(by, 0, 3)).await.unwrap();
    assert!(matches!(late, Begun::Refused));
    assert_eq!(store.user_by_id(ALICE).await.unwrap().unwrap().password_epoch, 1);
    assert!(store.peek(sid(3)).await.unwrap().is_none());
}

async fn a_session_was_last_seen_when_it_was_last_touched(bench: Bench) {
    let store = &bench.store;
    let (session, _) = with_session(store, Transport::Cookie).await;
    let seen = async |after: Duration| {
        store.touch(vec![(session, START.plus(after)), (sid(9), START)]);
        store.ping().await.unwrap();
        store.peek(session).await.unwrap().unwrap().last_seen
    };
    assert_eq!(seen(HOUR / 2).await, START.plus(HOUR / 2));
    assert_eq!(seen(HOUR / 4).await, START.plus(HOUR / 2), "no moment moves back");
    let _ = store.end(session, EndReason::Logout).await.unwrap();
    assert_eq!(seen(HOUR).await, START.plus(HOUR / 2), "it is over");
}

async fn lowered_lifetimes_shorten_sessions_and_higher_ones_lengthen_none(bench: Bench) {
    let store = &bench.store;
    let (session, before) = with_session(store, Transport::Body).await;
    let now = |remember, idle, absolute| Lifetimes { remember, idle, absolute };
    let ends = async || {
        let row = store.peek(session).await.unwrap().unwrap();
        (row.idle_end, row.absolute_end)
    };
    for higher in [now(true, HOUR, DAY), now(true, 2 * HOUR, 2 * DAY), now(false, HOUR / 2, HOUR)] {
        assert!(!store.shorten(higher).await.unwrap());
        assert_eq!(ends().await, (before.idle_end, before.absolute_end), "{higher:?}");
    }
    let lower = now(true, HOUR / 2, 2 * HOUR);
    assert!(store.shorten(lower).await.unwrap());
    assert!(!store.shorten(lower).await.unwrap(), "none is left");
    assert_eq!(ends().await, (START.plus(HOUR / 2), START.plus(2 * HOUR)));
    bench.clock.advance(HOUR / 4);
    let _ = store.rotate(rotate(session, 0, Transport::Body)).await.unwrap();
    assert_eq!(ends().await.0, START.plus(HOUR / 4 + HOUR / 2), "idle is shorter from now on");
}

async fn a_user_is_found_as_added_by_name_and_by_id(bench: Bench) {
    let store = &bench.store;
    let new = NewUser {
        name: Some("Alice A.".to_owned()),
        email: Some("alice@example.org".to_owned()),
        roles: roles(&["user", "editor"]),
        ..named(ALICE, "alice")
    };
    assert_eq!(store.add_user(new).await.unwrap(), Added::Yes);
    assert_eq!(store.add_user(named(BOB, "bob")).await.unwrap(), Added::Yes);

    let alice = store.user(&username("Alice")).await.unwrap().unwrap();
    assert_eq!(alice.id, ALICE);
    assert_eq!(alice.username.as_str(), "alice");
    assert_eq!(alice.name.as_deref(), Some("Alice A."));
    assert_eq!(alice.email.as_deref(), Some("alice@example.org"));
    assert_eq!(alice.roles, roles(&["user", "editor"]));
    assert_eq!(alice.hash, Some(hash("1")));
    assert_eq!((alice.password_epoch, alice.disabled, alice.created), (0, None, START));
    let same = store.user_by_id(ALICE).await.unwrap().unwrap();
    assert_eq!(format!("{same:?}"), format!("{alice:?}"));

    assert!(store.user(&username("carol")).await.unwrap().is_none());
    assert!(store.user_by_id(UserId::from_bytes([0; 16])).await.unwrap().is_none());
    let names: Vec<_> = store.users().await.unwrap().into_iter().map(|u| u.username).collect();
    assert_eq!(names, [username("alice"), username("bob")]);
}

async fn a_name_is_taken_once_and_stays_reserved_when_deleted(bench: Bench) {
    let store = &bench.store;
    let _ = store.add_user(named(ALICE, "alice")).await.unwrap();
    assert_eq!(store.add_user(named(BOB, "ALICE")).await.unwrap(), Added::NameTaken);
    assert!(store.has_users().await.unwrap());
    let _ = store.delete_user(ALICE, false).await.unwrap();
    assert!(!store.has_users().await.unwrap());
    assert!(store.user(&username("alice")).await.unwrap().is_none());
    assert!(store.user_by_id(ALICE).await.unwrap().is_none());
    assert!(store.users().await.unwrap().is_empty());
    assert_eq!(store.add_user(named(BOB, "alice")).await.unwrap(), Added::NameTaken);
}

async fn a_freed_name_can_be_used_again_by_somebody_else(bench: Bench) {
    let store = &bench.store;
    let (begun, _) = with_session(store, Transport::Body).await;
    let _ = store.delete_user(ALICE, true).await.unwrap();
    assert_eq!(store.add_user(named(BOB, "alice")).await.unwrap(), Added::Yes);
    assert_eq!(store.user(&username("alice")).await.unwrap().unwrap().id, BOB);
    let row = store.peek(begun).await.unwrap().unwrap();
    assert!(row.revoked.is_some() && row.user_barred, "{row:?}");
    assert_eq!(row.identity.user, ALICE);
    let _ = store.delete_user(BOB, true).await.unwrap();
    let again = named(UserId::from_bytes([0xcc; 16]), "alice");
    assert_eq!(store.add_user(again).await.unwrap(), Added::Yes);
}

async fn a_name_that_somebody_ever_had_is_told_though_it_is_free(bench: Bench) {
    let store = &bench.store;
    for freed in [false, true] {
        let name = if freed { "alice" } else { "bob" };
        let id = if freed { ALICE } else { BOB };
        assert!(!store.was_user(&username(name)).await.unwrap());
        let _ = store.add_user(named(id, name)).await.unwrap();
        assert!(store.was_user(&username(name)).await.unwrap());
        let _ = store.delete_user(id, freed).await.unwrap();
        assert!(store.was_user(&username(name)).await.unwrap(), "{name}");
    }
}

async fn a_changed_user_that_is_unknown_or_deleted_is_told_so(bench: Bench) {
    let store = &bench.store;
    let _ = store.add_user(named(BOB, "bob")).await.unwrap();
    let _ = store.delete_user(BOB, false).await.unwrap();
    for user in [ALICE, BOB] {
        let changes = [
            store.set_password(user, hash("2")).await.unwrap(),
            store.set_roles(user, roles(&["user"])).await.unwrap(),
            store.set_profile(user, None, None).await.unwrap(),
            store.set_disabled(user, true).await.unwrap(),
            store.set_disabled(user, false).await.unwrap(),
            store.delete_user(user, false).await.unwrap(),
        ];
        assert!(changes.iter().all(|change| *change == Changed::NoSuchUser), "{changes:?}");
    }
}

async fn a_session_begins_as_asked_and_reads_back(bench: Bench) {
    let store = &bench.store;
    let (session, row) = with_session(store, Transport::Unpinned).await;
    assert_eq!(row.identity.user, ALICE);
    assert_eq!(row.identity.username, username("alice"));
    assert_eq!(row.identity.roles, roles(&["user"]).into());
    assert_eq!(row.identity.session, session);
    assert_eq!((row.transport, row.generation, row.current), (Transport::Unpinned, 0, secret(0)));
    assert_eq!((row.previous, row.salt, row.key, row.retry_key), (None, None, 1, None));
    assert_eq!((row.confirmed, row.version, row.remember), (false, 0, true));
    assert_eq!([row.created, row.auth_time, row.rotated, row.last_seen], [START; 4]);
    assert_eq!((row.idle_end, row.absolute_end), (START.plus(HOUR), START.plus(DAY)));
    assert_eq!((row.revoked, row.user_barred), (None, false));
    assert_eq!(row.user_agent.as_deref(), Some("agent"));
    assert_eq!((row.agent_hash, row.network.as_deref()), (Some([7; 32]), Some("192.0.2.0/24")));
    let again = store.peek(session).await.unwrap().unwrap();
    assert_eq!(format!("{again:?}"), format!("{row:?}"));
}

async fn no_session_begins_for_who_lost_the_right_meanwhile(bench: Bench) {
    let store = &bench.store;
    assert!(matches!(store.begin(new_session(1)).await.unwrap(), Begun::Refused), "unknown user");
    let (old, _) = with_session(store, Transport::Body).await;
    let replacing = NewSession { replaces: Some(old), password_epoch: 7, ..new_session(2) };
    assert!(matches!(store.begin(replacing).await.unwrap(), Begun::Refused), "epoch moved");
    assert!(store.peek(old).await.unwrap().unwrap().revoked.is_none(), "a refusal ends nothing");
    let _ = store.set_disabled(ALICE, true).await.unwrap();
    assert!(matches!(store.begin(new_session(3)).await.unwrap(), Begun::Refused), "disabled");
    let _ = store.delete_user(ALICE, false).await.unwrap();
    assert!(matches!(store.begin(new_session(4)).await.unwrap(), Begun::Refused), "deleted");
    assert!(store.peek(sid(2)).await.unwrap().is_none());
}

async fn a_login_replaces_the_session_of_its_cookie(bench: Bench) {
    let store = &bench.store;
    let (old, _) = with_session(store, Transport::Cookie).await;
    let again = || NewSession { replaces: Some(old), ..new_session(2) };
    let (_, ended) = begun(store.begin(again()).await.unwrap());
    assert_eq!(ended, [(old, EndReason::Replaced)]);
    assert!(store.peek(old).await.unwrap().unwrap().revoked.is_some());
    let third = NewSession { session: sid(3), ..again() };
    let (_, ended) = begun(store.begin(third).await.unwrap());
    assert_eq!(ended, [], "it was over");
}

async fn a_login_replaces_an_unrefreshed_body_session_of_the_same_device(bench: Bench) {
    let store = &bench.store;
    let _ = store.add_user(named(ALICE, "alice")).await.unwrap();
    let _ = store.add_user(named(BOB, "bob")).await.unwrap();
    let device = |n, transport| NewSession {
        device_name: Some("cron".to_owned()),
        transport,
        ..new_session(n)
    };
    let bobs = NewSession { user: BOB, ..device(1, Transport::Body) };
    for session in [bobs, device(2, Transport::Cookie), device(3, Transport::Body), new_session(4)]
    {
        let (_, ended) = begun(store.begin(session).await.unwrap());
        assert_eq!(ended, []);
    }
    let rotation = store.rotate(rotate(sid(3), 0, Transport::Body)).await.unwrap();
    assert_eq!(rotation.verdict, Verdict::Rotate);
    let (_, ended) = begun(store.begin(device(5, Transport::Unpinned)).await.unwrap());
    assert_eq!(ended, [], "bob's, the cookie's, the refreshed and the nameless one stay");
    let (_, ended) = begun(store.begin(device(6, Transport::Body)).await.unwrap());
    assert_eq!(ended, [(sid(5), EndReason::Replaced)]);
}

async fn the_session_beyond_the_limit_evicts_in_the_order_of_worth(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let _ = store.add_user(named(ALICE, "alice")).await.unwrap();
    let first = [
        (1, Transport::Cookie),
        (2, Transport::Body),
        (3, Transport::Unpinned),
        (4, Transport::Body),
        (5, Transport::Cookie),
    ];
    for (n, transport) in first {
        clock.advance(Duration::from_secs(1));
        let _ = store.begin(NewSession { transport, ..new_session(n) }).await.unwrap();
    }
    clock.advance(Duration::from_secs(1));
    let _ = store.rotate(rotate(sid(2), 0, Transport::Body)).await.unwrap();
    let mut order = Vec::new();
    for n in 6..=10 {
        clock.advance(Duration::from_secs(1));
        let next = NewSession { max_per_user: 5, transport: Transport::Cookie, ..new_session(n) };
        let (_, ended) = begun(store.begin(next).await.unwrap());
        order.extend(ended);
    }
    let expected = [3, 4, 2, 1, 5].map(|n| (sid(n), EndReason::Evicted));
    assert_eq!(order, expected);

    let last = NewSession { max_per_user: 0, ..new_session(11) };
    let (_, ended) = begun(store.begin(last).await.unwrap());
    assert_eq!(ended.len(), 5, "{ended:?}");
    assert_eq!(store.sessions(Some(ALICE)).await.unwrap().len(), 1);
}

async fn a_body_token_rotates_at_once_and_pins_its_session(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, _) = with_session(store, Transport::Unpinned).await;
    clock.advance(Duration::from_millis(1));
    let mut ask = rotate(session, 0, Transport::Body);
    ask.presented.retry_key = Some([5; 32]);
    ask.presented.network = Some("198.51.100.0/24".to_owned());
    let rotation = store.rotate(ask).await.unwrap();
    assert_eq!(rotation.verdict, Verdict::Rotate);
    let row = rotation.row.unwrap();
    let now = clock.now();
    assert_eq!((row.transport, row.generation), (Transport::Body, 1));
    assert_eq!((row.current, row.previous), (secret(1), Some(secret(0))));
    assert_eq!((row.salt, row.key, row.retry_key), (Some([1; 16]), 2, Some([5; 32])));
    assert_eq!((row.rotated, row.last_seen, row.idle_end), (now, now, now.plus(HOUR)));
    assert_eq!((row.created, row.auth_time, row.confirmed), (START, START, false));
    assert_eq!(row.user_agent.as_deref(), Some("agent"), "that of the login");
    assert_eq!(row.network.as_deref(), Some("198.51.100.0/24"));
    assert_eq!(row.identity.roles, roles(&["user"]).into());
    let peeked = store.peek(session).await.unwrap().unwrap();
    assert_eq!(format!("{peeked:?}"), format!("{row:?}"));
}

async fn idle_end_moves_with_a_rotation_but_never_beyond_the_absolute_end(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, _) = with_session(store, Transport::Body).await;
    for n in 0..26 {
        clock.advance(Duration::from_secs(3_400));
        let rotation = store.rotate(rotate(session, n, Transport::Body)).await.unwrap();
        if clock.now() >= START.plus(DAY) {
            assert_eq!(rotation.verdict, Verdict::Expired);
            return;
        }
        let row = rotation.row.unwrap();
        assert_eq!(row.idle_end, clock.now().plus(HOUR).min(START.plus(DAY)));
        assert_eq!(row.absolute_end, START.plus(DAY));
    }
    panic!("the absolute end was never reached");
}

async fn a_clock_that_steps_back_and_is_put_right_ends_no_session(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, before) = with_session(store, Transport::Body).await;
    let back = i64::try_from((2 * HOUR).as_millis()).unwrap();
    clock.jump(-back);
    let row = store.rotate(rotate(session, 0, Transport::Body)).await.unwrap().row.unwrap();
    assert_eq!(row.idle_end, before.idle_end);
    clock.jump(back);
    let rotation = store.rotate(rotate(session, 1, Transport::Body)).await.unwrap();
    assert_eq!(rotation.verdict, Verdict::Rotate);
}

async fn a_session_of_a_clock_that_was_ahead_rotates_and_a_thief_is_found(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, _) = with_session(store, Transport::Cookie).await;
    let ask = async |n| store.rotate(rotate(session, n, Transport::Cookie)).await.unwrap().verdict;
    clock.jump(60_000);
    assert_eq!(ask(0).await, Verdict::Rotate);
    clock.jump(-60_000);
    let row = async || store.peek(session).await.unwrap().unwrap();
    let ahead = row().await.rotated;
    assert_eq!(ask(0).await, Verdict::Replayed { late: true, changed: false }, "a slow tab");
    assert_eq!(row().await.rotated, ahead, "a replay moves no window");
    assert_eq!(ask(1).await, Verdict::Coalesced, "of an unknown age");
    let (now, dated) = (clock.now(), row().await);
    assert_eq!((dated.rotated, dated.given), (now.minus(WINDOWS.cookie), Some(now)));
    let mut abroad = Rotate { may_end: false, ..rotate(session, 0, Transport::Cookie) };
    abroad.presented.network = Some("198.51.100.0/24".into());
    let thief = store.rotate(abroad).await.unwrap().verdict;
    assert_eq!(thief, Verdict::End(EndReason::Reuse), "of an unknown age, at home alone");
    clock.advance(Duration::from_secs(29));
    assert_eq!(ask(0).await, Verdict::Replayed { late: true, changed: false }, "a slower one");
    assert_eq!(ask(1).await, Verdict::Coalesced);
    assert_eq!(row().await.given, Some(now));
    clock.advance(Duration::from_secs(1));
    let healed = store.rotate(rotate(session, 1, Transport::Cookie)).await.unwrap();
    assert_eq!(healed.verdict, Verdict::Rotate);
    assert_eq!(healed.row.unwrap().rotated, clock.now());
    assert_eq!(ask(0).await, Verdict::End(EndReason::Reuse));
}

async fn a_replayed_body_token_ends_its_family(bench: Bench) {
    let store = &bench.store;
    let (session, _) = with_session(store, Transport::Body).await;
    let _ = store.rotate(rotate(session, 0, Transport::Body)).await.unwrap();
    let replay = store.rotate(rotate(session, 0, Transport::Body)).await.unwrap();
    assert_eq!(replay.verdict, Verdict::End(EndReason::Reuse));
    assert_eq!(replay.row.unwrap().revoked, Some(START));
    let newest = store.rotate(rotate(session, 1, Transport::Body)).await.unwrap();
    assert_eq!(newest.verdict, Verdict::Revoked);
    assert_eq!(newest.row.unwrap().generation, 1);
    assert_eq!(ended_sessions(store).await, [session]);
}

async fn a_verdict_inside_a_request_ends_nothing(bench: Bench) {
    let store = &bench.store;
    let (session, _) = with_session(store, Transport::Body).await;
    let _ = store.rotate(rotate(session, 0, Transport::Body)).await.unwrap();
    let gentle = Rotate { may_end: false, ..rotate(session, 0, Transport::Body) };
    let replay = store.rotate(gentle).await.unwrap();
    assert_eq!(replay.verdict, Verdict::End(EndReason::Reuse));
    assert_eq!(replay.row.unwrap().revoked, None);
    assert!(ended_sessions(store).await.is_empty());
}

async fn a_retry_with_its_key_is_answered_and_another_key_ends_the_family(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, _) = with_session(store, Transport::Body).await;
    let keyed = |key: Option<u8>| {
        let mut ask = rotate(session, 0, Transport::Body);
        ask.presented.retry_key = key.map(|key| [key; 32]);
        ask
    };
    let first = store.rotate(keyed(Some(5))).await.unwrap();
    assert_eq!(first.verdict, Verdict::Rotate);
    clock.advance(Duration::from_secs(119));
    let retry = store.rotate(keyed(Some(5))).await.unwrap();
    assert_eq!(retry.verdict, Verdict::Replayed { late: false, changed: false });
    assert_eq!(retry.row.unwrap().generation, 1);
    let other = store.rotate(keyed(Some(6))).await.unwrap();
    assert_eq!(other.verdict, Verdict::End(EndReason::Reuse));
}

async fn a_young_cookie_token_is_its_own_answer(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, _) = with_session(store, Transport::Unpinned).await;
    clock.advance(Duration::from_millis(29_999));
    let young = store.rotate(rotate(session, 0, Transport::Cookie)).await.unwrap();
    assert_eq!(young.verdict, Verdict::Coalesced);
    let row = young.row.unwrap();
    assert_eq!((row.generation, row.current), (0, secret(0)));
    assert_eq!((row.transport, row.confirmed), (Transport::Cookie, true));
    assert_eq!((row.rotated, row.idle_end), (START, START.plus(HOUR)), "nothing else moved");
    clock.advance(Duration::from_millis(1));
    let old = store.rotate(rotate(session, 0, Transport::Cookie)).await.unwrap();
    assert_eq!((old.verdict, old.row.unwrap().generation), (Verdict::Rotate, 1));
}

async fn an_old_cookie_token_rotates_and_its_predecessor_is_replayed(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, _) = with_session(store, Transport::Cookie).await;
    clock.advance(Duration::from_secs(60));
    let first = store.rotate(rotate(session, 0, Transport::Cookie)).await.unwrap();
    assert_eq!(first.verdict, Verdict::Rotate);
    clock.advance(Duration::from_secs(29));
    let replay = store.rotate(rotate(session, 0, Transport::Cookie)).await.unwrap();
    assert_eq!(replay.verdict, Verdict::Replayed { late: false, changed: false });
    clock.advance(Duration::from_secs(600));
    let late = store.rotate(rotate(session, 0, Transport::Cookie)).await.unwrap();
    assert_eq!(late.verdict, Verdict::Replayed { late: true, changed: false });
    assert_eq!(late.row.unwrap().generation, 1);
}

async fn a_successor_given_late_is_not_rotated_before_the_other_tabs_have_it(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, _) = with_session(store, Transport::Cookie).await;
    let ask = async |n| store.rotate(rotate(session, n, Transport::Cookie)).await.unwrap().verdict;
    clock.advance(Duration::from_secs(60));
    assert_eq!(ask(0).await, Verdict::Rotate, "and its answer is lost");
    let idle_end = store.peek(session).await.unwrap().unwrap().idle_end;
    clock.advance(Duration::from_secs(600));
    assert_eq!(ask(0).await, Verdict::Replayed { late: true, changed: false });
    clock.advance(Duration::from_secs(5));
    assert_eq!(ask(1).await, Verdict::Coalesced, "one tab is quick");
    clock.advance(Duration::from_secs(24));
    assert_eq!(ask(0).await, Verdict::Replayed { late: true, changed: false }, "one is slow");
    assert_eq!(store.peek(session).await.unwrap().unwrap().idle_end, idle_end);
    clock.advance(Duration::from_secs(1));
    assert_eq!(ask(1).await, Verdict::Rotate, "30 s after it was given first");
    clock.advance(Duration::from_secs(28));
    let replayed = Verdict::Replayed { late: false, changed: false };
    assert_eq!(ask(1).await, replayed, "the slow one got it 29 s ago");
}

/// Or whoever holds it could keep the session from rotating, and so from being found out.
async fn an_old_token_again_and_again_does_not_keep_its_window_open(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, _) = with_session(store, Transport::Cookie).await;
    let ask = async |n| store.rotate(rotate(session, n, Transport::Cookie)).await.unwrap().verdict;
    clock.advance(Duration::from_secs(60));
    assert_eq!(ask(0).await, Verdict::Rotate, "and its answer is lost");
    clock.advance(Duration::from_secs(600));
    assert_eq!(ask(0).await, Verdict::Replayed { late: true, changed: false });
    assert_eq!(ask(1).await, Verdict::Coalesced);
    clock.advance(Duration::from_secs(29));
    assert_eq!(ask(0).await, Verdict::Replayed { late: true, changed: false });
    clock.advance(Duration::from_secs(1));
    assert_eq!(ask(0).await, Verdict::End(EndReason::Reuse));
}

/// The reply to the rotation is lost, a retry comes just in time, and a slow tab just after it.
async fn a_successor_given_again_at_the_windows_end_is_as_new_as_one_given_late(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, _) = with_session(store, Transport::Cookie).await;
    let ask = async |n| store.rotate(rotate(session, n, Transport::Cookie)).await.unwrap().verdict;
    let again = |late| Verdict::Replayed { late, changed: false };
    clock.advance(Duration::from_secs(60));
    assert_eq!(ask(0).await, Verdict::Rotate, "and its answer is lost");
    clock.advance(Duration::from_secs(20));
    assert_eq!(ask(0).await, again(false), "and this one's");
    clock.advance(Duration::from_secs(9));
    assert_eq!(ask(0).await, again(false));
    clock.advance(Duration::from_secs(2));
    assert_eq!(ask(1).await, Verdict::Coalesced, "31 s old, and 2 s to its client");
    clock.advance(Duration::from_secs(27));
    assert_eq!(ask(0).await, again(true), "29 s after it was given last");
    clock.advance(Duration::from_secs(1));
    assert_eq!(ask(0).await, Verdict::End(EndReason::Reuse));
}

async fn a_replay_from_elsewhere_does_not_make_a_successor_new(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, _) = with_session(store, Transport::Cookie).await;
    clock.advance(Duration::from_secs(60));
    let _ = store.rotate(rotate(session, 0, Transport::Cookie)).await.unwrap();
    clock.advance(Duration::from_secs(29));
    let mut elsewhere = rotate(session, 0, Transport::Cookie);
    elsewhere.presented.network = Some("198.51.100.0/24".to_owned());
    let replay = store.rotate(elsewhere).await.unwrap();
    assert_eq!(replay.verdict, Verdict::Replayed { late: false, changed: true });
    assert_eq!(replay.row.unwrap().given, None);
}

async fn late_answers_cost_what_timely_ones_earn_and_the_ninth_in_a_row_ends_the_session(
    bench: Bench,
) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, _) = with_session(store, Transport::Cookie).await;
    let ask = async |n: u64| {
        clock.advance(Duration::from_secs(60));
        store.rotate(rotate(session, n, Transport::Cookie)).await.unwrap()
    };
    let late = Verdict::Replayed { late: true, changed: false };
    for n in 0..8 {
        assert_eq!(ask(n).await.verdict, Verdict::Rotate, "{n}");
        assert_eq!(ask(n).await.verdict, late, "{n}");
        assert_eq!(ask(n).await.verdict, late, "{n}: costs no more");
    }
    assert_eq!(ask(8).await.row.unwrap().late, 8);
    assert_eq!(ask(9).await.row.unwrap().late, 7, "it was answered in time");
    assert_eq!(ask(9).await.verdict, late);
    assert_eq!(ask(10).await.row.unwrap().late, 8);
    assert_eq!(ask(10).await.verdict, Verdict::End(EndReason::Reuse));
}

async fn a_window_of_nothing_always_rotates(bench: Bench) {
    let store = &bench.store;
    let (session, _) = with_session(store, Transport::Cookie).await;
    let windows = Windows { cookie: Duration::ZERO, keyed: Duration::ZERO };
    for n in 0..3 {
        let ask = Rotate { windows, ..rotate(session, n, Transport::Cookie) };
        assert_eq!(store.rotate(ask).await.unwrap().verdict, Verdict::Rotate, "{n}");
    }
}

async fn the_other_transport_ends_the_session(bench: Bench) {
    let store = &bench.store;
    let (session, _) = with_session(store, Transport::Unpinned).await;
    let _ = store.rotate(rotate(session, 0, Transport::Body)).await.unwrap();
    let crossed = store.rotate(rotate(session, 1, Transport::Cookie)).await.unwrap();
    assert_eq!(crossed.verdict, Verdict::End(EndReason::Transport));
    assert!(crossed.row.unwrap().revoked.is_some());
}

async fn a_token_from_the_future_of_a_store_ends_the_session(bench: Bench) {
    let store = &bench.store;
    let _ = store.add_user(named(ALICE, "alice")).await.unwrap();
    for (n, generation) in [(1, 1), (2, u64::MAX), (3, 1 << 63)] {
        let _ = store.begin(new_session(n)).await.unwrap();
        let mut ask = rotate(sid(n), 0, Transport::Body);
        ask.presented.generation = generation;
        let rotation = store.rotate(ask).await.unwrap();
        assert_eq!(rotation.verdict, Verdict::End(EndReason::StoreRollback), "{generation}");
        assert!(rotation.row.unwrap().revoked.is_some());
    }
}

async fn a_known_session_with_another_secret_ends(bench: Bench) {
    let store = &bench.store;
    let (session, _) = with_session(store, Transport::Body).await;
    let mut ask = rotate(session, 0, Transport::Body);
    ask.presented.hash = secret(99);
    let rotation = store.rotate(ask).await.unwrap();
    assert_eq!(rotation.verdict, Verdict::End(EndReason::Integrity));
    assert_eq!(ended_sessions(store).await, [session]);
}

async fn ends_by_time_are_told_and_change_nothing(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, _) = with_session(store, Transport::Body).await;
    clock.advance(HOUR);
    let late = store.rotate(rotate(session, 0, Transport::Body)).await.unwrap();
    assert_eq!(late.verdict, Verdict::Expired);
    let row = late.row.unwrap();
    assert_eq!((row.revoked, row.generation), (None, 0));
    assert!(ended_sessions(store).await.is_empty());
}

async fn an_unknown_session_is_unknown(bench: Bench) {
    let rotation = bench.store.rotate(rotate(sid(9), 0, Transport::Body)).await.unwrap();
    assert_eq!(rotation.verdict, Verdict::Unknown);
    assert!(rotation.row.is_none());
    assert!(bench.store.peek(sid(9)).await.unwrap().is_none());
    assert!(!bench.store.end(sid(9), EndReason::Logout).await.unwrap());
}

async fn disabling_ends_every_session_and_enabling_revives_none(bench: Bench) {
    let store = &bench.store;
    let (session, _) = with_session(store, Transport::Body).await;
    let changed = store.set_disabled(ALICE, true).await.unwrap();
    assert_eq!(changed, Changed::Ended(vec![session]));
    let user = store.user(&username("alice")).await.unwrap().unwrap();
    assert_eq!(user.disabled, Some(START));
    assert!(store.peek(session).await.unwrap().unwrap().user_barred);

    bench.clock.advance(HOUR);
    assert_eq!(store.set_disabled(ALICE, true).await.unwrap(), Changed::Already);
    let user = store.user(&username("alice")).await.unwrap().unwrap();
    assert_eq!(user.disabled, Some(START), "since the first time");

    let enabled = || store.set_disabled(ALICE, false);
    assert_eq!(enabled().await.unwrap(), Changed::Ended(Vec::new()));
    assert_eq!(enabled().await.unwrap(), Changed::Already);
    assert_eq!(store.user(&username("alice")).await.unwrap().unwrap().disabled, None);
    let rotation = store.rotate(rotate(session, 0, Transport::Body)).await.unwrap();
    assert_eq!(rotation.verdict, Verdict::Revoked);
    let _ = begun(store.begin(new_session(2)).await.unwrap());
}

async fn a_password_change_ends_every_session_and_moves_the_epoch(bench: Bench) {
    let store = &bench.store;
    let (session, _) = with_session(store, Transport::Body).await;
    let changed = store.set_password(ALICE, hash("2")).await.unwrap();
    assert_eq!(changed, Changed::Ended(vec![session]));
    let user = store.user(&username("alice")).await.unwrap().unwrap();
    assert_eq!((user.password_epoch, user.hash), (1, Some(hash("2"))));
    assert!(matches!(store.begin(new_session(2)).await.unwrap(), Begun::Refused));
    let fresh = NewSession { password_epoch: 1, ..new_session(3) };
    let (row, _) = begun(store.begin(fresh).await.unwrap());
    assert!(!row.user_barred);
}

async fn a_rehash_never_undoes_a_change_of_password(bench: Bench) {
    let store = &bench.store;
    let (session, _) = with_session(store, Transport::Body).await;
    store.rehash(ALICE, hash("1"), hash("better")).await.unwrap();
    store.rehash(ALICE, hash("1"), hash("late")).await.unwrap();
    let user = store.user(&username("alice")).await.unwrap().unwrap();
    assert_eq!((user.hash, user.password_epoch), (Some(hash("better")), 0));
    assert!(store.peek(session).await.unwrap().unwrap().revoked.is_none());
}

async fn changed_roles_raise_the_version_of_live_sessions(bench: Bench) {
    let store = &bench.store;
    let (session, _) = with_session(store, Transport::Body).await;
    let _ = begun(store.begin(new_session(2)).await.unwrap());
    assert!(store.end(sid(2), EndReason::Logout).await.unwrap());
    let changed = store.set_roles(ALICE, roles(&["admin", "user"])).await.unwrap();
    assert_eq!(changed, Changed::Raised(vec![(session, 1)]));
    let same = store.set_roles(ALICE, roles(&["admin", "user"])).await.unwrap();
    assert_eq!(same, Changed::Already);
    let changed = store.set_profile(ALICE, Some("A".to_owned()), None).await.unwrap();
    assert_eq!(changed, Changed::Raised(vec![(session, 2)]));

    let row = store.peek(session).await.unwrap().unwrap();
    assert_eq!((row.version, row.revoked), (2, None));
    assert_eq!(row.identity.roles, roles(&["admin", "user"]).into());
    let user = store.user_by_id(ALICE).await.unwrap().unwrap();
    assert_eq!((user.name.as_deref(), user.email), (Some("A"), None));
    let below: Vec<_> = store.revocations().await.unwrap().iter().map(|r| r.below).collect();
    assert_eq!(below, [None, Some(1), Some(2)]);
    let rotation = store.rotate(rotate(session, 0, Transport::Body)).await.unwrap();
    assert_eq!(rotation.verdict, Verdict::Rotate, "nobody is signed out");
}

async fn who_is_last_with_a_role_keeps_it(bench: Bench) {
    let store = &bench.store;
    let admin = Role::new("admin").unwrap();
    for (id, name) in [(ALICE, "alice"), (BOB, "bob")] {
        let new = NewUser { roles: roles(&["admin"]), ..named(id, name) };
        assert_eq!(store.add_user(new).await.unwrap(), Added::Yes);
    }
    let take = |id, change| store.take_standing(id, change, admin.clone());
    let changed = take(ALICE, Taking::Disable).await.unwrap();
    assert_eq!(changed, Some(Changed::Ended(Vec::new())));
    for change in [Taking::Disable, Taking::Delete, Taking::Roles(roles(&["user"]))] {
        assert_eq!(take(BOB, change).await.unwrap(), None);
    }
    let bob = store.user_by_id(BOB).await.unwrap().unwrap();
    assert_eq!((bob.disabled, bob.roles), (None, roles(&["admin"])));
    let kept = take(BOB, Taking::Roles(roles(&["user", "admin"]))).await.unwrap();
    assert_eq!(kept, Some(Changed::Raised(Vec::new())));
    assert_eq!(take(ALICE, Taking::Delete).await.unwrap(), Some(Changed::Ended(Vec::new())));
    assert_eq!(take(ALICE, Taking::Delete).await.unwrap(), Some(Changed::NoSuchUser));
}

async fn a_device_is_named_while_its_session_lives(bench: Bench) {
    let store = &bench.store;
    let (session, _) = with_session(store, Transport::Body).await;
    assert!(store.name_device(session, "kitchen".to_owned()).await.unwrap());
    let row = store.peek(session).await.unwrap().unwrap();
    assert_eq!(row.device_name.as_deref(), Some("kitchen"));
    assert!(store.end(session, EndReason::Logout).await.unwrap());
    assert!(!store.name_device(session, "cellar".to_owned()).await.unwrap());
    assert!(!store.name_device(SessionId::from_bytes([9; 16]), "x".to_owned()).await.unwrap());
}

async fn a_session_ends_once(bench: Bench) {
    let store = &bench.store;
    let (session, _) = with_session(store, Transport::Body).await;
    assert!(store.end(session, EndReason::Logout).await.unwrap());
    assert!(!store.end(session, EndReason::Revoked).await.unwrap());
    assert_eq!(ended_sessions(store).await, [session]);
}

async fn all_but_one_session_end(bench: Bench) {
    let store = &bench.store;
    let (session, _) = with_session(store, Transport::Body).await;
    for n in 2..=4 {
        let _ = begun(store.begin(new_session(n)).await.unwrap());
    }
    let end_all = async |user, but| {
        let ended = store.end_all(user, but, EndReason::Revoked).await.unwrap();
        assert!(ended.iter().all(|ended| ended.user == ALICE && ended.lived), "{ended:?}");
        let mut ended: Vec<_> = ended.into_iter().map(|ended| ended.session).collect();
        ended.sort();
        ended
    };
    assert!(end_all(Some(BOB), None).await.is_empty());
    assert_eq!(end_all(Some(ALICE), Some(session)).await, [sid(2), sid(3), sid(4)]);
    assert_eq!(end_all(None, Some(session)).await, []);
    assert_eq!(end_all(None, None).await, [session]);
    assert_eq!(end_all(Some(ALICE), None).await, []);
}

async fn only_live_sessions_are_listed_newest_first(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (first, _) = with_session(store, Transport::Body).await;
    let _ = store.add_user(named(BOB, "bob")).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let _ = begun(store.begin(NewSession { idle: 2 * HOUR, ..new_session(2) }).await.unwrap());
    clock.advance(Duration::from_secs(1));
    let bobs = NewSession { user: BOB, idle: 2 * HOUR, ..new_session(3) };
    let _ = begun(store.begin(bobs).await.unwrap());
    let listed = |rows: Vec<Row>| rows.iter().map(|r| r.identity.session).collect::<Vec<_>>();
    assert_eq!(listed(store.sessions(Some(ALICE)).await.unwrap()), [sid(2), first]);
    assert_eq!(listed(store.sessions(None).await.unwrap()), [sid(3), sid(2), first]);
    clock.advance(HOUR);
    assert_eq!(listed(store.sessions(None).await.unwrap()), [sid(3), sid(2)], "one idled out");
    let _ = store.end(sid(2), EndReason::Logout).await.unwrap();
    assert!(store.sessions(Some(ALICE)).await.unwrap().is_empty());
}

async fn an_access_token_confirms_the_rotation_it_came_from(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, _) = with_session(store, Transport::Body).await;
    clock.advance(Duration::from_secs(10));
    let _ = store.rotate(rotate(session, 0, Transport::Body)).await.unwrap();
    let second = Timestamp::from_secs(clock.now().as_secs());
    for (iat, confirmed) in [(second.minus(Duration::from_secs(1)), false), (second, true)] {
        store.confirm(vec![(session, iat)], WINDOWS.cookie);
        store.ping().await.unwrap();
        let row = store.peek(session).await.unwrap().unwrap();
        assert_eq!(row.confirmed, confirmed, "iat {iat}, rotated {}", row.rotated);
    }
}

async fn an_access_token_from_before_a_giving_in_time_shows_that_nothing_was_lost(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, _) = with_session(store, Transport::Cookie).await;
    let given = async |generation, age, issued| {
        clock.advance(Duration::from_secs(60));
        let rotate = async || store.rotate(rotate(session, generation, Transport::Cookie)).await;
        let rotated = rotate().await.unwrap().row.unwrap().rotated;
        clock.advance(Duration::from_secs(age));
        let _ = rotate().await.unwrap();
        store.confirm(vec![(session, rotated.plus(Duration::from_secs(issued)))], WINDOWS.cookie);
        store.ping().await.unwrap();
        let row = store.peek(session).await.unwrap().unwrap();
        assert!(row.confirmed);
        row.given.map(|given| given.millis_since(rotated) / 1000)
    };
    assert_eq!(given(0, 29, 28).await, None);
    assert_eq!(given(1, 29, 29).await, Some(29));
    assert_eq!(given(2, 31, 0).await, Some(31), "a late one is counted all the same");
}

async fn endings_are_recorded_for_a_week_that_a_corrected_clock_finds_them(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (session, _) = with_session(store, Transport::Body).await;
    let _ = store.end(session, EndReason::Logout).await.unwrap();
    let expires = START.plus(Duration::from_secs(62 * 60));
    let expected = Revocation { session, below: None, expires };
    assert_eq!(store.revocations().await.unwrap(), [expected]);
    clock.advance(7 * DAY - Duration::from_millis(1));
    assert!(!store.sweep().await.unwrap());
    assert_eq!(store.revocations().await.unwrap(), [expected]);
    clock.advance(Duration::from_millis(1));
    assert!(!store.sweep().await.unwrap());
    assert_eq!(store.revocations().await.unwrap(), []);
}

async fn a_sweep_takes_what_ended_a_week_ago_and_at_most_a_thousand_rows(bench: Bench) {
    let (store, clock) = (&bench.store, &bench.clock);
    let (idle, _) = with_session(store, Transport::Body).await;
    let long = |n| NewSession { idle: 30 * DAY, absolute: 30 * DAY, ..new_session(n) };
    let _ = begun(store.begin(long(2)).await.unwrap());
    let _ = begun(store.begin(long(3)).await.unwrap());
    clock.advance(HOUR);
    let _ = store.end(sid(2), EndReason::Logout).await.unwrap();
    clock.advance(7 * DAY - Duration::from_millis(1));
    assert!(!store.sweep().await.unwrap());
    assert!(store.peek(idle).await.unwrap().is_some(), "a corrected clock still finds it");
    clock.advance(Duration::from_millis(1));
    assert!(!store.sweep().await.unwrap());
    assert!(store.peek(idle).await.unwrap().is_none(), "idle for a week");
    assert!(store.peek(sid(2)).await.unwrap().is_none(), "ended a week ago");
    assert!(store.peek(sid(3)).await.unwrap().is_some(), "live");

    for n in 0..1_001_u16 {
        let [high, low] = n.to_be_bytes();
        let mut id = [0xee; 16];
        id[..2].copy_from_slice(&[high, low]);
        let new = NewSession {
            session: SessionId::from_bytes(id),
            max_per_user: 5_000,
            ..new_session(1)
        };
        let _ = begun(store.begin(new).await.unwrap());
    }
    clock.advance(8 * DAY);
    assert!(store.sweep().await.unwrap(), "more is left");
    assert!(!store.sweep().await.unwrap());
    assert_eq!(store.sessions(None).await.unwrap().len(), 1);
}

async fn sixteen_refreshes_of_one_body_token_rotate_once(bench: Bench) {
    let store = &bench.store;
    let _ = store.add_user(named(ALICE, "alice")).await.unwrap();
    for round in 1..=10 {
        let _ = begun(store.begin(new_session(round)).await.unwrap());
        let verdicts = race(store, |_| rotate(sid(round), 0, Transport::Body));
        let rotated = verdicts.iter().filter(|verdict| **verdict == Verdict::Rotate).count();
        assert_eq!(rotated, 1, "{verdicts:?}");
        assert_eq!(store.peek(sid(round)).await.unwrap().unwrap().generation, 1);
    }
}

async fn sixteen_refreshes_of_one_cookie_rotate_once_and_end_nothing(bench: Bench) {
    let store = &bench.store;
    let (session, _) = with_session(store, Transport::Cookie).await;
    bench.clock.advance(Duration::from_secs(31));
    let verdicts = race(store, |n| Rotate {
        salt: [n; 16],
        next: secret(100 + u64::from(n)),
        ..rotate(session, 0, Transport::Cookie)
    });
    let replayed = Verdict::Replayed { late: false, changed: false };
    let rotated = verdicts.iter().filter(|verdict| **verdict == Verdict::Rotate).count();
    let rest = verdicts.iter().filter(|verdict| **verdict == replayed).count();
    assert_eq!((rotated, rest), (1, 15), "{verdicts:?}");
    let row = store.peek(session).await.unwrap().unwrap();
    assert_eq!((row.generation, row.revoked), (1, None));
}

async fn no_token_survives_a_logout_that_raced_a_refresh(bench: Bench) {
    let store = &bench.store;
    let _ = store.add_user(named(ALICE, "alice")).await.unwrap();
    for round in 1..=50 {
        let session = sid(round);
        let _ = begun(store.begin(new_session(round)).await.unwrap());
        let barrier = Barrier::new(2);
        thread::scope(|threads| {
            threads.spawn(|| {
                barrier.wait();
                wait_for(store.end(session, EndReason::Logout)).unwrap();
            });
            threads.spawn(|| {
                barrier.wait();
                let _ = wait_for(store.rotate(rotate(session, 0, Transport::Body))).unwrap();
            });
        });
        for generation in [0, 1] {
            let ask = rotate(session, generation, Transport::Body);
            assert_eq!(store.rotate(ask).await.unwrap().verdict, Verdict::Revoked);
        }
    }
    assert_eq!(ended_sessions(store).await.len(), 50);
}

async fn the_store_says_that_it_answers(bench: Bench) {
    bench.store.ping().await.unwrap();
}

#[tokio::test]
async fn no_answer_in_time_is_unavailable_and_says_so() {
    let (_kept, answer) = oneshot::channel::<Result<(), Unavailable>>();
    let error = within(Duration::from_millis(1), answer).await.unwrap_err();
    assert!(error.to_string().contains("no answer within 0.001 s"), "{error}");
}

#[tokio::test]
async fn a_full_or_ended_back_end_is_unavailable_at_once() {
    let (operations, waiting) = mpsc::channel(1);
    let store = Store {
        operations,
        reads: None,
        ended: Arc::default(),
        troubles: Arc::new(Troubles::new(&Clock::manual(START))),
        file: None,
        cancellation: None,
        _writer: Arc::default(),
    };
    store.confirm(Vec::new(), WINDOWS.cookie);
    store.confirm(Vec::new(), WINDOWS.cookie);
    assert!(store.peek(sid(1)).await.unwrap_err().to_string().contains("wait already"));
    assert!(store.ping().await.unwrap_err().to_string().contains("wait already"));
    drop(waiting);
    assert!(store.ping().await.unwrap_err().to_string().contains("it has ended"));
}

/// Sixteen threads rotate at once.
fn race(store: &Store, ask: impl Fn(u8) -> Rotate + Sync) -> Vec<Verdict> {
    let barrier = Barrier::new(16);
    thread::scope(|threads| {
        let racers: Vec<_> = (0..16)
            .map(|n| {
                let (barrier, ask) = (&barrier, &ask);
                threads.spawn(move || {
                    barrier.wait();
                    wait_for(store.rotate(ask(n))).unwrap().verdict
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    })
}

pub(super) fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Alice, with session 1.
pub(super) async fn with_session(store: &Store, transport: Transport) -> (SessionId, Box<Row>) {
    let _ = store.add_user(named(ALICE, "alice")).await.unwrap();
    let new = NewSession { transport, ..new_session(1) };
    let (row, ended) = begun(store.begin(new).await.unwrap());
    assert_eq!(ended, []);
    (sid(1), row)
}

fn begun(begun: Begun) -> (Box<Row>, Vec<(SessionId, EndReason)>) {
    match begun {
        Begun::Yes { row, ended } => (row, ended),
        Begun::Refused => panic!("refused"),
    }
}

async fn ended_sessions(store: &Store) -> Vec<SessionId> {
    store.revocations().await.unwrap().into_iter().map(|record| record.session).collect()
}

pub(super) fn named(id: UserId, name: &str) -> NewUser {
    NewUser {
        id,
        username: username(name),
        name: None,
        email: None,
        roles: roles(&["user"]),
        hash: Some(hash("1")),
    }
}

pub(super) fn new_session(n: u8) -> NewSession {
    NewSession {
        session: sid(n),
        user: ALICE,
        password_epoch: 0,
        transport: Transport::Body,
        first: secret(0),
        key: 1,
        idle: HOUR,
        absolute: DAY,
        remember: true,
        user_agent: Some("agent".to_owned()),
        agent_hash: Some([7; 32]),
        network: Some("192.0.2.0/24".to_owned()),
        device_name: None,
        replaces: None,
        max_per_user: 100,
    }
}

/// The token of a generation, presented; its successor has the next secret.
pub(super) fn rotate(session: SessionId, generation: u64, transport: Transport) -> Rotate {
    Rotate {
        presented: Presented {
            session,
            generation,
            hash: secret(generation),
            transport,
            retry_key: None,
            agent_hash: Some([7; 32]),
            network: Some("192.0.2.0/24".to_owned()),
        },
        next: secret(generation + 1),
        salt: [1; 16],
        key: 2,
        windows: WINDOWS,
        may_end: true,
    }
}

fn secret(n: u64) -> [u8; 32] {
    let mut hash = [0x5e; 32];
    hash[..8].copy_from_slice(&n.to_be_bytes());
    hash
}

pub(super) fn sid(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

pub(super) fn username(name: &str) -> Username {
    Username::new(name).unwrap()
}

pub(super) fn hash(salt: &str) -> PasswordHash {
    // A good form, of an unbearably cheap cost: nothing here verifies it.
    let salt = format!("{salt:A<22}");
    let text =
        format!("$argon2id$v=19$m=8,t=1,p=1${salt}$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    PasswordHash::parse(&text).unwrap()
}

fn roles(names: &[&str]) -> Vec<Role> {
    names.iter().map(|name| Role::new(name).unwrap()).collect()
}
