//! The checked configuration: plain values, nothing left to parse.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::listen::ListenAddress;
use super::servers::{Balance, Eject, HealthCheck, UpstreamServer};
use super::tls::{HttpRedirect, TlsPair};
use super::upstream_tls::UpstreamTls;
use crate::identity::{Role, Username};
use crate::password::{Cost, PasswordHash};
use crate::policy::{CorsPolicy, IdentityHeaders, Route};
use crate::request::{LocalPath, Origin, Trust};
use crate::secret::Secret;
use crate::session::Windows;
use crate::token::Algorithm;

/// Everything `gateway.toml` says, defaults filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file, for messages.
    pub file: PathBuf,
    /// `[server]`
    pub server: Server,
    /// `[log]`
    pub log: Log,
    /// `[store]`
    pub store: StoreUrl,
    /// `[tokens]`
    pub tokens: Tokens,
    /// `[sessions]`
    pub sessions: Sessions,
    /// `[cookies]`
    pub cookies: Cookies,
    /// `[passwords]`
    pub passwords: Passwords,
    /// `[rate_limits]`
    pub rate_limits: RateLimits,
    /// `[auth]`
    pub auth: AuthSection,
    /// `[[bootstrap]]`
    pub bootstrap: Vec<Bootstrap>,
    /// `[upstreams]` and the bare URLs of routes, in the order of `UpstreamId`.
    pub upstreams: Vec<Upstream>,
    /// `[cors.NAME]`; routes share these.
    pub cors: BTreeMap<String, Arc<CorsPolicy>>,
    /// The built-in identities and `[identity.NAME]`; routes share these.
    pub identities: BTreeMap<String, Arc<IdentityHeaders>>,
    /// `[[routes]]`, in the order of the file; `include`d ones behind.
    pub routes: Vec<Route>,
    /// Where each of `routes` is written, for messages.
    pub route_lines: Vec<Line>,
    /// `[[tests]]`
    pub tests: Vec<PolicyTest>,
}

/// A line of a file, for messages: `gateway.toml:84`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The file as it was named.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    /// Where to listen.
    pub listen: Vec<ListenAddress>,
    /// The origin browsers see; None: http://localhost with the port of each (loopback) listener as bound.
    pub public_url: Option<Origin>,
    /// Further served origins.
    pub public_origins: Vec<Origin>,
    /// `trusted_proxies` and `client_ip`.
    pub trust: Trust,
    /// Absolute, or relative to the working directory.
    pub data_dir: PathBuf,
    /// Default of the routes' `max_body`.
    pub max_body: MaxBody,
    /// Default of the routes' `strict_paths`.
    pub strict_paths: bool,
    /// All connections.
    pub max_connections: usize,
    /// The file says how many.
    pub max_connections_written: bool,
    /// From one IPv4 /32 or IPv6 /64.
    pub max_connections_per_ip: usize,
    /// Longest target, bytes.
    pub limit_target: usize,
    /// Largest head, bytes.
    pub limit_headers: usize,
    /// Most header fields.
    pub limit_fields: usize,
    /// Least bytes a second of a body, after the grace.
    pub body_min_rate: u64,
    /// See `body_min_rate`.
    pub body_grace: Duration,
    /// A head must be whole by then.
    pub header_timeout: Duration,
    /// A quiet keep-alive connection is closed then.
    pub idle_timeout: Duration,
    /// Requests in flight at SIGTERM have so long.
    pub drain_timeout: Duration,
    /// The admin listener; None: off.
    pub admin: Option<SocketAddr>,
    /// Worker threads.
    pub workers: usize,
    /// Certificates; none: plain HTTP. The first is for clients that name no known host.
    pub tls: Vec<TlsPair>,
    /// A handshake must be done by then.
    pub tls_handshake_timeout: Duration,
    /// How long browsers are told to come by https alone; None: not told.
    pub hsts: Option<Duration>,
    /// A plain listener that leads to https.
    pub http_redirect: Option<HttpRedirect>,
}

/// `server.max_body`: most bytes of a request's body; None: no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxBody {
    /// Where a login is asked for.
    pub signed_in: Option<u64>,
    /// Where nobody is asked.
    pub public: Option<u64>,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// Shape of the access log.
    pub format: LogFormat,
    /// Least severe diagnostics shown: "error", "warn", "info", "debug".
    pub level: Level,
    /// Whether there is an access log.
    pub access: bool,
    /// Where access lines go.
    pub output: LogOutput,
    /// Where audit lines go.
    pub audit_output: LogOutput,
    /// Whether a failed login shows the whole client address.
    pub full_address: bool,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
    /// Apache's combined.
    Combined,
}

