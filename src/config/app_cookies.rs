//! `app_cookies` of an identity or a route: an application's own session cookies.

use std::sync::Arc;

use super::entry::{Entry, list};
use super::section::Section;
use super::value::bad_value;
use crate::policy::CookiePattern;
use crate::request::disturbs_gateway_cookies;

/// What an identity or a route says; None: nothing. An empty list says that there are none.
pub(super) fn read(section: &Section<'_>) -> Option<Arc<[CookiePattern]>> {
    let texts = section.texts("app_cookies")?;
    let patterns = texts.iter().filter_map(|text| match CookiePattern::read(&text.value) {
        Ok(_) if disturbs_gateway_cookies(text.value.trim_end_matches('*').as_bytes()) => {
            let problem = bad_value("app_cookies", text, "a cookie of an application");
            section.tell(problem.help("take it out: no application gets the gateway's cookies"));
            None
        }
        Ok(pattern) => Some(pattern),
        Err(cause) => {
            let problem = bad_value("app_cookies", text, "the name of a cookie")
                .because(cause.to_string())
                .help("for example \"sessionid\", or \"session_*\" for all that begin so");
            section.tell(problem);
            None
        }
    });
    Some(patterns.collect())
}

/// Those of a built-in identity.
pub(super) fn built_in(names: &[&str]) -> Option<Arc<[CookiePattern]>> {
    let patterns = names.iter().filter_map(|name| CookiePattern::read(name).ok());
    (!names.is_empty()).then(|| patterns.collect())
}

/// As the file writes it.
pub(super) fn shown(patterns: Option<&Arc<[CookiePattern]>>) -> Entry {
    patterns.map_or(Entry(None), |patterns| list(patterns.iter()))
}
