//! The servers of an upstream: how the file writes them, and what it says of choosing among them.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::codes;
use super::entry::{Entry, table};
use super::forms::{self, Form};
use super::keys;
use super::problem::Problem;
use super::section::{Between, Context, Section};
use super::value::{Text, bad_value};

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Where it listens.
    pub address: ServerAddress,
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 or HTTP/1.1 within TLS, as the server likes.
    Https,
    /// HTTP/2, known beforehand (RFC 9113 section 3.3).
    H2c,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    /// A host name or an IP literal (brackets removed), and a port.
    Tcp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// `balance`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    RoundRobin,
    /// The less busy one of two drawn by lot.
    LeastRequests,
    /// The same for every request of a session.
    HashSession,
}

/// `health`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for, by GET.
    pub path: String,
    /// From one question to the next.
    pub every: Duration,
    /// Failures in a row until a server is given up.
    pub fail_after: usize,
    /// Successes in a row until it is taken back.
    pub pass_after: usize,
    /// How long it has until it carries its whole share again.
    pub slow_start: Duration,
}

/// `eject`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eject {
    /// Requests in a row that a server fails until it is left out.
    pub failures: usize,
    /// How long it is left out.
    pub lasts: Duration,
    /// Most servers left out at a time, in hundredths.
    pub at_most: usize,
}

impl Protocol {
    const fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
        }
    }

    const fn usual_port(self) -> u16 {
        match self {
            Self::Http | Self::H2c => 80,
            Self::Https => 443,
        }
    }
}

