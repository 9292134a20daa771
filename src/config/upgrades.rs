//! `upgrades`: the protocols that a route's connections may change to.

use super::codes;
use super::problem::Problem;
use super::section::Section;
use super::value::{Text, bad_value};

/// Reads the names; WebSockets where there is no such key, nothing where the list is empty.
pub(super) fn read(section: &Section<'_>) -> Vec<Box<str>> {
    let Some(names) = section.texts("upgrades") else {
        return vec!["websocket".into()];
    };
    names.iter().filter_map(|name| protocol(section, name)).collect()
}

fn protocol(section: &Section<'_>, name: &Text) -> Option<Box<str>> {
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(is_token_byte);
    let well_formed = match name.value.split_once('/') {
        Some((protocol, version)) => is_token(protocol) && is_token(version),
        None => is_token(&name.value),
    };
    if !well_formed {
        let problem = bad_value("upgrades", name, "the name of a protocol");
        section.tell(problem.help("for example \"websocket\" or \"spdy/3.1\""));
        return None;
    }
    if carries_requests(&name.value) {
        let problem = Problem::new(
            &codes::BAD_VALUE,
            name.place,
            format!("`upgrades` cannot name \"{}\"", name.shown),
        )
        .label("it carries requests")
        .because("they would reach the application past every rule")
        .help("take it out");
        section.tell(problem);
        return None;
    }
    Some(name.value.as_str().into())
}

fn carries_requests(name: &str) -> bool {
    let protocol = name.split('/').next().unwrap_or_default();
    ["h2", "h2c", "http", "tls"].iter().any(|other| other.eq_ignore_ascii_case(protocol))
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
