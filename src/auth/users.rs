//! What people administer: users and their sessions. The same for the command line, with a gateway
//! running or not, for the bootstrap of a configuration, and for administrators over HTTP. The
//! last can take the administrators' role from everybody but the last who has it.

use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;

use super::bounds::{LONGEST_TEXT, check_texts};
use super::{Client, Parts, SESSION_ENDED};
use crate::config::{Bootstrap, BootstrapPassword};
use crate::identity::{BadUsername, Role, SessionId, UserId, Username};
use crate::password::{Busy, Password, PasswordHash, Rejection};
use crate::revocation::KEPT;
use crate::secret::{self, Secret};
use crate::session::{EndReason, Row};
use crate::store::{Added, Changed, Ended, NewLink, NewUser, Store, Taking, Unavailable, User};
use crate::telemetry::AuditEvent;

/// The administration of users. What it changes is told, also when whoever asked for it has left.
#[derive(Clone, Debug)]
pub struct Users {
    pub(super) parts: Arc<Parts>,
    by: By,
}

/// Who administers.
#[derive(Clone, Debug)]
enum By {
    /// Whoever may use the machine.
    CommandLine,
    /// Whoever wrote the configuration.
    Configuration,
    /// Somebody over HTTP.
    Administrator(Arc<Administrator>),
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

/// Why an order was not carried out. Nothing was changed, but perhaps where the store did not answer.
#[derive(Debug, Error)]
pub enum UserError {
    /// No user has that name.
    #[error("there is no user named {0}; `portcullis user list` shows all")]
    NoSuchUser(Username),
    /// A user of that name is there.
    #[error(
        "a user named {0} is there, or was: names of deleted users stay reserved, unless `portcullis user delete --free-name` deleted them"
    )]
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
    /// No new user can have that name.
    #[error(transparent)]
    BadName(#[from] BadUsername),
    /// Failed logins are told no sooner than hashes of ours take.
    #[error(
        "the hash: it costs more time than a failed login takes, and would tell that its name exists; \
        choose another, or have its owner set a password by `portcullis user invite`"
    )]
    DearHash,
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

impl Users {
    pub(super) fn new(parts: Arc<Parts>) -> Self {
        Self { parts, by: By::CommandLine }
    }

    /// The same, done by an administrator.
    #[must_use]
    pub fn by(self, administrator: Administrator) -> Self {
        Self { by: By::Administrator(Arc::new(administrator)), ..self }
    }

    /// The same, done since the configuration says so.
    #[must_use]
    pub fn by_configuration(self) -> Self {
        Self { by: By::Configuration, ..self }
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
        self.insert(user, None).await
    }

