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

    /// The current password and a new one in, tokens out.
    Password = POST "/password";

    /// A page that asks for a password; changes nothing.
    SetupForm = GET "/setup";

    /// Sets a password by a link.
    Setup = POST "/setup";

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
    /// Names one of the caller's sessions.
    NameSession = PATCH "/sessions/{id}";

    /// Ends all of the caller's sessions.
    LogoutAll = POST "/logout-all";

    /// Administration: all users.
    ListUsers = GET "/admin/users";

    /// Administration: a new user.
    AddUser = POST "/admin/users";

    /// Administration: one user.
    ShowUser = GET "/admin/users/{name}";

    /// Administration: deletes a user.
    DeleteUser = DELETE "/admin/users/{name}";

    /// Administration: the roles of a user.
    SetRoles = PUT "/admin/users/{name}/roles";

    /// Administration: ends what a user may.
    DisableUser = POST "/admin/users/{name}/disable";

    /// Administration: lets a user sign in again.
    EnableUser = POST "/admin/users/{name}/enable";

    /// Administration: a link by which a user sets a password.
    InviteUser = POST "/admin/users/{name}/invite";

    /// Administration: everybody's sessions.
    AllSessions = GET "/admin/sessions";

    /// Administration: ends a session.
    EndAnySession = DELETE "/admin/sessions/{id}";

    /// What these endpoints are, for programs.
    OpenApi = GET "/openapi.json";

    /// The public keys.
    Jwks = GET "/jwks.json";

    /// Whether anybody is there, for any Host.
    Ping = GET "/ping";
}
