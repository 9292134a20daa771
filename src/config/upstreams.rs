//! `[upstreams.NAME]`, and the bare URLs that routes write in their place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::codes;
use super::forms::DURATION_OR_OFF;
use super::identities::twice;
use super::keys::{self, nearest};
use super::model::Upstream;
use super::problem::{Place, Problem};
use super::section::{Between, Context, Section, not_yet};
use super::value::{Text, bad_value};
use crate::policy::UpstreamId;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

const TIMEOUT: Between = Between { least: Duration::from_millis(10), most: DAY, why: "" };
const IDLE: Between = Between { least: Duration::ZERO, most: DAY, why: "" };

/// Every upstream so far, in the order of [`UpstreamId`].
#[derive(Default)]
pub(super) struct Upstreams {
    all: Vec<Upstream>,
    by_name: BTreeMap<Arc<str>, (UpstreamId, Place)>,
    audience: String,
}

/// Where a server listens.
struct Server {
    host: String,
    port: u16,
}

impl Upstreams {
    /// Those with a table. One that is faulty keeps its place, so that its routes are not faulted too.
    pub(super) fn read(files: &[Section<'_>], audience: &str) -> Self {
        let mut upstreams = Self { audience: audience.to_owned(), ..Self::default() };
        for (name, place, section) in
            files.iter().flat_map(|file| file.named("upstreams", &keys::UPSTREAM))
        {
            check_name(name, place, section.context);
            let server = server(&section).unwrap_or(Server { host: String::new(), port: 0 });
            if let Some((_, first)) = upstreams.by_name.get(name) {
                section.tell(twice("upstreams", name, *first, place));
            }
            check_audience(name, audience, place, section.context);
            upstreams.add(upstream(&section, name, server), place);
        }
        upstreams
    }

    fn add(&mut self, upstream: Upstream, place: Place) -> UpstreamId {
        let id = UpstreamId(self.all.len());
        self.by_name.insert(upstream.name.clone(), (id, place));
        self.all.push(upstream);
        id
    }

    /// The upstream a route names, or the one of its bare URL.
    pub(super) fn of(&mut self, route: &Section<'_>) -> Option<UpstreamId> {
        let why = "a route leads to an application: the name of an `[upstreams.NAME]`, or a URL such as \"http://127.0.0.1:3000\"";
        let text = route.needed("upstream", why)?;
        if text.value.contains("://") || text.value.starts_with("unix:") {
            return self.of_url(route, &text);
        }
        let found = self.by_name.get(text.value.as_str()).map(|(id, _)| *id);
        if found.is_none() {
            route.tell(self.undefined(&text));
        }
        found
    }

    fn of_url(&mut self, route: &Section<'_>, text: &Text) -> Option<UpstreamId> {
        let server = read_url(route.context, "upstream", text)?;
        let name = server.origin();
        check_audience(&name, &self.audience, text.place, route.context);
        if let Some((id, _)) = self.by_name.get(name.as_str()) {
            return Some(*id);
        }
        Some(self.add(upstream(&route.empty(&keys::UPSTREAM), &name, server), text.place))
    }

    fn undefined(&self, text: &Text) -> Problem {
        let names = || self.by_name.keys().map(|name| &**name).filter(|name| !name.contains("://"));
        let problem = Problem::new(
            &codes::UNDEFINED_UPSTREAM,
            text.place,
            format!("there is no upstream `{}`", text.shown),
        );
        let problem = match nearest(&text.value, names()) {
            Some(near) => problem.label(format!("did you mean `{near}`?")),
            None => problem.label("no such upstream"),
        };
        problem.help(format!(
            "add `[upstreams.{}]` with its `servers`, or write a URL here",
            text.shown
        ))
    }

    /// Whether there is an upstream of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub(super) fn into_all(self) -> Vec<Upstream> {
        self.all
    }
}

impl Server {
    fn origin(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 80 {
            format!("http://{host}")
        } else {
            format!("http://{host}:{}", self.port)
        }
    }
}

fn check_name(name: &str, place: Place, context: &Context<'_>) {
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return;
    }
    let problem =
        Problem::new(&codes::BAD_VALUE, place, format!("`{name}` cannot name an upstream"))
            .label("not a name")
            .help("use letters, digits and `. _ -`");
    context.tell(problem);
}

