//! `/auth/admin`: users and everybody's sessions, for those who have `auth.admin_role` and signed
//! in recently. No answer holds a hash, and no call sets a password.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::super::Gateway;
use super::super::refusal::{Refusal, Refused};
use super::super::serve::{Arriving, Visit};
use super::sessions::{Listed, session_named};
use super::{Answer, client, form, json, no_content};
use crate::auth::{Administrator, Name, Newcomer, UserError, Users};
use crate::identity::{Role, SessionId, Username};
use crate::limit::Bucket;
use crate::policy::Endpoint;
use crate::request::NormalRequest;
use crate::store::User;
use crate::telemetry::Counter;
use crate::token::Verified;

impl Gateway {
    pub(super) async fn administer(
        &self,
        visit: &mut Visit,
        (endpoint, request): (Endpoint, &NormalRequest),
        upload: Arriving,
    ) -> Answer {
        let role = visit.snapshot.config().auth.admin_role.clone();
        let (Some(role), Some(duty)) = (role, Duty::of(endpoint)) else {
            return Err(Refusal::NotFound.into());
        };
        let body = if duty.has_body() { form::arrived(upload).await } else { Ok(Bytes::new()) };
        let caller = self.known(visit, request).await?;
        let name = caller.identity.username.clone();
        let admitted = self.admit(visit, &caller, &role);
        let administrator = Administrator { name, role, client: client(visit, request) };
        let call = Call {
            users: self.auth.users().by(administrator),
            duty,
            request,
            current: caller.identity.session,
        };
        let mut line = CallLine { call: &call, outcome: "left" };
        let answer = match admitted {
            Ok(()) => call.carry_out(body).await,
            Err(refused) => Err(refused),
        };
        line.outcome = answer.as_ref().map_or_else(Refused::code, |_| "success");
        answer
    }

    fn admit(&self, visit: &Visit, caller: &Verified, role: &Role) -> Result<(), Refused> {
        if !caller.identity.roles.contains(role) {
            return Err(Refusal::Forbidden.into());
        }
        self.auth.limits().take(Bucket::Administrator(caller.identity.user)).map_err(|wait| {
            self.telemetry.count(Counter::Throttled, wait.limit);
            Refused::from(wait)
        })?;
        if !self.auth.is_recent(caller.auth_time) {
            let age = visit.snapshot.reauth_max_age();
            return Err(Refused::from(Refusal::ReauthRequired).max_age(age));
        }
        Ok(())
    }
}

/// What an administrator can ask for.
#[derive(Clone, Copy, Debug)]
enum Duty {
    ListUsers,
    AddUser,
    ShowUser,
    DeleteUser,
    SetRoles,
    DisableUser,
    EnableUser,
    InviteUser,
    AllSessions,
    EndAnySession,
}

impl Duty {
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other endpoint is for everybody")]
    const fn of(endpoint: Endpoint) -> Option<Self> {
        Some(match endpoint {
            Endpoint::ListUsers => Self::ListUsers,
            Endpoint::AddUser => Self::AddUser,
            Endpoint::ShowUser => Self::ShowUser,
            Endpoint::DeleteUser => Self::DeleteUser,
            Endpoint::SetRoles => Self::SetRoles,
            Endpoint::DisableUser => Self::DisableUser,
            Endpoint::EnableUser => Self::EnableUser,
            Endpoint::InviteUser => Self::InviteUser,
            Endpoint::AllSessions => Self::AllSessions,
            Endpoint::EndAnySession => Self::EndAnySession,
            _ => return None,
        })
    }

    const fn has_body(self) -> bool {
        matches!(self, Self::AddUser | Self::SetRoles | Self::InviteUser)
    }

