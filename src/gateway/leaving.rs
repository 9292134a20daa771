//! What a browser forgets: at a logout, ours or one that an application was asked for, and when
//! another user signs in.

use http::Response;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::Gateway;
use super::body::Content;
use super::identify::client;
use super::refusal::{Refusal, Refused};
use super::serve::{Arriving, Visit};
use crate::auth::{Predecessor, Tokens};
use crate::identity::SessionId;
use crate::policy::Permitted;
use crate::request::{Origin, Scheme};
use crate::upstream::{Keeper, keep_from_others};

impl Gateway {
    /// Sends a logout on to its application, and ends the caller's session whatever comes of that,
    /// with those of all our cookies, which are deleted and may be of others: first, so that somebody
    /// who does not wait for the answer is signed out too. Where the store does not take it, no
    /// answer of the application says that it did.
    pub(super) async fn forward_logout(
        &self,
        (visit, session): (&mut Visit, SessionId),
        (permitted, own_credential): (Permitted, bool),
        upload: Arriving,
    ) -> Result<Response<Content>, Refused> {
        let own = permitted.request().origin().cloned();
        visit.renewal = None;
        visit.leaving = true;
        // No other site's to send, unless the origin rule has judged.
        let headers = permitted.is_by_cookie().then(|| permitted.request().headers());
        let names = visit.snapshot.jar().names();
        let tokens = headers.into_iter().flat_map(|headers| names.all_tokens(headers));
        let beside = tokens.filter_map(|token| self.auth.session_of(token));
        let sessions: Vec<SessionId> = [session].into_iter().chain(beside).collect();
        let ended = self.auth.leave(sessions, client(visit, permitted.request())).await;
        let answer = self.forward(visit, (permitted, own_credential), upload).await;
        let mut answer = match (ended, answer) {
            (Ok(_), Ok(answer)) => answer,
            (Ok(_), Err(refused)) => {
                return Err(refused_and_signed_out(visit, own.as_ref(), refused));
            }
            (Err(_unavailable), _) => return Err(unfinished(visit, own.as_ref())),
        };
        keep_from_others(answer.headers_mut(), Keeper::Nobody);
        sign_out(visit, own.as_ref(), answer.headers_mut());
        Ok(answer)
    }
}

/// The cookies go, and over https what the browser had kept of pages.
pub(super) fn sign_out(visit: &Visit, own: Option<&Origin>, headers: &mut HeaderMap) {
    visit.snapshot.jar().delete(headers);
    if is_https(own) {
        headers.append(CLEAR_SITE_DATA, CACHED);
    }
}

/// After a login: what the browser had kept of another user's pages goes, over https.
pub(super) fn forget_another(tokens: &Tokens, own: Option<&Origin>, headers: &mut HeaderMap) {
    if tokens.before == Predecessor::Another && is_https(own) {
        headers.append(CLEAR_SITE_DATA, CACHED);
    }
}

/// A logout that is not durable yet, and says so; but this browser shall be signed out all the same.
pub(super) fn unfinished(visit: &Visit, own: Option<&Origin>) -> Refused {
    refused_and_signed_out(visit, own, Refusal::LogoutUnfinished.into())
}

/// A refusal by which the browser is signed out all the same.
pub(super) fn refused_and_signed_out(
    visit: &Visit,
    own: Option<&Origin>,
    refused: Refused,
) -> Refused {
    let mut headers = HeaderMap::new();
    sign_out(visit, own, &mut headers);
    let line = |refused: Refused, (name, value): (&HeaderName, &HeaderValue)| {
        refused.header(name.clone(), value.clone())
    };
    headers.iter().fold(refused, line)
}

/// Browsers take `Clear-Site-Data` over https alone.
fn is_https(own: Option<&Origin>) -> bool {
    own.is_some_and(|own| own.scheme() == Scheme::Https)
}

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// Not all that a site keeps: cookies of applications are theirs.
const CACHED: HeaderValue = HeaderValue::from_static("\"cache\"");
