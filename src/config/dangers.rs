//! What is legal and dangerous: warnings.

use super::codes;
use super::model::{Cookies, Insecure, Server};
use super::problem::{Place, Problem};
use super::routes::Draft;
use super::section::{Context, Section};
use crate::policy::{Access, Route, Rule};
use crate::request::HostPattern;

/// Dangers of the routes, by what their patterns say.
pub(super) fn of_routes(context: &Context<'_>, drafts: &[Draft]) {
    for (at, draft) in drafts.iter().enumerate() {
        let others = || {
            drafts.iter().enumerate().filter(move |(other, _)| *other != at).map(|(_, other)| other)
        };
        let neighbours = || others().filter(|other| share_a_host(&draft.route, &other.route));
        let wider = neighbours()
            .filter(|other| opens(draft, other))
            .max_by_key(|other| other.route.pattern.as_str().len());
        let problems = [
            wider.map(|wider| public_below(draft, wider)),
            neighbours()
                .find(|other| overshadows(other, draft))
                .map(|other| overshadowed(draft, other)),
            others()
                .find(|other| reaches(&draft.route, &other.route))
                .map(|other| strips_into(draft, other)),
        ];
        problems.into_iter().flatten().for_each(|problem| context.tell(problem));
    }
}

/// A file that serves nothing of anybody's.
pub(super) fn no_routes() -> Problem {
    Problem::nowhere(
        &codes::NO_ROUTES,
        "there are no [[routes]]: nothing but the gateway's own pages is served",
    )
    .help("add one, with its `path` and `upstream`; or see whether the file was cut short")
}

/// Nothing falls through from a host to a wider pattern, but `*` stands in every host's table.
fn share_a_host(one: &Route, other: &Route) -> bool {
    let any = |route: &Route| route.hosts.is_empty() || route.hosts.contains(&HostPattern::Any);
    any(one) || any(other) || one.hosts.iter().any(|host| other.hosts.contains(host))
}

/// A public route below a guarded prefix. Below a guarded `/*` it is how files become public.
fn opens(inner: &Draft, outer: &Draft) -> bool {
    let (inner, outer) = (&inner.route, &outer.route);
    let (path, prefix) = (inner.pattern.as_str(), outer.pattern.as_str());
    inner.rule.access == Access::Public
        && outer.rule.access == Access::SignedIn
        && prefix != "/*"
        && path != prefix
        && covers(prefix, path)
}

fn public_below(inner: &Draft, outer: &Draft) -> Problem {
    Problem::new(
        &codes::PUBLIC_BELOW,
        inner.access,
        format!(
            "`{}` is public below `{}`, which is not",
            inner.route.pattern.as_str(),
            outer.route.pattern.as_str()
        ),
    )
    .label("open to everybody")
    .also(outer.path, "guarded here")
    .help("if it is not meant, take `access = \"public\"` out")
}

/// Whether every path of `inner` is one of `outer`, which ends in `/*`.
fn covers(outer: &str, inner: &str) -> bool {
    let Some(prefix) = outer.strip_suffix("/*") else {
        return false;
    };
    let mut segments = inner.split('/');
    prefix.split('/').all(|wanted| {
        segments.next().is_some_and(|segment| {
            segment == wanted || (wanted.starts_with('{') && segment != "*" && !segment.is_empty())
        })
    })
}

/// Servers that fold case or drop a final slash see one path, so both rules must permit.
fn overshadows(strict: &Draft, open: &Draft) -> bool {
    let fold = |draft: &Draft| {
        let path = draft.route.pattern.as_str().to_ascii_lowercase();
        path.strip_suffix('/').map_or(path.clone(), str::to_owned)
    };
    strict.route.pattern != open.route.pattern
        && fold(strict) == fold(open)
        && more_open(&open.route.rule, &strict.route.rule)
}

fn overshadowed(open: &Draft, strict: &Draft) -> Problem {
    let (path, other) = (open.route.pattern.as_str(), strict.route.pattern.as_str());
    Problem::new(&codes::UNREACHABLE, open.path, format!("whom `{other}` does not admit cannot reach `{path}` either"))
        .label("opens nothing")
        .also(strict.path, "the stricter rule")
        .because("many servers read both as one path, so a request must be permitted by both rules")
        .help("give both routes the same rule, or make the paths differ in more than case and the final slash")
}

/// Whether a route cuts its prefix off and so comes to what another one guards more strictly.
fn reaches(open: &Route, strict: &Route) -> bool {
    open.strip_prefix.is_some()
        && open.target == strict.target
        && more_open(&open.rule, &strict.rule)
        && covers(&sent(open), &sent(strict))
        && !arrives_guarded(open, strict)
}

/// Whether what comes to the stricter route's paths is asked for by that route's own pattern.
fn arrives_guarded(open: &Route, strict: &Route) -> bool {
    open.strip_prefix == strict.strip_prefix
        && open.hosts == strict.hosts
        && covers(open.pattern.as_str(), strict.pattern.as_str())
}

/// A route's pattern as its upstream sees it.
fn sent(route: &Route) -> String {
    let path = route.pattern.as_str();
    let cut = route.strip_prefix.as_deref().and_then(|prefix| path.strip_prefix(prefix));
    cut.filter(|cut| !cut.is_empty()).map_or_else(
        || {
            if route.strip_prefix.is_some() { "/".to_owned() } else { path.to_owned() }
        },
        str::to_owned,
    )
}