    /// Its name in the audit.
    const fn name(self) -> &'static str {
        match self {
            Self::ListUsers => "list_users",
            Self::AddUser => "add_user",
            Self::ShowUser => "show_user",
            Self::DeleteUser => "delete_user",
            Self::SetRoles => "set_roles",
            Self::DisableUser => "disable_user",
            Self::EnableUser => "enable_user",
            Self::InviteUser => "invite_user",
            Self::AllSessions => "list_sessions",
            Self::EndAnySession => "end_session",
        }
    }
}

/// One call of an administrator.
struct Call<'a> {
    users: Users,
    duty: Duty,
    request: &'a NormalRequest,
    /// The caller's own session.
    current: SessionId,
}

/// The audit line of a call, written when it is over: also when the caller left before that.
struct CallLine<'a> {
    call: &'a Call<'a>,
    outcome: &'static str,
}

impl Drop for CallLine<'_> {
    fn drop(&mut self) {
        self.call.tell(self.outcome);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUserForm {
    username: String,
    #[serde(default)]
    roles: Vec<String>,
    name: Option<String>,
    email: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RolesForm {
    roles: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InviteForm {
    ttl_seconds: Option<u64>,
}

/// How long a link is good when nobody says.
const LINK_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

impl Call<'_> {
    async fn carry_out(&self, body: Result<Bytes, Refused>) -> Answer {
        match self.duty {
            Duty::ListUsers => self.list_users().await,
            Duty::AddUser => self.add_user(&body?).await,
            Duty::ShowUser => self.show(&self.named()?).await,
            Duty::DeleteUser => {
                self.users.delete(&self.named()?, Name::Reserved).await?;
                Ok(no_content())
            }
            Duty::SetRoles => {
                let name = self.named()?;
                let (form, _) = form::parse::<RolesForm>(self.request, &body?)?;
                self.users.set_roles(&name, read_roles(&form.roles)?).await?;
                self.show(&name).await
            }
            Duty::DisableUser => {
                let name = self.named()?;
                self.users.disable(&name).await?;
                self.show(&name).await
            }
            Duty::EnableUser => {
                let name = self.named()?;
                self.users.enable(&name).await?;
                self.show(&name).await
            }
            Duty::InviteUser => self.invite(&body?).await,
            Duty::AllSessions => self.list_sessions().await,
            Duty::EndAnySession => {
                self.users.end_session(session_named(self.request)?).await?;
                Ok(no_content())
            }
        }
    }

    async fn list_users(&self) -> Answer {
        let users = self.users.list().await?;
        Ok(json(&UserList { users: users.iter().map(UserView::of).collect() }))
    }

    async fn add_user(&self, body: &Bytes) -> Answer {
        let (form, _) = form::parse::<NewUserForm>(self.request, body)?;
        let name = Username::new(&form.username).map_err(said)?;
        let newcomer = Newcomer {
            name: name.clone(),
            full_name: form.name,
            email: form.email,
            roles: read_roles(&form.roles)?,
            password: None,
        };
        self.users.add(newcomer).await?;
        let mut answer = self.show(&name).await?;
        *answer.status_mut() = StatusCode::CREATED;
        Ok(answer)
    }

    /// A link for a user who is there: whoever holds it sets the password, so it is told this once.
    async fn invite(&self, body: &Bytes) -> Answer {
        let (form, _) = form::parse::<InviteForm>(self.request, body)?;
        let life = form.ttl_seconds.map_or(LINK_LIFE, Duration::from_secs);
        let name = self.users.show(&self.named()?).await?.username;
        let link = self.users.invite(&name, Vec::new(), life).await?;
        let url = link.url.expose_str().unwrap_or_default();
        Ok(json(&InvitationView { url, expires_at: link.expires.to_string() }))
    }

    async fn show(&self, name: &Username) -> Answer {
        Ok(json(&UserView::of(&self.users.show(name).await?)))
    }

    async fn list_sessions(&self) -> Answer {
        let of = self.asked_user().map(|name| Username::new(&name).map_err(said)).transpose()?;
        let rows = self.users.sessions(of.as_ref()).await?;
        let view = |row| SessionView::new(row, self.current);
        Ok(json(&SessionList { sessions: rows.iter().map(view).collect() }))
    }

    fn asked_user(&self) -> Option<String> {
        let query = self.request.target().query()?;
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == "user").map(|(_, value)| value.into_owned())
    }

    /// The user that the path names.
    fn named(&self) -> Result<Username, Refused> {
        let path = self.request.target().path();
        let (_, rest) = path.rsplit_once("/admin/users/").unwrap_or_default();
        let name = rest.split('/').next().and_then(decoded);
        name.and_then(|name| Username::new(&name).ok()).ok_or_else(|| Refusal::NotFound.into())
    }

    fn tell(&self, outcome: &'static str) {
        let session = session_named(self.request).ok();
        self.users.tell_call((self.named().ok(), session), self.duty.name(), outcome);
    }
}

/// Percent-decoded (RFC 3986 section 2.1).
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = segment.bytes();
    let mut decoded = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16).map(|d| d.to_le_bytes()[0]);
                (digit(bytes.next()?)? << 4) | digit(bytes.next()?)?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn read_roles(roles: &[String]) -> Result<Vec<Role>, Refused> {
    roles.iter().map(|role| Role::new(role).map_err(said)).collect()
}

