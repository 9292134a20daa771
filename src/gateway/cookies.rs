//! Set-Cookie: the gateway's own cookies, exactly as browsers shall keep them.

use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::auth::{DEVICE_LIFE, Tokens};
use crate::config;
use crate::request::CookieNames;
use crate::secret::Secret;

/// How cookies are written.
#[derive(Clone, Debug)]
pub(super) struct CookieJar {
    names: CookieNames,
    same_site: SameSite,
    secure: bool,
}

impl CookieJar {
    pub(super) fn new(names: CookieNames, cookies: &config::Cookies, secure: bool) -> Self {
        let same_site = match cookies.same_site {
            config::SameSite::Lax => SameSite::Lax,
            config::SameSite::Strict => SameSite::Strict,
        };
        Self { names, same_site, secure }
    }

    pub(super) const fn names(&self) -> &CookieNames {
        &self.names
    }

    /// Whether browsers keep them over https alone, or on what they take for as safe.
    pub(super) const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Both tokens, and the device cookie after a login. `Max-Age` of the tokens only when the
    /// session is remembered; otherwise they end with the
    /// browser.
    pub(super) fn set(&self, headers: &mut HeaderMap, tokens: &Tokens) {
        let life = |life: Duration| tokens.remember.then_some(life);
        self.write(headers, (&self.names.access, &tokens.access), life(tokens.access_life));
        let refresh = tokens.refresh.expose_str().unwrap_or_default();
        self.write(headers, (&self.names.refresh, refresh), life(tokens.refresh_life));
        if let Some(device) = &tokens.device {
            let device = device.expose_str().unwrap_or_default();
            self.write(headers, (&self.names.device, device), Some(DEVICE_LIFE));
        }
    }

    /// The companion of applications' cookies; no life: to the browser's end.
    pub(super) fn set_companion(
        &self,
        headers: &mut HeaderMap,
        (value, life): (&Secret, Option<Duration>),
    ) {
        self.write(headers, (&self.names.own, value.expose_str().unwrap_or_default()), life);
    }

    /// Deletes what a logout deletes: both tokens and the companion, never the device cookie.
    pub(super) fn delete(&self, headers: &mut HeaderMap) {
        for name in [&self.names.access, &self.names.refresh, &self.names.own] {
            self.write(headers, (name, ""), Some(Duration::ZERO));
        }
    }

    fn write(&self, headers: &mut HeaderMap, (name, value): (&str, &str), life: Option<Duration>) {
        let mut cookie = Cookie::build((name, value))
            .path("/")
            .http_only(true)
            .same_site(self.same_site)
            .secure(self.secure)
            .build();
        if let Some(life) = life {
            let seconds = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
            cookie.set_max_age(cookie::time::Duration::seconds(seconds));
        }
        if let Ok(value) = HeaderValue::from_str(&cookie.to_string()) {
            headers.append(SET_COOKIE, value);
        }
    }
}
