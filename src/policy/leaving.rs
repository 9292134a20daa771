//! Logouts of applications, which end the session of whoever is permitted to ask for one.

use http::header::HeaderName;
use http::{HeaderMap, Method};

use super::Permitted;
use crate::identity::SessionId;

impl Permitted {
    /// The caller's session, if the request asks the application for a logout.
    ///
    /// Of other methods the origin rule has seen to it that no other site asks; a read counts only
    /// where the browser says that it comes from a page of the same origin, or a link of anybody's
    /// would sign people out.
    pub fn session_to_end(&self) -> Option<SessionId> {
        let (request, route) = (self.request(), self.route());
        if route.logout.is_empty() {
            return None;
        }
        let path = request.target().path();
        let asked = route.logout.iter().any(|logout| logout.as_str() == path);
        let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let counts = asked && (!reads || is_from_same_origin(request.headers()));
        self.caller().identity().filter(|_| counts).map(|identity| identity.session)
    }
}

fn is_from_same_origin(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(SEC_FETCH_SITE).iter();
    lines.next().is_some_and(|site| site == "same-origin") && lines.next().is_none()
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