/// 400 with the reason: administrators may know it.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err asks for")]
fn said(why: impl ToString) -> Refused {
    Refused::from(Refusal::InvalidRequest).detail(why.to_string())
}

impl From<UserError> for Refused {
    fn from(error: UserError) -> Self {
        let refusal = match &error {
            UserError::NoSuchUser(_) | UserError::NoSuchSession(_) => {
                return Refusal::NotFound.into();
            }
            UserError::Store(_) => return Refusal::StoreUnavailable.into(),
            UserError::Busy(_) => return Refusal::Busy.into(),
            UserError::NameTaken(_)
            | UserError::LastAdministrator(..)
            | UserError::RolesOfKnown(_)
            | UserError::Disabled(_)
            | UserError::Raced => Refusal::Conflict,
            UserError::UnknownRole(..)
            | UserError::BadPassword(_)
            | UserError::RolesNeeded(_)
            | UserError::BadText(_)
            | UserError::DearHash
            | UserError::BadName(_)
            | UserError::TooManyRoles
            | UserError::LinkLife => Refusal::InvalidRequest,
        };
        Self::from(refusal).detail(error.to_string())
    }
}

#[derive(Serialize)]
struct UserList<'a> {
    users: Vec<UserView<'a>>,
}

#[derive(Serialize)]
struct UserView<'a> {
    id: String,
    username: &'a str,
    name: Option<&'a str>,
    email: Option<&'a str>,
    roles: Vec<&'a str>,
    disabled: bool,
    has_password: bool,
    created_at: String,
}

impl<'a> UserView<'a> {
    fn of(user: &'a User) -> Self {
        Self {
            id: user.id.to_string(),
            username: user.username.as_str(),
            name: user.name.as_deref(),
            email: user.email.as_deref(),
            roles: user.roles.iter().map(Role::as_str).collect(),
            disabled: user.disabled.is_some(),
            has_password: user.hash.is_some(),
            created_at: user.created.to_string(),
        }
    }
}

#[derive(Serialize)]
struct InvitationView<'a> {
    url: &'a str,
    expires_at: String,
}

#[derive(Serialize)]
struct SessionList<'a> {
    sessions: Vec<SessionView<'a>>,
}

#[derive(Serialize)]
struct SessionView<'a> {
    username: &'a str,
    #[serde(flatten)]
    session: Listed<'a>,
}

impl<'a> SessionView<'a> {
    fn new(row: &'a crate::session::Row, current: SessionId) -> Self {
        Self { username: row.identity.username.as_str(), session: Listed::new(row, current) }
    }
}
