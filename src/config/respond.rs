//! Where a route leads: to an upstream, or to an answer that the file itself gives.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::codes;
use super::entry::{Entry, table};
use super::keys;
use super::problem::Problem;
use super::section::Section;
use super::upstreams::Upstreams;
use super::value::bad_value;
use crate::policy::{FixedAnswer, Target};

/// What is said to an application, or of its answers, means nothing where there is none.
const OF_UPSTREAMS: [&str; 8] = [
    "upstream",
    "identity",
    "app_cookies",
    "strip_prefix",
    "preserve_host",
    "rewrite_location",
    "timeouts",
    "upgrades",
];

/// `respond` or `upstream`.
pub(super) fn target(route: &Section<'_>, upstreams: &mut Upstreams) -> Option<Target> {
    if !route.has("respond") {
        return upstreams.of(route).map(Target::Upstream);
    }
    for key in OF_UPSTREAMS {
        route.clash("respond", key);
    }
    check_headers(route);
    let section = route.section("respond", &keys::RESPOND);
    let status = status(&section);
    let body = section.text("body").map(|text| text.value).unwrap_or_default();
    check_bodiless(&section, status, &body);
    let content_type = content_type(&section);
    let content_type = (!body.is_empty()).then_some(content_type);
    Some(Target::Answer(Arc::new(FixedAnswer { status, content_type, body: Bytes::from(body) })))
}

/// `respond` as the configuration writes it.
pub(super) fn shown(target: &Target) -> Entry {
    let Target::Answer(answer) = target else {
        return Entry(None);
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    table([
        ("status", usize::from(answer.status.as_u16()).into()),
        ("body", text(&answer.body).into()),
        ("content_type", answer.content_type.as_ref().map(|kind| text(kind.as_bytes())).into()),
    ])
}

fn check_headers(route: &Section<'_>) {
    for (_, value) in route.section_entries("headers") {
        let key = value.key;
        if !matches!(key, "set" | "remove") {
            continue;
        }
        let message = format!("both `respond` and `headers.{key}` are given");
        let problem = Problem::new(&codes::BOTH, value.place, message)
            .label("given as well")
            .also(route.place_of("respond"), "given here")
            .help("nothing is sent on: write `set_response` for headers of the answer");
        route.tell(problem);
    }
}

fn status(section: &Section<'_>) -> StatusCode {
    let status = section.count("status", 200, 200..=599);
    u16::try_from(status)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or_default()
}

fn check_bodiless(section: &Section<'_>, status: StatusCode, body: &str) {
    if body.is_empty() || !matches!(status.as_u16(), 204 | 205 | 304) {
        return;
    }
    let message = format!("an answer of status {} has no body", status.as_u16());
    let problem = Problem::new(&codes::BAD_VALUE, section.place_of("body"), message)
        .label("would never be sent")
        .because("clients end such an answer with its head (RFC 9110 section 6.4.1)")
        .help("take `body` out, or choose another `status`");
    section.tell(problem);
}

fn content_type(section: &Section<'_>) -> HeaderValue {
    let text = section.text("content_type");
    let Some(text) = text else {
        return HeaderValue::from_static(PLAIN);
    };
    let read = HeaderValue::from_str(&text.value).ok().filter(|_| text.value.contains('/'));
    read.unwrap_or_else(|| {
        let problem = bad_value("content_type", &text, "a media type");
        section.tell(problem.help("for example \"text/html; charset=utf-8\""));
        HeaderValue::from_static(PLAIN)
    })
}

const PLAIN: &str = "text/plain; charset=utf-8";
