use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::clock::Timestamp;

const NAME: [u8; 16] = [7; 16];
const MINUTE: Duration = Duration::from_secs(60);

fn rate(burst: u32, every_secs: u64) -> Rate {
    Rate { burst, every: Duration::from_secs(every_secs) }
}

fn limits() -> (Limits, Clock) {
    let clock = Clock::manual(Timestamp::from_secs(1_800_000_000));
    (Limits::new(&rates(), &clock), clock)
}

fn rates() -> RateLimits {
    RateLimits {
        login_per_ip: rate(20, 3),
        login_per_network: Rate { burst: 100, every: Duration::from_millis(600) },
        login_per_username: rate(10, 60),
        login_per_user: rate(30, 120),
        refresh_per_session: rate(30, 2),
        refresh_per_ip: Rate { burst: 300, every: Duration::from_millis(200) },
        sessions_per_session: rate(10, 6),
        admin_per_user: rate(60, 1),
        auth_per_ip: Rate { burst: 600, every: Duration::from_millis(100) },
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// How many permits a bucket gives now; it is empty afterwards.
fn drain(limits: &Limits, bucket: Bucket) -> usize {
    (0..2_000).take_while(|_| limits.take(bucket).is_ok()).count()
}

#[test]
fn a_bucket_gives_its_burst_and_then_says_how_long_to_wait() {
    let (limits, _) = limits();
    assert_eq!(drain(&limits, Bucket::LoginNameKnown(NAME)), 10);
    let wait = limits.take(Bucket::LoginNameKnown(NAME));
    assert_eq!(wait, Err(Wait { after: MINUTE, limit: "login_per_username" }));
}

#[test]
fn every_bucket_has_its_own_burst_and_its_own_count() {
    let (limits, _) = limits();
    let address = ip("192.0.2.1");
    let session = SessionId::from_bytes(NAME);
    for (bucket, burst) in [
        (Bucket::LoginAddress(address), 20),
        (Bucket::LoginNetwork(address), 100),
        (Bucket::LoginNameStranger(NAME), 10),
        (Bucket::LoginNameKnown(NAME), 10),
        (Bucket::LoginUser(NAME), 30),
        (Bucket::RefreshSession(session), 30),
        (Bucket::RefreshAddress(address), 300),
        (Bucket::SessionList(session), 10),
        (Bucket::AuthAddress(address), 600),
    ] {
        assert_eq!(drain(&limits, bucket), burst, "{bucket:?}");
    }
}

#[test]
fn what_happens_seldom_enough_never_meets_a_limit() {
    let (limits, _) = limits();
    let bucket = Bucket::RefreshSession(SessionId::from_bytes(NAME));
    assert!(limits.allows_every(Duration::from_secs(2), bucket));
    assert!(!limits.allows_every(Duration::from_millis(1_999), bucket));
}

#[test]
fn permits_come_back_one_by_one_as_time_passes() {
    let (limits, clock) = limits();
    let bucket = Bucket::LoginAddress(ip("192.0.2.1"));
    drain(&limits, bucket);
    clock.advance(Duration::from_millis(2_999));
    let wait = limits.take(bucket).unwrap_err();
    assert_eq!(wait.after, Duration::from_millis(1));
    clock.advance(Duration::from_millis(1));
    assert_eq!(drain(&limits, bucket), 1);
    clock.advance(Duration::from_secs(9));
    assert_eq!(drain(&limits, bucket), 3);
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(drain(&limits, bucket), 20, "never more than the burst");
}

#[test]
fn a_permit_given_back_can_be_taken_again_once() {
    let (limits, _) = limits();
    let bucket = Bucket::LoginNameKnown(NAME);
    drain(&limits, bucket);
    limits.give_back(bucket);
    assert_eq!(drain(&limits, bucket), 1);
}

#[test]
fn giving_back_too_often_makes_no_bucket_larger_than_its_burst() {
    let (limits, clock) = limits();
    let bucket = Bucket::LoginNameKnown(NAME);
    limits.give_back(bucket);
    limits.take(bucket).unwrap();
    (0..100).for_each(|_| limits.give_back(bucket));
    assert_eq!(drain(&limits, bucket), 10);
    clock.advance(MINUTE);
    assert_eq!(drain(&limits, bucket), 1);
}

#[test]
fn all_or_none_is_taken() {
    let (limits, _) = limits();
    let (address, name) = (Bucket::LoginAddress(ip("192.0.2.1")), Bucket::LoginNameStranger(NAME));
    drain(&limits, name);
    let wait = limits.take_all(&[address, Bucket::LoginNetwork(ip("192.0.2.1")), name]);
    assert_eq!(wait.unwrap_err().limit, "login_per_username");
    assert_eq!(drain(&limits, address), 20);
    assert_eq!(drain(&limits, Bucket::LoginNetwork(ip("192.0.2.1"))), 100);

    let other = Bucket::LoginNameStranger([8; 16]);
    assert!(limits.take_all(&[address, other]).is_err());
    assert_eq!(drain(&limits, other), 10, "what stands behind the refusing bucket is untouched");
}

#[test]
fn a_lasting_attack_on_a_name_is_slowed_to_a_tenth_and_never_shut_out() {
    let (limits, clock) = limits();
    let bucket = Bucket::LoginNameStranger(NAME);
    let mut attempts = drain(&limits, bucket);
    for _ in 0..24 * 60 {
        clock.advance(MINUTE);
        attempts += drain(&limits, bucket);
    }
    assert_eq!(attempts, 50 + 24 * 6, "in the first day");
    let second_day = (0..24 * 60).map(|_| {
        clock.advance(MINUTE);
        drain(&limits, bucket)
    });
    assert_eq!(second_day.sum::<usize>(), 24 * 6, "in the second");
    assert!(limits.take(bucket).unwrap_err().after <= 10 * MINUTE);
    assert_eq!(drain(&limits, Bucket::LoginNameKnown(NAME)), 10, "the owner's own bucket");
}

#[test]
fn good_logins_by_strangers_cost_nothing_at_either_speed() {
    let (limits, _) = limits();
    let bucket = Bucket::LoginNameStranger(NAME);
    for _ in 0..200 {
        limits.take(bucket).unwrap();
        limits.give_back(bucket);
    }
    assert_eq!(drain(&limits, bucket), 10);
}

#[test]
fn an_attempt_that_the_slow_bucket_refuses_costs_the_fast_one_nothing() {
    let (limits, clock) = limits();
    let bucket = Bucket::LoginNameStranger(NAME);
    for _ in 0..61 {
        drain(&limits, bucket);
        clock.advance(MINUTE);
    }
    let slowed = limits.take(bucket);
    let again = limits.take(bucket);
    assert!(slowed.is_err() && slowed == again, "{slowed:?} {again:?}");
}

#[test]
fn addresses_are_counted_by_what_one_subscriber_holds() {
    for (one, other, same) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        ("::ffff:192.0.2.1", "192.0.2.1", true),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ("::1", "0.0.0.1", false),
    ] {
        let (limits, _) = limits();
        drain(&limits, Bucket::LoginAddress(ip(one)));
        let refused = limits.take(Bucket::LoginAddress(ip(other))).is_err();
        assert_eq!(refused, same, "{one} and {other}");
    }
}

#[test]
fn networks_are_counted_by_what_one_site_holds() {
    for (one, other, same) in [
        ("192.0.2.1", "192.0.2.254", true),
        ("192.0.2.1", "192.0.3.1", false),
        ("2001:db8:1:2::1", "2001:db8:1:ffff::1", true),
        ("2001:db8:1:2::1", "2001:db8:2::1", false),
        ("::ffff:192.0.2.1", "192.0.2.77", true),
    ] {
        let (limits, _) = limits();
        drain(&limits, Bucket::LoginNetwork(ip(one)));
        let refused = limits.take(Bucket::LoginNetwork(ip(other))).is_err();
        assert_eq!(refused, same, "{one} and {other}");
    }
}

#[test]
fn a_million_addresses_stay_bounded_and_forget_no_bucket_that_is_empty() {
    let (limits, _) = limits();
    let name = Bucket::LoginNameStranger(NAME);
    let address = Bucket::LoginAddress(ip("192.0.2.1"));
    drain(&limits, name);
    drain(&limits, address);
    for n in 0..1_000_000_u32 {
        let flood = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n));
        limits.take(Bucket::LoginAddress(flood)).unwrap();
    }
    let held = limits.table.len();
    assert!(held <= table::CAPACITY, "{held} entries");
    assert!(limits.take(name).is_err(), "the attacked name is still known");
    assert!(limits.take(address).is_err(), "the attacking address is still known");
}

