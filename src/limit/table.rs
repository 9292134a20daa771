//! The bounded memory behind every bucket: key → theoretical arrival time (TAT) of GCRA.
//!
//! Set-associative: a secret hash chooses one of 4,096 small sets of at most 16 entries, each under
//! its own lock. A full set gives up the entry with the least TAT, which is the bucket that is
//! nearest to being full of permits again: a flood of fresh keys forgets idle buckets, hot ones stay.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::nanos::Nanos;
use governor::state::StateStore;

/// What is counted, and of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) kind: Kind,
    pub(super) id: [u8; 16],
}

/// What is counted: buckets of different kinds never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    LoginAddress,
    LoginNetwork,
    LoginNameStranger,
    LoginNameStrangerSlow,
    LoginNameKnown,
    LoginUser,
    RefreshSession,
    RefreshAddress,
    SessionList,
    Administrator,
    AuthAddress,
}

impl Kind {
    pub(super) const ALL: [Self; 11] = [
        Self::LoginAddress,
        Self::LoginNetwork,
        Self::LoginNameStranger,
        Self::LoginNameStrangerSlow,
        Self::LoginNameKnown,
        Self::LoginUser,
        Self::RefreshSession,
        Self::RefreshAddress,
        Self::SessionList,
        Self::Administrator,
        Self::AuthAddress,
    ];
}

/// The table. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Table(Arc<Sets>);

#[derive(Debug)]
struct Sets {
    hasher: RandomState,
    /// Never empty.
    sets: Box<[Mutex<Vec<Entry>>]>,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    tat: Nanos,
}

impl Default for Table {
    fn default() -> Self {
        let sets = (0..SETS).map(|_| Mutex::default()).collect();
        Self(Arc::new(Sets { hasher: RandomState::new(), sets }))
    }
}

impl Table {
    /// Moves a key's TAT earlier: gives a permit back, if the key is still known.
    pub(super) fn lower(&self, key: &Key, by: Duration) {
        if let Some(mut set) = self.set(key)
            && let Some(entry) = set.iter_mut().find(|entry| entry.key == *key)
        {
            entry.tat = entry.tat.saturating_sub(by.into());
        }
    }

    /// Drops every bucket of a kind.
    pub(super) fn forget(&self, kind: Kind) {
        for set in &self.0.sets {
            let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
            set.retain(|entry| entry.key.kind != kind);
        }
    }

    fn set(&self, key: &Key) -> Option<MutexGuard<'_, Vec<Entry>>> {
        let at = usize::try_from(self.0.hasher.hash_one(key) % SETS).ok()?;
        Some(self.0.sets.get(at)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.sets.iter().map(|set| set.lock().unwrap().len()).sum()
    }
}

/// The table as one limiter sees it. governor counts from the making of a limiter, the table from the
/// clock's beginning: so limiters of a later configuration find what was counted before them.
#[derive(Debug)]
pub(super) struct Since {
    table: Table,
    start: Nanos,
}

impl Since {
    /// For a limiter that is made at this uptime.
    pub(super) fn new(table: Table, start: Duration) -> Self {
        Self { table, start: start.into() }
    }
}

impl StateStore for Since {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.table.measure_and_replace(key, |tat| {
            let (outcome, tat) = decide(tat.map(|tat| tat.saturating_sub(self.start)))?;
            // Rates of once in centuries reach the end of the scale.
            let tat = tat.as_u64().saturating_add(self.start.as_u64());
            Ok((outcome, Nanos::new(tat)))
        })
    }
}

impl StateStore for Table {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Some(mut set) = self.set(key) else {
            return decide(None).map(|(outcome, _)| outcome);
        };
        if let Some(entry) = set.iter_mut().find(|entry| entry.key == *key) {
            let (outcome, tat) = decide(Some(entry.tat))?;
            entry.tat = tat;
            return Ok(outcome);
        }
        let (outcome, tat) = decide(None)?;
        insert(&mut set, Entry { key: *key, tat });
        Ok(outcome)
    }
}

fn insert(set: &mut Vec<Entry>, new: Entry) {
    if set.len() < WAYS {
        set.push(new);
    } else if let Some(idlest) = set.iter_mut().min_by_key(|entry| entry.tat) {
        *idlest = new;
    }
}

const SETS: u64 = 4096;
const WAYS: usize = 16;

#[cfg(test)]
pub(super) const CAPACITY: usize = 4096 * WAYS;
