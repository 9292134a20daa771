//! Names and e-mail addresses for identity headers, kept off the hot path.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Auth, Failure};
use crate::identity::UserId;

pub use crate::upstream::Profile;

/// A worker's profiles. Bounded; emptied as soon as any user changes anywhere in the process.
#[derive(Debug, Default)]
pub struct Profiles {
    known: RefCell<HashMap<UserId, Rc<Profile>>>,
    seen: Cell<u64>,
}

/// Counts the changes of users, so that workers know when to ask again.
#[derive(Clone, Debug, Default)]
pub struct Changes(Arc<AtomicU64>);

impl Changes {
    /// Some user changed.
    pub fn happened(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl Auth {
    /// The profile of a user: from the worker's own memory, else from the store.
    pub async fn profile(&self, profiles: &Profiles, user: UserId) -> Result<Rc<Profile>, Failure> {
        let changes = self.parts.changes.count();
        if profiles.seen.replace(changes) != changes {
            profiles.known.borrow_mut().clear();
        }
        if let Some(profile) = profiles.known.borrow().get(&user) {
            return Ok(Rc::clone(profile));
        }
        let found = Box::pin(self.parts.store.user_by_id(user)).await?;
        let profile =
            Rc::new(found.map_or_else(Profile::default, |user| Profile {
                name: user.name,
                email: user.email,
            }));
        // Read before a change that others of this worker have heard of, it would stay.
        if self.parts.changes.count() == changes {
            profiles.keep(user, &profile);
        }
        Ok(profile)
    }
}

impl Profiles {
    fn keep(&self, user: UserId, profile: &Rc<Profile>) {
        let mut known = self.known.borrow_mut();
        if known.len() >= MOST
            && let Some(some) = known.keys().next().copied()
        {
            known.remove(&some);
        }
        known.insert(user, Rc::clone(profile));
    }
}

/// Profiles that a worker keeps.
const MOST: usize = 10_000;
