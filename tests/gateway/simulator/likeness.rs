//! The model answers as the gateway does: the same requests to both, by one clock.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use super::Millis;
use super::dice::Dice;
use super::gate::{Ask, Gate, Reply, Seat, State};
use super::jar::{Jar, Pair};
use super::model::Model;
use super::wire::Wire;
use super::world::SECOND;

#[test]
fn the_model_answers_as_the_gateway_does() {
    let mut twins = Twins::new();
    let mut endings = 0;
    for step in 0..600 {
        let wait = [1, 3, 6, 20, 29, 31, 61, 700][twins.dice.between(0, 8) as usize];
        twins.advance(wait * SECOND);
        if twins.step(step) {
            endings += 1;
            twins.log_in();
        }
    }
    println!("{endings} sessions ended alike");
    assert!(endings > 10 && twins.late > 10, "{endings} {}", twins.late);
}

struct Twins {
    wire: Wire,
    model: Model,
    dice: Dice,
    /// Of the sessions, by the wire and by the model.
    names: (String, String),
    /// What each has given in the same breath.
    pairs: Vec<(Pair, Pair)>,
    late: u32,
}

impl Twins {
    fn new() -> Self {
        let wire = Wire::new(1, 900);
        let mut model = Model::new(1, 900);
        model.advance_to(wire.now());
        let names = (String::new(), String::new());
        let mut twins = Self { wire, model, dice: Dice::new(1), names, pairs: Vec::new(), late: 0 };
        twins.log_in();
        twins
    }

    fn log_in(&mut self) {
        let (real, pair) = self.wire.log_in(&home(), 0, true);
        let (modelled, other) = self.model.log_in(&home(), 0, true);
        (self.names, self.pairs) = ((real, modelled), vec![(pair, other)]);
    }

    fn advance(&mut self, by: Millis) {
        let moment = self.wire.now() + by;
        self.wire.advance_to(moment);
        self.model.advance_to(moment);
    }

    /// Asks both; true when the session has ended.
    fn step(&mut self, step: u32) -> bool {
        let seat = if self.dice.chance(950) { home() } else { elsewhere() };
        // The two draw the lives of access tokens for themselves.
        let (real, modelled) = self.draw();
        let soonest = real.access_end.min(modelled.access_end);
        let asks = match self.dice.between(0, 10) {
            0..5 => [&real, &modelled].map(|pair| Ask::Page(jar(pair).without_access())),
            5..7 => [&real, &modelled].map(|pair| Ask::Refresh(jar(pair))),
            _ if soonest < self.wire.now() + 21 * SECOND => return false,
            7..9 => [&real, &modelled].map(|pair| Ask::Page(jar(pair))),
            _ => [&real, &modelled].map(|pair| Ask::List(pair.access.clone())),
        };
        let was = self.model.state(&self.names.1);
        let [one, other] = &asks;
        let got = self.wire.ask_all(&seat, std::slice::from_ref(one)).remove(0);
        let expected = self.model.ask_all(&seat, std::slice::from_ref(other)).remove(0);
        let trail = self.model.trail(&self.names.1);
        assert_eq!(got.status, expected.status, "step {step}: {}\n{trail}", got.text);
        self.compare(step, got, expected);
        let state = self.model.state(&self.names.1);
        assert_eq!(self.settled(&state), state, "step {step}, asked {other:?}\n{trail}");
        self.late += u32::from(was.generation == state.generation && was.fresh > state.fresh);
        !state.reason.is_empty()
    }

    /// That an access token was seen is written after the answer.
    fn settled(&self, expected: &State) -> State {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let state = self.wire.state(&self.names.0);
            if state == *expected || Instant::now() > deadline {
                return state;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// One of the latest pairs, mostly.
    fn draw(&mut self) -> (Pair, Pair) {
        let back = if self.dice.chance(20) { 6 } else { 2 };
        let newest = self.pairs.len() as u64 - 1;
        let n = newest - self.dice.between(0, back + 1).min(newest);
        self.pairs[n as usize].clone()
    }

    /// The same refresh token from both, an old one or a new one, or none.
    fn compare(&mut self, step: u32, got: Reply, expected: Reply) {
        let trail = self.model.trail(&self.names.1);
        let (got, expected) = match (got.pair, expected.pair) {
            (Some(got), Some(expected)) => (got, expected),
            (got, expected) => {
                assert_eq!(got.is_some(), expected.is_some(), "step {step}: a pair\n{trail}");
                return;
            }
        };
        let known = |pair: &(Pair, Pair)| {
            let same = (pair.0.refresh == got.refresh, pair.1.refresh == expected.refresh);
            assert_eq!(same.0, same.1, "step {step}: which token is given\n{trail}");
            same.0
        };
        match self.pairs.iter().position(known) {
            Some(n) => self.pairs[n] = (got, expected),
            None => self.pairs.push((got, expected)),
        }
    }
}

fn jar(pair: &Pair) -> Jar {
    let mut jar = Jar::default();
    jar.take(Some(pair.clone()));
    jar
}

fn home() -> Seat {
    Seat { address: Ipv4Addr::new(127, 1, 0, 1), agent: "Browser".to_owned() }
}

fn elsewhere() -> Seat {
    Seat { address: Ipv4Addr::new(127, 2, 0, 1), ..home() }
}
