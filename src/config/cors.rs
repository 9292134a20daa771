//! `[cors.NAME]`: which other origins may read answers, and who uses the policies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::codes;
use super::identities::twice;
use super::keys::{self, nearest};
use super::model::Server;
use super::problem::{Place, Problem};
use super::routes::{Draft, method};
use super::section::{Between, Section};
use super::value::{Text, bad_value};
use crate::policy::{Cors, CorsOrigins, CorsPolicy};
use crate::request::{HostName, HostPattern, Origin, Scheme};

/// Policies by name, with what else must be judged of them.
pub(super) struct Policies<'a> {
    known: BTreeMap<&'a str, Policy<'a>>,
}

struct Policy<'a> {
    policy: Arc<CorsPolicy>,
    section: Section<'a>,
    place: Place,
    /// Where each origin is written.
    origins: Vec<(Origin, Place)>,
}

impl<'a> Policies<'a> {
    /// Those of all files.
    pub(super) fn read(files: &[Section<'a>]) -> Self {
        let mut known: BTreeMap<&str, Policy<'_>> = BTreeMap::new();
        for (name, place, section) in files.iter().flat_map(|file| file.named("cors", &keys::CORS))
        {
            check_name(&section, name, place);
            let (policy, origins) = policy(&section, name);
            let policy = Policy { policy: Arc::new(policy), section, place, origins };
            if let Some(first) = known.insert(name, policy) {
                section.tell(twice("cors", name, first.place, place));
            }
        }
        Self { known }
    }

    /// What a route says.
    pub(super) fn of_route(&self, route: &Section<'_>) -> Option<Cors> {
        let text = route.text("cors")?;
        match text.value.as_str() {
            UPSTREAM => Some(Cors::Upstream),
            _ => self.named(route, &text).map(Cors::Policy),
        }
    }

    /// The policy of the gateway's own endpoints.
    pub(super) fn of_auth(&self, auth: &Section<'_>) -> Option<Arc<CorsPolicy>> {
        self.named(auth, &auth.text("cors")?)
    }

    fn named(&self, section: &Section<'_>, text: &Text) -> Option<Arc<CorsPolicy>> {
        let found = self.known.get(text.value.as_str()).map(|known| Arc::clone(&known.policy));
        if found.is_none() {
            section.tell(self.undefined(text));
        }
        found
    }

    fn undefined(&self, text: &Text) -> Problem {
        let problem = Problem::new(
            &codes::UNDEFINED_CORS,
            text.place,
            format!("there is no CORS policy `{}`", text.shown),
        );
        let problem = match nearest(&text.value, self.known.keys().copied()) {
            Some(near) => problem.label(format!("did you mean `{near}`?")),
            None => problem.label("no such policy"),
        };
        problem.help(format!("add `[cors.{}]` with its `origins`", text.shown))
    }

    /// Cookies go to their own site alone, so credentials for another site would never come.
    pub(super) fn check_sites(&self, server: &Server, drafts: &[Draft]) {
        let served = served_sites(server, drafts);
        for known in self.known.values().filter(|known| known.policy.credentials) {
            let elsewhere = |origin: &Origin| {
                let site = Site::of(origin.scheme(), origin.host());
                !served.contains(&site)
            };
            for (origin, place) in known.origins.iter().filter(|(origin, _)| elsewhere(origin)) {
                known.section.tell(other_site(origin, *place));
            }
        }
    }

    pub(super) fn into_known(self) -> BTreeMap<String, Arc<CorsPolicy>> {
        self.known.into_iter().map(|(name, known)| (name.to_owned(), known.policy)).collect()
    }
}

/// What a route writes in the place of a policy's name.
pub(super) const UPSTREAM: &str = "upstream";

const MAX_AGE: Between =
    Between { least: Duration::ZERO, most: Duration::from_secs(86_400), why: "" };

fn check_name(section: &Section<'_>, name: &str, place: Place) {
    if name == UPSTREAM {
        let problem =
            Problem::new(&codes::BAD_VALUE, place, "no CORS policy can be named `upstream`")
                .label("taken")
                .because("`cors = \"upstream\"` in a route leaves it to the application")
                .help("choose another name");
        section.tell(problem);
    }
}

fn policy(section: &Section<'_>, name: &str) -> (CorsPolicy, Vec<(Origin, Place)>) {
    let credentials = section.flag("credentials", false);
    let (origins, places) = origins(section, credentials);
    let methods = section.texts("methods");
    let headers = |key, default: [&'static str; 3]| {
        header_names(section, key)
            .unwrap_or_else(|| default.into_iter().map(HeaderName::from_static).collect())
    };
    let policy = CorsPolicy {
        name: name.to_owned(),
        origins,
        credentials,
        methods: methods
            .map(|texts| texts.iter().filter_map(|text| listed_method(section, text)).collect()),
        headers: headers("headers", ["authorization", "content-type", "idempotency-key"]),
        expose: headers("expose", ["x-request-id", "retry-after", "www-authenticate"]),
        max_age: section.duration("max_age", Duration::from_secs(600), &MAX_AGE),
    };
    (policy, places)
}

fn origins(section: &Section<'_>, credentials: bool) -> (CorsOrigins, Vec<(Origin, Place)>) {
    if !section.has("origins") {
        section.needed("origins", "a policy is for the scripts of other origins");
    }
    let texts = section.texts("origins").unwrap_or_default();
    if section.value("origins").is_some_and(|value| value.is_empty_list()) {
        let place = section.place_of("origins");
        let problem = Problem::new(&codes::BAD_VALUE, place, "`origins` names none");
        section.tell(problem.label("an empty list").help("take the policy out to admit nobody"));
    }
    if let Some(any) = texts.iter().find(|text| text.value == "*") {
        check_any(section, any, (&texts, credentials));
        return (CorsOrigins::Any, Vec::new());
    }
    let read = texts.iter().filter_map(|text| Some((origin(section, text)?, text.place)));
    let places: Vec<_> = read.collect();
    (CorsOrigins::Listed(places.iter().map(|(origin, _)| origin.clone()).collect()), places)
}

fn origin(section: &Section<'_>, text: &Text) -> Option<Origin> {
    let origin = Origin::read(&text.value);
    if origin.is_none() {
        section.tell(bad_value("origins", text, "an origin").help(
            "for example \"https://spa.example.com\", with the port where it is not the usual one; \"null\" is none, and names have no wildcards",
        ));
    }
    origin
}

fn check_any(section: &Section<'_>, any: &Text, (all, credentials): (&[Text], bool)) {
    if credentials {
        let problem = Problem::new(&codes::CORS_ANY, any.place, "`credentials` for every origin")
            .label("everybody's scripts would act for the user")
            .because("any page that a user opens could then read and do what the user can")
            .help("list the origins that may, or take `credentials` out");
        section.tell(problem);
    } else if all.len() > 1 {
        let problem = bad_value("origins", any, "\"*\" alone, or a list of origins");
        section.tell(problem.help("keep one of the two"));
    }
}

fn listed_method(section: &Section<'_>, text: &Text) -> Option<http::Method> {
    if text.value == "*" {
        section.tell(every("methods", text));
        return None;
    }
    method(section, text)
}

fn header_names<'a>(section: &Section<'a>, key: &'a str) -> Option<Vec<HeaderName>> {
    let texts = section.texts(key)?;
    let read = |text: &Text| {
        if text.value == "*" {
            section.tell(every(key, text));
            return None;
        }
        let name = HeaderName::from_bytes(text.value.as_bytes());
        if name.is_err() {
            section.tell(bad_value(key, text, "the name of a header"));
        }
        name.ok()
    };
    Some(texts.iter().filter_map(read).collect())
}