#[test]
fn parallel_attempts_never_outrun_the_burst() {
    let (limits, _) = limits();
    let passed = AtomicU32::new(0);
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                let passes = drain(&limits, Bucket::AuthAddress(ip("192.0.2.1")));
                passed.fetch_add(u32::try_from(passes).unwrap(), Ordering::Relaxed);
            });
        }
    });
    assert_eq!(passed.into_inner(), 600);
}

#[test]
fn absurd_rates_neither_panic_nor_open_the_gate() {
    let clock = Clock::manual(Timestamp::from_secs(1_800_000_000));
    let key = Key { kind: Kind::LoginUser, id: NAME };
    for (rate, burst) in [
        (Rate { burst: 0, every: Duration::ZERO }, 1),
        (Rate { burst: 1, every: Duration::MAX }, 1),
        (Rate { burst: u32::MAX, every: Duration::MAX }, 100),
    ] {
        let limit = Limit::new("test", rate, &Table::default(), &clock);
        let passes = (0..100).take_while(|_| limit.take(&key).is_ok()).count();
        assert_eq!(passes, burst, "{rate:?}");
        clock.advance(Duration::from_secs(200 * 365 * 24 * 60 * 60));
        assert!(limit.take(&key).is_ok(), "{rate:?}: refilled");
    }
}

