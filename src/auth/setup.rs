//! Links that set a password once: for a new user, and for a forgotten one.
//!
//! The secret of a link is 32 random bytes, kept as SHA-256. Whoever holds the link may set the
//! password, so it is shown once, to the administrator who asked for it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::begin::Wish;
use super::{Auth, Client, Failure, Parts, Tokens, UserError, Users};
use crate::clock::Timestamp;
use crate::identity::{Role, SessionId, UserId, Username};
use crate::limit::{Bucket, Wait};
use crate::password::Rejection;
use crate::secret::{self, Secret};
use crate::session::Transport;
use crate::store::{Begun, NewLink, NewUser, Renewal, RenewedBy, Unavailable, User};
use crate::telemetry::Counter;

/// A link as it is handed to the administrator.
#[derive(Debug)]
pub struct Invitation {
    /// The whole URL.
    pub url: Secret,
    /// Good until then.
    pub expires: Timestamp,
}

/// A password to be set by a link.
#[derive(Debug)]
pub struct SetupLink {
    /// The link's secret, as presented.
    pub secret: String,
    /// The new password, as typed.
    pub password: Secret,
    /// The session of a presented cookie, which this login replaces.
    pub replaces: Option<SessionId>,
    /// The device cookie.
    pub device: Option<String>,
    /// From where.
    pub client: Client,
}

/// What came of it.
#[derive(Debug)]
#[must_use]
pub enum Setup {
    /// Every session has ended, and this one began, by cookie.
    Welcome(Box<Tokens>),
    /// Used, too old, void, or never made: nobody can tell which, nor whose it was.
    BadLink,
    /// The password is too weak: whose it would be, and why, for its owner. The link stays good.
    Rejected(Username, Vec<Rejection>),
    /// Too many tries.
    Wait(Wait),
    /// Too many logins wait for a hash.
    Busy,
}

impl Users {
    /// A link for a user, who is made if there is none of that name; only then there are roles.
    pub async fn invite(
        &self,
        name: &Username,
        roles: Vec<Role>,
        life: Duration,
    ) -> Result<Invitation, UserError> {
        if !(SHORTEST_LIFE..=LONGEST_LIFE).contains(&life) {
            return Err(UserError::LinkLife);
        }
        let link = secret::random::<32>();
        let expires = self.parts.clock.now().plus(life);
        let kept = |user| NewLink { hash: Sha256::digest(link).into(), user, expires };
        match self.parts.store.user(name).await? {
            Some(_) if !roles.is_empty() => return Err(UserError::RolesOfKnown(name.clone())),
            Some(user) => self.keep_link(name, kept(user.id)).await?,
            None if roles.is_empty() => return Err(UserError::RolesNeeded(name.clone())),
            None => {
                let id = UserId::from_bytes(secret::random());
                self.add_invited((id, name), roles, kept(id)).await?;
            }
        }
        let url = format!("{}?t={}", self.parts.setup_url, URL_SAFE_NO_PAD.encode(link));
        Ok(Invitation { url: url.into(), expires })
    }

    async fn keep_link(&self, name: &Username, link: NewLink) -> Result<(), UserError> {
        let (users, name, user) = (self.clone(), name.clone(), link.user);
        self.parts
            .detached
            .to_its_end(|cancellation| async move {
                if !users.parts.store.until(cancellation).add_link(link).await? {
                    return Err(UserError::Disabled(name));
                }
                users.tell_of("auth.user.invited", user, name);
                Ok(())
            })
            .await
    }

    async fn add_invited(
        &self,
        (id, name): (UserId, &Username),
        roles: Vec<Role>,
        link: NewLink,
    ) -> Result<(), UserError> {
        self.check_roles(&roles)?;
        let username = name.clone();
        let user = NewUser { id, username, name: None, email: None, roles, hash: None };
        self.insert(user, Some(link)).await.map(drop)
    }
}

impl Auth {
    /// Whose password a link would set; None for every link that is not good. Changes nothing.
    pub async fn setup_link(&self, secret: &str) -> Result<Option<Username>, Unavailable> {
        let Some(hash) = hash(secret) else { return Ok(None) };
        Ok(self.parts.store.link(hash).await?.map(|user| user.username))
    }

    /// Sets a password by a link and signs in. Bad links count as failed logins of the address.
    pub async fn setup(&self, link: SetupLink) -> Result<Setup, Failure> {
        let parts = &self.parts;
        let address = link.client.address;
        let permits = [Bucket::LoginAddress(address), Bucket::LoginNetwork(address)];
        if let Err(wait) = parts.limits.take_all(&permits) {
            parts.tell_throttled(&link.client, wait);
            return Ok(Setup::Wait(wait));
        }
        let outcome = parts.setup(&link).await;
        if matches!(outcome, Ok(Setup::BadLink)) {
            parts.tell_bad_link(&link.client);
        } else {
            permits.iter().for_each(|permit| parts.limits.give_back(*permit));
        }
        outcome
    }
}

impl Parts {
    async fn setup(self: &Arc<Self>, link: &SetupLink) -> Result<Setup, Failure> {
        let Some(by) = hash(&link.secret) else { return Ok(Setup::BadLink) };
        let Some(user) = self.store.link(by).await? else { return Ok(Setup::BadLink) };
        match self.judge(&user.username, &link.password) {
            Err(reasons) => Ok(Setup::Rejected(user.username, reasons)),
            Ok(password) => match self.hasher.hash(password).await {
                Ok(hash) => self.renew_by_link(link, (RenewedBy::Link(by), &user), hash).await,
                Err(_busy) => Ok(Setup::Busy),
            },
        }
    }

    async fn renew_by_link(
        self: &Arc<Self>,
        link: &SetupLink,
        (by, user): (RenewedBy, &User),
        hash: crate::password::PasswordHash,
    ) -> Result<Setup, Failure> {
        let wish = Wish {
            transport: Transport::Cookie,
            remember: self.sessions.remember_default,
            device_name: None,
            replaces: link.replaces,
            client: &link.client,
        };
        let (session, token) = self
            .new_session(user, wish)
            .inspect_err(|_no_token| self.tell_no_token(&link.client, user))?;
        let before = self.predecessor(link.device.as_deref(), user);
        let (parts, user, client) = (Arc::clone(self), user.clone(), link.client.clone());
        self.detached
            .once_begun(|cancellation| async move {
                let renewal = Renewal { by, hash, session };
                Ok(match parts.store.until(cancellation).renew(renewal).await? {
                    Begun::Yes { row, ended } => {
                        parts.tell_setup(&client, &user, token.session);
                        let epoch = user.password_epoch.saturating_add(1);
                        let mut tokens = parts.began((&row, ended), &token, epoch)?;
                        tokens.before = before;
                        Setup::Welcome(tokens)
                    }
                    Begun::Refused => Setup::BadLink,
                })
            })
            .await
    }

    fn tell_setup(&self, client: &Client, user: &User, session: SessionId) {
        self.tell_success(client, user, session);
        let event = client.event("auth.password.setup").user(user.id);
        let event = event.username(user.username.clone()).session(session);
        self.audit().write(event.outcome("success"));
    }

    fn tell_bad_link(&self, client: &Client) {
        self.telemetry.count(Counter::Login, "failure");
        let event = client.event("auth.password.setup").outcome("failure").reason("bad_link");
        self.audit().write(self.with_address(event, client.address));
    }
}

/// What the store keeps of a link's secret; None: it cannot be one.
fn hash(secret: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let read = URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes);
    (read == Ok(32)).then(|| Sha256::digest(bytes).into())
}

const SHORTEST_LIFE: Duration = Duration::from_secs(60);
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
