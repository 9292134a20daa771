//! The gateway's own endpoints, which are routes too.

use http::Method;

/// An endpoint under `auth.path`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /auth/login`
    Login,
    /// `POST /auth/refresh`
    Refresh,
    /// `POST /auth/logout`
    Logout,
    /// `GET /auth/me`
    Me,
    /// `GET /auth/sessions`
    Sessions,
    /// `DELETE /auth/sessions/{id}`
    Session,
    /// `GET /auth/jwks.json`
    Jwks,
    /// `GET /auth/ping`, for any Host.
    Ping,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 8] = [
        Self::Login,
        Self::Refresh,
        Self::Logout,
        Self::Me,
        Self::Sessions,
        Self::Session,
        Self::Jwks,
        Self::Ping,
    ];

    /// Its pattern below `auth.path`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Login => "/login",
            Self::Refresh => "/refresh",
            Self::Logout => "/logout",
            Self::Me => "/me",
            Self::Sessions => "/sessions",
            Self::Session => "/sessions/{id}",
            Self::Jwks => "/jwks.json",
            Self::Ping => "/ping",
        }
    }

    /// Its method.
    pub fn method(self) -> Method {
        match self {
            Self::Login | Self::Refresh | Self::Logout => Method::POST,
            Self::Me | Self::Sessions | Self::Jwks | Self::Ping => Method::GET,
            Self::Session => Method::DELETE,
        }
    }
}