fn strips_into(open: &Draft, strict: &Draft) -> Problem {
    let prefix = open.route.strip_prefix.as_deref().unwrap_or("");
    let guarded = sent(&strict.route);
    Problem::new(
        &codes::STRIPS_INTO,
        open.path,
        format!(
            "`{}` also leads to `{guarded}`, which another route guards more strictly",
            open.route.pattern.as_str()
        ),
    )
    .label(format!("`{prefix}{guarded}` arrives as `{guarded}`"))
    .also(strict.path, "guarded here")
    .because("the prefix is cut off, and both routes have the same upstream")
    .help(format!("add a route for `{prefix}{guarded}` with the stricter rule"))
}

/// Whether somebody passes the first rule and not the second.
fn more_open(open: &Rule, strict: &Rule) -> bool {
    if open.is_wider_than(strict) {
        return true;
    }
    match (open.access, strict.access) {
        (_, Access::Public) => false,
        (Access::Public | Access::Optional, Access::Optional) => false,
        (Access::Public | Access::Optional, Access::SignedIn) => true,
        (Access::SignedIn, Access::Optional) => false,
        (Access::SignedIn, Access::SignedIn) => !admits_all(strict, open),
    }
}

fn admits_all(wide: &Rule, narrow: &Rule) -> bool {
    let everyone = |rule: &Rule| rule.roles.is_empty() && rule.users.is_empty();
    everyone(wide)
        || (!everyone(narrow)
            && narrow.roles.iter().all(|role| wide.roles.contains(role))
            && narrow.users.iter().all(|user| wide.users.contains(user)))
}

/// Dangers of `[server]`.
pub(super) fn of_server(section: &Section<'_>, server: &Server) {
    let open = server.tcp_listeners().into_iter().find(|address| address.ip().is_unspecified());
    let Some(address) = open.filter(|_| !section.has("tls")) else { return };
    let problem = Problem::new(
        &codes::OPEN_LISTENER,
        section.place_of("listen"),
        format!("{address} listens on every address, without TLS"),
    )
    .label("anyone near can listen in")
    .because(
        "passwords and cookies cross the network as they are, unless a TLS proxy stands in front",
    )
    .help("listen on the address that the TLS proxy uses, or on 127.0.0.1");
    section.tell(problem);
}

/// Dangers of `[cookies]`.
pub(super) fn of_cookies(section: &Section<'_>, cookies: &Cookies) {
    if cookies.insecure != Insecure::No {
        let problem = danger(&codes::INSECURE, section.place_of("insecure"), "cookies go without `Secure` and without their prefix")
            .because("whoever listens on the network can take a session over, and other hosts can plant cookies")
            .help("serve https, and take `insecure` out");
        section.tell(problem);
    }
    if cookies.access_token_in_body {
        let problem = danger(&codes::TOKEN_IN_BODY, section.place_of("access_token_in_body"), "scripts get the access token")
            .because("any script of the origin, one that was slipped in too, can carry it away until it expires")
            .help("let the cookie do it, and take `access_token_in_body` out");
        section.tell(problem);
    }
}

fn danger(code: &'static codes::Code, place: Place, message: &str) -> Problem {
    Problem::new(code, place, message).label("set here")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Role, Username};

    #[test]
    fn a_prefix_covers_itself_and_all_below_on_whole_segments() {
        for (outer, inner) in [
            ("/a/*", "/a"),
            ("/a/*", "/a/b"),
            ("/a/*", "/a/*"),
            ("/{x}/*", "/a/b"),
            ("/*", "/"),
            ("/a/{x}/*", "/a/b/*"),
        ] {
            assert!(covers(outer, inner), "{outer} {inner}");
        }
        for (outer, inner) in [
            ("/a/*", "/ab"),
            ("/a", "/a"),
            ("/a/b/*", "/a/*"),
            ("/{x}/*", "/"),
            ("/a/{x}/*", "/a/*"),
        ] {
            assert!(!covers(outer, inner), "{outer} {inner}");
        }
    }

    #[test]
    fn a_rule_is_more_open_when_somebody_passes_it_alone() {
        let rule = |access, roles: &[&str], users: &[&str]| Rule {
            access,
            roles: roles.iter().map(|name| Role::new(name).unwrap()).collect(),
            users: users.iter().map(|name| Username::new(name).unwrap()).collect(),
            addresses: Vec::new(),
        };
        let public = rule(Access::Public, &[], &[]);
        let everyone = rule(Access::SignedIn, &[], &[]);
        let admins = rule(Access::SignedIn, &["admin"], &[]);
        let carol = rule(Access::SignedIn, &[], &["carol"]);
        let both = rule(Access::SignedIn, &["admin"], &["carol"]);
        for (open, strict) in
            [(&public, &everyone), (&everyone, &admins), (&admins, &carol), (&both, &admins)]
        {
            assert!(more_open(open, strict), "{open:?} {strict:?}");
        }
        for (open, strict) in
            [(&everyone, &public), (&admins, &everyone), (&admins, &both), (&both, &both)]
        {
            assert!(!more_open(open, strict), "{open:?} {strict:?}");
        }
    }
}