fn every(key: &str, text: &Text) -> Problem {
    bad_value(key, text, "a list of names")
        .because("beside credentials browsers take `*` for a name, so it would say nothing")
        .help("list them")
}

fn other_site(origin: &Origin, place: Place) -> Problem {
    Problem::new(&codes::CORS_SITE, place, format!("{origin} is another site, so cookies never come from there"))
        .label("another site")
        .because("browsers keep the gateway's cookies (`SameSite`) to pages of its own site: the same scheme, and the same domain or its subdomains")
        .help("serve the page from a host beside the gateway's, such as spa.example.com beside apps.example.com, or take `credentials` out")
}

/// A site, roughly: browsers hold a list of the domains below which anybody may register, which
/// is not asked here. Taking the last two labels finds the usual mistake and refuses nothing that
/// works.
#[derive(PartialEq, Eq)]
struct Site(Scheme, String);

impl Site {
    fn of(scheme: Scheme, host: &HostName) -> Self {
        let name = host.as_str();
        if host.is_loopback() {
            return Self(scheme, "localhost".to_owned());
        }
        let is_address = name.starts_with('[') || name.parse::<std::net::Ipv4Addr>().is_ok();
        let from = name.rmatch_indices('.').nth(1).map_or(0, |(at, _)| at.saturating_add(1));
        let domain = name.get(from..).filter(|_| !is_address).unwrap_or(name);
        Self(scheme, domain.to_owned())
    }
}

fn served_sites(server: &Server, drafts: &[Draft]) -> Vec<Site> {
    let mut sites: Vec<Site> = server
        .public_url
        .iter()
        .chain(&server.public_origins)
        .map(|origin| Site::of(origin.scheme(), origin.host()))
        .collect();
    let scheme = server.public_url.as_ref().map(Origin::scheme);
    if scheme.is_none() {
        sites.push(Site(Scheme::Http, "localhost".to_owned()));
    }
    for host in drafts.iter().flat_map(|draft| &draft.route.hosts) {
        let (HostPattern::Exact(name) | HostPattern::Wildcard(name)) = host else {
            continue;
        };
        sites.push(Site::of(scheme.unwrap_or(Scheme::Http), name));
    }
    sites
}
