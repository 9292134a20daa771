//! Access tokens that a worker has verified before.
//!
//! Not the set of ended sessions, which is asked after every hit as after every check. Invariant: an
//! entry answers only for the very bytes that verified, under the keys that are there still, and for
//! the time that the token says.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use super::access::{AccessRules, BadToken, Verified};
use super::ring::KeyRing;
use crate::clock::Timestamp;

/// A table of fixed size. Only good tokens get in, so that nobody fills it without logging in, and
/// a newcomer puts out one of four at most.
#[derive(Debug, Default)]
pub struct TokenCache {
    hasher: RandomState,
    /// Empty until the first good token.
    sets: RefCell<Vec<Set>>,
}

type Set = [Option<Entry>; WAYS];

#[derive(Debug)]
struct Entry {
    token: Box<str>,
    /// Of the key ring that it was verified by.
    generation: u64,
    verified: Rc<Verified>,
}

impl TokenCache {
    /// [`KeyRing::verify`], or what it said of the same token before.
    pub fn verify(
        &self,
        token: &str,
        (ring, rules): (&KeyRing, &AccessRules),
        now: Timestamp,
    ) -> Result<Rc<Verified>, BadToken> {
        let generation = ring.generation();
        let place = self.place(token);
        if let Some(verified) = self.recall(token, place, generation) {
            verified.check_time(rules, now)?;
            return Ok(verified);
        }
        let verified = Rc::new(ring.verify(token, rules, now)?);
        self.keep(place, Entry { token: token.into(), generation, verified: Rc::clone(&verified) });
        Ok(verified)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.sets.borrow().iter().flatten().flatten().count()
    }

    fn recall(&self, token: &str, place: u64, generation: u64) -> Option<Rc<Verified>> {
        let sets = self.sets.borrow();
        let mut entries = sets.get(set_of(place))?.iter().flatten();
        let entry = entries.find(|entry| *entry.token == *token)?;
        (entry.generation == generation).then(|| Rc::clone(&entry.verified))
    }

    fn keep(&self, place: u64, entry: Entry) {
        let mut sets = self.sets.borrow_mut();
        if sets.is_empty() {
            sets.resize_with(SETS, Set::default);
        }
        let Some(set) = sets.get_mut(set_of(place)) else {
            return;
        };
        let same = |old: &Option<Entry>| old.as_ref().is_none_or(|old| old.token == entry.token);
        let any = usize::from(place.to_be_bytes()[0]) % WAYS;
        let way = set.iter().position(same).unwrap_or(any);
        if let Some(slot) = set.get_mut(way) {
            *slot = Some(entry);
        }
    }

    /// By the end of the token, which is its signature: nobody can make many that lie together and
    /// verify. With a seed of our own, all the same.
    fn place(&self, token: &str) -> u64 {
        let tail = token.len().saturating_sub(TAIL);
        self.hasher.hash_one(token.as_bytes().get(tail..))
    }
}

/// There are far fewer sets than a hash has values.
fn set_of(place: u64) -> usize {
    usize::try_from(place).unwrap_or_default() % SETS
}

/// Entries that a newcomer may take the place of.
const WAYS: usize = 4;
/// With its token of some 700 bytes each entry is about a kilobyte: eight megabytes at most.
const SETS: usize = 2048;
/// Bytes of a token that tell where it lies.
const TAIL: usize = 32;
