//! Days of many browsers, and of thieves among them, in the minutes of a test: sessions that nobody
//! stole do not end before their time, and stolen ones do.
//!
//! What people do comes from a seed and is the same each time; the lives of access tokens and the
//! races between requests are not.

pub mod dice;
mod gate;
mod jar;
mod likeness;
mod model;
mod races;
mod thief;
mod wire;
mod world;

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gate::{Gate, Seat};
use model::Model;
use thief::{Kind, Thief};
use wire::Wire;
use world::{DAY, HOUR, Life, MINUTE, SECOND, Tally, World};

type Millis = u64;

#[test]
fn nobody_is_signed_out_who_was_not_robbed() {
    live_for(Duration::from_secs(30), u64::MAX, Life { length: 30 * HOUR, ..USUAL });
}

#[test]
fn in_a_model_nobody_is_signed_out_in_a_thousand_session_days() {
    model(USUAL, 42);
}

/// Every twentieth reply is lost, and every few hours all of them for some minutes.
#[test]
fn in_a_model_nobody_is_signed_out_on_a_bad_network() {
    model(Life { seed: 1_000, lost: 50, outages: true, ..USUAL }, 42);
}

/// Every tenth reply is lost, and many need longer than any that arrives should.
#[test]
fn in_a_model_nobody_is_signed_out_on_the_worst_of_networks() {
    model(Life { seed: 2_000, lost: 100, way: 12 * SECOND, outages: true, ..USUAL }, 42);
}

#[test]
fn in_a_model_every_one_of_a_thousand_thieves_is_caught() {
    rob(modelled, 7, 100);
}

#[test]
#[ignore = "slow: a hundred thousand session-days take minutes"]
fn in_a_model_nobody_is_signed_out_in_a_hundred_thousand_session_days() {
    model(Life { seed: 10_000, ..USUAL }, 4_200);
}

#[test]
#[ignore = "slow: a hundred thousand session-days take minutes"]
fn in_a_model_nobody_is_signed_out_in_a_hundred_thousand_session_days_on_bad_networks() {
    model(Life { seed: 20_000, lost: 50, outages: true, ..USUAL }, 2_100);
    // Where ways differ by 12 seconds, a current token that was given as it is at the end of its
    // window may overtake its successor: known, and this rare.
    let worst = Life { seed: 30_000, lost: 100, way: 12 * SECOND, outages: true, ..USUAL };
    let tally = lives(worst, 2_100);
    println!("seeds 30000 to 32099\n{tally}");
    assert!(tally.faults.len() <= 2, "{:#?}", tally.faults);
}

#[test]
#[ignore = "slow: twenty thousand thieves take minutes"]
fn in_a_model_every_one_of_twenty_thousand_thieves_is_caught() {
    for seed in 1..=4 {
        rob(modelled, seed, 500);
    }
}

#[test]
#[ignore = "slow: a thousand session-days take minutes"]
fn nobody_is_signed_out_in_a_thousand_session_days() {
    let (time, enough) = (Duration::from_secs(2700), 1000 * DAY);
    let tally = live_for(time, enough, Life { seed: 1_000_000, ..USUAL });
    assert!(tally.session_millis >= enough, "too slow a machine for the claim");
}

fn sockets(life: &Life) -> Box<dyn Gate> {
    Box::new(Wire::new(life.browsers, life.access / SECOND))
}

fn modelled(life: &Life) -> Box<dyn Gate> {
    Box::new(Model::new(life.seed, life.access / SECOND))
}

const USUAL: Life = Life {
    seed: 1,
    browsers: 6,
    length: 4 * DAY,
    lost: 10,
    sleeps: true,
    reads: 8 * MINUTE,
    access: 15 * MINUTE,
    way: 8 * SECOND,
    outages: false,
};

type Gates = fn(&Life) -> Box<dyn Gate>;

/// Lives so many worlds of consecutive seeds.
fn lives(world: Life, worlds: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in world.seed..world.seed + worlds {
        tally.add(&live(modelled, Life { seed, ..world }));
    }
    tally
}

fn model(world: Life, worlds: u64) {
    let tally = lives(world, worlds);
    judge(&tally, world.seed, world.seed + worlds - 1);
    assert!(tally.session_millis >= 1000 * DAY, "{tally}");
}

/// Lives worlds of consecutive seeds until the time is over.
/// Until the time is over, or enough milliseconds of sessions were lived.
fn live_for(time: Duration, enough: u64, world: Life) -> Tally {
    let (start, seeds) = (Instant::now(), AtomicU64::new(world.seed));
    let all = Mutex::new(Tally::default());
    let worlds = || {
        while start.elapsed() < time && all.lock().unwrap().session_millis < enough {
            let seed = seeds.fetch_add(1, Ordering::SeqCst);
            let tally = live(sockets, Life { seed, ..world });
            all.lock().unwrap().add(&tally);
        }
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(worlds);
        }
    });
    let tally = all.into_inner().unwrap();
    judge(&tally, world.seed, seeds.into_inner() - 1);
    tally
}

/// Every other world lives faster: the least life that the window allows.
fn live(gates: Gates, world: Life) -> Tally {
    let access = if world.seed.is_multiple_of(2) { 2 * MINUTE } else { 15 * MINUTE };
    let life = Life { access, ..world };
    let mut world = World::new(life, gates(&life));
    world.run();
    world.tally
}

fn judge(tally: &Tally, first: u64, last: u64) {
    println!("seeds {first} to {last}\n{tally}");
    assert!(tally.faults.is_empty(), "{:#?}", tally.faults);
    assert!(tally.lost > 0 && tally.slow > 0 && tally.sleeps > 0 && tally.aborted > 0);
}

#[test]
fn every_thief_is_caught() {
    rob(sockets, 7, 3);
}

#[test]
#[ignore = "slow: hundreds of thieves take minutes"]
fn every_one_of_hundreds_of_thieves_is_caught_and_watching_gains_nothing() {
    let thieves = rob(sockets, 1_000_007, 40);
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
fn rob(gates: Gates, seed: u64, each: usize) -> Vec<Thief> {
    let plans: Vec<_> = (0..each * 2).flat_map(|n| Kind::ALL.map(|kind| (n, kind))).collect();
    let browsers = plans.len();
    let life =
        Life { seed, browsers, length: 20 * HOUR, sleeps: false, reads: 2 * MINUTE, ..USUAL };
    let mut world = World::new(life, gates(&life));
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
    for thief in
        world.thieves.iter().filter(|t| t.caught_after.is_none() && !t.inside_window).take(3)
    {
        println!("{thief:?}\n{}", world.gate.trail(&world.browsers[thief.victim].session));
    }
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
