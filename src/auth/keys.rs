//! The signing keys, as people see and change them.

use super::Parts;
use crate::telemetry::{Audit, AuditEvent};
use crate::token::{KeyEntry, KeyError, OldKeys};

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

    /// Brings a new key, true for every worker at once; gives the one that is to sign.
    pub fn rotate(&self, old: OldKeys) -> Result<KeyEntry, KeyError> {
        let next = self.parts.ring.rotate(old, self.parts.clock.now())?;
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
        let upkeep = self.parts.ring.keep_house(self.parts.rotate_every, self.parts.clock.now())?;
        if upkeep.made.is_some() {
            self.audit().write(event("auth.key.rotated").reason("age"));
        }
        for _removed in upkeep.removed {
            self.audit().write(event("auth.key.removed").reason("age"));
        }
        Ok(())
    }

    fn audit(&self) -> Audit {
        self.parts.audit()
    }
}

fn event(name: &'static str) -> AuditEvent {
    AuditEvent::new(name).outcome("success")
}
