//! The set of ended sessions (sid → drop time, least `sv`), asked on every request, and the streams
//! that live by sessions, which end with them.
//!
//! Not where revocations are kept: the store is, whose writer feeds this with every commit. Invariant: an entry
//! never becomes milder before its drop time, in whatever order news arrive.

mod cut;
mod jumps;
mod news;
mod streams;

use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

pub use cut::Cut;
pub use news::{Concerned, News};
pub use streams::{Fate, Place, Stream, Streams};

use self::jumps::Jumps;
use self::news::Letterbox;
use crate::clock::Timestamp;
use crate::identity::SessionId;

#[cfg(test)]
mod tests;

/// How long an ending is remembered: longer than any access token can live (60 minutes).
pub const KEPT: Duration = Duration::from_secs(62 * 60);

/// Sessions that ended, and sessions whose older access tokens no longer count. Shared by all workers.
#[derive(Debug)]
pub struct Revocations {
    shards: [RwLock<Shard>; SHARDS],
    ears: RwLock<Vec<Arc<Letterbox>>>,
    jumps: Mutex<Jumps>,
}

impl Revocations {
    /// Tells of everything that happens to sessions from now on. One ear a worker, for its life.
    pub fn listen(&self) -> News {
        let (news, letterbox) = News::new();
        self.ears.write().unwrap_or_else(PoisonError::into_inner).push(letterbox);
        news
    }

    /// Ends a session: every access token of it is refused until `drop_at`.
    pub fn end(&self, session: SessionId, drop_at: Timestamp) {
        self.add(session, Entry { least: None, drop_at });
    }

    /// Refuses the session's access tokens whose `sv` is below `least`.
    pub fn raise(&self, session: SessionId, least: u32, drop_at: Timestamp) {
        self.add(session, Entry { least: Some(least), drop_at });
    }

    /// Notes what the store keeps of an ending (None), or of the least `sv` that counts.
    pub fn learn(&self, session: SessionId, least: Option<u32>, drop_at: Timestamp) {
        self.add(session, Entry { least, drop_at });
    }

    /// Tells that something may have happened to any session, as when they may live no longer so long.
    pub fn tell_of_all(&self) {
        for ear in self.ears.read().unwrap_or_else(PoisonError::into_inner).iter() {
            ear.drop_in_all();
        }
    }

    /// What holds for a token of this session and version.
    pub fn standing(&self, session: SessionId, version: u32) -> Standing {
        let Some(shard) = self.shard(session) else {
            return Standing::Ended;
        };
        match read(shard).get(&session).map(|entry| entry.least) {
            None => Standing::Good,
            Some(None) => Standing::Ended,
            Some(Some(least)) if version < least => Standing::Stale,
            Some(Some(_)) => Standing::Good,
        }
    }

    /// Forgets what is past its drop time; nothing, and false, while a jump of the clock may be undone.
    /// `uptime` is the time that has passed in truth, since any moment.
    pub fn sweep(&self, now: Timestamp, uptime: Duration) -> bool {
        let mut jumps = self.jumps.lock().unwrap_or_else(PoisonError::into_inner);
        if !jumps.none_lately(now, uptime) {
            return false;
        }
        for shard in &self.shards {
            let mut shard = write(shard);
            shard.retain(|_, entry| entry.drop_at > now);
            // After a wave of logouts, an eighth full gives its room back.
            if shard.len() < shard.capacity() / 8 {
                shard.shrink_to_fit();
            }
        }
        true
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn add(&self, session: SessionId, news: Entry) {
        let Some(shard) = self.shard(session) else {
            return;
        };
        let is_new = match write(shard).entry(session) {
            hash_map::Entry::Occupied(mut known) => known.get_mut().merge(news),
            hash_map::Entry::Vacant(place) => {
                place.insert(news);
                true
            }
        };
        // Only now: who hears of it asks the set.
        if is_new {
            self.tell(session);
        }
    }

    /// Tells that something happened to a session.
    pub fn tell(&self, session: SessionId) {
        for ear in self.ears.read().unwrap_or_else(PoisonError::into_inner).iter() {
            ear.drop_in(session);
        }
    }

    /// Sessions' ids are random, so that their last byte spreads them. There is always a shard.
    fn shard(&self, session: SessionId) -> Option<&RwLock<Shard>> {
        let [.., last] = *session.as_bytes();
        self.shards.get(usize::from(last) % SHARDS)
    }
}

impl Default for Revocations {
    fn default() -> Self {
        let shards = std::array::from_fn(|_| RwLock::default());
        Self { shards, ears: RwLock::default(), jumps: Mutex::default() }
    }
}

/// What the set says of one access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Standing {
    /// Nothing against it.
    Good,
    /// The session goes on, but this token is from before a change of roles: renew it.
    Stale,
    /// The session ended.
    Ended,
}

type Shard = HashMap<SessionId, Entry>;

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Least `sv` that counts; None: the session ended.
    least: Option<u32>,
    drop_at: Timestamp,
}

impl Entry {
    /// Whether it says more than before.
    fn merge(&mut self, news: Self) -> bool {
        let before = self.least;
        self.least = before.zip(news.least).map(|(one, other)| one.max(other));
        self.drop_at = self.drop_at.max(news.drop_at);
        self.least != before
    }
}

/// No entry is ever half written, so that a shard is whole even where a thread panicked.
fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

/// So many that two workers seldom meet in one.
const SHARDS: usize = 64;
