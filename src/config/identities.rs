//! `[identity.NAME]` and the identities that are built in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::HeaderName;

use super::app_cookies;
use super::codes;
use super::entry::{Entry, list, some_list, table};
use super::header_names::{fold, reserved};
use super::keys::{self, nearest};
use super::presets;
use super::problem::{Place, Problem};
use super::proof;
use super::section::Section;
use super::value::{Text, bad_value};
use crate::policy::IdentityHeaders;

/// Identities by name.
pub(super) struct Identities {
    known: BTreeMap<String, Arc<IdentityHeaders>>,
    default: Arc<IdentityHeaders>,
}

impl Identities {
    /// The built-in ones, and those of all files; a table of a built-in name replaces it whole.
    pub(super) fn read(files: &[Section<'_>]) -> Self {
        let mut known: BTreeMap<String, Arc<IdentityHeaders>> =
            presets::all().map(|(name, headers)| (name.to_owned(), Arc::new(headers))).collect();
        let mut places: BTreeMap<&str, Place> = BTreeMap::new();
        for (name, place, section) in
            files.iter().flat_map(|file| file.named("identity", &keys::IDENTITY))
        {
            if let Some(first) = places.insert(name, place) {
                section.tell(twice("identity", name, first, place));
            }
            known.insert(name.to_owned(), Arc::new(identity(&section)));
        }
        let default = known.get("default").cloned().unwrap_or_default();
        Self { known, default }
    }

    /// The identity a route names; `default` when it names none.
    pub(super) fn of(&self, route: &Section<'_>) -> Arc<IdentityHeaders> {
        let Some(text) = route.text("identity") else {
            return self.default.clone();
        };
        let found = self.known.get(&text.value).cloned();
        if found.is_none() {
            route.tell(self.undefined(&text));
        }
        found.unwrap_or_default()
    }

    fn undefined(&self, text: &Text) -> Problem {
        let names: Vec<&str> = self.known.keys().map(String::as_str).collect();
        let problem = Problem::new(
            &codes::UNDEFINED_IDENTITY,
            text.place,
            format!("there is no identity `{}`", text.shown),
        );
        let problem = match nearest(&text.value, names.iter().copied()) {
            Some(near) => problem.label(format!("did you mean `{near}`?")),
            None => problem.label("no such identity"),
        };
        problem.help(format!("there are {}; `[identity.NAME]` makes another", names.join(", ")))
    }

    pub(super) fn into_known(self) -> BTreeMap<String, Arc<IdentityHeaders>> {
        self.known
    }
}

/// A name that is given twice, in one file or in two.
pub(super) fn twice(what: &str, name: &str, first: Place, second: Place) -> Problem {
    Problem::new(&codes::DUPLICATE, second, format!("two tables are named `{what}.{name}`"))
        .label("again")
        .also(first, "first here")
        .help("rename one of them")
}

fn identity(section: &Section<'_>) -> IdentityHeaders {
    let separator =
        section.value("roles").filter(|value| value.is_table()).map(|_| roles_table(section));
    let (role_names, separator) =
        separator.unwrap_or_else(|| (headers(section, "roles"), ",".to_owned()));
    let identity = IdentityHeaders {
        user: headers(section, "user"),
        roles: role_names.into_iter().map(|name| (name, separator.clone())).collect(),
        name: headers(section, "name"),
        email: headers(section, "email"),
        proof: proof::read(section),
        assertion: headers(section, "jwt"),
        app_cookies: app_cookies::read(section),
    };
    let mut seen = BTreeSet::new();
    for name in identity.names() {
        if !seen.insert(fold(name.as_str())) {
            let problem = Problem::new(
                &codes::IDENTITY_HEADER,
                section.place,
                format!("this identity writes `{name}` twice"),
            )
            .label("in here")
            .because("applications see `-`, `_` and case alike, so one value would hide the other")
            .help("give each field a header of its own");
            section.tell(problem);
        }
    }
    identity
}

fn roles_table(section: &Section<'_>) -> (Vec<HeaderName>, String) {
    let table = section.section("roles", &keys::IDENTITY_ROLES);
    if !table.has("header") {
        table.needed("header", "the roles go into a header");
    }
    (headers(&table, "header"), separator(&table))
}

fn separator(table: &Section<'_>) -> String {
    let default = || ",".to_owned();
    let Some(text) = table.text("separator") else {
        return default();
    };
    let in_a_role = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._:-".contains(c);
    if !text.value.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        table.tell(bad_value("separator", &text, "printable ASCII"));
        return default();
    }
    if text.value.chars().all(in_a_role) {
        let problem = Problem::new(
            &codes::SEPARATOR,
            text.place,
            format!("the separator \"{}\" can occur in the name of a role", text.shown),
        )
        .label("not a separator")
        .because("one role could then be read as two, and a user could gain what nobody gave")
        .help("use one with a character that no role can hold, such as \",\" or \";\" or \"|\"");
        table.tell(problem);
        return default();
    }
    text.value
}

fn headers<'a>(section: &Section<'a>, key: &'a str) -> Vec<HeaderName> {
    let texts = section.texts(key).unwrap_or_default();
    texts.iter().filter_map(|text| header(section, key, text)).collect()
}

/// The name of a header that the gateway alone is to write.
pub(super) fn header(section: &Section<'_>, key: &str, text: &Text) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(text.value.as_bytes()) else {
        section.tell(bad_value(key, text, "the name of a header"));
        return None;
    };
    if let Some(why) = reserved(&name)
        .or((name == http::header::AUTHORIZATION).then_some("applications take it for a password"))
    {
        let problem = Problem::new(
            &codes::IDENTITY_HEADER,
            text.place,
            format!("`{}` cannot tell who the caller is", text.shown),
        )
        .label("reserved")
        .because(why)
        .help("use a header that means nothing else, such as \"Remote-User\"");
        section.tell(problem);
    }
    Some(name)
}

/// As the file writes it.
pub(super) fn shown(headers: &IdentityHeaders) -> [(&'static str, Entry); 7] {
    let separator = headers.roles.first().map(|(_, separator)| separator.as_str());
    let role_names = || headers.roles.iter().map(|(name, _)| name);
    let roles = match separator {
        None | Some(",") => some_list(role_names()),
        Some(other) => table([("header", list(role_names())), ("separator", other.into())]),
    };
    [
        ("user", some_list(headers.user.iter())),
        ("roles", roles),
        ("name", some_list(headers.name.iter())),
        ("email", some_list(headers.email.iter())),
        ("jwt", some_list(headers.assertion.iter())),
        ("proof", proof::shown(headers.proof.as_ref())),
        ("app_cookies", app_cookies::shown(headers.app_cookies.as_ref())),
    ]
}
