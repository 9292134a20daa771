use super::*;
use crate::identity::{UserId, Username};

const LOGIN: Timestamp = Timestamp::from_secs(1_800_000_000);
const ROTATED: Timestamp = Timestamp::from_secs(1_800_001_000);
const W: u64 = 30;
const WINDOWS: Windows =
    Windows { cookie: Duration::from_secs(W), keyed: Duration::from_secs(120) };
const CURRENT: SecretHash = [3; 32];
const PREVIOUS: SecretHash = [2; 32];

/// A session at generation 3, rotated at [`ROTATED`], with a user in good standing.
fn row(transport: Transport) -> Row {
    Row {
        identity: Identity {
            user: UserId::from_bytes([1; 16]),
            username: Username::new("alice").unwrap(),
            roles: [].into(),
            session: SessionId::from_bytes([2; 16]),
        },
        transport,
        generation: 3,
        current: CURRENT,
        previous: Some(PREVIOUS),
        salt: Some([0; 16]),
        key: 1,
        confirmed: false,
        retry_key: None,
        version: 0,
        created: LOGIN,
        auth_time: LOGIN,
        rotated: ROTATED,
        last_seen: ROTATED,
        idle_end: ROTATED.plus(Duration::from_secs(10_000)),
        absolute_end: ROTATED.plus(Duration::from_secs(20_000)),
        remember: false,
        revoked: None,
        user_barred: false,
        user_agent: None,
        login_network: None,
        given: None,
        late: 0,
        agent_hash: Some([7; 32]),
        network: Some("192.0.2.0/24".to_owned()),
        device_name: None,
    }
}

fn presented(generation: u64, hash: SecretHash, transport: Transport) -> Presented {
    Presented {
        session: SessionId::from_bytes([2; 16]),
        generation,
        hash,
        transport,
        retry_key: None,
        agent_hash: Some([7; 32]),
        network: Some("192.0.2.0/24".to_owned()),
    }
}

fn current(transport: Transport) -> Presented {
    presented(3, CURRENT, transport)
}

fn previous(transport: Transport) -> Presented {
    presented(2, PREVIOUS, transport)
}

/// The verdict so many milliseconds after the rotation.
fn after(millis: i64, row: &Row, presented: &Presented) -> Verdict {
    let now = Timestamp::from_millis(ROTATED.as_millis() + millis);
    classify(Some(row), presented, WINDOWS, now)
}

const ENDS_BY_REUSE: Verdict = Verdict::End(EndReason::Reuse);
const IN_TIME: Verdict = Verdict::Replayed { late: false, changed: false };
const LATE: Verdict = Verdict::Replayed { late: true, changed: false };
use Transport::{Body, Cookie, Unpinned};

#[test]
fn t1_a_current_cookie_of_age_w_rotates_and_a_body_token_always() {
    assert_eq!(after(30_000, &row(Cookie), &current(Cookie)), Verdict::Rotate);
    assert_eq!(after(9_000_000, &row(Cookie), &current(Cookie)), Verdict::Rotate);
    for millis in [-9_000_000, -1_000, 0, 29_999, 30_000] {
        assert_eq!(after(millis, &row(Body), &current(Body)), Verdict::Rotate, "{millis}");
        assert_eq!(after(millis, &row(Unpinned), &current(Body)), Verdict::Rotate, "{millis}");
    }
}

#[test]
fn t2_a_current_cookie_younger_than_w_or_ahead_is_its_own_answer() {
    for millis in [-9_000_000, -30_000, -29_999, -1, 0, 1, 29_999] {
        for transport in [Cookie, Unpinned] {
            let verdict = after(millis, &row(transport), &current(Cookie));
            assert_eq!(verdict, Verdict::Coalesced, "{millis} {transport:?}");
        }
    }
    assert_eq!(after(30_000, &row(Unpinned), &current(Cookie)), Verdict::Rotate);
}

#[test]
fn t3_a_previous_cookie_younger_than_w_gets_the_successor() {
    for millis in [-29_999, -1, 0, 29_999] {
        for confirmed in [false, true] {
            let row = Row { confirmed, ..row(Cookie) };
            assert_eq!(after(millis, &row, &previous(Cookie)), IN_TIME, "{millis} {confirmed}");
        }
    }
}

