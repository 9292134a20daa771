//! `headers` of a route: what the operator writes into requests and answers, or takes out of them.

use http::{HeaderName, HeaderValue};
use toml::Value;

use super::codes;
use super::entry::{Entry, MASK, some_list, table};
use super::header_names::{reserved_for_answers, reserved_for_edits};
use super::keys;
use super::problem::{Place, Problem};
use super::routes::{Draft, REWRITE_LOCATION};
use super::section::Section;
use super::value::Text;
use super::veil::is_secret_header;
use crate::policy::{AnswerRules, HeaderEdits, RewriteLocation};

/// A header that a route names, to be judged when all identities are known.
pub(super) struct Edit {
    name: HeaderName,
    place: Place,
    of: Of,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Requests,
    Answers,
}

/// `headers` and `rewrite_location`.
pub(super) fn read(route: &Section<'_>) -> (HeaderEdits, AnswerRules, Vec<Edit>) {
    let section = route.section("headers", &keys::ROUTE_HEADERS);
    let mut edits = Vec::new();
    let requests = HeaderEdits {
        set: set(&section, ("set", Of::Requests), &mut edits),
        remove: remove(&section, ("remove", Of::Requests), &mut edits),
    };
    let answers = AnswerRules {
        set: set(&section, ("set_response", Of::Answers), &mut edits),
        remove: remove(&section, ("remove_response", Of::Answers), &mut edits),
        location: route.choice("rewrite_location", RewriteLocation::Auto, &REWRITE_LOCATION),
    };
    (requests, answers, edits)
}

/// `headers` as the configuration writes it.
pub(super) fn shown(requests: &HeaderEdits, answers: &AnswerRules) -> Entry {
    let parts = [
        ("set", written(&requests.set)),
        ("remove", some_list(requests.remove.iter())),
        ("set_response", written(&answers.set)),
        ("remove_response", some_list(answers.remove.iter())),
    ];
    if parts.iter().all(|(_, part)| part.0.is_none()) {
        return Entry(None);
    }
    table(parts)
}

/// What came from the environment, and credentials, are secrets here too.
fn written(headers: &[(HeaderName, HeaderValue)]) -> Entry {
    let shown = |value: &HeaderValue| match value.to_str() {
        Ok(text) if !value.is_sensitive() => text.to_owned(),
        _ => MASK.to_owned(),
    };
    let set = headers.iter().map(|(name, value)| (name.to_string(), Value::String(shown(value))));
    Entry((!headers.is_empty()).then(|| Value::Table(set.collect())))
}

fn set<'a>(
    section: &Section<'a>,
    (key, of): (&'a str, Of),
    edits: &mut Vec<Edit>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut all: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (place, value) in section.section_entries(key) {
        let name = header_name(section, value.key, place);
        let value = value.text().and_then(|text| header_value(section, &text));
        let (Some(name), Some(mut value)) = (name, value) else {
            continue;
        };
        value.set_sensitive(value.is_sensitive() || is_secret_header(name.as_str()));
        if all.iter().any(|(known, _)| *known == name) {
            let problem = Problem::new(&codes::DUPLICATE, place, format!("`{name}` is set twice"));
            section
                .tell(problem.label("again").help("keep one of the two; case makes no difference"));
        }
        edits.push(Edit { name: name.clone(), place, of });
        all.push((name, value));
    }
    all
}

fn remove<'a>(
    section: &Section<'a>,
    (key, of): (&'a str, Of),
    edits: &mut Vec<Edit>,
) -> Vec<HeaderName> {
    let mut all = Vec::new();
    for text in section.texts(key).unwrap_or_default() {
        if let Some(name) = header_name(section, &text.value, text.place) {
            edits.push(Edit { name: name.clone(), place: text.place, of });
            all.push(name);
        }
    }
    all
}

fn header_name(section: &Section<'_>, written: &str, place: Place) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(written.as_bytes()).ok();
    if name.is_none() {
        let problem =
            Problem::new(&codes::BAD_VALUE, place, format!("`{written}` cannot name a header"));
        section.tell(problem.label("not the name of a header").help("use letters, digits and `-`"));
    }
    name
}

/// What the environment filled in is a secret to every message.
fn header_value(section: &Section<'_>, text: &Text) -> Option<HeaderValue> {
    let Ok(mut value) = HeaderValue::from_str(&text.value) else {
        let problem =
            Problem::new(&codes::BAD_VALUE, text.place, "a header cannot have this value");
        section
            .tell(problem.label("holds a control character").help("headers are one line of text"));
        return None;
    };
    value.set_sensitive(text.filled);
    Some(value)
}

/// An operator's header must not undo what the gateway promises applications and browsers.
pub(super) fn check(section: &Section<'_>, drafts: &[Draft]) {
    for edit in drafts.iter().flat_map(|draft| &draft.edits) {
        let identities = drafts.iter().flat_map(|draft| draft.route.identity.names());
        let why = match edit.of {
            Of::Requests => reserved_for_edits(&edit.name, identities),
            Of::Answers => reserved_for_answers(&edit.name),
        };
        let Some(why) = why else {
            continue;
        };
        let message = match edit.of {
            Of::Requests => format!("a route cannot set or remove `{}`", edit.name),
            Of::Answers => format!("a route cannot set or remove `{}` of answers", edit.name),
        };
        let problem = Problem::new(&codes::RESERVED_HEADER, edit.place, message)
            .label("the gateway's own")
            .because(why)
            .help("take it out");
        section.tell(problem);
    }
}
