//! `logout` of a route: where its application signs people out. A path that no request of the route
//! could have would leave people signed in who believe they are not, so it is an error.

use super::codes;
use super::problem::{Place, Problem};
use super::routes::Draft;
use super::section::Section;
use super::value::Text;
use crate::policy::{Access, PathPattern};

/// The paths, normal, each with its place.
pub(super) fn read(
    section: &Section<'_>,
    (pattern, access): (Option<&PathPattern>, Access),
) -> Vec<(PathPattern, Place)> {
    let texts = section.texts("logout").unwrap_or_default();
    if access == Access::Public && !texts.is_empty() {
        let problem =
            Problem::new(&codes::LOGOUT, section.place_of("logout"), "a public route has `logout`")
                .label("nobody is signed in here")
                .also(section.place_of("access"), "nobody is asked")
                .because("the gateway does not know whose session would end")
                .help("take `access` out, or write `access = \"optional\"`");
        section.tell(problem);
    }
    texts.iter().filter_map(|text| path(section, text, pattern)).collect()
}

fn path(
    section: &Section<'_>,
    text: &Text,
    pattern: Option<&PathPattern>,
) -> Option<(PathPattern, Place)> {
    let refuse = |why: String, help: &str| {
        let told = format!("`logout` cannot be \"{}\"", text.shown);
        section.tell(Problem::new(&codes::LOGOUT, text.place, told).label(why).help(help));
        None
    };
    let path = match PathPattern::read(&text.value) {
        Ok(path) if path.as_str().contains(['{', '*']) => {
            return refuse("one path, not a pattern".to_owned(), "list each path on its own");
        }
        Ok(path) => path,
        Err(cause) => return refuse(cause.to_string(), "for example \"/cal/.web/logout\""),
    };
    if !pattern?.covers(&path) {
        let why = "no request of this route has that path".to_owned();
        return refuse(why, "write it as the browser sees it, with any `strip_prefix` in front");
    }
    Some((path, text.place))
}

/// Tells of paths that another route takes.
pub(super) fn check(section: &Section<'_>, drafts: &[Draft]) {
    for draft in drafts {
        for (path, place) in &draft.logout {
            let taker = drafts.iter().find(|other| takes(&other.route, (&draft.route, path)));
            let Some(taker) = taker else { continue };
            let problem = Problem::new(
                &codes::LOGOUT,
                *place,
                format!("route `{}` takes \"{path}\"", taker.route.name),
            )
            .label("never asked of this route")
            .also(taker.path, "more specific")
            .help("move the path to the `logout` of that route");
            section.tell(problem);
        }
    }
}

fn takes(
    other: &crate::policy::Route,
    (route, path): (&crate::policy::Route, &PathPattern),
) -> bool {
    other.pattern != route.pattern
        && other.hosts == route.hosts
        && route.pattern.covers(&other.pattern)
        && other.pattern.covers(path)
}
