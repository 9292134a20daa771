//! `GET /auth/sessions`, `PATCH` and `DELETE /auth/sessions/{id}`.

use serde::{Deserialize, Serialize};

use super::super::Gateway;
use super::super::leaving::sign_out;
use super::super::refusal::{Refusal, Refused};
use super::super::serve::{Arriving, Visit};
use super::login::{device_name, no_device_name};
use super::{Answer, form, json, no_content};
use crate::auth::Revoke;
use crate::clock::Timestamp;
use crate::identity::SessionId;
use crate::request::NormalRequest;
use crate::session::Row;
use crate::telemetry::Counter;

impl Gateway {
    pub(super) async fn list_sessions(&self, visit: &mut Visit, request: &NormalRequest) -> Answer {
        let caller = self.known(visit, request).await?;
        let rows = self.auth.sessions(&caller.identity).await?.map_err(|wait| {
            self.telemetry.count(Counter::Throttled, wait.limit);
            Refused::from(wait)
        })?;
        let current = caller.identity.session;
        let sessions: Vec<_> = rows.iter().map(|row| Listed::new(row, current)).collect();
        Ok(json(&List { sessions }))
    }

    pub(super) async fn end_session(&self, visit: &mut Visit, request: &NormalRequest) -> Answer {
        let caller = self.known(visit, request).await?;
        let session = session_named(request)?;
        let mut answer = done(visit, self.auth.revoke(&caller, session).await?)?;
        if session == caller.identity.session {
            sign_out(visit, request.origin(), answer.headers_mut());
        }
        Ok(answer)
    }

    pub(super) async fn name_session(
        &self,
        visit: &mut Visit,
        request: &NormalRequest,
        upload: Arriving,
    ) -> Answer {
        let body = form::arrived(upload).await;
        let caller = self.known(visit, request).await?;
        let (form, _) = form::parse::<NameForm>(request, &body?)?;
        let name = device_name(form.device_name)?;
        if name.trim().is_empty() {
            return Err(no_device_name());
        }
        let session = session_named(request)?;
        done(visit, self.auth.name_session(&caller, session, name).await?)
    }
}

/// The session whose id ends the path. What is no id is no session's.
pub(super) fn session_named(request: &NormalRequest) -> Result<SessionId, Refused> {
    let named = request.target().path().rsplit('/').next().unwrap_or_default();
    named.parse().map_err(|_no_id| Refusal::NotFound.into())
}

fn done(visit: &Visit, outcome: Revoke) -> Answer {
    match outcome {
        Revoke::Done => Ok(no_content()),
        Revoke::NotFound => Err(Refusal::NotFound.into()),
        Revoke::Reauthenticate => {
            Err(Refused::from(Refusal::ReauthRequired).max_age(visit.snapshot.reauth_max_age()))
        }
    }
}

#[derive(Deserialize)]
struct NameForm {
    device_name: String,
}

#[derive(Serialize)]
struct List<'a> {
    sessions: Vec<Listed<'a>>,
}

/// Nothing here moves with a rotation, or a thief could watch the owner's.
#[derive(Serialize)]
pub(super) struct Listed<'a> {
    id: String,
    current: bool,
    device_name: Option<&'a str>,
    user_agent: Option<&'a str>,
    ip_prefix: Option<&'a str>,
    created_at: String,
    last_seen_at: String,
    expires_at: String,
    remember: bool,
}

impl<'a> Listed<'a> {
    pub(super) fn new(row: &'a Row, current: SessionId) -> Self {
        Self {
            id: row.identity.session.to_string(),
            current: row.identity.session == current,
            device_name: row.device_name.as_deref(),
            user_agent: row.user_agent.as_deref(),
            ip_prefix: row.login_network.as_deref(),
            created_at: row.created.to_string(),
            last_seen_at: whole_hour(row.last_seen).to_string(),
            expires_at: row.absolute_end.to_string(),
            remember: row.remember,
        }
    }
}

fn whole_hour(moment: Timestamp) -> Timestamp {
    const HOUR: i64 = 3600;
    Timestamp::from_secs(moment.as_secs().div_euclid(HOUR).saturating_mul(HOUR))
}
