use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::identity::Username;

/// The least that argon2 takes: these tests are about everything but strength.
const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
/// Long enough for a queue to fill behind it.
const DEAR: Cost = Cost { memory_kib: 64 * 1024, passes: 4, lanes: 1 };

fn password(text: &str) -> Password {
    Password::new(&Secret::new(text)).unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn typed(text: &str) -> Typed {
    Typed::new(&Secret::new(text))
}

fn bounds(threads: usize, queue: usize) -> Bounds {
    Bounds { threads, queue, queue_per_network: queue }
}

fn unmeasured() -> Meter {
    Meter::new(&Clock::system(), |_, _| {})
}

fn hasher(threads: usize, queue: usize) -> Hasher {
    Hasher::start(CHEAP, bounds(threads, queue), &unmeasured()).unwrap()
}

/// Polls once: enough to queue a job.
fn begin<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn spellings_that_look_alike_are_one_password() {
    let hash = PasswordHash::create(&password("caf\u{e9} au lait"), CHEAP).unwrap();
    let hasher = hasher(1, 8);
    for (text, same) in [
        ("caf\u{e9} au lait", true),
        ("cafe\u{301} au lait", true),
        ("caf\u{e9}\u{a0}au\u{3000}lait", true),
        ("Caf\u{e9} au lait", false),
        ("caf\u{e9} au lait ", false),
        ("cafe au lait", false),
    ] {
        let verdict = run(hasher.verify(typed(text), Some(hash.clone()), Asker::Known));
        assert_eq!(verdict, Ok(same), "{text:?}");
    }
}

#[test]
fn what_rfc_8265_refuses_is_no_password() {
    let long = "x".repeat(1025);
    let unstable = "a\u{387}b";
    for typed in ["", "a\0b", "a\nb", "\u{7f}", "a\u{ad}b", "\u{fdd0}", unstable, &long] {
        assert!(Password::new(&Secret::new(typed)).is_none(), "{typed:?}");
    }
    assert!(Password::new(&Secret::new([0xff, 0xfe])).is_none());
    assert!(Password::new(&Secret::new("x".repeat(1024))).is_some());
}

#[test]
fn neither_a_password_nor_a_hash_shows() {
    let hash = PasswordHash::create(&password("hunter2"), CHEAP).unwrap();
    assert_eq!(format!("{:?} {hash:?}", password("hunter2")), "Password(..) PasswordHash(..)");
    let hasher = Hasher::start(CHEAP, bounds(1, 1), &unmeasured()).unwrap();
    assert!(!format!("{hasher:?}").contains("argon2"), "{hasher:?}");
}

#[test]
fn a_hash_reads_back_and_two_of_one_password_differ() {
    let cost = Cost { memory_kib: 64, passes: 3, lanes: 2 };
    let hash = PasswordHash::create(&password("hunter2"), cost).unwrap();
    assert!(hash.as_str().starts_with("$argon2id$v=19$m=64,t=3,p=2$"), "{}", hash.as_str());
    assert_eq!(PasswordHash::parse(hash.as_str()), Ok(hash.clone()));
    assert_ne!(PasswordHash::create(&password("hunter2"), cost).unwrap(), hash);
}

/// A hash of the reference implementation: `argon2 somesalt -id -t 2 -m 16 -p 1`, of "password".
#[test]
fn a_foreign_hash_verifies_at_its_own_cost() {
    let text = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
                $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    let hash = PasswordHash::parse(text).unwrap();
    let hasher = hasher(1, 8);
    assert_eq!(run(hasher.verify(typed("password"), Some(hash.clone()), Asker::Known)), Ok(true));
    assert_eq!(run(hasher.verify(typed("Password"), Some(hash), Asker::Known)), Ok(false));
}

#[test]
fn a_hash_of_another_form_is_refused() {
    let good = PasswordHash::create(&password("x"), CHEAP).unwrap();
    let good = good.as_str();
    let salt = good.rsplit('$').nth(1).unwrap();
    let output = good.rsplit('$').next().unwrap();
    let others = [
        String::new(),
        "password".to_owned(),
        "$1$abcdefgh$abcdefghijklmnopqrstuu".to_owned(),
        good.replace("argon2id", "argon2i"),
        good.replace("argon2id", "argon2d"),
        good.replace("v=19", "v=16"),
        good.replace("$v=19", ""),
        good.replace("m=8,", ""),
        good.replace("m=8", "m=08"),
        good.replace("m=8", "m=-8"),
        good.replace("m=8", "m=8,m=8"),
        good.replace("p=1", "p=1,p=1"),
        good.replace("p=1", "p=1,data=AAAA"),
        good.replace("p=1", "p=1,keyid=AAAA"),
        good.replace(&format!("${output}"), ""),
        good.replace(output, "AAAAAAAAAAAAAAAA"),
        good.replace(salt, "AAAA"),
        good.replace(output, &format!("{output}=")),
        format!("{good}$"),
        format!("{good}\n"),
        format!(" {good}"),
        good.replace('$', "$$"),
    ];
    for other in others {
        assert!(PasswordHash::parse(&other).is_err(), "{other:?}");
    }
}

#[test]
fn a_hash_of_an_unbearable_cost_is_refused_unpaid() {
    let good = PasswordHash::create(&password("x"), CHEAP).unwrap();
    let with = |cost: &str| PasswordHash::parse(&good.as_str().replace("m=8,t=1,p=1", cost));
    for cost in [
        "m=262145,t=1,p=1",
        "m=4294967295,t=1,p=1",
        "m=4294967295,t=4294967295,p=16777215",
        "m=8,t=17,p=1",
        "m=1024,t=1,p=17",
        "m=262144,t=5,p=1",
        "m=7,t=1,p=1",
        "m=8,t=0,p=1",
        "m=8,t=1,p=0",
        "m=8,t=1,p=2",
    ] {
        assert_eq!(with(cost), Err(BadHash::Cost), "{cost}");
    }
    for cost in ["m=262144,t=4,p=1", "m=65536,t=16,p=4", "m=19456,t=2,p=1"] {
        assert!(with(cost).is_ok(), "{cost}");
    }
    assert_eq!(
        PasswordHash::create(&password("x"), Cost { memory_kib: u32::MAX, ..CHEAP }),
        Err(BadHash::Cost)
    );
    let error = Hasher::start(Cost { lanes: 0, ..CHEAP }, bounds(1, 1), &unmeasured());
    assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn an_unknown_user_an_impossible_password_and_both_are_false() {
    let hash = PasswordHash::create(&password("hunter2"), CHEAP).unwrap();
    let empty = PasswordHash::create(&Password(Secret::new([])), CHEAP).unwrap();
    let hasher = hasher(1, 8);
    let verify = |text: &str, hash| run(hasher.verify(typed(text), hash, Asker::Known));
    assert_eq!(verify("hunter2", Some(hash.clone())), Ok(true));
    assert_eq!(verify("hunter2", None), Ok(false));
    assert_eq!(verify("", Some(hash)), Ok(false));
    assert_eq!(verify("", Some(empty)), Ok(false), "no password is not the empty one");
    assert_eq!(verify("", None), Ok(false));
}

/// Of the first password 72 bytes count, as in every program that makes such hashes.
#[test]
fn a_bcrypt_hash_of_another_program_verifies_the_raw_password() {
    let hasher = hasher(1, 8);
    let verify = |text: &str, hash: &str| {
        let hash = PasswordHash::parse(hash).unwrap();
        assert!(hash.is_foreign());
        run(hasher.verify(typed(text), Some(hash), Asker::Known)).unwrap()
    };
    // Of OpenBSD's and jBCrypt's own tests.
    let known = [
        ("a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
        ("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
        (
            "~!@#$%^&*()      ~!@#$%^&*()PNBFRD",
            "$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO",
        ),
    ];
    for (password, hash) in known {
        for version in ["$2a$", "$2b$", "$2y$"] {
            let hash = hash.replace("$2a$", version);
            assert!(verify(password, &hash), "{hash}");
            assert!(!verify(&format!("{password}x"), &hash), "{hash}");
            assert!(!verify(&format!("{password}\0"), &hash), "{hash}");
            assert!(!verify("", &hash), "{hash}");
        }
    }
    let long = "x".repeat(80);
    let hash = bcrypt::hash_with_salt(&long, 4, [7; 16]).unwrap().to_string();
    let first = |bytes: usize| "x".repeat(bytes);
    assert!(verify(&long, &hash) && verify(&first(72), &hash) && !verify(&first(71), &hash));
    let decomposed = bcrypt::hash_with_salt("cafe\u{301}", 4, [7; 16]).unwrap().to_string();
    assert!(verify("cafe\u{301}", &decomposed) && !verify("caf\u{e9}", &decomposed));
}

#[test]
fn a_bcrypt_hash_that_is_odd_or_too_dear_is_refused() {
    let good = "$2b$10$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe";
    let read = |text: &str| PasswordHash::parse(text).map(drop);
    assert_eq!(read(good), Ok(()));
    for cost in ["04", "14"] {
        assert_eq!(read(&good.replace("$10$", &format!("${cost}$"))), Ok(()), "{cost}");
    }
    for cost in ["00", "03", "15", "31", "99"] {
        assert_eq!(read(&good.replace("$10$", &format!("${cost}$"))), Err(BadHash::Cost), "{cost}");
    }
    for other in [
        good.replace("$2b$", "$2x$"),
        good.replace("$2b$", "$2$"),
        good.replace("$2b$", "$2c$"),
        good.replace("$10$", "$+9$"),
        good.replace("$10$", "$ 9$"),
        good.replace("$10$", "$9$"),
        good.trim_end_matches('e').to_owned(),
        format!("{good}A"),
        format!("{good}\n"),
        good.replace("m0Cr", "!0Cr"),
        good.replace("m0Cr", "\u{e9}Cr"),
        "$2".to_owned(),
        "$2b$10$".to_owned(),
    ] {
        assert_eq!(read(&other), Err(BadHash::Form), "{other:?}");
    }
}

#[test]
fn a_hash_of_ours_follows_only_a_password_that_was_seen_whole() {
    let after = |text: &str| typed(text).successor().is_some();
    assert!(after("short") && after(&"x".repeat(71)) && after(&"x".repeat(73)));
    assert!(!after(&"x".repeat(72)), "it may be the beginning of a longer one");
    assert!(!after("a\tb"), "RFC 8265 refuses it");
    assert!(!after(&"x".repeat(1025)));
}

#[test]
fn strangers_hold_half_of_the_queue_and_those_of_a_network_few_places_of_it() {
    let seats = std::sync::Arc::new(seats::Seats::new(8, 2));
    let stranger = |network: u8| Asker::Stranger([network; 16]);
    let first = seats.take(stranger(1)).unwrap();
    let held: Vec<_> = (1..4).map(|network| seats.take(stranger(network)).unwrap()).collect();
    assert!(seats.take(stranger(9)).is_err(), "half of the queue is full");
    assert_eq!(seats.networks(), 3);
    drop(first);
    let again = seats.take(stranger(1)).unwrap();
    drop(held);
    let second = seats.take(stranger(1)).unwrap();
    assert!(seats.take(stranger(1)).is_err(), "two of one network");
    let others = (seats.take(stranger(2)).unwrap(), seats.take(stranger(2)).unwrap());
    assert!(seats.take(stranger(3)).is_err());
    let known: Vec<_> = (0..100).map(|_| seats.take(Asker::Known).unwrap()).collect();
    drop((again, second, others, known));
    assert_eq!(seats.networks(), 0, "nothing is kept of who has left");
    assert!(std::sync::Arc::new(seats::Seats::new(1, 1)).take(stranger(1)).is_ok());
}

#[test]
fn a_flood_of_one_network_leaves_the_queue_to_others() {
    let bounds = Bounds { threads: 1, queue: 64, queue_per_network: 2 };
    let hasher = Hasher::start(DEAR, bounds, &unmeasured()).unwrap();
    let dear = PasswordHash::decoy(DEAR).unwrap();
    let ask = |asker| Box::pin(hasher.verify(typed("x"), Some(dear.clone()), asker));
    let mut flood: Vec<_> = (0..20).map(|_| ask(Asker::Stranger([1; 16]))).collect();
    let busy = flood.iter_mut().filter_map(|one| match begin(one.as_mut()) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    });
    // One may be running already, two wait.
    let busy = busy.filter(|answer| *answer == Err(Busy)).count();
    assert!((17..=18).contains(&busy), "{busy}");
    for asker in [Asker::Stranger([2; 16]), Asker::Known] {
        assert!(begin(ask(asker).as_mut()).is_pending(), "{asker:?}");
    }
}

#[test]
fn the_decoy_costs_what_new_hashes_cost() {
    let cost = Cost { memory_kib: 64, passes: 3, lanes: 2 };
    let decoy = PasswordHash::decoy(cost).unwrap();
    let real = PasswordHash::create(&password("x"), cost).unwrap();
    let head = |hash: &PasswordHash| hash.as_str().split('$').take(4).collect::<String>();
    assert_eq!(head(&decoy), head(&real));
    assert_eq!(decoy.as_str().len(), real.as_str().len());
}

#[test]
fn a_hash_from_the_pool_verifies_in_the_pool() {
    let hasher = hasher(2, 8);
    let hash = run(hasher.hash(password("hunter2"))).unwrap();
    assert_eq!(run(hasher.verify(typed("hunter2"), Some(hash), Asker::Known)), Ok(true));
}

#[test]
fn a_full_queue_is_busy_at_once_and_serves_again_afterwards() {
    let hasher = Hasher::start(DEAR, bounds(1, 2), &unmeasured()).unwrap();
    let dear = PasswordHash::decoy(DEAR).unwrap();
    let ask = || Box::pin(hasher.verify(typed("x"), Some(dear.clone()), Asker::Known));
    let mut asked: Vec<_> = (0..6).map(|_| ask()).collect();
    let busy: Vec<bool> =
        asked.iter_mut().map(|asked| begin(asked.as_mut()) == Poll::Ready(Err(Busy))).collect();
    // One may be running, two wait: whether the thread took its first in time is its own affair.
    let refused = busy.iter().filter(|busy| **busy).count();
    assert!((3..=4).contains(&refused), "{busy:?}");
    assert_eq!(hasher.waiting(), 6 - refused);
    for (future, busy) in asked.into_iter().zip(busy) {
        if !busy {
            assert_eq!(run(future), Ok(false));
        }
    }
    assert_eq!(run(ask()), Ok(false));
}

#[test]
fn a_client_that_left_is_not_hashed_for() {
    let hasher = Hasher::start(DEAR, bounds(1, 1000), &unmeasured()).unwrap();
    let dear = PasswordHash::decoy(DEAR).unwrap();
    let clock = crate::clock::Clock::system();
    assert_eq!(run(hasher.verify(typed("x"), Some(dear.clone()), Asker::Known)), Ok(false));
    let one = clock.uptime();
    for _ in 0..500 {
        let mut left = pin!(hasher.verify(typed("x"), Some(dear.clone()), Asker::Known));
        assert!(begin(left.as_mut()).is_pending());
    }
    let before = clock.uptime();
    assert_eq!(run(hasher.verify(typed("x"), Some(dear), Asker::Known)), Ok(false));
    let took = clock.uptime() - before;
    // However busy the machine, 501 of them are not as fast as this.
    assert!(took < one * 50, "{took:?} for one after 500 that nobody waits for, {one:?} for one");
}

/// The threads of a pool hold the receiver alone, and each clone of a hasher a sender.
#[test]
fn a_thread_does_what_is_queued_and_ends_when_nobody_can_ask_any_more() {
    let (jobs, queue) = std::sync::mpsc::sync_channel(1);
    let (reply, mut answer) = tokio::sync::oneshot::channel();
    let work = hasher::Work::Create { password: password("hunter2"), reply };
    let seat = std::sync::Arc::new(seats::Seats::new(1, 1)).take(Asker::Known).unwrap();
    let place = hasher::Place::take(&std::sync::Arc::default());
    jobs.send(hasher::Job { work, seat, _place: place }).unwrap();
    drop(jobs);
    let bench = hasher::Bench { cost: CHEAP, memory: hash::Memory::default(), meter: unmeasured() };
    hasher::serve(&std::sync::Mutex::new(queue), bench);
    assert!(answer.try_recv().is_ok());
}

#[test]
fn every_hash_is_measured_under_its_algorithm_the_decoy_too() {
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let tells = std::sync::Arc::clone(&told);
    let meter = Meter::new(&Clock::system(), move |algorithm, took: std::time::Duration| {
        tells.lock().unwrap().push((algorithm, took.is_zero()));
    });
    let hasher = Hasher::start(CHEAP, bounds(1, 8), &meter).unwrap();
    let foreign = "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i";
    let foreign = PasswordHash::parse(foreign).unwrap();
    let _any = run(hasher.verify(typed("x"), Some(foreign), Asker::Known)).unwrap();
    let _decoy = run(hasher.verify(typed("x"), None, Asker::Known)).unwrap();
    let _new = run(hasher.hash(password("hunter2"))).unwrap();
    let expected = [("bcrypt", false), ("argon2id", false), ("argon2id", false)];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[test]
fn memory_beyond_the_configured_cost_is_given_back() {
    let mut memory = hash::Memory::keeping(8);
    let dear = Cost { memory_kib: 1024, ..CHEAP };
    PasswordHash::create_with(&password("x"), dear, &mut memory).unwrap();
    assert!(memory.blocks.len() <= 8, "{}", memory.blocks.len());
    PasswordHash::create_with(&password("x"), CHEAP, &mut memory).unwrap();
    assert_eq!(memory.blocks.len(), 8);
}

fn judged(typed: &str, name: &str) -> Vec<Rejection> {
    let blocklist = ["Tr0ub4dor&3-Forever".to_owned()];
    let demands = Demands { min_length: 12, blocklist: &blocklist };
    judge(&Secret::new(typed), &Username::new(name).unwrap(), demands).err().unwrap_or_default()
}

#[test]
fn a_new_password_is_judged_by_every_rule_at_once() {
    use Rejection::{Characters, Listed, Repeated, TooLong, TooShort, Username};
    let long = "x1".repeat(513);
    let cases: [(&str, &str, &[Rejection]); 17] = [
        ("plain but long enough", "alice", &[]),
        ("ünïcödé wörd", "alice", &[]),
        ("short", "alice", &[TooShort(12)]),
        ("", "alice", &[Characters]),
        ("with a \0 in it", "alice", &[Characters]),
        (&long, "alice", &[TooLong(1024)]),
        ("i am Alice of wonderland", "alice", &[Username]),
        ("AliceAlice", "alice", &[TooShort(12), Username]),
        ("a long enough one", "a", &[]),
        ("zzzzzzzzzzzzzzz", "alice", &[Repeated]),
        ("zz", "alice", &[TooShort(12), Repeated]),
        ("abcabcabcabc", "alice", &[Repeated]),
        ("Ha!Ha!Ha!Ha!Ha", "alice", &[Repeated]),
        ("twice and so twice and so", "alice", &[]),
        ("PASSWORD1234", "alice", &[Listed]),
        ("correct horse battery staple", "alice", &[Listed]),
        ("tr0ub4dor&3-forever", "alice", &[Listed]),
    ];
    for (typed, name, expected) in cases {
        assert_eq!(judged(typed, name), expected, "{typed:?}");
    }
}

#[test]
fn a_rejection_says_what_to_do_without_the_password() {
    assert_eq!(Rejection::TooShort(12).to_string(), "it needs at least 12 characters");
}

proptest! {
    #[test]
    fn no_text_breaks_the_preparation_or_the_reading_of_hashes(text in any::<String>()) {
        let _ = Password::new(&Secret::new(text.clone()));
        let _ = PasswordHash::parse(&text);
        let _ = PasswordHash::parse(&format!("$argon2id$v=19${text}"));
    }

    #[test]
    fn preparing_a_prepared_password_changes_nothing(text in "\\PC{1,40}") {
        if let Some(once) = Password::new(&Secret::new(text)) {
            let twice = Password::new(&Secret::new(once.as_str())).unwrap();
            prop_assert_eq!(once.as_str(), twice.as_str());
        }
    }
}
