//! Applications' own session cookies: forwarded to whom they were set for, withheld from others.
//!
//! An application that has a session goes on answering as its first user, whatever the identity
//! headers say. So nothing of it comes back by another user, nor by somebody whom nobody knows.

use std::sync::Arc;
use std::time::Duration;

use cookie::{Cookie, Expiration};
use http::header::{HeaderMap, HeaderValue, SET_COOKIE};

use super::Gateway;
use super::serve::Visit;
use crate::auth::Companion;
use crate::clock::Timestamp;
use crate::policy::{Permitted, Route};
use crate::request::{cookie_names, name_readings};
use crate::upstream::{Keeper, keep_from_others};

/// What a request shows of whom the application's cookies were set for.
pub(super) struct Owning {
    companion: Companion,
    withheld: Vec<Box<[u8]>>,
}

impl Owning {
    /// The names that are not to be forwarded.
    pub(super) fn withheld(&self) -> &[Box<[u8]>] {
        &self.withheld
    }
}

impl Gateway {
    /// Judges the cookies of a request; None: the route names none.
    pub(super) fn owning(&self, visit: &Visit, permitted: &Permitted) -> Option<Box<Owning>> {
        let route = permitted.route();
        let patterns = route.app_cookies.as_deref().filter(|patterns| !patterns.is_empty())?;
        let headers = permitted.request().headers();
        let presented = visit.snapshot.reader().cookies.companion(headers);
        let user = permitted.caller().identity().map(|identity| identity.user);
        let companion = self.auth.companion(presented.value(), user);
        let is_meant = |name: &[u8]| patterns.iter().any(|pattern| pattern.matches(name));
        let is_anothers = |name: &[u8]| is_meant(name) && !companion.holds(&route.name, name);
        let withheld =
            cookie_names(headers).filter(|name| is_anothers(name)).map(Into::into).collect();
        Some(Box::new(Owning { companion, withheld }))
    }

    /// Writes down for whom an answer sets the application's cookies. An answer that ends the
    /// session sets none that anybody is to bring back.
    pub(super) fn note_cookies(
        &self,
        visit: &Visit,
        (owning, route): (Option<Box<Owning>>, &Arc<Route>),
        (headers, keeper): (&mut HeaderMap, Keeper),
    ) {
        let Some(Owning { mut companion, .. }) = owning.map(|owning| *owning) else {
            return self.warn_of_session(route, headers);
        };
        let now = self.auth.now();
        let mut noted = false;
        for set in headers.get_all(SET_COOKIE).iter().map(Set::read) {
            let patterns = route.app_cookies.as_deref().unwrap_or_default();
            let is_meant = |name: &[u8]| patterns.iter().any(|pattern| pattern.matches(name));
            if set.deletes(now) {
                continue;
            }
            // In each reading that it is looked for in when it comes back.
            for name in name_readings(set.name).filter(|name| is_meant(name)) {
                companion.note((&route.name, &name), set.end(now));
                noted = true;
            }
        }
        // Even if it says nothing new: this answer may come late, after another user's companion.
        if noted && !visit.leaving {
            let (text, life) = self.auth.companion_text(&companion);
            visit.snapshot.jar().set_companion(headers, (&text, life));
            let keeper = if keeper == Keeper::Nobody { keeper } else { Keeper::Browser };
            keep_from_others(headers, keeper);
        }
    }

    fn warn_of_session(&self, route: &Route, headers: &HeaderMap) {
        if route.app_cookies.is_some() || !route.identity.tells() {
            return;
        }
        let mut set = headers.get_all(SET_COOKIE).iter().map(Set::read);
        let session = set.find(|set| set.is_http_only() && !set.deletes(self.auth.now()));
        if let Some(session) = session
            && self.telemetry.is_news(&format!("app_cookies of {}", route.name))
        {
            // A name is the application's, and could hold anything.
            let name = session.name.escape_ascii();
            tracing::warn!(
                "the application of route {:?} sets the cookie \"{name}\": if that is a session of \
                 its own, it may go on answering as the user who signed out. Write app_cookies = \
                 [\"{name}\"] into the route, or app_cookies = [] if it is none",
                route.name
            );
        }
    }
}

/// One Set-Cookie line of an application's.
struct Set<'a> {
    name: &'a [u8],
    /// None: not text, so that nothing is known of its attributes.
    parsed: Option<Cookie<'a>>,
}

impl<'a> Set<'a> {
    fn read(line: &'a HeaderValue) -> Self {
        let pair = line.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let text = std::str::from_utf8(line.as_bytes()).ok();
        Self { name, parsed: text.and_then(|text| Cookie::parse(text).ok()) }
    }

    fn is_http_only(&self) -> bool {
        self.parsed.as_ref().and_then(Cookie::http_only).unwrap_or_default()
    }

    fn deletes(&self, now: Timestamp) -> bool {
        self.end(now).is_some_and(|end| end <= now)
    }

    /// When the browser forgets it; None: at its own end (RFC 6265 section 5.3: `Max-Age` before
    /// `Expires`).
    fn end(&self, now: Timestamp) -> Option<Timestamp> {
        let parsed = self.parsed.as_ref()?;
        if let Some(age) = parsed.max_age() {
            let age = Duration::try_from(age).unwrap_or_default();
            return Some(now.plus(age));
        }
        match parsed.expires()? {
            Expiration::DateTime(end) => Some(Timestamp::from_secs(end.unix_timestamp())),
            Expiration::Session => None,
        }
    }
}