fn check_audience(name: &str, audience: &str, place: Place, context: &Context<'_>) {
    if name != audience {
        return;
    }
    let problem = Problem::new(&codes::AUDIENCE, place, format!("the upstream `{name}` is named like `tokens.audience`"))
        .label("the same name")
        .because("assertions for an upstream carry its name as `aud`; one for this upstream would pass for an access token's")
        .help("rename the upstream, or set another `tokens.audience`");
    context.tell(problem);
}

fn server(section: &Section<'_>) -> Option<Server> {
    if !section.has("servers") {
        section
            .needed("servers", "an upstream has a server: `servers = [\"http://10.0.0.11:8080\"]`");
    }
    let texts = section.texts("servers")?;
    let servers: Vec<_> =
        texts.iter().map(|text| read_url(section.context, "servers", text)).collect();
    if texts.is_empty() {
        let problem =
            Problem::new(&codes::MISSING, section.place_of("servers"), "`servers` names no server");
        section
            .tell(problem.label("an empty list").help("for example [\"http://10.0.0.11:8080\"]"));
    }
    if let Some(second) = texts.get(1) {
        section.tell(not_yet("more than one server for an upstream", second.place));
    }
    servers.into_iter().next().flatten()
}

/// `http://host[:port]` and nothing else.
fn read_url(context: &Context<'_>, key: &str, text: &Text) -> Option<Server> {
    if let Some(scheme) =
        ["https:", "h2c:", "unix:"].iter().find(|scheme| text.value.starts_with(**scheme))
    {
        context.tell(not_yet(format!("an upstream by `{scheme}`"), text.place));
        return None;
    }
    let uri = text.value.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("http"));
    let plain = uri.filter(|uri| {
        matches!(uri.path(), "" | "/") && uri.query().is_none() && !text.value.contains(['#', '@'])
    });
    let server = plain.and_then(|uri| {
        let host = uri.host().filter(|host| !host.is_empty())?;
        let port = if uri.authority()?.as_str() == host { Some(80) } else { uri.port_u16() };
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        Some(Server { host, port: port.filter(|port| *port > 0)? })
    });
    if server.is_none() {
        let problem = bad_value(key, text, "the URL of an application");
        context
            .tell(problem.help(
                "it is `http://`, a host and a port, without user or path: \"http://127.0.0.1:3000\"; paths are changed by `strip_prefix`",
            ));
    }
    server
}

fn upstream(section: &Section<'_>, name: &str, server: Server) -> Upstream {
    let timeouts = section.section("timeouts", &keys::UPSTREAM_TIMEOUTS);
    let tolerate = tolerated(section);
    Upstream {
        name: name.into(),
        host: server.host,
        port: server.port,
        connect_timeout: timeouts.duration("connect", 2 * SECOND, &TIMEOUT),
        response_timeout: response_timeout(&timeouts),
        idle_timeout: timeouts.duration("idle", 300 * SECOND, &TIMEOUT),
        max_connections: section.count("max_connections", 512, 1..=1_000_000),
        max_idle: section.duration("max_idle", 4 * SECOND, &IDLE),
        title_case: section.choice("header_case", false, &[("lower", false), ("title", true)]),
        tolerate_space_before_colon: tolerate.contains(&Tolerance::SpaceBeforeColon),
        tolerate_folded_lines: tolerate.contains(&Tolerance::FoldedLines),
        tolerate_invalid_names: tolerate.contains(&Tolerance::InvalidNames),
    }
}

fn response_timeout(timeouts: &Section<'_>) -> Option<Duration> {
    match timeouts.form("response", &DURATION_OR_OFF) {
        Some(None) => None,
        Some(Some(_)) => Some(timeouts.duration("response", 60 * SECOND, &TIMEOUT)),
        None => Some(60 * SECOND),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tolerance {
    SpaceBeforeColon,
    FoldedLines,
    InvalidNames,
}

fn tolerated(section: &Section<'_>) -> Vec<Tolerance> {
    let words = [
        ("space_before_colon", Tolerance::SpaceBeforeColon),
        ("folded_lines", Tolerance::FoldedLines),
        ("invalid_names", Tolerance::InvalidNames),
    ];
    section.choices("tolerate", &words)
}