/// `log.level`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Failures only.
    Error,
    /// And dangers.
    Warn,
    /// And what happens.
    Info,
    /// And why.
    Debug,
}

/// `log.output`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// A syslog daemon, by the datagram socket of this path.
    Syslog(PathBuf),
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
}

/// `store.url`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// A SQLite file, absolute or relative to the working directory (already joined with data_dir).
    Sqlite(PathBuf),
    /// SQLite in memory: the demo and tests.
    Memory,
}

/// `[tokens]`
#[derive(Clone, Debug)]
pub struct Tokens {
    /// How access tokens are signed.
    pub algorithm: Algorithm,
    /// HS256 only: the first signs, all verify.
    pub secrets: Vec<Secret>,
    /// Already joined with data_dir.
    pub key_dir: PathBuf,
    /// None: the public origin.
    pub issuer: Option<String>,
    /// `aud`
    pub audience: String,
    /// Life of an access token at most.
    pub access_ttl: Duration,
    /// Share of it that is random.
    pub access_jitter: f64,
    /// Of `exp`.
    pub leeway: Duration,
    /// `sub` is the username.
    pub sub_is_username: bool,
    /// How long a signing key signs.
    pub rotate_every: Duration,
}

/// `[sessions]`
#[derive(Clone, Debug)]
pub struct Sessions {
    /// For JSON logins that do not say.
    pub remember_default: bool,
    /// Idle end of remembered sessions.
    pub remember_idle: Duration,
    /// Absolute end of remembered sessions.
    pub remember_absolute: Duration,
    /// Idle end of the others.
    pub idle: Duration,
    /// Absolute end of the others.
    pub absolute: Duration,
    /// `retry_window`
    pub windows: Windows,
    /// Sessions a user may have.
    pub max_per_user: usize,
    /// What is "a recent login".
    pub reauth_max_age: Duration,
    /// Id and file of each master key, the first active; already joined with data_dir.
    pub master_keys: Vec<(u8, PathBuf)>,
}

/// `[cookies]`
#[derive(Clone, Debug)]
pub struct Cookies {
    /// "Lax" or "Strict" ("None" comes later).
    pub same_site: SameSite,
    /// No prefix, no Secure, on plain http.
    pub insecure: Insecure,
    /// Browsers also get access_token in the JSON.
    pub access_token_in_body: bool,
    /// A browser may ask for transport "body".
    pub allow_browser_body: bool,
}

/// `cookies.same_site`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Sent with navigations from elsewhere.
    Lax,
    /// Never sent from elsewhere.
    Strict,
}

/// `cookies.insecure`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insecure {
    /// Never.
    No,
    /// On loopback.
    Loopback,
    /// Everywhere.
    TrustedNetwork,
}

/// `[passwords]`
#[derive(Clone, Debug)]
pub struct Passwords {
    /// Of new hashes.
    pub cost: Cost,
    /// Hashes at once.
    pub concurrent: usize,
    /// Logins waiting.
    pub queue: usize,
    /// Logins waiting of strangers in one /24 or /48.
    pub queue_per_network: usize,
    /// Characters of a new password.
    pub min_length: usize,
    /// Further forbidden passwords.
    pub blocklist: Arc<[String]>,
    /// No failed login is told sooner: it hides what the hash cost. Not for the file to say.
    pub failure_floor: Duration,
}

/// So many, refilled evenly: `burst` at once, one more every `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// Time until one comes back.
    pub every: Duration,
}

/// `[rate_limits]`
#[derive(Clone, Debug)]
pub struct RateLimits {
    /// Failed logins of an address.
    pub login_per_ip: Rate,
    /// Failed logins of a network.
    pub login_per_network: Rate,
    /// Failed logins for a name.
    pub login_per_username: Rate,
    /// Logins of a user.
    pub login_per_user: Rate,
    /// Explicit refreshes of a session that rotate.
    pub refresh_per_session: Rate,
    /// Failed refreshes of an address.
    pub refresh_per_ip: Rate,
    /// GET /auth/sessions of a session.
    pub sessions_per_session: Rate,
    /// Calls of the administration by one user.
    pub admin_per_user: Rate,
    /// Everything under /auth but ping, of an address.
    pub auth_per_ip: Rate,
}

