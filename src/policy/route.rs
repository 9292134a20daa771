//! A route: pattern, rule and target, as plain data.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::{Cors, Endpoint, PathPattern};
use crate::identity::{Role, Username};
use crate::request::HostPattern;

/// Pattern, rule and target.
#[derive(Clone, Debug)]
pub struct Route {
    /// Unique; used in logs, metrics, `explain`. Default: the path as written.
    pub name: Arc<str>,
    /// Empty: no route of the file names a host.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub pattern: PathPattern,
    /// None: every method of the IANA registry but CONNECT and TRACE.
    pub methods: Option<Vec<Method>>,
    /// Who may.
    pub rule: Rule,
    /// Where it goes.
    pub target: Target,
    /// Refuse every path with more than one reading.
    pub strict_paths: bool,
    /// What is let through on request.
    pub allow: Allowances,
    /// What becomes of Bearer tokens that are not ours.
    pub bearer: BearerPolicy,
    /// How a caller who is not permitted is told.
    pub on_denied: OnDenied,
    /// Who lets scripts of other origins read; None: nobody does, and what the application says passes.
    pub cors: Option<Cors>,
    /// What the application is told of the caller.
    pub identity: Arc<IdentityHeaders>,
    /// A literal prefix of the pattern, cut from the path on a segment boundary.
    pub strip_prefix: Option<String>,
    /// `Host` stays the browser's.
    pub preserve_host: bool,
    /// Headers of requests that the operator sets and removes.
    pub headers: HeaderEdits,
    /// Most bytes of a request's body; None: no bound; already chosen from `server.max_body` by access.
    pub max_body: Option<u64>,
    /// Requests of this route are in the access log.
    pub access_log: bool,
    /// `overrides = "NAME"`: more lenient than that `"*"` route on purpose.
    pub overrides: Option<Arc<str>>,
}

/// What a route asks of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Public, optional, or signed in.
    pub access: Access,
    /// Any one of these; empty with empty `users`: every signed-in caller.
    pub roles: Vec<Role>,
    /// Single users admitted beside the roles.
    pub users: Vec<Username>,
}

/// Whether a caller must be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Nobody is asked, no identity is told.
    Public,
    /// The identity is told if there is one.
    Optional,
    /// The default.
    SignedIn,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One of the gateway's own endpoints.
    Endpoint(Endpoint),
    /// An application.
    Upstream(UpstreamId),
}

/// An upstream's place in the configuration's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub usize);

/// `allow = [...]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowances {
    /// Client headers with `_` in their names pass.
    pub underscore_headers: bool,
    /// `X-HTTP-Method-Override` and its kin pass, and the overriding method must be permitted too.
    pub method_override: bool,
    /// Paths whose bytes are not UTF-8 pass.
    pub non_utf8: bool,
}

/// What becomes of a Bearer token that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BearerPolicy {
    /// It goes to the application, the cookie decides.
    Any,
    /// It is refused with 401.
    Ours,
}

/// How a caller who is not permitted is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDenied {
    /// A page navigation gets the login page, everything else 401 JSON.
    Auto,
    /// Always 401.
    Unauthorized,
    /// Always the login page.
    Login,
}

/// Which headers tell an application who the caller is. A field may name several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// The folded username.
    pub user: Vec<HeaderName>,
    /// The roles, joined by the separator, which no role can contain.
    pub roles: Vec<(HeaderName, String)>,
    /// The full name.
    pub name: Vec<HeaderName>,
    /// The e-mail address.
    pub email: Vec<HeaderName>,
}

impl IdentityHeaders {
    /// Whether the profile (name, e-mail) must be asked for.
    pub fn wants_profile(&self) -> bool {
        !(self.name.is_empty() && self.email.is_empty())
    }

    /// Every header that these identity headers may write.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        let roles = self.roles.iter().map(|(name, _)| name);
        self.user.iter().chain(roles).chain(&self.name).chain(&self.email)
    }
}

/// `headers = { set = {...}, remove = [...] }`.
#[derive(Clone, Debug, Default)]
pub struct HeaderEdits {
    /// Written last, in this order.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Removed from what the client sent.
    pub remove: Vec<HeaderName>,
}
