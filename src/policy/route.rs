//! A route: pattern, rule and target, as plain data.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;

use super::{CookiePattern, Cors, Endpoint, PathPattern};
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
    /// The application's own session cookies, withheld from everybody but whom they were set for;
    /// None: nobody said which those are.
    pub app_cookies: Option<Arc<[CookiePattern]>>,
    /// A literal prefix of the pattern, cut from the path on a segment boundary.
    pub strip_prefix: Option<String>,
    /// `Host` stays the browser's.
    pub preserve_host: bool,
    /// Protocols that a connection may change to, names compared without case.
    pub upgrades: Vec<Box<str>>,
    /// Headers of requests that the operator sets and removes.
    pub headers: HeaderEdits,
    /// What becomes of the application's answers.
    pub answer: AnswerRules,
    /// Most bytes of a request's body; None: no bound; already chosen from `server.max_body` by access.
    pub max_body: Option<u64>,
    /// How long its requests may take, where the upstream's time-outs do not fit.
    pub timeouts: Timeouts,
    /// Requests of this route are in the access log.
    pub access_log: bool,
    /// What caches are told of its answers.
    pub cache: CachePolicy,
    /// Literal paths, normal and as the browser sees them, where the application signs people out.
    pub logout: Vec<PathPattern>,
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
    /// Where the client must be; empty: anywhere.
    pub addresses: Vec<IpNet>,
}

impl Rule {
    /// Whether a client at this address may come at all, whoever it is.
    pub fn admits_from(&self, client: IpAddr) -> bool {
        self.addresses.is_empty() || self.addresses.iter().any(|network| network.contains(&client))
    }

    /// Whether somebody may come from where `other` lets nobody come from.
    pub fn is_wider_than(&self, other: &Self) -> bool {
        let covered = |network: &IpNet| other.addresses.iter().any(|wide| wide.contains(network));
        !other.addresses.is_empty()
            && (self.addresses.is_empty() || !self.addresses.iter().all(covered))
    }
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
    /// What the configuration itself answers.
    Answer(Arc<FixedAnswer>),
}

/// `respond = { status, body }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedAnswer {
    /// Its status.
    pub status: StatusCode,
    /// What its body is; None: it has none.
    pub content_type: Option<HeaderValue>,
    /// Its body.
    pub body: Bytes,
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

/// Who may keep the answers of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CachePolicy {
    /// What a known caller gets is that one's browser's alone; other answers stay as they were sent.
    #[default]
    Private,
    /// Nobody keeps any answer, not even for the browser's back button.
    NoStore,
    /// As the application says, for known callers too.
    Upstream,
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
    /// A secret by which the application knows that the gateway speaks; sent with anonymous
    /// requests too.
    pub proof: Option<(HeaderName, HeaderValue)>,
    /// A signed statement of who the caller is.
    pub assertion: Vec<HeaderName>,
    /// For routes that do not name any.
    pub app_cookies: Option<Arc<[CookiePattern]>>,
}

impl IdentityHeaders {
    /// Whether the profile (name, e-mail) must be asked for.
    pub fn wants_profile(&self) -> bool {
        !(self.name.is_empty() && self.email.is_empty())
    }

    /// Whether anything is told of who the caller is.
    pub fn tells(&self) -> bool {
        let plain = !(self.user.is_empty() && self.roles.is_empty()) || self.wants_profile();
        plain || !self.assertion.is_empty()
    }

    /// Every header that these identity headers may write.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        let roles = self.roles.iter().map(|(name, _)| name);
        let proof = self.proof.iter().map(|(name, _)| name).chain(&self.assertion);
        self.user.iter().chain(roles).chain(&self.name).chain(&self.email).chain(proof)
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

/// What becomes of an application's answers on their way to the client.
#[derive(Clone, Debug, Default)]
pub struct AnswerRules {
    /// Written last, in the place of what the application said.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Removed from what the application said.
    pub remove: Vec<HeaderName>,
    /// Whether redirects are turned round to the origin that browsers see.
    pub location: RewriteLocation,
}

/// `rewrite_location`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RewriteLocation {
    /// The application's own origin becomes the public one, and a rooted path gets its prefix back.
    #[default]
    Auto,
    /// It stays as the application says.
    Off,
}

/// `timeouts = {...}` of a route; None: that of its upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Option<Duration>,
    /// Until the head of the answer.
    pub response: Option<Patience>,
    /// Between two bytes.
    pub idle: Option<Duration>,
}

/// How long something is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// So long.
    Ends(Duration),
    /// For ever.
    Endless,
}
