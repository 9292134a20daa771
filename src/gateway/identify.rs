//! Who sends a request: the access token, and the renewal of one that has run out.

use std::rc::Rc;
use std::time::Duration;

use http::Response;
use http::header::USER_AGENT;

use super::Gateway;
use super::body::Content;
use super::cors::Sharing;
use super::refusal::{Refusal, Refused};
use super::serve::Visit;
use crate::auth::{Authentication, Client, Credentials, DecidedBy, Peek};
use crate::identity::{Caller, Why};
use crate::policy::{self, CrossOrigin};
use crate::request::{CookieValue, NormalRequest};
use crate::telemetry::Counter;
use crate::token::Verified;
use crate::upstream::{Keeper, keep_from_others};

impl Gateway {
    /// Decides who sends a request. A cookie decides only for requests of our own origin; one whose
    /// access token has run out is known by its refresh token, which the answer then renews.
    pub(super) async fn authenticate(
        &self,
        visit: &mut Visit,
        request: &NormalRequest,
    ) -> Result<Authentication, Refused> {
        let credentials = Credentials { access: request.access_cookie(), bearer: request.bearer() };
        let mut found = self.auth.authenticate(credentials, &self.cache);
        if found.verified.is_none() {
            self.tell_doubled(visit, request);
        }
        let token = request.refresh_cookie().value().filter(|_| self.is_due(&found));
        if (found.by == DecidedBy::Cookie && found.verified.is_some()) || token.is_some() {
            self.same_origin(visit, request)?;
        }
        if let Some(verified) = &found.verified {
            self.auth.note(&self.seen, verified);
        }
        if let Some(token) = token {
            let client = client(visit, request);
            Box::pin(self.peek(visit, (token, client), &mut found)).await?;
        }
        Ok(found)
    }

    /// Somebody who signs in again and again has doubled cookies; the operator can end it.
    pub(super) fn tell_doubled(&self, visit: &Visit, request: &NormalRequest) {
        let names = visit.snapshot.jar().names();
        let cookies =
            [(request.access_cookie(), &names.access), (request.refresh_cookie(), &names.refresh)];
        for (_, name) in cookies.iter().filter(|(value, _)| **value == CookieValue::Doubled) {
            self.telemetry.doubled_cookie(name, visit.exchange.request_id());
        }
    }

    /// A cookie decides only where no other site acts for the user, but those that the route trusts.
    pub(super) fn same_origin(
        &self,
        visit: &Visit,
        request: &NormalRequest,
    ) -> Result<(), Refused> {
        let cors = visit.sharing.as_ref().map(Sharing::policy);
        self.judge_origin(policy::check_origin(request, cors))
    }

    /// A verdict of the origin rule, counted.
    pub(super) fn judge_origin(&self, verdict: Result<(), CrossOrigin>) -> Result<(), Refused> {
        verdict.map_err(|crossing| {
            self.telemetry.count(Counter::CsrfRejected, crossing.why);
            Refusal::CsrfRejected.into()
        })
    }

    /// Rotates what made the caller known, now that the answer's head is in hand.
    pub(super) async fn renew(&self, visit: &mut Visit, answer: &mut Response<Content>) {
        let Some(renewal) = visit.renewal.take() else {
            return;
        };
        if let Some(tokens) = Box::pin(self.auth.renew(renewal)).await {
            visit.snapshot.jar().set(answer.headers_mut(), &tokens);
            // Whatever the route says of caches: the cookies are one user's.
            keep_from_others(answer.headers_mut(), Keeper::Browser);
        }
    }

    /// Whether the refresh cookie is asked: never beside a Bearer of ours, never for a session that
    /// has ended, and only when the access token does not hold for long.
    fn is_due(&self, found: &Authentication) -> bool {
        if found.by == DecidedBy::Bearer {
            return false;
        }
        match (&found.caller, &found.verified) {
            (Caller::Known(_), Some(verified)) => {
                self.auth.now().until(verified.expires) <= NEAR_ITS_END
            }
            (Caller::Anonymous(Why::Revoked), _) => false,
            (Caller::Known(_) | Caller::Anonymous(_), _) => true,
        }
    }

    async fn peek(
        &self,
        visit: &mut Visit,
        (token, client): (&str, Client),
        found: &mut Authentication,
    ) -> Result<(), Refused> {
        let still_known = found.verified.is_some();
        match self.auth.peek(token, client).await {
            Ok(Peek::Known { identity, version, auth_time, renewal }) => {
                visit.renewal = Some(renewal);
                found.by = DecidedBy::Cookie;
                found.caller = Caller::Known(identity.clone());
                let now = self.auth.now();
                found.verified = Some(Rc::new(Verified {
                    identity,
                    version,
                    issued: now,
                    expires: self.auth.access_end(now),
                    auth_time,
                }));
            }
            Ok(Peek::Anonymous(why)) if !still_known => {
                found.by = DecidedBy::Cookie;
                found.caller = Caller::Anonymous(why);
            }
            Ok(Peek::NotOurs) => {
                if let Caller::Anonymous(why @ (Why::NoCredential | Why::Expired)) =
                    &mut found.caller
                {
                    *why = Why::NotByCookie;
                }
            }
            Ok(Peek::Anonymous(_)) => {}
            // An access token that still holds needs no store.
            Err(failure) if !still_known => return Err(failure.into()),
            Err(_) => {}
        }
        Ok(())
    }
}

/// Who a request comes from, as the use cases want to know it.
pub(super) fn client(visit: &Visit, request: &NormalRequest) -> Client {
    let agent = request.headers().get(USER_AGENT);
    Client {
        address: request.client(),
        agent: agent.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        request_id: visit.exchange.request_id(),
    }
}

/// An access token is renewed so long before its end.
const NEAR_ITS_END: Duration = Duration::from_secs(20);
