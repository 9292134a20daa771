//! The key ring: which keys sign and verify, and when; and the JWKS.
//!
//! A ring is of one algorithm, and `kid` is a lookup in a table of ours: no token chooses how it is
//! verified (RFC 8725 section 3.1). Each key begins to sign at a moment of its own. Before it, the
//! key is `next` and published; from then on it signs, until the next one does; then it is
//! `retired` and verifies until the last token that it signed has ended. So the state of every key
//! follows from those moments and the time, and no two notes of it can contradict each other.
//!
//! Invariant: a ring is never empty, and its keys are ordered by the moment they begin to sign.

use std::cmp;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet};

use super::files;
use super::keys::{Algorithm, KeyError, KeyFile, NewKey, Pair, SigningKey, VerifyingKey};
use crate::clock::Timestamp;
use crate::secret::Secret;

/// Keys of one algorithm. Shared by all workers: they read it under a lock that is written only
/// when a key comes or goes.
#[derive(Debug)]
pub struct KeyRing {
    keys: RwLock<Keys>,
    generation: AtomicU64,
    /// Whoever holds it may change the keys.
    home: Mutex<Home>,
}

/// What is to become of the keys that signed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldKeys {
    /// The new key is published first and signs later; what the old ones signed ends by itself.
    Overlap,
    /// The new key signs at once, and what the old ones signed is refused from now on.
    Revoked,
}

/// A key, as people may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// The `kid` of its tokens.
    pub kid: String,
    /// The algorithm's name in a header.
    pub algorithm: &'static str,
    /// What it does now.
    pub state: KeyState,
    /// When it begins or began to sign; None: it always did.
    pub from: Option<Timestamp>,
    /// When it verifies no more; None: no later key is known.
    pub until: Option<Timestamp>,
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is published and does not sign yet.
    Next,
    /// It signs.
    Active,
    /// It verifies what it signed before.
    Retired,
}

/// The key that is to sign after a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// It is new.
    Made(KeyEntry),
    /// It was made before, and nothing was changed.
    OnItsWay(KeyEntry),
}

impl Rotated {
    /// The key, whoever made it when.
    pub const fn key(&self) -> &KeyEntry {
        match self {
            Self::Made(key) | Self::OnItsWay(key) => key,
        }
    }
}

/// What housekeeping did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// The key that was made, to sign later.
    pub made: Option<KeyEntry>,
    /// The keys that are gone: their last tokens have ended.
    pub removed: Vec<String>,
}

impl KeyRing {
    /// Loads the keys of a folder, making the first one if there is none (folder 0700, files
    /// 0600). Keys of other algorithms may lie there and are not read. For [`Algorithm::Hs256`]
    /// there is no folder: see [`KeyRing::shared`].
    pub fn open(dir: &Path, algorithm: Algorithm, now: Timestamp) -> Result<Self, KeyError> {
        files::ensure_folder(dir)?;
        let mut keys = Vec::new();
        for file in KeyFile::all(dir, algorithm)? {
            let pair = file.load(algorithm)?;
            keys.push(Arc::new(Key { pair, from: Some(file.from), file: Some(file.path) }));
        }
        let home = Home::Folder(dir.to_owned(), algorithm);
        if keys.is_empty() {
            keys.push(home.make(now)?);
        }
        Self::of(keys, home)
    }

    /// A ring of shared secrets of at least 32 bytes: the first signs, all verify.
    pub fn shared(secrets: &[Secret]) -> Result<Self, KeyError> {
        let always = |pair| Arc::new(Key { pair, from: None, file: None });
        let keys = secrets.iter().rev().map(|secret| Ok(always(Pair::shared(secret)?)));
        Self::of(keys.collect::<Result<_, KeyError>>()?, Home::Configuration)
    }

    /// A ring with a fresh key in memory, for the demo and tests.
    pub fn ephemeral(algorithm: Algorithm) -> Result<Self, KeyError> {
        if algorithm == Algorithm::Hs256 {
            return Self::shared(&[Secret::new(crate::secret::random::<32>())]);
        }
        let pair = NewKey::generate(algorithm)?.pair;
        let key = Arc::new(Key { pair, from: None, file: None });
        Self::of(vec![key], Home::Memory(algorithm))
    }

    /// The JWKS (RFC 7517) of the public keys; empty for shared secrets.
    pub fn jwks(&self) -> String {
        self.keys().jwks.clone()
    }

