//! Who looks at an answer of ours: a program, a person in front of a page, a page inside of another.

use http::header::{ACCEPT, HeaderMap};
use http::{HeaderName, Method};

use crate::policy::OnDenied;
use crate::request::NormalRequest;

/// For whom an answer is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// A script, an app, a crawler: JSON, and a status that it can read.
    Program,
    /// A person who opens a page: may be led elsewhere.
    Navigation,
    /// A person who sends a form: led elsewhere, what was typed would be lost.
    Form,
    /// A page within a page, which must not show a login.
    Frame,
}

impl Audience {
    /// Reads it from what browsers say of themselves; without that, only a GET that prefers HTML
    /// is a person's.
    pub(super) fn of(request: &NormalRequest) -> Self {
        let headers = request.headers();
        if headers.contains_key(X_REQUESTED_WITH) || headers.contains_key(HX_REQUEST) {
            return Self::Program;
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match (one(headers, SEC_FETCH_MODE), one(headers, SEC_FETCH_DEST)) {
            (None, None) if reads && prefers_html(headers) => Self::Navigation,
            (None, _) => Self::Program,
            (Some(mode), _) if mode != "navigate" => Self::Program,
            (Some(_), Some("iframe" | "frame" | "embed" | "object")) => Self::Frame,
            (Some(_), _) if reads => Self::Navigation,
            (Some(_), _) => Self::Form,
        }
    }

    /// What a route makes of it where a caller is refused.
    pub(super) fn on(self, denied: OnDenied) -> Self {
        match denied {
            OnDenied::Auto => self,
            OnDenied::Unauthorized => Self::Program,
            OnDenied::Login => Self::Navigation,
        }
    }
}

fn one(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether HTML stands in `Accept` with no type before it that is preferred (RFC 9110 section
/// 12.5.1). `*/*` alone is a program's.
fn prefers_html(headers: &HeaderMap) -> bool {
    let mut best = (0, false);
    let values = headers.get_all(ACCEPT);
    for range in values.iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, thousandths);
        let html = matches!(kind, "text/html" | "application/xhtml+xml");
        if quality > best.0 {
            best = (quality, html);
        }
    }
    best.1
}

/// A quality in thousandths; what is none counts as 0.
fn thousandths(quality: &str) -> u32 {
    let Ok(value) = quality.parse::<f32>() else {
        return 0;
    };
    // Only compared with others of its kind: more digits than three do not exist.
    format!("{:.0}", (value * 1000.0).clamp(0.0, 1000.0)).parse().unwrap_or(0)
}

const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
