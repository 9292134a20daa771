use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

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

/// Sweeps when so many seconds have passed by a clock that goes right.
fn sweep(set: &Revocations, secs: u64) {
    set.sweep(later(secs), Duration::from_secs(secs));
}

#[test]
fn a_clock_that_runs_ahead_and_is_put_right_revives_nothing() {
    let set = Revocations::default();
    let hour = 60 * 60;
    sweep(&set, 0);
    set.end(session(1), later(KEPT.as_secs()));
    for minute in 1..=KEPT.as_secs() / 60 {
        set.sweep(later(5 * hour + 60 * minute), Duration::from_secs(60 * minute));
        assert_eq!(set.standing(session(1), 0), Standing::Ended, "{minute} minutes after the jump");
    }
    // Whatever the set knew before has run out in truth.
    let truth = KEPT.as_secs() + 60;
    set.sweep(later(5 * hour + truth), Duration::from_secs(truth));
    assert!(set.is_empty());
}

#[test]
fn what_was_minted_while_the_clock_ran_ahead_stays_ended_when_that_time_comes() {
    let set = Revocations::default();
    let hour = 60 * 60;
    set.sweep(later(5 * hour), Duration::ZERO);
    // Put right; a session that began in the time ahead is ended now.
    set.end(session(1), later(KEPT.as_secs()));
    for at in (60..6 * hour).step_by(60) {
        sweep(&set, at);
        assert_eq!(set.standing(session(1), 0), Standing::Ended, "{at} seconds later");
    }
    sweep(&set, 5 * hour + KEPT.as_secs() + 60);
    assert!(set.is_empty());
}

#[test]
fn a_clock_that_was_years_ahead_does_not_keep_the_set_for_years() {
    let set = Revocations::default();
    let week = 7 * 24 * 60 * 60;
    set.sweep(later(5000 * week), Duration::ZERO);
    set.end(session(1), later(60));
    sweep(&set, week);
    assert!(!set.is_empty());
    sweep(&set, 2 * week + KEPT.as_secs() + 60);
    assert!(set.is_empty());
}

#[test]
fn a_sweep_says_whether_the_clock_may_be_believed() {
    let (set, week) = (Revocations::default(), 7 * 24 * 60 * 60);
    let minute = Duration::from_secs(60);
    assert!(set.sweep(later(0), Duration::ZERO));
    assert!(!set.sweep(later(week), minute), "it jumped ahead");
    assert!(!set.sweep(later(week + 60), 2 * minute));
    assert!(set.sweep(later(week + KEPT.as_secs()), minute + KEPT), "and stayed there");
    assert!(!set.sweep(later(0), 2 * minute + KEPT), "it jumped back");
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
    sweep(&set, 59);
    assert_eq!(set.standing(session(1), 9), Standing::Ended);
    sweep(&set, 60);
    assert_eq!(set.standing(session(1), 9), Standing::Good);
    assert!(set.is_empty());
}

#[test]
fn a_sweep_forgets_what_is_past_and_nothing_else() {
    let set = Revocations::default();
    (0..1000).for_each(|n| set.end(session(n), later(u64::from(n))));
    assert_eq!(set.len(), 1000);
    sweep(&set, 899);
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

#[test]
fn who_listens_hears_of_each_change_once_and_of_nothing_that_was_known() {
    let set = Revocations::default();
    set.end(session(1), later(60));
    let news = set.listen();
    set.end(session(1), later(90));
    set.end(session(2), later(60));
    set.raise(session(3), 2, later(60));
    set.raise(session(3), 1, later(60));
    let heard = now(news.next()).expect("there is news");
    assert_eq!(heard, Concerned::These([session(2), session(3)].into()));
    assert_eq!(now(news.next()), None, "everything was told");
    set.end(session(3), later(60));
    assert_eq!(now(news.next()), Some(Concerned::only(session(3))));
}

#[test]
fn who_is_slow_to_listen_hears_that_it_may_be_anybody() {
    let set = Revocations::default();
    let news = set.listen();
    for n in 0..5000 {
        set.end(session(n), later(60));
    }
    assert_eq!(now(news.next()), Some(Concerned::Anybody));
}

#[test]
fn streams_of_a_session_are_cut_and_others_are_not() {
    let streams = Streams::default();
    let cuts: Vec<Rc<Cut>> = (0..6).map(|_| Rc::default()).collect();
    let enter = |n: u16, cut: &Rc<Cut>| {
        let cut = Rc::clone(cut);
        streams.enter(Stream { session: session(n), version: 0, cut, claim: n })
    };
    let mut places: Vec<_> = (0..5).map(|n| enter(n % 2, &cuts[usize::from(n)])).collect();
    // Of session 1; its place is taken by one of session 0.
    drop(places.remove(3));
    places.push(enter(0, &cuts[5]));
    assert_eq!(streams.len(), 5);

    let ends = |_: &mut Stream<u16>| Fate::Ends;
    assert_eq!(streams.judge(&Concerned::only(session(1)), ends), 1);
    let made: Vec<bool> = cuts.iter().map(|cut| cut.is_made()).collect();
    assert_eq!(made, [false, true, false, false, false, false]);
    assert_eq!(streams.judge(&Concerned::only(session(1)), ends), 0, "nobody is cut twice");
    assert_eq!(streams.judge(&Concerned::Anybody, |_| Fate::Goes), 0);
    drop(places);
    assert!(streams.is_empty());
    assert_eq!(streams.judge(&Concerned::Anybody, ends), 0, "nothing is left behind");
}

#[test]
fn a_cut_wakes_the_task_that_looks_at_it() {
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let cut = Cut::default();
    assert!(cut.poll_made(&mut Context::from_waker(&waker)).is_pending());
    cut.make();
    assert!(woken.0.load(Ordering::SeqCst));
    assert!(cut.poll_made(&mut Context::from_waker(&waker)).is_ready());
}

/// What is ready at once.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
