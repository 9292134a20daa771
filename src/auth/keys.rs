//! The signing keys, as people see and change them.

use std::time::Duration;

use super::Parts;
use super::users::COMMAND_LINE;
use crate::telemetry::AuditEvent;
use crate::token::{KeyEntry, KeyError, KeyState, OldKeys, Rotated};

/// The administration of the signing keys.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    parts: &'a Parts,
}

/// What keys sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Access tokens.
    Access,
    /// What applications are told of a caller.
    Assertion,
}

/// What a rotation came to. Each kind of keys rotates whatever becomes of the other.
#[derive(Debug)]
pub struct RotatedKeys {
    /// Those of access tokens.
    pub access: Result<Rotated, KeyError>,
    /// Those of assertions; None: there are none.
    pub assertions: Result<Option<Rotated>, KeyError>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(parts: &'a Parts) -> Self {
        Self { parts }
    }

    /// Every key with its purpose, in the order in which they sign.
    pub fn list(&self) -> Vec<(Purpose, KeyEntry)> {
        let of = |purpose| self.of(purpose).into_iter().map(move |key| (purpose, key));
        of(Purpose::Access).chain(of(Purpose::Assertion)).collect()
    }

    /// How long the active key has signed access tokens; None: it always did.
    pub fn age(&self) -> Option<Duration> {
        let active = self.of(Purpose::Access).into_iter();
        let active = active.into_iter().find(|key| key.state == KeyState::Active)?;
        Some(active.from?.until(self.parts.clock.now()))
    }

    /// Brings new keys, true for every worker at once.
    pub fn rotate(&self, old: OldKeys) -> RotatedKeys {
        let Parts { ring, assertions, clock, .. } = self.parts;
        let reason = match old {
            OldKeys::Overlap => "overlap",
            OldKeys::Revoked => "old_keys_revoked",
        };
        let line = |name| event(name).reason(reason).actor(COMMAND_LINE.to_owned());
        let now = clock.now();
        RotatedKeys {
            access: self.told(Purpose::Access, line, || ring.rotate(old, now)),
            assertions: self.told(Purpose::Assertion, line, || assertions.rotate(old, now)),
        }
    }

    /// Makes the next key when it is time, and removes those that nobody needs any more.
    pub fn keep_house(&self) -> Result<(), KeyError> {
        let Parts { ring, assertions, clock, .. } = self.parts;
        let (every, now) = (self.parts.rotate_every, clock.now());
        let line = |name| event(name).reason("age");
        let kept = [
            self.told(Purpose::Access, line, || ring.keep_house(every, now).map(drop)),
            self.told(Purpose::Assertion, line, || assertions.keep_house(every, now).map(drop)),
        ];
        kept.into_iter().collect()
    }

    /// Does something to the keys of one purpose, and tells which have come and gone by it, also
    /// where it failed half-way.
    fn told<T>(
        &self,
        purpose: Purpose,
        line: impl Fn(&'static str) -> AuditEvent,
        act: impl FnOnce() -> T,
    ) -> T {
        let kids = || self.of(purpose).into_iter().map(|key| key.kid).collect::<Vec<_>>();
        let before = kids();
        let outcome = act();
        let after = kids();
        let (made, removed) = match purpose {
            Purpose::Access => ("auth.key.rotated", "auth.key.removed"),
            Purpose::Assertion => ("auth.assertion_key.rotated", "auth.assertion_key.removed"),
        };
        let lines = [(made, &after, &before), (removed, &before, &after)];
        for (name, some, others) in lines {
            for kid in some.iter().filter(|kid| !others.contains(kid)) {
                self.parts.audit().write(line(name).key(kid.clone()));
            }
        }
        outcome
    }

    fn of(&self, purpose: Purpose) -> Vec<KeyEntry> {
        let now = self.parts.clock.now();
        match purpose {
            Purpose::Access => self.parts.ring.list(now),
            Purpose::Assertion => self.parts.assertions.list(now),
        }
    }
}

fn event(name: &'static str) -> AuditEvent {
    AuditEvent::new(name).outcome("success")
}
