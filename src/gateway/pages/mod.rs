//! Pages for people: server-rendered, without scripts, in light and dark, English and German.
//!
//! Everything shown is escaped by the templates (`*.html`), which are compiled in. A page is made
//! of a [`Look`], of one of the [`screens`], and of [`Pages::answer`], which adds the headers that
//! every page has. Not here: what an endpoint does before it shows one.

mod refused;
pub(super) mod screens;
mod strings;
mod theme;

use askama::Template;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::body::Content;
use crate::config::{AuthSection, Logo, Page};
use crate::request::LocalPath;

pub(super) use refused::refused;
use strings::{Languages, Strings};
pub(super) use theme::{Embedding, Theme};

/// What all pages of a configuration share.
#[derive(Debug)]
pub(super) struct Pages {
    languages: Languages,
    theme: Theme,
    page: Page,
    auth: String,
}

/// What the frame around every page shows, in the language of the one who reads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look<'a> {
    text: &'a Strings,
    theme: &'a Theme,
    /// `auth.path`
    auth: &'a str,
    referrer: Referrer,
}

/// What the next page is told of the address of this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Referrer {
    /// Pages of this origin are told: without, forms would send `Origin: null`.
    #[default]
    SameOrigin,
    /// Nobody is: the address is a secret.
    Never,
}

/// Whether a login is shown to one who is signed in already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    /// Such a one is led on.
    IfNeeded,
    /// For a recent login, or another account.
    Always,
}

impl Pages {
    /// `host` is the title where none is written.
    pub(super) fn new(auth: &AuthSection, host: &str) -> Self {
        let page = auth.page.clone();
        let title = page.title.clone().unwrap_or_else(|| host.to_owned());
        let theme = Theme::new(title, page.logo.is_some(), page.accent);
        Self { languages: Languages::new(), theme, page, auth: auth.path.clone() }
    }

    /// The look in the language that `Accept-Language` prefers.
    pub(super) fn look(&self, accepted: &str, referrer: Referrer) -> Look<'_> {
        let text = self.languages.choose(self.page.language, accepted);
        Look { text, theme: &self.theme, auth: &self.auth, referrer }
    }

    /// The operator's logo.
    pub(super) fn logo(&self) -> Option<&Logo> {
        self.page.logo.as_ref()
    }
}

impl<'a> Look<'a> {
    /// A page as an answer. Nobody may keep it, run anything in it or open it from elsewhere.
    pub(super) fn answer(
        self,
        status: StatusCode,
        page: &impl Template,
        embedding: Embedding,
    ) -> Response<Content> {
        // Writing to a String does not fail; a page that says nothing would still have its status.
        let html = page.render().unwrap_or_default();
        let mut answer = Response::new(Content::Own(Bytes::from(html)));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        for (name, value) in FIXED {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(REFERRER_POLICY, HeaderValue::from_static(self.referrer.policy()));
        headers.insert(CONTENT_SECURITY_POLICY, self.theme.policy(embedding).clone());
        answer
    }

    /// The login page, from where a person is led on to a path.
    pub(super) fn login_link(self, return_to: Option<&LocalPath>, prompt: Prompt) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if prompt == Prompt::Always {
            query.append_pair("prompt", "login");
        }
        if let Some(path) = return_to.filter(|path| path.as_str() != "/") {
            query.append_pair("return_to", path.as_str());
        }
        let query = query.finish();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}/login{mark}{query}", self.auth)
    }

    /// The account page.
    pub(super) fn account(self) -> Option<LocalPath> {
        LocalPath::read(&format!("{}/account", self.auth))
    }
}

impl Referrer {
    const fn policy(self) -> &'static str {
        match self {
            Self::SameOrigin => "same-origin",
            Self::Never => "no-referrer",
        }
    }
}

/// Leads a browser on, whatever the method was.
pub(super) fn see_other(location: &str) -> Response<Content> {
    let mut answer = Response::new(Content::Own(Bytes::new()));
    *answer.status_mut() = StatusCode::SEE_OTHER;
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Paths in normal form and encoded queries are visible ASCII.
    let location = HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("/"));
    headers.insert(LOCATION, location);
    answer
}

const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");

const FIXED: [(HeaderName, &str); 4] = [
    (CONTENT_TYPE, "text/html; charset=utf-8"),
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
];
