//! How workers hear of what ended.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::identity::SessionId;

/// A worker's ear: which sessions ended, or had their `sv` raised, since it last listened. Told
/// after the set knows it, so that whoever asks the set on hearing gets the truth.
#[derive(Debug)]
pub struct News(Arc<Letterbox>);

/// Sessions that something happened to.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Concerned {
    /// None.
    #[default]
    Nobody,
    /// These.
    These(HashSet<SessionId>),
    /// More than anybody wants to list.
    Anybody,
}

#[derive(Debug, Default)]
pub(super) struct Letterbox {
    letters: Mutex<Concerned>,
    bell: Notify,
}

impl News {
    pub(super) fn new() -> (Self, Arc<Letterbox>) {
        let letterbox = Arc::<Letterbox>::default();
        (Self(Arc::clone(&letterbox)), letterbox)
    }

    /// Waits until something happened to somebody.
    pub async fn next(&self) -> Concerned {
        loop {
            let letters = std::mem::take(&mut *self.0.lock());
            if letters != Concerned::Nobody {
                return letters;
            }
            self.0.bell.notified().await;
        }
    }
}

impl Concerned {
    /// This one.
    pub fn only(session: SessionId) -> Self {
        Self::These(HashSet::from([session]))
    }

    /// Whether something may have happened to this session.
    pub fn has(&self, session: SessionId) -> bool {
        match self {
            Self::Nobody => false,
            Self::These(sessions) => sessions.contains(&session),
            Self::Anybody => true,
        }
    }

    fn add(&mut self, session: SessionId) {
        match self {
            Self::Nobody => *self = Self::These(HashSet::from([session])),
            Self::These(sessions) if sessions.len() >= MOST => *self = Self::Anybody,
            Self::These(sessions) => drop(sessions.insert(session)),
            Self::Anybody => {}
        }
    }
}

impl Letterbox {
    pub(super) fn drop_in(&self, session: SessionId) {
        self.lock().add(session);
        // Rings also for who only listens later.
        self.bell.notify_one();
    }

    pub(super) fn drop_in_all(&self) {
        *self.lock() = Concerned::Anybody;
        self.bell.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Concerned> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sessions listed one by one for a worker that is slow to listen.
const MOST: usize = 4096;