#[test]
fn other_rates_begin_with_full_buckets_and_equal_ones_go_on() {
    let (before, clock) = limits();
    let (address, network) = (ip("192.0.2.1"), Bucket::LoginNetwork(ip("192.0.2.1")));
    assert_eq!(drain(&before, Bucket::LoginAddress(address)), 20);
    assert_eq!(drain(&before, network), 100);
    let after = before.renewed(&RateLimits { login_per_network: rate(7, 1), ..rates() }, &clock);
    after.forget_changed(&before);
    assert_eq!(drain(&after, Bucket::LoginAddress(address)), 0, "an equal rate forgets nothing");
    assert_eq!(drain(&after, network), 7);
    assert_eq!(drain(&before, Bucket::LoginAddress(address)), 0, "one table for both");
}

#[test]
fn a_renewal_takes_no_time_before_it_for_a_debt() {
    let (mut limits, clock) = limits();
    let address = Bucket::AuthAddress(ip("192.0.2.1"));
    for _ in 0..3 {
        clock.advance(60 * MINUTE);
        assert_eq!(limits.take(address), Ok(()));
        limits = limits.renewed(&rates(), &clock);
        assert_eq!(drain(&limits, address), 599, "what was taken a moment before, and no more");
    }
}

#[test]
fn renewed_buckets_go_on_where_they_are_however_long_the_clock_runs() {
    let (before, clock) = limits();
    clock.advance(MINUTE * 60 * 24 * 10);
    let bucket = Bucket::LoginUser(NAME);
    assert!(before.take(bucket).is_ok());
    clock.advance(Duration::from_secs(1));
    let after = before.renewed(&rates(), &clock);
    after.forget_changed(&before);
    assert_eq!(drain(&after, bucket), 29, "no wait for the ten days before");
    assert_eq!(before.take(bucket).unwrap_err().limit, "login_per_user");
    let wait = after.take(bucket).unwrap_err().after;
    assert!(wait <= Duration::from_secs(120), "{wait:?}");
    clock.advance(Duration::from_secs(120));
    assert!(after.take(bucket).is_ok());
    after.give_back(bucket);
    assert_eq!(drain(&after, bucket), 1);
}