impl UpstreamServer {
    /// As the file writes it.
    pub fn url(&self) -> String {
        match &self.address {
            ServerAddress::Tcp(..) => format!("{}://{}", self.protocol.scheme(), self.authority()),
            ServerAddress::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// What `Host` says of it: `localhost` for a socket in the file system.
    pub fn authority(&self) -> String {
        let ServerAddress::Tcp(host, port) = &self.address else {
            return "localhost".to_owned();
        };
        let name = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if *port == self.protocol.usual_port() { name } else { format!("{name}:{port}") }
    }
}

impl HealthCheck {
    /// As the configuration writes it.
    pub(super) fn shown(&self) -> Entry {
        table([
            ("path", self.path.as_str().into()),
            ("every", self.every.into()),
            ("fail_after", self.fail_after.into()),
            ("pass_after", self.pass_after.into()),
            ("slow_start", self.slow_start.into()),
        ])
    }
}

impl Eject {
    /// As the configuration writes it.
    pub(super) fn shown(&self) -> Entry {
        table([
            ("failures", self.failures.into()),
            ("for", self.lasts.into()),
            ("at_most", format!("{} %", self.at_most).into()),
        ])
    }
}

/// `servers`; nothing that can be read: empty, and told.
pub(super) fn read(section: &Section<'_>) -> Vec<UpstreamServer> {
    if !section.has("servers") {
        section
            .needed("servers", "an upstream has a server: `servers = [\"http://10.0.0.11:8080\"]`");
    }
    let texts = section.texts("servers").unwrap_or_default();
    if section.value("servers").is_some_and(|value| value.is_empty_list()) {
        let problem =
            Problem::new(&codes::MISSING, section.place_of("servers"), "`servers` names no server");
        section
            .tell(problem.label("an empty list").help("for example [\"http://10.0.0.11:8080\"]"));
    }
    let mut servers: Vec<UpstreamServer> = Vec::new();
    for text in &texts {
        if let Some(server) = read_url(section.context, "servers", text) {
            if servers.contains(&server) {
                section.tell(twice(text));
            }
            servers.push(server);
        }
    }
    if let Some(beyond) = texts.get(MOST_SERVERS) {
        let what = format!("an upstream has at most {MOST_SERVERS} servers");
        let problem = Problem::new(&codes::OUT_OF_BOUNDS, beyond.place, what);
        section.tell(problem.label("one too many").help("split it into several upstreams"));
    }
    servers
}

fn twice(text: &Text) -> Problem {
    let what = format!("`servers` names \"{}\" twice", text.shown);
    Problem::new(&codes::DUPLICATE, text.place, what).label("again").help("keep one of the two")
}

/// `http://host[:port]`, `https://host[:port]`, `h2c://host[:port]` or `unix:/path`, and nothing else.
pub(super) fn read_url(context: &Context<'_>, key: &str, text: &Text) -> Option<UpstreamServer> {
    let server = match text.value.strip_prefix("unix:") {
        Some(path) => unix(path),
        None => tcp(&text.value),
    };
    if server.is_none() {
        let problem = bad_value(key, text, "the URL of an application");
        context
            .tell(problem.help(
                "it is `http://`, `https://` or `h2c://`, a host and a port, without user or path: \"http://127.0.0.1:3000\"; or a socket: \"unix:/run/app.sock\"; paths are changed by `strip_prefix`",
            ));
    }
    server
}

/// Whether it is the URL of a server that has a host.
pub(super) fn is_url(text: &str) -> bool {
    tcp(text).is_some()
}

fn tcp(text: &str) -> Option<UpstreamServer> {
    let uri = text.parse::<Uri>().ok()?;
    let protocol = [Protocol::Http, Protocol::Https, Protocol::H2c]
        .into_iter()
        .find(|protocol| uri.scheme_str() == Some(protocol.scheme()))?;
    let plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
    if !plain || text.contains(['#', '@']) {
        return None;
    }
    let labels = |host: &str| host.strip_suffix('.').unwrap_or(host).to_owned();
    let host = uri.host().filter(|host| !labels(host).split('.').any(str::is_empty))?;
    let port = if uri.authority()?.as_str() == host {
        Some(protocol.usual_port())
    } else {
        uri.port_u16()
    };
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let address = ServerAddress::Tcp(host, port.filter(|port| *port > 0)?);
    Some(UpstreamServer { protocol, address })
}

/// The kernel takes no longer name of a socket than 107 bytes.
fn unix(path: &str) -> Option<UpstreamServer> {
    let sound = path.starts_with('/') && path.len() < 108 && !path.contains(char::is_control);
    let address = ServerAddress::Unix(PathBuf::from(path));
    sound.then_some(UpstreamServer { protocol: Protocol::Http, address })
}

/// The words of `balance`.
pub(super) const BALANCE: [(&str, Balance); 3] = [
    ("round_robin", Balance::RoundRobin),
    ("least_requests", Balance::LeastRequests),
    ("hash_session", Balance::HashSession),
];

/// `health`, where it is written.
pub(super) fn read_health(upstream: &Section<'_>) -> Option<HealthCheck> {
    let section = upstream.section("health", &keys::HEALTH);
    if !upstream.has("health") {
        return None;
    }
    let why = "a health check asks for a path: `health = { path = \"/healthz\" }`";
    Some(HealthCheck {
        every: section.duration("every", 5 * SECOND, &EVERY),
        fail_after: section.count("fail_after", 3, 1..=100),
        pass_after: section.count("pass_after", 2, 1..=100),
        slow_start: section.duration("slow_start", Duration::ZERO, &SLOW_START),
        // Last, so that a check without one has all its other problems told.
        path: section.needed("path", why).and_then(|text| health_path(&section, &text))?,
    })
}

fn health_path(section: &Section<'_>, text: &Text) -> Option<String> {
    let uri = text.value.parse::<Uri>().ok();
    let sound = text.value.starts_with('/') && !text.value.contains('#') && uri.is_some();
    if !sound {
        let problem = bad_value("path", text, "the path of a health check");
        section.tell(problem.help("for example \"/healthz\" or \"/status?full=1\""));
    }
    sound.then(|| text.value.clone())
}

/// `eject`, filled in.
pub(super) fn read_eject(upstream: &Section<'_>) -> Eject {
    let section = upstream.section("eject", &keys::EJECT);
    Eject {
        failures: section.count("failures", 5, 1..=1_000),
        lasts: section.duration("for", 10 * SECOND, &LASTS),
        at_most: section.form("at_most", &PERCENT).unwrap_or(50),
    }
}

const PERCENT: Form<usize> = Form {
    what: "a share",
    examples: r#""50 %", "100 %""#,
    unit: Some(" %"),
    read: |text| {
        let digits = text.strip_suffix('%')?.trim_end();
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|share| plain && *share <= 100)
    },
};

const SECOND: Duration = Duration::from_secs(1);
const EVERY: Between = Between { least: Duration::from_millis(100), most: forms::DAY, why: "" };
const SLOW_START: Between = Between { least: Duration::ZERO, most: forms::DAY, why: "" };
const LASTS: Between = Between { least: Duration::from_millis(10), most: forms::DAY, why: "" };

/// So many have a bit of their own in one machine word.
const MOST_SERVERS: usize = 64;
