//! Who looks at an answer of ours: a program, a person in front of a page, a page inside of another.

use http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderMap};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};

use super::preference::weighted;
use crate::policy::OnDenied;
use crate::request::{LocalPath, NormalRequest};

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
    /// is a person's. Of a head that need not be readable otherwise.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        if is_scripted(headers) {
            return Self::Program;
        }
        let reads = is_read(method);
        match (one(headers, SEC_FETCH_MODE), one(headers, SEC_FETCH_DEST)) {
            (None, None) if reads && prefers_html(headers) => Self::Navigation,
            (None, _) => Self::Program,
            (Some(mode), _) if mode != "navigate" => Self::Program,
            (Some(_), Some("iframe" | "frame" | "embed" | "object")) => Self::Frame,
            (Some(_), _) if reads => Self::Navigation,
            (Some(_), _) => Self::Form,
        }
    }

    /// The same at an endpoint of ours, where it is known what a form is: browsers that say
    /// nothing of themselves (all of them on plain http) send them too, and programs send some
    /// that want no page for an answer.
    pub(super) fn at_endpoint(self, request: &NormalRequest) -> Self {
        let headers = request.headers();
        let wants_page = one(headers, CONTENT_TYPE).is_some_and(is_form) && prefers_html(headers);
        match self {
            Self::Form if !wants_page => Self::Program,
            Self::Program if *request.method() == Method::POST && wants_page => {
                let silent = !is_scripted(headers) && !headers.contains_key(SEC_FETCH_MODE);
                if silent { Self::Form } else { Self::Program }
            }
            Self::Program | Self::Navigation | Self::Form | Self::Frame => self,
        }
    }

    /// Whether an answer to a form is read by a person.
    pub(super) const fn is_form(self) -> bool {
        matches!(self, Self::Form | Self::Frame)
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

/// What an answer of ours needs of a request that is gone by the time it is made.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    languages: Option<HeaderValue>,
    /// Of a GET or HEAD: what could be asked for again.
    wanted: Option<PathAndQuery>,
    /// Of a form of ours: the page that has it.
    form_page: Option<String>,
    on_denied: Option<OnDenied>,
}

impl Asked {
    /// What needs no more than a head.
    pub(super) fn in_languages_of(headers: &HeaderMap) -> Self {
        Self { languages: headers.get(ACCEPT_LANGUAGE).cloned(), ..Self::default() }
    }

    /// From here on it could be read.
    pub(super) fn of_request(&mut self, request: &NormalRequest) {
        let wanted = || request.target().path_and_query().clone();
        self.wanted = is_read(request.method()).then(wanted);
    }

    /// From here on a refusal is told as the route says.
    pub(super) fn of_route(&mut self, on_denied: OnDenied) {
        self.on_denied = Some(on_denied);
    }

    /// From here on it may be tried again on this page.
    pub(super) fn of_form(&mut self, page: String) {
        self.form_page = Some(page);
    }

    pub(super) fn on_denied(&self) -> OnDenied {
        self.on_denied.unwrap_or(OnDenied::Auto)
    }

    /// Whether an application's route took it, not an endpoint.
    pub(super) const fn is_for_application(&self) -> bool {
        self.on_denied.is_some()
    }

    /// `Accept-Language`.
    pub(super) fn languages(&self) -> &str {
        self.languages.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether it was a GET or HEAD.
    pub(super) fn is_read(&self) -> bool {
        self.wanted.is_some()
    }

    /// Where a person who came by GET may be led back to.
    pub(super) fn way_back(&self) -> Option<LocalPath> {
        LocalPath::read(self.wanted.as_ref()?.as_str())
    }

    /// Where a person may try again by a link, which asks by GET: what was asked so, or the page of
    /// a form of ours.
    pub(super) fn again(&self) -> Option<String> {
        self.way_back().map(|path| path.to_string()).or_else(|| self.form_page.clone())
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn is_scripted(headers: &HeaderMap) -> bool {
    headers.contains_key(X_REQUESTED_WITH) || headers.contains_key(HX_REQUEST)
}

fn is_form(media: &str) -> bool {
    let essence = media.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn one(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether HTML stands in `Accept` with no type before it that is preferred (RFC 9110 section
/// 12.5.1). `*/*` alone is a program's.
fn prefers_html(headers: &HeaderMap) -> bool {
    let mut best = (0, false);
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for (kind, weight) in values.flat_map(weighted) {
        if weight > best.0 {
            let html = ["text/html", "application/xhtml+xml"];
            best = (weight, html.iter().any(|html| html.eq_ignore_ascii_case(kind)));
        }
    }
    best.1
}

const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