#[test]
fn t3_tells_whether_network_or_agent_differ() {
    let changed = Verdict::Replayed { late: false, changed: true };
    let elsewhere = Presented { network: Some("198.51.100.0/24".into()), ..previous(Cookie) };
    let disguised = Presented { agent_hash: Some([8; 32]), ..previous(Cookie) };
    let bare = Presented { agent_hash: None, ..previous(Cookie) };
    for presented in [elsewhere, disguised, bare] {
        assert_eq!(after(1_000, &row(Cookie), &presented), changed, "{presented:?}");
    }
}

#[test]
fn t3_a_body_token_needs_the_same_idempotency_key_within_its_own_window() {
    let row = Row { retry_key: Some([5; 32]), ..row(Body) };
    let keyed = |key| Presented { retry_key: key, ..previous(Body) };
    for millis in [-1_000, 0, 30_000, 119_999] {
        assert_eq!(after(millis, &row, &keyed(Some([5; 32]))), IN_TIME, "{millis}");
    }
    assert_eq!(after(120_000, &row, &keyed(Some([5; 32]))), ENDS_BY_REUSE);
    assert_eq!(after(0, &row, &keyed(Some([6; 32]))), ENDS_BY_REUSE);
    assert_eq!(after(0, &row, &keyed(None)), ENDS_BY_REUSE);
    let unkeyed = Row { retry_key: None, ..row };
    assert_eq!(after(0, &unkeyed, &keyed(Some([5; 32]))), ENDS_BY_REUSE);
    assert_eq!(after(0, &unkeyed, &keyed(None)), ENDS_BY_REUSE, "none is not the same as none");
}

#[test]
fn t4_a_late_cookie_gets_an_unconfirmed_successor_again_at_home() {
    for millis in [30_000, 600_000, 9_999_999] {
        assert_eq!(after(millis, &row(Cookie), &previous(Cookie)), LATE, "{millis}");
    }
    let unknown = Row { network: None, agent_hash: None, ..row(Cookie) };
    let bare = Presented { network: None, agent_hash: None, ..previous(Cookie) };
    assert_eq!(after(30_000, &unknown, &bare), LATE);
}

#[test]
fn t4_a_slow_tab_is_answered_for_w_after_its_sibling_whatever_was_seen_since() {
    let given = ROTATED.plus(Duration::from_secs(600));
    let row = Row { given: Some(given), confirmed: true, late: u32::MAX, ..row(Cookie) };
    let elsewhere = Presented { network: Some("198.51.100.0/24".into()), ..previous(Cookie) };
    for millis in [600_000, 629_999] {
        assert_eq!(after(millis, &row, &previous(Cookie)), LATE, "{millis}");
        assert_eq!(after(millis, &row, &current(Cookie)), Verdict::Coalesced, "{millis}");
        assert_eq!(after(millis, &row, &elsewhere), ENDS_BY_REUSE, "{millis}");
    }
    assert_eq!(after(630_000, &row, &current(Cookie)), Verdict::Rotate);
    assert_eq!(after(630_000, &row, &previous(Cookie)), ENDS_BY_REUSE);
}

/// A rotation, or a giving, of a time that was not: nobody can tell how old it is.
#[test]
fn t4_what_a_clock_that_was_ahead_has_written_holds_for_its_own_client_alone() {
    let elsewhere = Presented { network: Some("198.51.100.0/24".into()), ..previous(Cookie) };
    let rotated = Row { confirmed: true, late: u32::MAX, ..row(Cookie) };
    let given = Row { given: Some(ROTATED.plus(Duration::from_secs(3_600))), ..rotated.clone() };
    for (row, millis) in [(rotated, -30_000), (given, 60_000)] {
        assert_eq!(after(millis, &row, &previous(Cookie)), LATE, "{millis}");
        assert_eq!(after(millis, &row, &elsewhere), ENDS_BY_REUSE, "{millis}");
        assert_eq!(after(millis, &row, &current(Cookie)), Verdict::Coalesced, "{millis}");
    }
    let keyed = Presented { retry_key: Some([5; 32]), ..previous(Body) };
    let row = Row { retry_key: Some([5; 32]), ..row(Body) };
    assert_eq!(after(-119_999, &row, &keyed), IN_TIME);
    assert_eq!(after(-120_000, &row, &keyed), LATE);
    let elsewhere = Presented { network: None, ..keyed };
    assert_eq!(after(-120_000, &row, &elsewhere), ENDS_BY_REUSE);
}

