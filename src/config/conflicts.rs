//! Routes that cannot stand beside each other, as the table that will match them finds.

use super::codes;
use super::problem::Problem;
use super::routes::Draft;
use super::section::Context;
use crate::policy::{Conflict, Route, Table};

pub(super) fn check(context: &Context<'_>, drafts: &[Draft], auth_path: &str) {
    let routes: Vec<Route> = drafts.iter().map(|draft| draft.route.clone()).collect();
    for conflict in Table::compile(&routes, auth_path).err().unwrap_or_default() {
        if let Some(problem) = problem(&conflict, drafts, auth_path) {
            context.tell(problem);
        }
    }
}

fn problem(conflict: &Conflict, drafts: &[Draft], auth_path: &str) -> Option<Problem> {
    match *conflict {
        Conflict::Tie { first, second } => Some(tie(drafts.get(first)?, drafts.get(second)?)),
        Conflict::MixedHosts { without, with } => {
            Some(mixed(drafts.get(without)?, drafts.get(with)?))
        }
        Conflict::Lenient { route, than } => Some(lenient(drafts.get(route)?, drafts.get(than)?)),
        // Told where `auth.path` is read.
        Conflict::BadAuthPath => None,
        Conflict::OnAuthPath { route } => Some(on_auth_path(drafts.get(route)?, auth_path)),
    }
}

fn tie(first: &Draft, second: &Draft) -> Problem {
    let path = second.route.pattern.as_str();
    Problem::new(
        &codes::TIE,
        second.path,
        format!("two routes take the same requests for `{path}`"),
    )
    .label("taken already")
    .also(first.path, "first taken here")
    .because("the order of the file never decides, so nothing says which of the two rules holds")
    .help("take one out, or tell them apart by `host`, `path` or `methods`")
}

fn mixed(without: &Draft, with: &Draft) -> Problem {
    Problem::new(&codes::MIXED_HOSTS, without.place, format!("the route `{}` names no host, and others do", without.route.name))
        .label("for which host?")
        .also(with.host, "this one names a host")
        .because("it could be meant for every host, or for that of `public_url`")
        .help("add `host = \"*\"` for every host, or the name of one; either no route names a host, or all do")
}

fn lenient(route: &Draft, than: &Draft) -> Problem {
    let name = &than.route.name;
    Problem::new(&codes::LENIENT, route.path, format!("the route `{}` opens what `{name}` guards on every host", route.route.name))
        .label("more lenient here")
        .also(than.path, "guarded here")
        .because("a rule for every host is a promise, and this would break it by accident")
        .help(format!("if it is meant, add `overrides = \"{name}\"` to this route; else ask for at least as much as `{name}` does"))
}

fn on_auth_path(route: &Draft, auth_path: &str) -> Problem {
    Problem::new(
        &codes::ON_AUTH_PATH,
        route.path,
        format!(
            "`{}` lies at or below `{auth_path}`, which is the gateway's own",
            route.route.pattern.as_str()
        ),
    )
    .label("never reaches an application")
    .because("login, refresh and logout answer there, on every host")
    .help("choose another path, or move the gateway's endpoints by `auth.path`")
}
