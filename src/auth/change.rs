//! A password changed by its owner: the old one proves who asks, and one session goes on.

use std::sync::Arc;

use super::begin::Wish;
use super::detached::unless_left;
use super::{Auth, Client, Failure, Parts, Tokens};
use crate::identity::Username;
use crate::limit::{Bucket, Wait};
use crate::password::{self, Asker, Busy, Demands, Password, PasswordHash, Rejection, Typed};
use crate::secret::Secret;
use crate::session::Row;
use crate::store::{Begun, Renewal, RenewedBy, User};
use crate::telemetry::{AuditEvent, Counter};
use crate::token::Verified;

/// A wish for another password.
#[derive(Debug)]
pub struct Change<'a> {
    /// Who asks.
    pub caller: &'a Verified,
    /// The password until now, as typed.
    pub current: Secret,
    /// The one from now on.
    pub new: Secret,
    /// From where.
    pub client: Client,
}

/// What came of it.
#[derive(Debug)]
#[must_use]
pub enum Changed {
    /// Every session has ended, and this one began.
    Welcome(Box<Tokens>),
    /// The current password is another, or the session is over.
    Wrong,
    /// The new one is too weak: why, for its owner.
    Rejected(Vec<Rejection>),
    /// Too many tries.
    Wait(Wait),
    /// Too many logins wait for a hash.
    Busy,
}

impl Auth {
    /// Changes the caller's password. Wrong tries count like those of a known client's login, but by
    /// themselves; right ones like the user's logins: each costs hashes, and no other limit is in their way. Who leaves
    /// before the hashes are made has failed, as far as they count.
    pub async fn change_password(&self, change: Change<'_>) -> Result<Changed, Failure> {
        let parts = &self.parts;
        let identity = &change.caller.identity;
        let name = identity.username.as_str();
        // Not that of logins, which neighbours can empty.
        let failure = Bucket::LoginNameKnown(parts.key("limit/change", name));
        let success = Bucket::LoginUser(parts.name_key(name));
        if let Err(wait) = parts.limits.take_all(&[failure, success]) {
            parts.telemetry.count(Counter::Throttled, wait.limit);
            return Ok(Changed::Wait(wait));
        }
        let left = || {
            parts.limits.give_back(success);
            parts.audit().write(parts.event_of(&change).outcome("left"));
        };
        let changed = match unless_left(parts.prove(&change), left).await {
            Ok(Ok(proven)) => parts.renew_by_password(&change, proven).await,
            Ok(Err(changed)) => Ok(changed),
            Err(failure) => Err(failure),
        };
        match &changed {
            Ok(Changed::Wrong) => parts.audit().write(parts.event_of(&change).outcome("failure")),
            // Success was told when it was done.
            Ok(Changed::Welcome(_) | Changed::Rejected(_) | Changed::Wait(_) | Changed::Busy)
            | Err(_) => {}
        }
        if !matches!(changed, Ok(Changed::Wrong)) {
            parts.limits.give_back(failure);
        }
        if !matches!(changed, Ok(Changed::Welcome(_) | Changed::Rejected(_))) {
            parts.limits.give_back(success);
        }
        changed
    }
}

/// The old password was right: whose it is, in which session, and the hash of the new one.
struct Proven {
    row: Row,
    user: User,
    hash: PasswordHash,
}

impl Parts {
    /// What a change is made with, if it may be; Err: why not.
    async fn prove(&self, change: &Change<'_>) -> Result<Result<Proven, Changed>, Failure> {
        let identity = &change.caller.identity;
        let row = self.store.peek(identity.session).await?.filter(|row| row.revoked.is_none());
        let user = self.store.user_by_id(identity.user).await?;
        let (Some(row), Some(user)) = (row, user.filter(|user| user.disabled.is_none())) else {
            return Ok(Err(Changed::Wrong));
        };
        let typed = Typed::new(&change.current);
        match self.hasher.verify(typed, user.hash.clone(), Asker::Known).await {
            Ok(true) => {}
            Ok(false) => return Ok(Err(Changed::Wrong)),
            Err(Busy) => return Ok(Err(Changed::Busy)),
        }
        let password = match self.judge(&user.username, &change.new) {
            Ok(password) => password,
            Err(reasons) => return Ok(Err(Changed::Rejected(reasons))),
        };
        let hash = self.hasher.hash(password).await;
        Ok(hash.map(|hash| Proven { row, user, hash }).map_err(|Busy| Changed::Busy))
    }

    async fn renew_by_password(
        self: &Arc<Self>,
        change: &Change<'_>,
        Proven { row, user, hash }: Proven,
    ) -> Result<Changed, Failure> {
        let wish = Wish {
            transport: row.transport,
            remember: row.remember,
            device_name: row.device_name,
            replaces: None,
            client: &change.client,
        };
        let (session, token) = self.new_session(&user, wish)?;
        let renewal = Renewal { by: RenewedBy::OldPassword, hash, session };
        let epoch = user.password_epoch.saturating_add(1);
        let (parts, event) = (Arc::clone(self), self.event_of(change));
        self.detached
            .once_begun(|cancellation| async move {
                Ok(match parts.store.until(cancellation).renew(renewal).await? {
                    Begun::Yes { row, ended } => {
                        parts.audit().write(event.outcome("success"));
                        Changed::Welcome(parts.began((&row, ended), &token, epoch)?)
                    }
                    // Somebody else was faster: the old password is not the current one any more.
                    Begun::Refused => Changed::Wrong,
                })
            })
            .await
    }

    /// Prepares a new password, or tells its owner everything that is wrong with it.
    pub(super) fn judge(
        &self,
        name: &Username,
        typed: &Secret,
    ) -> Result<Password, Vec<Rejection>> {
        let rules = &self.passwords;
        let demands = Demands { min_length: rules.min_length, blocklist: &rules.blocklist };
        password::judge(typed, name, demands)
    }

    fn event_of(&self, change: &Change<'_>) -> AuditEvent {
        let identity = &change.caller.identity;
        let event = change.client.event("auth.password.change").user(identity.user);
        let event = event.username(identity.username.clone()).session(identity.session);
        self.with_address(event, change.client.address)
    }
}
