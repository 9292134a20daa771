//! `[upstreams.NAME]`, and the bare URLs that routes write in their place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::codes;
use super::entry::key;
use super::forms::{DAY, DURATION_OR_OFF};
use super::identities::twice;
use super::keys::{self, nearest};
use super::listen::is_own;
use super::model::{Server, Upstream};
use super::problem::{Place, Problem};
use super::section::{Between, Context, Section};
use super::servers::{self, BALANCE, Balance, UpstreamServer, is_url, read_url};
use super::upstream_tls;
use super::value::Text;
use crate::policy::{Patience, Timeouts, UpstreamId};

const SECOND: Duration = Duration::from_secs(1);

const TIMEOUT: Between = Between { least: Duration::from_millis(10), most: DAY, why: "" };
const IDLE: Between = Between { least: Duration::ZERO, most: DAY, why: "" };

/// Every upstream so far, in the order of [`UpstreamId`].
#[derive(Default)]
pub(super) struct Upstreams {
    all: Vec<Upstream>,
    by_name: BTreeMap<Arc<str>, (UpstreamId, Place)>,
    audience: String,
}

impl Upstreams {
    /// Those with a table. One that is faulty keeps its place, so that its routes are not faulted too.
    pub(super) fn read(files: &[Section<'_>], audience: &str, workers: usize) -> Self {
        let mut upstreams = Self { audience: audience.to_owned(), ..Self::default() };
        for (name, place, section) in
            files.iter().flat_map(|file| file.named("upstreams", &keys::UPSTREAM))
        {
            check_name(name, place, section.context);
            let servers = servers::read(&section);
            if let Some((_, first)) = upstreams.by_name.get(name) {
                section.tell(twice("upstreams", name, *first, place));
            }
            check_audience(name, audience, place, section.context);
            let upstream = upstream(&section, name, servers);
            check_connections(&upstream, workers, &section);
            upstreams.add(upstream, place);
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
        let name = server.url();
        check_audience(&name, &self.audience, text.place, route.context);
        if let Some((id, _)) = self.by_name.get(name.as_str()) {
            return Some(*id);
        }
        Some(self.add(upstream(&route.empty(&keys::UPSTREAM), &name, vec![server]), text.place))
    }

    /// Tells of servers that are the gateway itself: one request would become thousands.
    pub(super) fn check_loops(&self, context: &Context<'_>, server: &Server) {
        for (name, (id, place)) in &self.by_name {
            let servers = self.all.get(id.0).map(|upstream| &upstream.servers);
            let own = |candidate: &&UpstreamServer| is_own(server, &candidate.address);
            let Some(own) = servers.and_then(|servers| servers.iter().find(own)) else { continue };
            let problem = Problem::new(
                &codes::LOOP,
                *place,
                format!(
                    "the upstream `{name}` leads back to this gateway: it answers at {}",
                    own.url()
                ),
            )
            .label("a loop")
            .because(
                "each request would come back as another one, until nothing is left to serve with",
            )
            .help("name the address of the application, or let `server.listen` name another");
            context.tell(problem);
        }
    }

    fn undefined(&self, text: &Text) -> Problem {
        let names = || self.by_name.keys().map(|name| &**name).filter(|name| !name.contains(':'));
        let problem = Problem::new(
            &codes::UNDEFINED_UPSTREAM,
            text.place,
            format!("there is no upstream `{}`", text.shown),
        );
        let problem = match nearest(&text.value, names()) {
            Some(near) => problem.label(format!("did you mean `{near}`?")),
            None => problem.label("no such upstream"),
        };
        let url = format!("http://{}", text.shown);
        let shown = &text.shown;
        problem.help(if shown.contains(':') && is_url(&url) {
            format!("write \"{url}\"")
        } else if is_name(shown) {
            format!("add `[upstreams.{}]` with its `servers`, or write a URL here", key(shown))
        } else {
            "write the name of an `[upstreams.NAME]`, or a URL such as \"http://127.0.0.1:3000\""
                .to_owned()
        })
    }

    /// Whether there is an upstream of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub(super) fn into_all(self) -> Vec<Upstream> {
        self.all
    }
}

fn check_name(name: &str, place: Place, context: &Context<'_>) {
    if is_name(name) {
        return;
    }
    let problem =
        Problem::new(&codes::BAD_VALUE, place, format!("`{name}` cannot name an upstream"))
            .label("not a name")
            .help("use letters, digits and `. _ -`");
    context.tell(problem);
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
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

/// A worker shares no connection with another.
fn check_connections(upstream: &Upstream, workers: usize, section: &Section<'_>) {
    let most = upstream.max_connections;
    if most >= workers {
        return;
    }
    let problem = Problem::new(
        &codes::FEW_CONNECTIONS,
        section.place_of("max_connections"),
        format!("`max_connections = {most}` is less than one for each of the {workers} workers"),
    )
    .label(format!("up to {workers} all the same"))
    .because("each worker has connections of its own, and at least one to each server")
    .help(format!("write {workers} or more, or fewer `server.workers`"));
    section.tell(problem);
}

fn upstream(section: &Section<'_>, name: &str, servers: Vec<UpstreamServer>) -> Upstream {
    let table = section.section("timeouts", &keys::UPSTREAM_TIMEOUTS);
    let waits = timeouts(&table);
    let tolerate = tolerated(section);
    Upstream {
        name: name.into(),
        tls: upstream_tls::read(section, &servers),
        servers,
        balance: section.choice("balance", Balance::LeastRequests, &BALANCE),
        health: servers::read_health(section),
        eject: servers::read_eject(section),
        retries: section.count("retries", 1, 0..=10),
        connect_timeout: waits.connect.unwrap_or(2 * SECOND),
        response_timeout: match waits.response {
            Some(Patience::Endless) => None,
            Some(Patience::Ends(limit)) => Some(limit),
            None => Some(60 * SECOND),
        },
        idle_timeout: waits.idle.unwrap_or(300 * SECOND),
        max_connections: section.count("max_connections", 512, 1..=1_000_000),
        max_idle: section.duration("max_idle", 4 * SECOND, &IDLE),
        title_case: section.choice("header_case", false, &[("lower", false), ("title", true)]),
        tolerate_space_before_colon: tolerate.contains(&Tolerance::SpaceBeforeColon),
        tolerate_folded_lines: tolerate.contains(&Tolerance::FoldedLines),
        tolerate_invalid_names: tolerate.contains(&Tolerance::InvalidNames),
    }
}

/// `timeouts`, those that are written.
pub(super) fn timeouts(section: &Section<'_>) -> Timeouts {
    let written = |key, default| section.has(key).then(|| section.duration(key, default, &TIMEOUT));
    Timeouts {
        connect: written("connect", 2 * SECOND),
        response: section.form("response", &DURATION_OR_OFF).map(|limit| match limit {
            None => Patience::Endless,
            Some(_) => Patience::Ends(section.duration("response", 60 * SECOND, &TIMEOUT)),
        }),
        idle: written("idle", 300 * SECOND),
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
