//! The gateway's own endpoints, which are routes too.

use http::Method;

macro_rules! endpoints {
    ($($(#[$doc:meta])* $name:ident = $method:ident $path:literal;)*) => {
        /// An endpoint under `auth.path`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Endpoint { $($(#[$doc])* $name,)* }

        impl Endpoint {
            /// Every endpoint.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its pattern below `auth.path`.
            pub const fn path(self) -> &'static str {
                match self { $(Self::$name => $path,)* }
            }

            /// Its method.
            pub const fn method(self) -> Method {
                match self { $(Self::$name => Method::$method,)* }
            }
        }
    };
}

endpoints! {
    /// The login form.
    LoginPage = GET "/login";

    /// Name and password in, tokens out.
    Login = POST "/login";

    /// Whether the browser kept the cookies of a login.
    LoginDone = GET "/done";

    /// A refresh token in, a pair out.
    Refresh = POST "/refresh";

    /// Asks whether to.
    LogoutPage = GET "/logout";

    /// Ends a session.
    Logout = POST "/logout";

    /// Who is there.
    Me = GET "/me";

    /// The caller's sessions.
    Sessions = GET "/sessions";

    /// Ends one of the caller's sessions.
    EndSession = DELETE "/sessions/{id}";

    /// The same from a form.
    EndSessionByForm = POST "/sessions/{id}/end";

    /// A person's own page.
    Account = GET "/account";

    /// The operator's logo.
    Logo = GET "/logo";

    /// The public keys.
    Jwks = GET "/jwks.json";

    /// Whether anybody is there, for any Host.
    Ping = GET "/ping";
}