    /// Creates a user of the configuration whose name never existed; changes none.
    pub async fn bootstrap(&self, user: &Bootstrap) -> Result<(), UserError> {
        if self.parts.store.was_user(&user.name).await? {
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
        match self.insert(new, None).await {
            // Somebody was faster.
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
        let id = user.id;
        let change = move |store: Store| async move { Ok(store.set_password(id, hash).await?) };
        let deed = ("auth.user.password", EndReason::Password);
        self.carry_out(user, deed, change).await.map(drop)
    }

    /// Sets the roles; true on the next request, and nobody is signed out. False: the user had
    /// these.
    pub async fn set_roles(&self, name: &Username, roles: Vec<Role>) -> Result<bool, UserError> {
        self.check_roles(&roles)?;
        let user = self.show(name).await?;
        let (by, whose) = (self.by.clone(), user.clone());
        let change = move |store: Store| async move {
            match &by {
                By::Administrator(by) => take((&store, by), &whose, Taking::Roles(roles)).await,
                By::CommandLine | By::Configuration => Ok(store.set_roles(whose.id, roles).await?),
            }
        };
        self.carry_out(user, ("auth.user.roles", EndReason::User), change).await
    }

    /// Disables a user and ends its sessions. False: it was disabled before.
    pub async fn disable(&self, name: &Username) -> Result<bool, UserError> {
        let user = self.show(name).await?;
        let (by, whose) = (self.by.clone(), user.clone());
        let change = move |store: Store| async move {
            match &by {
                By::Administrator(by) => take((&store, by), &whose, Taking::Disable).await,
                By::CommandLine | By::Configuration => {
                    Ok(store.set_disabled(whose.id, true).await?)
                }
            }
        };
        self.carry_out(user, ("auth.user.disabled", EndReason::User), change).await
    }

    /// Lets a disabled user log in again. False: it was not disabled.
    pub async fn enable(&self, name: &Username) -> Result<bool, UserError> {
        let user = self.show(name).await?;
        let id = user.id;
        let change = move |store: Store| async move { Ok(store.set_disabled(id, false).await?) };
        self.carry_out(user, ("auth.user.enabled", EndReason::User), change).await
    }

    /// Deletes a user and ends its sessions.
    pub async fn delete(&self, name: &Username, its_name: Name) -> Result<(), UserError> {
        let user = self.show(name).await?;
        let (by, whose) = (self.by.clone(), user.clone());
        let change = move |store: Store| async move {
            match (&by, its_name) {
                (By::Administrator(by), Name::Reserved) => {
                    take((&store, by), &whose, Taking::Delete).await
                }
                (_, its_name) => {
                    let free_name = its_name == Name::Freed;
                    Ok(store.delete_user(whose.id, free_name).await?)
                }
            }
        };
        self.carry_out(user, ("auth.user.deleted", EndReason::User), change).await.map(drop)
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
        let users = self.clone();
        self.parts
            .detached
            .though_late(async move {
                if !users.parts.store.end(session, EndReason::Administrator).await? {
                    return Err(UserError::NoSuchSession(session));
                }
                let event = users.event(SESSION_ENDED);
                users.parts.ended_by(&event, [(session, EndReason::Administrator)]);
                Ok(())
            })
            .await
    }

    /// Ends every session of a user; gives how many.
    pub async fn end_sessions(&self, name: &Username) -> Result<usize, UserError> {
        let user = self.show(name).await?;
        self.end_sessions_of(Some(user.id), vec![user]).await
    }

    /// Ends every session of every user, or none; gives how many.
    pub async fn end_all_sessions(&self) -> Result<usize, UserError> {
        self.end_sessions_of(None, self.list().await?).await
    }

    /// What ended by itself ends again here, and is not counted.
    async fn end_sessions_of(
        &self,
        whose: Option<UserId>,
        known: Vec<User>,
    ) -> Result<usize, UserError> {
        let users = self.clone();
        self.parts
            .detached
            .though_late(async move {
                let reason = EndReason::Administrator;
                let ended = users.parts.store.end_all(whose, None, reason).await?;
                let names: HashMap<_, _> =
                    known.into_iter().map(|user| (user.id, user.username)).collect();
                for Ended { session, user, .. } in &ended {
                    let event = users.event(SESSION_ENDED).user(*user);
                    let event = event.username(names.get(user).cloned());
                    users.parts.ended_by(&event, [(*session, reason)]);
                }
                Ok(ended.iter().filter(|ended| ended.lived).count())
            })
            .await
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

    /// Adds a user, with a link for it if there is one: both or neither.
    pub(super) async fn insert(
        &self,
        user: NewUser,
        link: Option<NewLink>,
    ) -> Result<UserId, UserError> {
        user.username.may_be_taken()?;
        let users = self.clone();
        self.parts
            .detached
            .to_its_end(|cancellation| async move {
                let (id, name) = (user.id, user.username.clone());
                let store = users.parts.store.until(cancellation);
                let invited = link.is_some();
                let added = match link {
                    Some(link) => store.invite(user, link).await?,
                    None => store.add_user(user).await?,
                };
                if added == Added::NameTaken {
                    return Err(UserError::NameTaken(name));
                }
                users.parts.changes.happened();
                users.tell_of("auth.user.added", id, name.clone());
                if invited {
                    users.tell_of("auth.user.invited", id, name);
                }
                Ok(id)
            })
            .await
    }

    async fn first_hash(&self, user: &Bootstrap) -> Result<PasswordHash, UserError> {
        match &user.password {
            // A hash's password is never judged: nobody can tell what it is.
            BootstrapPassword::Hash(hash) => self.check_cost(hash).map(|()| hash.clone()),
            BootstrapPassword::Plain(plain) => {
                let password = self.judge(&user.name, plain)?;
                Ok(self.parts.hasher.hash(password).await?)
            }
        }
    }

    fn judge(&self, name: &Username, typed: &Secret) -> Result<Password, UserError> {
        self.parts.judge(name, typed).map_err(UserError::BadPassword)
    }

    pub(super) fn check_cost(&self, hash: &PasswordHash) -> Result<(), UserError> {
        let hidden = hash.floor() <= self.parts.passwords.cost.floor();
        if hidden { Ok(()) } else { Err(UserError::DearHash) }
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

    /// Makes a change and tells it, to the end. False: it stood so before, and nothing is told.
    async fn carry_out<C>(
        &self,
        user: User,
        (event, reason): (&'static str, EndReason),
        change: impl FnOnce(Store) -> C + Send + 'static,
    ) -> Result<bool, UserError>
    where
        C: Future<Output = Result<Changed, UserError>> + Send + 'static,
    {
        let users = self.clone();
        self.parts
            .detached
            .to_its_end(|cancellation| async move {
                let changed = change(users.parts.store.until(cancellation)).await?;
                users.parts.changes.happened();
                let of_user =
                    |event| users.event(event).user(user.id).username(user.username.clone());
                match changed {
                    Changed::Ended(sessions) => {
                        let ended = sessions.into_iter().map(|session| (session, reason));
                        users.parts.ended_by(&of_user(SESSION_ENDED), ended);
                    }
                    Changed::Raised(sessions) => users.parts.raised(sessions),
                    Changed::Already => return Ok(false),
                    Changed::NoSuchUser => return Err(UserError::NoSuchUser(user.username)),
                }
                users.parts.audit().write(of_user(event).outcome("success"));
                Ok(true)
            })
            .await
    }

    /// Tells that an order about a user was carried out.
    pub(super) fn tell_of(&self, event: &'static str, user: UserId, name: Username) {
        let event = self.event(event).user(user).username(name);
        self.parts.audit().write(event.outcome("success"));
    }

    pub(super) fn event(&self, name: &'static str) -> AuditEvent {
        let event = |actor: &str| AuditEvent::new(name).actor(actor.to_owned());
        match &self.by {
            By::Administrator(by) => by.client.event(name).actor(by.name.to_string()),
            By::CommandLine => event(COMMAND_LINE),
            By::Configuration => event("configuration"),
        }
    }
}

impl Parts {
    /// Makes true in this process what the store has committed: older access tokens of these
    /// sessions do not count.
    fn raised(&self, sessions: Vec<(SessionId, u32)>) {
        let drop_at = self.clock.now().plus(KEPT);
        for (session, least) in sessions {
            self.revocations.raise(session, least, drop_at);
        }
    }
}

/// What no administrator may do to the last who has the role that allows it.
async fn take(
    (store, by): (&Store, &Administrator),
    user: &User,
    change: Taking,
) -> Result<Changed, UserError> {
    let changed = store.take_standing(user.id, change, by.role.clone()).await?;
    changed.ok_or_else(|| UserError::LastAdministrator(user.username.clone(), by.role.clone()))
}

/// Who did it, where nobody knows more.
pub(super) const COMMAND_LINE: &str = "command line";

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
