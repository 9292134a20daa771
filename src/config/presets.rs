//! The identities that are built in, each for the applications that read such headers.

use http::HeaderName;

use super::app_cookies;
use crate::policy::IdentityHeaders;

/// A built-in identity: which headers tell what, and the application's own session cookies.
struct Preset {
    name: &'static str,
    user: &'static [&'static str],
    roles: &'static [&'static str],
    full_name: &'static [&'static str],
    email: &'static [&'static str],
    assertion: &'static [&'static str],
    app_cookies: &'static [&'static str],
}

const NOTHING: Preset = Preset {
    name: "none",
    user: &[],
    roles: &[],
    full_name: &[],
    email: &[],
    assertion: &[],
    app_cookies: &[],
};

const ALL: [Preset; 11] = [
    NOTHING,
    Preset {
        name: "default",
        user: &["remote-user"],
        roles: &["remote-groups"],
        full_name: &["remote-name"],
        email: &["remote-email"],
        ..NOTHING
    },
    Preset {
        name: "webauth",
        user: &["x-webauth-user"],
        roles: &["x-webauth-groups"],
        full_name: &["x-webauth-fullname", "x-webauth-name"],
        email: &["x-webauth-email"],
        ..NOTHING
    },
    Preset {
        name: "forwarded",
        user: &["x-forwarded-user", "x-forwarded-preferred-username"],
        roles: &["x-forwarded-groups"],
        email: &["x-forwarded-email"],
        ..NOTHING
    },
    Preset {
        name: "auth-request",
        user: &["x-auth-request-user", "x-auth-request-preferred-username"],
        roles: &["x-auth-request-groups"],
        email: &["x-auth-request-email"],
        ..NOTHING
    },
    Preset { name: "radicale", user: &["x-remote-user"], ..NOTHING },
    Preset {
        name: "octoprint",
        user: &["remote-user"],
        app_cookies: &["session_P*", "remember_token_P*"],
        ..NOTHING
    },
    // Its proof is a secret: `[identity.pgadmin]` gives it.
    Preset { name: "pgadmin", user: &["remote-user"], app_cookies: &["pga4_session"], ..NOTHING },
    Preset {
        name: "calibre-web",
        user: &["remote-user"],
        app_cookies: &["session", "remember_token"],
        ..NOTHING
    },
    Preset { name: "jupyter", app_cookies: &["username-*", "_xsrf"], ..NOTHING },
    Preset { name: "signed", assertion: &["x-portcullis-jwt"], ..NOTHING },
];

/// Every one, by name.
pub(super) fn all() -> impl Iterator<Item = (&'static str, IdentityHeaders)> {
    ALL.iter().map(|preset| (preset.name, preset.headers()))
}

impl Preset {
    fn headers(&self) -> IdentityHeaders {
        let names = |names: &'static [&'static str]| {
            names.iter().map(|name| HeaderName::from_static(name)).collect::<Vec<_>>()
        };
        IdentityHeaders {
            user: names(self.user),
            roles: names(self.roles).into_iter().map(|name| (name, ",".to_owned())).collect(),
            name: names(self.full_name),
            email: names(self.email),
            proof: None,
            assertion: names(self.assertion),
            app_cookies: app_cookies::built_in(self.app_cookies),
        }
    }
}
