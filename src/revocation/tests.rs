use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn session(n: u16) -> SessionId {
    let mut bytes = [0; 16];
    bytes[14..].copy_from_slice(&n.to_be_bytes());
    SessionId::from_bytes(bytes)
}

fn later(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

#[test]
fn an_ended_session_is_ended_for_every_version_and_its_neighbours_are_not() {
    let set = Revocations::default();
    set.end(session(1), later(60));
    for version in [0, 7, u32::MAX] {
        assert_eq!(set.standing(session(1), version), Standing::Ended);
        assert_eq!(set.standing(session(65), version), Standing::Good, "of the same shard");
    }
}

#[test]
fn a_raised_version_makes_older_tokens_stale() {
    let set = Revocations::default();
    set.raise(session(1), 5, later(60));
    assert_eq!(set.standing(session(1), 4), Standing::Stale);
    assert_eq!(set.standing(session(1), 5), Standing::Good);
}

#[test]
fn nothing_becomes_milder_in_whatever_order_news_arrive() {
    let set = Revocations::default();
    set.raise(session(1), 5, later(60));
    set.raise(session(1), 3, later(30));
    assert_eq!(set.standing(session(1), 4), Standing::Stale);
    set.end(session(1), later(20));
    set.raise(session(1), 9, later(40));
    assert_eq!(set.standing(session(1), 9), Standing::Ended);
    set.sweep(later(59));
    assert_eq!(set.standing(session(1), 9), Standing::Ended);
    set.sweep(later(60));
    assert_eq!(set.standing(session(1), 9), Standing::Good);
    assert!(set.is_empty());
}

#[test]
fn a_sweep_forgets_what_is_past_and_nothing_else() {
    let set = Revocations::default();
    (0..1000).for_each(|n| set.end(session(n), later(u64::from(n))));
    assert_eq!(set.len(), 1000);
    set.sweep(later(899));
    assert_eq!(set.len(), 100);
    assert_eq!(set.standing(session(899), 0), Standing::Good);
    assert_eq!(set.standing(session(900), 0), Standing::Ended);
}

#[test]
fn a_thread_that_panicked_with_a_shard_in_hand_leaves_it_usable() {
    let set = Revocations::default();
    set.end(session(1), later(60));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _held = set.shard(session(1)).unwrap().write().unwrap();
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(set.standing(session(1), 0), Standing::Ended);
    set.end(session(65), later(60));
    assert_eq!(set.len(), 2);
}