    /// Every key, in the order in which they sign.
    pub fn list(&self, now: Timestamp) -> Vec<KeyEntry> {
        let keys = self.keys();
        (0..keys.all.len()).filter_map(|at| keys.entry(at, now)).collect()
    }

    /// Brings a new key. With one on its way, [`OldKeys::Overlap`] brings no other.
    pub fn rotate(&self, old: OldKeys, now: Timestamp) -> Result<Rotated, KeyError> {
        let home = self.home();
        if old == OldKeys::Overlap {
            return match self.next(now) {
                Some(on_its_way) => Ok(Rotated::OnItsWay(on_its_way)),
                None => self.add(home.make(now.plus(AHEAD + SECOND))?).map(Rotated::Made),
            };
        }
        let new = home.make(now)?;
        let gone = self.replace(vec![Arc::clone(&new)])?;
        // One that cannot be removed keeps no other.
        gone.iter().map(|key| key.remove_file()).fold(Ok(()), Result::and)?;
        Ok(Rotated::Made(new.entry(KeyState::Active, None)))
    }

    /// Makes the next key when the active one will soon have signed for `every`, and forgets those
    /// whose last token has ended. To be called again and again.
    pub fn keep_house(&self, every: Duration, now: Timestamp) -> Result<Upkeep, KeyError> {
        let home = self.home();
        let mut upkeep = Upkeep::default();
        if let Some(from) = self.due(every, now) {
            upkeep.made = Some(self.add(home.make(from)?)?);
        }
        let kept: Vec<_> = self.keys().living(now).cloned().collect();
        if kept.len() < self.keys().all.len() {
            for key in self.replace(kept)? {
                key.remove_file()?;
                upkeep.removed.push(key.pair.verifying.kid.clone());
            }
        }
        Ok(upkeep)
    }

    /// Another one as soon as a key has come or gone.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The keys as they are now.
    pub(super) fn keys(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(keys: Vec<Arc<Key>>, home: Home) -> Result<Self, KeyError> {
        Ok(Self {
            keys: RwLock::new(Keys::of(keys)?),
            generation: AtomicU64::new(0),
            home: Mutex::new(home),
        })
    }

    fn home(&self) -> MutexGuard<'_, Home> {
        self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, now: Timestamp) -> Option<KeyEntry> {
        let mut all = self.list(now).into_iter();
        all.find(|key| key.state == KeyState::Next && !has_strayed(key.from, now))
    }

    /// When the next key shall begin to sign, if it must be made now. A key that always signed has
    /// no age.
    fn due(&self, every: Duration, now: Timestamp) -> Option<Timestamp> {
        let keys = self.keys();
        let newest = keys.all.iter().rfind(|key| !has_strayed(key.from, now))?.from?;
        let wanted = newest.plus(every);
        let earliest = now.plus(AHEAD + SECOND);
        (newest <= now && wanted <= earliest).then(|| wanted.max(earliest))
    }

    fn add(&self, next: Arc<Key>) -> Result<KeyEntry, KeyError> {
        let entry = next.entry(KeyState::Next, None);
        let mut all = self.keys().all.clone();
        all.push(next);
        self.replace(all)?;
        Ok(entry)
    }

    /// Puts these keys in the place of all; gives those that are not among them.
    fn replace(&self, all: Vec<Arc<Key>>) -> Result<Vec<Arc<Key>>, KeyError> {
        // Made before the lock is taken, which every request waits for.
        let mut keys = Keys::of(all)?;
        std::mem::swap(&mut *self.keys.write().unwrap_or_else(PoisonError::into_inner), &mut keys);
        self.generation.fetch_add(1, Ordering::Release);
        let now_there = self.keys();
        keys.all.retain(|old| !now_there.all.iter().any(|new| Arc::ptr_eq(old, new)));
        Ok(keys.all)
    }
}

/// Whether a moment to sign from is so far off that a clock which ran ahead must have set it: nobody
/// waits for it.
fn has_strayed(from: Option<Timestamp>, now: Timestamp) -> bool {
    from > Some(now.plus(FARTHEST))
}

/// Where keys come from.
#[derive(Debug)]
enum Home {
    Folder(PathBuf, Algorithm),
    Memory(Algorithm),
    Configuration,
}