/// `[auth]`
#[derive(Clone, Debug)]
pub struct AuthSection {
    /// The gateway's own endpoints: "/auth".
    pub path: String,
    /// The closed list of roles.
    pub roles: Vec<Role>,
    /// The CORS policy of the endpoints.
    pub cors: Option<Arc<CorsPolicy>>,
    /// Who has it may administer over HTTP; None: nobody.
    pub admin_role: Option<Role>,
    /// Where a form of logout leads.
    pub after_logout: LocalPath,
    /// The gateway's own pages.
    pub page: Page,
}

/// `auth.page`
#[derive(Clone, Debug)]
pub struct Page {
    /// Above every page; None: the host's name.
    pub title: Option<String>,
    /// Beside the title.
    pub logo: Option<Logo>,
    /// Of buttons and links.
    pub accent: Colour,
    /// What pages are written in.
    pub language: PageLanguage,
}

/// `auth.page.logo`, read.
#[derive(Clone, Debug)]
pub struct Logo {
    /// Where it was read from.
    pub file: PathBuf,
    /// What it is.
    pub kind: LogoKind,
    /// All of it.
    pub bytes: Bytes,
}

/// What a logo can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogoKind {
    /// Portable network graphics.
    Png,
    /// Scalable vector graphics.
    Svg,
}

impl LogoKind {
    /// Its `Content-Type`.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Svg => "image/svg+xml",
        }
    }
}

/// Red, green and blue (sRGB).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub [u8; 3]);

/// `auth.page.language`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageLanguage {
    /// What the browser prefers.
    Auto,
    /// "en"
    English,
    /// "de"
    German,
}

/// `[[bootstrap]]`
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Created if that name never existed.
    pub name: Username,
    /// Its roles.
    pub roles: Vec<Role>,
    /// Its password.
    pub password: BootstrapPassword,
}

/// A password, or its hash.
#[derive(Clone, Debug)]
pub enum BootstrapPassword {
    /// Hashed at creation.
    Plain(Secret),
    /// Taken as it is.
    Hash(PasswordHash),
}

/// An application behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The key of the table, or the origin of a bare URL.
    pub name: Arc<str>,
    /// At least one.
    pub servers: Vec<UpstreamServer>,
    /// How one of several is chosen.
    pub balance: Balance,
    /// Whether and how servers are asked if they are well.
    pub health: Option<HealthCheck>,
    /// When a server that fails is left out.
    pub eject: Eject,
    /// How often a request may be tried again, where that is safe.
    pub retries: usize,
    /// For servers by `https`.
    pub tls: UpstreamTls,
    /// Until connected.
    pub connect_timeout: Duration,
    /// Until the head of the answer; None: off.
    pub response_timeout: Option<Duration>,
    /// Between bytes, also of streams.
    pub idle_timeout: Duration,
    /// Connections to each server, of all workers together; each of them has at least one.
    pub max_connections: usize,
    /// Of a pooled connection.
    pub max_idle: Duration,
    /// Header names in Title-Case.
    pub title_case: bool,
    /// In answers.
    pub tolerate_space_before_colon: bool,
    /// In answers.
    pub tolerate_folded_lines: bool,
    /// In answers.
    pub tolerate_invalid_names: bool,
}

/// `[[tests]]`
#[derive(Clone, Debug)]
pub struct PolicyTest {
    /// "GET /admin/users", for messages.
    pub text: String,
    /// Method.
    pub method: http::Method,
    /// Host, if an absolute URL was written.
    pub host: Option<crate::request::Host>,
    /// Target.
    pub target: String,
    /// None: anonymous.
    pub roles: Option<Vec<Role>>,
    /// None: a user of no name in `users`.
    pub user: Option<Username>,
    /// Where the client is; None: on this machine.
    pub from: Option<IpAddr>,
    /// What must come out.
    pub expect: Expect,
    /// Where it is written.
    pub line: Line,
}

/// What a `[[tests]]` expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// 401, 403, 404, 405, 421, 400; 200: would be forwarded.
    Status(u16),
    /// Would be forwarded, by this route and to this upstream.
    Forwarded {
        /// Route's name.
        route: Option<String>,
        /// Upstream's name.
        upstream: Option<String>,
    },
}
