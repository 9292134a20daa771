//! What people administer: users and their sessions. The same for the command line, with a gateway
//! running or not, for the bootstrap of a configuration, and for administrators over HTTP. The
//! last can take the administrators' role from everybody but the last who has it.

use thiserror::Error;

use super::bounds::{LONGEST_TEXT, check_texts};
use super::{Client, Parts};
use crate::config::{Bootstrap, BootstrapPassword};
use crate::identity::{Role, SessionId, UserId, Username};
use crate::password::{Busy, Password, PasswordHash, Rejection};
use crate::revocation::KEPT;
use crate::secret::{self, Secret};
use crate::session::{EndReason, Row};
use crate::store::{Added, Changed, NewUser, Taking, Unavailable, User};
use crate::telemetry::AuditEvent;

/// The administration of users.
#[derive(Clone, Copy, Debug)]
pub struct Users<'a> {
    pub(super) parts: &'a Parts,
    /// None: whoever may use the machine.
    by: Option<&'a Administrator>,
}

/// Who administers over HTTP.
#[derive(Clone, Debug)]
pub struct Administrator {
    /// Who.
    pub name: Username,
    /// The role that allows it.
    pub role: Role,
    /// Where from, and in which request.
    pub client: Client,
}

/// Why an order was not carried out. Nothing was changed.
#[derive(Debug, Error)]
pub enum UserError {
    /// No user has that name.
    #[error("there is no user named {0}; `portcullis user list` shows all")]
    NoSuchUser(Username),
    /// A user of that name is there.
    #[error("a user named {0} is there, or was: names of deleted users stay reserved")]
    NameTaken(Username),
    /// No session has that id.
    #[error("there is no live session {0}; `portcullis session list` shows all")]
    NoSuchSession(SessionId),
    /// The new password is refused.
    #[error("this password is refused: {}", told(.0))]
    BadPassword(Vec<Rejection>),
    /// Nobody could administer any more.
    #[error("{0} is the last who can sign in with the role {1}; give it to somebody else first")]
    LastAdministrator(Username, Role),
    /// Roles are a closed list.
    #[error("there is no role {0}; `auth.roles` in the configuration lists: {1}")]
    UnknownRole(Role, String),
    /// A new user has roles.
    #[error("there is no user named {0}; to add one, say which roles: --role R")]
    RolesNeeded(Username),
    /// An invitation changes no roles.
    #[error("{0} is a user already; without --role the link is for a new password")]
    RolesOfKnown(Username),
    /// A disabled user cannot log in.
    #[error("{0} is disabled; `portcullis user enable {0}` comes first")]
    Disabled(Username),
    /// A link's life is out of bounds.
    #[error("a link lives from 1 minute to 30 days")]
    LinkLife,
    /// Full name or e-mail cannot be told in a header or on a page.
    #[error("{0} is one line of at most {LONGEST_TEXT} characters")]
    BadText(&'static str),
    /// Access tokens that tell so many roles would not fit into a cookie.
    #[error("so many roles do not fit into an access token; give this user fewer")]
    TooManyRoles,
    /// Somebody else added one of the users meanwhile.
    #[error("a user of the file was added meanwhile; try again")]
    Raced,
    /// Too many logins wait for a hash.
    #[error("too many logins are waiting for the hashing threads; try again")]
    Busy(#[from] Busy),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] Unavailable),
}

/// A user to be added, as an administrator gives it.
#[derive(Debug)]
pub struct Newcomer {
    /// The name.
    pub name: Username,
    /// Full name.
    pub full_name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Roles, each of the closed list.
    pub roles: Vec<Role>,
    /// The first password; None: whoever it is cannot sign in yet.
    pub password: Option<Secret>,
}

impl<'a> Users<'a> {
    pub(super) fn new(parts: &'a Parts) -> Self {
        Self { parts, by: None }
    }

    /// The same, done by an administrator.
    #[must_use]
    pub const fn by(self, administrator: &'a Administrator) -> Self {
        Self { by: Some(administrator), ..self }
    }

    /// Adds a user.
    pub async fn add(&self, newcomer: Newcomer) -> Result<UserId, UserError> {
        self.check_roles(&newcomer.roles)?;
        check_texts(newcomer.full_name.as_deref(), newcomer.email.as_deref())?;
        let hash = match &newcomer.password {
            Some(password) => {
                let password = self.judge(&newcomer.name, password)?;
                Some(self.parts.hasher.hash(password).await?)
            }
            None => None,
        };
        let user = NewUser {
            id: UserId::from_bytes(secret::random()),
            username: newcomer.name,
            name: newcomer.full_name,
            email: newcomer.email,
            roles: newcomer.roles,
            hash,
        };
        self.insert(user).await
    }

    /// Creates a user of the configuration whose name never existed; changes none.
    pub async fn bootstrap(&self, user: &Bootstrap) -> Result<(), UserError> {
        if self.parts.store.user(&user.name).await?.is_some() {
            return Ok(());
        }
        self.check_roles(&user.roles)?;
        let new = NewUser {
            id: UserId::from_bytes(secret::random()),
            username: user.name.clone(),
            name: None,
            email: None,
            roles: user.roles.clone(),
            hash: Some(self.first_hash(user).await?),
        };
        match self.insert(new).await {
            // Deleted once: the name stays reserved, and the bootstrap does not undo that.
            Ok(_) | Err(UserError::NameTaken(_)) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// All users, by name.
    pub async fn list(&self) -> Result<Vec<User>, UserError> {
        Ok(self.parts.store.users().await?)
    }

    /// One user.
    pub async fn show(&self, name: &Username) -> Result<User, UserError> {
        let user = self.parts.store.user(name).await?;
        user.ok_or_else(|| UserError::NoSuchUser(name.clone()))
    }

    /// Sets a password and ends all sessions of the user.
    pub async fn set_password(&self, name: &Username, password: &Secret) -> Result<(), UserError> {
        let user = self.show(name).await?;
        let password = self.judge(name, password)?;
        let hash = self.parts.hasher.hash(password).await?;
        let changed = self.parts.store.set_password(user.id, hash).await?;
        self.carry_out(name, changed, EndReason::Password)?;
        self.tell("auth.user.password", &user);
        Ok(())
    }

    /// Sets the roles; true on the next request, and nobody is signed out.
    pub async fn set_roles(&self, name: &Username, roles: Vec<Role>) -> Result<(), UserError> {
        self.check_roles(&roles)?;
        let user = self.show(name).await?;
        let changed = match self.by {
            Some(by) => self.take(&user, Taking::Roles(roles), by).await?,
            None => self.parts.store.set_roles(user.id, roles).await?,
        };
        self.carry_out(name, changed, EndReason::User)?;
        self.tell("auth.user.roles", &user);
        Ok(())
    }

    /// Disables a user and ends its sessions.
    pub async fn disable(&self, name: &Username) -> Result<(), UserError> {
        let user = self.show(name).await?;
        let changed = match self.by {
            Some(by) => self.take(&user, Taking::Disable, by).await?,
            None => self.parts.store.set_disabled(user.id, true).await?,
        };
        self.carry_out(name, changed, EndReason::User)?;
        self.tell("auth.user.disabled", &user);
        Ok(())
    }

    /// Lets a disabled user log in again.
    pub async fn enable(&self, name: &Username) -> Result<(), UserError> {
        let user = self.show(name).await?;
        let changed = self.parts.store.set_disabled(user.id, false).await?;
        self.carry_out(name, changed, EndReason::User)?;
        self.tell("auth.user.enabled", &user);
        Ok(())
    }

    /// Deletes a user and ends its sessions.
    pub async fn delete(&self, name: &Username, its_name: Name) -> Result<(), UserError> {
        let user = self.show(name).await?;
        let changed = match (self.by, its_name) {
            (Some(by), Name::Reserved) => self.take(&user, Taking::Delete, by).await?,
            (_, its_name) => self.parts.store.delete_user(user.id, its_name == Name::Freed).await?,
        };
        self.carry_out(name, changed, EndReason::User)?;
        self.tell("auth.user.deleted", &user);
        Ok(())
    }

    /// Live sessions of one user, or of all.
    pub async fn sessions(&self, of: Option<&Username>) -> Result<Vec<Row>, UserError> {
        let user = match of {
            Some(name) => Some(self.show(name).await?.id),
            None => None,
        };
        Ok(self.parts.store.sessions(user).await?)
    }

    /// Ends one session.
    pub async fn end_session(&self, session: SessionId) -> Result<(), UserError> {
        if self.parts.store.end(session, EndReason::Administrator).await? {
            self.parts.ended([(session, EndReason::Administrator)]);
            return Ok(());
        }
        Err(UserError::NoSuchSession(session))
    }

    /// Ends every session of a user; gives how many.
    pub async fn end_sessions(&self, name: &Username) -> Result<usize, UserError> {
        let user = self.show(name).await?;
        let ended = self.parts.store.end_all(user.id, None, EndReason::Administrator).await?;
        let count = ended.len();
        self.parts.ended(ended.into_iter().map(|session| (session, EndReason::Administrator)));
        Ok(count)
    }

    /// Notes a call over HTTP, whatever came of it: about whom, about which session, which call,
    /// and its outcome.
    pub fn tell_call(
        &self,
        (name, session): (Option<Username>, Option<SessionId>),
        call: &'static str,
        outcome: &'static str,
    ) {
        let event = self.event("auth.admin").username(name).session(session);
        self.parts.audit().write(event.reason(call).outcome(outcome));
    }

    async fn take(
        &self,
        user: &User,
        change: Taking,
        by: &Administrator,
    ) -> Result<Changed, UserError> {
        let changed = self.parts.store.take_standing(user.id, change, by.role.clone()).await?;
        changed.ok_or_else(|| UserError::LastAdministrator(user.username.clone(), by.role.clone()))
    }

    pub(super) async fn insert(&self, user: NewUser) -> Result<UserId, UserError> {
        let (id, name) = (user.id, user.username.clone());
        match self.parts.store.add_user(user).await? {
            Added::Yes => {
                self.parts.changes.happened();
                let event = self.event("auth.user.added").user(id).username(name);
                self.parts.audit().write(event.outcome("success"));
                Ok(id)
            }
            Added::NameTaken => Err(UserError::NameTaken(name)),
        }
    }

    async fn first_hash(&self, user: &Bootstrap) -> Result<PasswordHash, UserError> {
        match &user.password {
            // A hash is never judged: nobody can tell what it is of.
            BootstrapPassword::Hash(hash) => Ok(hash.clone()),
            BootstrapPassword::Plain(plain) => {
                let password = self.judge(&user.name, plain)?;
                Ok(self.parts.hasher.hash(password).await?)
            }
        }
    }

    fn judge(&self, name: &Username, typed: &Secret) -> Result<Password, UserError> {
        self.parts.judge(name, typed).map_err(UserError::BadPassword)
    }

    pub(super) fn check_roles(&self, roles: &[Role]) -> Result<(), UserError> {
        let known = &self.parts.roles;
        match roles.iter().find(|role| !known.contains(role)) {
            None if self.parts.fit_into_a_token(roles) => Ok(()),
            None => Err(UserError::TooManyRoles),
            Some(role) => {
                let all: Vec<_> = known.iter().map(Role::as_str).collect();
                Err(UserError::UnknownRole(role.clone(), all.join(", ")))
            }
        }
    }

    /// Makes a change true in this process: the store has committed it already.
    fn carry_out(
        &self,
        name: &Username,
        changed: Changed,
        reason: EndReason,
    ) -> Result<(), UserError> {
        self.parts.changes.happened();
        match changed {
            Changed::Ended(sessions) => {
                self.parts.ended(sessions.into_iter().map(|session| (session, reason)));
            }
            Changed::Raised(sessions) => {
                let drop_at = self.parts.clock.now().plus(KEPT);
                for (session, least) in sessions {
                    self.parts.revocations.raise(session, least, drop_at);
                }
            }
            Changed::NoSuchUser => return Err(UserError::NoSuchUser(name.clone())),
        }
        Ok(())
    }

    fn tell(&self, event: &'static str, user: &User) {
        let event = self.event(event).user(user.id).username(user.username.clone());
        self.parts.audit().write(event.outcome("success"));
    }

    pub(super) fn event(&self, name: &'static str) -> AuditEvent {
        match self.by {
            Some(by) => by.client.event(name).actor(by.name.to_string()),
            None => AuditEvent::new(name),
        }
    }
}

fn told(reasons: &[Rejection]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What becomes of a deleted user's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Nobody may have it again.
    Reserved,
    /// A new user may take it.
    Freed,
}