impl Home {
    /// Makes a key that signs from a moment on.
    fn make(&self, from: Timestamp) -> Result<Arc<Key>, KeyError> {
        // As the name of its file tells it.
        let from = Timestamp::from_secs(from.as_secs());
        let (new, file) = match self {
            Self::Folder(dir, algorithm) => {
                let new = NewKey::generate(*algorithm)?;
                let file = KeyFile::create(dir, &new, from)?;
                (new, Some(file.path))
            }
            Self::Memory(algorithm) => (NewKey::generate(*algorithm)?, None),
            Self::Configuration => return Err(KeyError::Configured),
        };
        Ok(Arc::new(Key { pair: new.pair, from: Some(from), file }))
    }
}

/// All keys, and the JWKS of them.
#[derive(Debug)]
pub(super) struct Keys {
    all: Vec<Arc<Key>>,
    jwks: String,
}

#[derive(Debug)]
struct Key {
    pair: Pair,
    /// None: it signed always, and no other retires for it.
    from: Option<Timestamp>,
    file: Option<PathBuf>,
}

impl Keys {
    fn of(mut all: Vec<Arc<Key>>) -> Result<Self, KeyError> {
        if all.is_empty() {
            return Err(KeyError::NoSecret);
        }
        all.sort_by_key(|key| key.from);
        let keys = all.iter().filter_map(|key| key.pair.public.clone()).collect();
        let jwks =
            serde_json::to_string(&JwkSet { keys }).map_err(|_unwritable| KeyError::Generate)?;
        Ok(Self { all, jwks })
    }

    /// The public halves; none of shared secrets.
    pub(super) fn public_keys(&self) -> Vec<Jwk> {
        self.all.iter().filter_map(|key| key.pair.public.clone()).collect()
    }

    /// The key that signs now. Should the clock stand before all of them, the first one does.
    pub(super) fn active(&self, now: Timestamp) -> Option<&SigningKey> {
        self.all.get(self.active_at(now)).map(|key| &key.pair.signing)
    }

    /// The key of a `kid`, if it still verifies.
    pub(super) fn find(&self, kid: &str, now: Timestamp) -> Option<&VerifyingKey> {
        let at = self.all.iter().position(|key| key.pair.verifying.kid == kid)?;
        let key = self.all.get(at).filter(|_| !self.is_over(at, now))?;
        Some(&key.pair.verifying)
    }

    /// Whether a `kid` is one of ours, whatever it is still good for.
    pub(super) fn knows(&self, kid: &str) -> bool {
        self.all.iter().any(|key| key.pair.verifying.kid == kid)
    }

    fn active_at(&self, now: Timestamp) -> usize {
        let begun = self.all.partition_point(|key| key.from.is_none_or(|from| from <= now));
        begun.saturating_sub(1)
    }

    fn living(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Key>> {
        let alive = move |(at, _): &(usize, _)| !self.is_over(*at, now);
        self.all.iter().enumerate().filter(alive).map(|(_, key)| key)
    }

    fn is_over(&self, at: usize, now: Timestamp) -> bool {
        self.until(at).is_some_and(|until| until <= now)
    }

    /// When the last token of a key has ended.
    fn until(&self, at: usize) -> Option<Timestamp> {
        Some(self.all.get(at.saturating_add(1))?.from?.plus(OVERLAP))
    }

    fn entry(&self, at: usize, now: Timestamp) -> Option<KeyEntry> {
        let key = self.all.get(at)?;
        let state = match at.cmp(&self.active_at(now)) {
            cmp::Ordering::Less => KeyState::Retired,
            cmp::Ordering::Equal => KeyState::Active,
            cmp::Ordering::Greater => KeyState::Next,
        };
        Some(key.entry(state, self.until(at)))
    }
}

impl Key {
    fn entry(&self, state: KeyState, until: Option<Timestamp>) -> KeyEntry {
        let VerifyingKey { kid, alg, .. } = &self.pair.verifying;
        KeyEntry { kid: kid.clone(), algorithm: alg, state, from: self.from, until }
    }

    fn remove_file(&self) -> Result<(), KeyError> {
        self.file.as_deref().map_or(Ok(()), files::remove)
    }
}

/// How long a key is published before it signs: applications may keep the JWKS for so long.
const AHEAD: Duration = Duration::from_secs(15 * 60);
/// How far off the next key may be: the clock may have been put back a little since it was made.
const FARTHEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Moments are told in whole seconds, rounded down.
const SECOND: Duration = Duration::from_secs(1);
/// How long a key verifies after it signed its last token: the longest life of one, its leeway, and
/// clocks that differ.
const OVERLAP: Duration = Duration::from_secs(62 * 60);