#[test]
fn t4_ends_with_the_eighth_late_answer_more_than_there_were_timely_ones() {
    let late = |late| Row { late, ..row(Cookie) };
    assert_eq!(after(30_000, &late(7), &previous(Cookie)), LATE);
    assert_eq!(after(30_000, &late(8), &previous(Cookie)), ENDS_BY_REUSE);
    assert_eq!(after(29_999, &late(8), &previous(Cookie)), IN_TIME);
    assert_eq!(after(30_000, &late(8), &current(Cookie)), Verdict::Rotate);
}

#[test]
fn a_replay_is_noted_for_its_own_client_until_the_rotation_is_confirmed() {
    let is_noted = |millis: i64, row: &Row, verdict| {
        let now = Timestamp::from_millis(ROTATED.as_millis() + millis);
        is_giving(verdict, row, WINDOWS, now)
    };
    for verdict in [IN_TIME, LATE] {
        for millis in [5_000, 29_999, 600_000] {
            assert!(is_noted(millis, &row(Cookie), verdict), "{verdict:?} {millis}");
        }
        assert!(!is_noted(4_999, &row(Cookie), verdict), "a file of the same page");
        assert!(is_noted(-30_000, &row(Cookie), verdict), "the clock was ahead");
        assert!(!is_noted(9_000, &Row { confirmed: true, ..row(Cookie) }, verdict));
        assert!(!is_noted(9_000, &row(Body), verdict));
        let before = Row { given: Some(ROTATED.plus(Duration::from_secs(29))), ..row(Cookie) };
        assert!(!is_noted(33_999, &before, verdict));
        assert!(is_noted(34_000, &before, verdict));
    }
    let changed = Verdict::Replayed { late: false, changed: true };
    for other in [changed, Verdict::Rotate, Verdict::Coalesced, ENDS_BY_REUSE] {
        assert!(!is_noted(9_000, &row(Cookie), other), "{other:?}");
    }
}

#[test]
fn t6_a_late_cookie_ends_the_session_once_confirmed_or_from_elsewhere() {
    let confirmed = Row { confirmed: true, ..row(Cookie) };
    assert_eq!(after(29_999, &confirmed, &previous(Cookie)), IN_TIME);
    assert_eq!(after(30_000, &confirmed, &previous(Cookie)), ENDS_BY_REUSE);
    let elsewhere = Presented { network: Some("198.51.100.0/24".into()), ..previous(Cookie) };
    let nowhere = Presented { network: None, ..previous(Cookie) };
    let disguised = Presented { agent_hash: Some([8; 32]), ..previous(Cookie) };
    for presented in [elsewhere, nowhere, disguised] {
        assert_eq!(after(30_000, &row(Cookie), &presented), ENDS_BY_REUSE, "{presented:?}");
    }
}

#[test]
fn t6_an_old_body_token_ends_its_family_at_once() {
    for millis in [-1_000, 0, 1, 30_000, 600_000] {
        for confirmed in [false, true] {
            let row = Row { confirmed, ..row(Body) };
            assert_eq!(after(millis, &row, &previous(Body)), ENDS_BY_REUSE, "{millis} {confirmed}");
        }
    }
}

#[test]
fn t7_two_behind_or_a_forged_previous_one_ends_the_session_at_any_age() {
    for millis in [-1, 0, 30_000] {
        for (generation, hash) in [(1, PREVIOUS), (0, CURRENT), (2, CURRENT), (2, [9; 32])] {
            let old = presented(generation, hash, Cookie);
            assert_eq!(after(millis, &row(Cookie), &old), ENDS_BY_REUSE, "{generation} {millis}");
        }
    }
    let never_rotated = Row { previous: None, generation: 1, ..row(Cookie) };
    assert_eq!(after(0, &never_rotated, &presented(0, PREVIOUS, Cookie)), ENDS_BY_REUSE);
}

#[test]
fn t8_this_generation_with_another_secret_is_no_honest_mistake() {
    let forged = presented(3, PREVIOUS, Cookie);
    assert_eq!(after(0, &row(Cookie), &forged), Verdict::End(EndReason::Integrity));
}

#[test]
fn t9_a_newer_generation_means_that_the_store_went_back() {
    for generation in [4, 5, u64::MAX] {
        for hash in [CURRENT, PREVIOUS, [9; 32]] {
            let newer = presented(generation, hash, Body);
            let verdict = after(0, &row(Body), &newer);
            assert_eq!(verdict, Verdict::End(EndReason::StoreRollback), "{generation}");
        }
    }
    let last = Row { generation: u64::MAX, ..row(Body) };
    assert_eq!(after(0, &last, &presented(u64::MAX, CURRENT, Body)), Verdict::Rotate);
}

