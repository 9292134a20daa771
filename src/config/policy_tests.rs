//! `[[tests]]`: what the operator expects of the rules.

use http::Method;

use super::codes;
use super::keys;
use super::model::{Expect, Line, PolicyTest};
use super::people::{Roles, username};
use super::problem::{Place, Problem};
use super::proxies;
use super::routes::{Draft, method};
use super::section::Section;
use super::upstreams::Upstreams;
use super::value::{Text, bad_value};
use crate::request::Host;

/// What tests refer to.
pub(super) struct Known<'w> {
    pub(super) roles: &'w Roles,
    pub(super) routes: &'w [Draft],
    pub(super) upstreams: &'w Upstreams,
    /// Whether every route could be read, so that one that is not there is a mistake.
    pub(super) whole: bool,
}

pub(super) fn read(
    sections: &[Section<'_>],
    known: &Known<'_>,
    line: impl Fn(Place) -> Line,
) -> Vec<PolicyTest> {
    sections.iter().filter_map(|section| test(section, known, line(section.place))).collect()
}

fn test(section: &Section<'_>, known: &Known<'_>, line: Line) -> Option<PolicyTest> {
    let request = section.needed("request", "a test asks something: \"GET /admin/users\"");
    let who = section.section("as", &keys::TEST_AS);
    let roles = known.roles.read(&who, "roles");
    let user = who.text("user").and_then(|text| username(&who, "user", &text));
    let from = proxies::address(section, "from");
    let expect = expect(section, known);
    let request = request?;
    let (method, host, target) = read_request(section, &request)?;
    Some(PolicyTest {
        text: request.value,
        method,
        host,
        target,
        roles: section.has("as").then(|| roles.unwrap_or_default()),
        user,
        from,
        expect: expect?,
        line,
    })
}

fn read_request(section: &Section<'_>, text: &Text) -> Option<(Method, Option<Host>, String)> {
    let (verb, target) = text.value.split_once(' ').unwrap_or((&text.value, ""));
    let url = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://"));
    let (host, target) = match url {
        Some(url) => {
            let at = url.find('/').unwrap_or(url.len());
            let (host, path) = url.split_at_checked(at)?;
            (Some(Host::read(host).ok()), if path.is_empty() { "/" } else { path })
        }
        None => (None, target),
    };
    if !target.starts_with('/') || target.contains(' ') || host == Some(None) {
        let problem = bad_value("request", text, "a method, a blank, and a path or URL");
        section.tell(
            problem.help("for example \"GET /admin/users\" or \"GET https://cal.example.com/\""),
        );
        return None;
    }
    let verb = Text {
        value: verb.to_owned(),
        shown: verb.to_owned(),
        filled: text.filled,
        place: text.place,
    };
    Some((method(section, &verb)?, host.flatten(), target.to_owned()))
}

/// What a policy can answer.
const STATUSES: [u16; 7] = [200, 400, 401, 403, 404, 405, 421];

fn expect(section: &Section<'_>, known: &Known<'_>) -> Option<Expect> {
    if !section.has("expect") {
        section.needed(
            "expect",
            "a test expects something: a status such as 403, or { route = \"NAME\" }",
        );
    }
    let value = section.value("expect")?;
    if value.is_table() {
        return Some(forwarded(&section.section("expect", &keys::TEST_EXPECT), known));
    }
    let status = value.integer_or("a status such as 403, or { route = \"NAME\" }")?;
    let read = STATUSES.into_iter().find(|known| i64::from(*known) == status);
    if read.is_none() {
        let problem = Problem::new(
            &codes::BAD_VALUE,
            value.place,
            format!("no rule answers with {status}"),
        )
        .label("never the answer")
        .help("200 means \"would be forwarded\"; refusals are 400, 401, 403, 404, 405 and 421");
        section.tell(problem);
    }
    read.map(Expect::Status)
}

fn forwarded(section: &Section<'_>, known: &Known<'_>) -> Expect {
    let (route, upstream) = (section.text("route"), section.text("upstream"));
    let no_route = |text: &&Text| {
        known.whole && !known.routes.iter().any(|draft| *draft.route.name == text.value)
    };
    if let Some(text) = route.as_ref().filter(no_route) {
        let problem = Problem::new(
            &codes::UNDEFINED_ROUTE,
            text.place,
            format!("there is no route `{}`", text.shown),
        );
        section.tell(
            problem.label("no such route").help("a route's name is its `name`, else its path"),
        );
    }
    if let Some(text) =
        upstream.as_ref().filter(|text| known.whole && !known.upstreams.has(&text.value))
    {
        let problem = Problem::new(
            &codes::UNDEFINED_UPSTREAM,
            text.place,
            format!("there is no upstream `{}`", text.shown),
        );
        section.tell(problem.label("no such upstream").help("a bare URL is named by its origin"));
    }
    Expect::Forwarded {
        route: route.map(|text| text.value),
        upstream: upstream.map(|text| text.value),
    }
}
