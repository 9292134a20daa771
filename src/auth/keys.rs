//! The signing keys, as people see and change them.

use std::time::Duration;

use super::Parts;
use crate::telemetry::{Audit, AuditEvent};
use crate::token::{KeyEntry, KeyError, KeyState, OldKeys, Upkeep};

/// The administration of the signing keys.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    parts: &'a Parts,
}

impl<'a> Keys<'a> {
    pub(super) fn new(parts: &'a Parts) -> Self {
        Self { parts }
    }

    /// Every key, in the order in which they sign.
    pub fn list(&self) -> Vec<KeyEntry> {
        self.parts.ring.list(self.parts.clock.now())
    }

    /// How long the active key has signed; None: it always did.
    pub fn age(&self) -> Option<Duration> {
        let active = self.list().into_iter().find(|key| key.state == KeyState::Active)?;
        Some(active.from?.until(self.parts.clock.now()))
    }

    /// Brings a new key, true for every worker at once; gives the one that is to sign.
    pub fn rotate(&self, old: OldKeys) -> Result<KeyEntry, KeyError> {
        let now = self.parts.clock.now();
        let next = self.parts.ring.rotate(old, now)?;
        self.parts.assertions.rotate(old, now)?;
        let reason = match old {
            OldKeys::Overlap => "overlap",
            OldKeys::Revoked => "old_keys_revoked",
        };
        let actor = "command line".to_owned();
        self.audit().write(event("auth.key.rotated").reason(reason).actor(actor));
        Ok(next)
    }

    /// Makes the next key when it is time, and removes those that nobody needs any more.
    pub fn keep_house(&self) -> Result<(), KeyError> {
        let (every, now) = (self.parts.rotate_every, self.parts.clock.now());
        let of_assertions = self.parts.assertions.keep_house(every, now);
        self.tell(&self.parts.ring.keep_house(every, now)?);
        self.tell(&of_assertions?);
        Ok(())
    }

    fn tell(&self, upkeep: &Upkeep) {
        if upkeep.made.is_some() {
            self.audit().write(event("auth.key.rotated").reason("age"));
        }
        for _removed in &upkeep.removed {
            self.audit().write(event("auth.key.removed").reason("age"));
        }
    }

    fn audit(&self) -> Audit {
        self.parts.audit()
    }
}

fn event(name: &'static str) -> AuditEvent {
    AuditEvent::new(name).outcome("success")
}