#[test]
fn t10_a_pinned_session_is_ended_by_the_other_transport_whatever_the_token() {
    for (pinned, other) in [(Cookie, Body), (Body, Cookie)] {
        let tokens = [
            current(other),
            previous(other),
            presented(9, [9; 32], other),
            presented(0, [9; 32], other),
        ];
        for token in tokens {
            let verdict = after(0, &row(pinned), &token);
            assert_eq!(verdict, Verdict::End(EndReason::Transport), "{token:?}");
        }
    }
}

/// Each condition from T11 up, with all that would follow later true as well.
#[test]
fn the_first_match_wins() {
    let mut worst =
        Row { revoked: Some(ROTATED), idle_end: ROTATED, user_barred: true, ..row(Cookie) };
    let token = presented(9, [9; 32], Body);
    let verdict = |row: &Row| after(0, row, &token);
    assert_eq!(classify(None, &token, WINDOWS, ROTATED), Verdict::Unknown);
    assert_eq!(verdict(&worst), Verdict::Revoked);
    worst.revoked = None;
    assert_eq!(verdict(&worst), Verdict::Expired);
    worst.idle_end = ROTATED.plus(Duration::from_secs(1));
    assert_eq!(verdict(&worst), Verdict::End(EndReason::User));
    worst.user_barred = false;
    assert_eq!(verdict(&worst), Verdict::End(EndReason::Transport));
    worst.transport = Body;
    assert_eq!(verdict(&worst), Verdict::End(EndReason::StoreRollback));
}

#[test]
fn t12_a_session_is_over_at_the_millisecond_of_either_end() {
    let at = |millis| Timestamp::from_millis(ROTATED.as_millis() + millis);
    for transport in [Cookie, Body] {
        for token in [current(transport), previous(transport), presented(9, [0; 32], transport)] {
            let idle = Row { idle_end: at(1_000), ..row(transport) };
            let absolute = Row { absolute_end: at(1_000), ..row(transport) };
            for row in [idle, absolute] {
                assert_eq!(after(1_000, &row, &token), Verdict::Expired, "{token:?}");
                assert_eq!(after(9_000_000, &row, &token), Verdict::Expired, "{token:?}");
                assert_ne!(after(999, &row, &token), Verdict::Expired, "{token:?}");
            }
        }
    }
}

#[test]
fn t13_a_session_revoked_in_the_future_of_our_clock_is_revoked() {
    let row = Row { revoked: Some(ROTATED.plus(Duration::from_secs(60))), ..row(Body) };
    assert_eq!(after(0, &row, &current(Body)), Verdict::Revoked);
}

#[test]
fn windows_of_zero_hold_no_age_not_even_a_negative_one() {
    let none = Windows { cookie: Duration::ZERO, keyed: Duration::ZERO };
    let keyed_row = Row { retry_key: Some([5; 32]), ..row(Body) };
    let keyed = Presented { retry_key: Some([5; 32]), ..previous(Body) };
    let confirmed = Row { confirmed: true, ..row(Cookie) };
    for millis in [-3_600_000, -1, 0, 1] {
        let now = Timestamp::from_millis(ROTATED.as_millis() + millis);
        let verdict = |row: &Row, token: &Presented| classify(Some(row), token, none, now);
        assert_eq!(verdict(&row(Cookie), &current(Cookie)), Verdict::Rotate, "{millis}");
        assert_eq!(verdict(&row(Cookie), &previous(Cookie)), LATE, "{millis}");
        assert_eq!(verdict(&confirmed, &previous(Cookie)), ENDS_BY_REUSE, "{millis}");
        assert_eq!(verdict(&keyed_row, &keyed), ENDS_BY_REUSE, "{millis}");
    }
}

#[test]
fn names_and_codes_read_back() {
    let names = EndReason::ALL.map(EndReason::as_str).join(" ");
    assert_eq!(
        names,
        "reuse integrity store_rollback transport user logout revoked administrator password \
         evicted replaced"
    );
    for reason in EndReason::ALL {
        assert_eq!(EndReason::from_name(reason.as_str()), Some(reason));
    }
    assert_eq!(EndReason::from_name("Reuse"), None);
    for transport in [Unpinned, Cookie, Body] {
        assert_eq!(Transport::from_code(transport.code()), Some(transport));
    }
    assert_eq!([Unpinned, Cookie, Body].map(Transport::code), [0, 1, 2]);
    assert_eq!((Transport::from_code(3), Transport::from_code(-1)), (None, None));
}
