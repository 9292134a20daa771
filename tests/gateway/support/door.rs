//! What is asked of a gateway, whether it runs in this process or in one of its own.

use std::net::SocketAddr;

use super::{Answer, Client, request};

/// The address of a gateway, with the ways to ask it.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    address: SocketAddr,
}

/// A pair, as a script gets it.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
    pub session: String,
}

impl Door {
    pub fn at(address: SocketAddr) -> Self {
        Self { address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `localhost:PORT`, as a browser writes Host.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.host())
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Asks over a connection of its own, with this gateway's Host.
    #[track_caller]
    pub fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.connect().ask(self.request(line, headers, body))
    }

    /// Asks over a connection of its own from another address of this machine.
    #[track_caller]
    pub fn ask_from(
        &self,
        source: [u8; 4],
        (line, body): (&str, &str),
        headers: &[(&str, &str)],
    ) -> Answer {
        Client::connect_from(source.into(), self.address).ask(self.request(line, headers, body))
    }

    /// The bytes of a request with this gateway's Host.
    pub fn request(&self, line: &str, headers: &[(&str, &str)], body: &str) -> String {
        let host = self.host();
        let mut all = vec![("Host", host.as_str())];
        all.extend(headers);
        request(line, &all, body)
    }

    #[track_caller]
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask(&format!("GET {path}"), headers, "")
    }

    #[track_caller]
    pub fn post_json(&self, path: &str, headers: &[(&str, &str)], json: &str) -> Answer {
        let mut all = vec![("Content-Type", "application/json")];
        all.extend(headers);
        self.ask(&format!("POST {path}"), &all, json)
    }

    /// GET as a script with this access token.
    #[track_caller]
    pub fn get_as(&self, path: &str, access: &str) -> Answer {
        self.get(path, &[("Authorization", &format!("Bearer {access}"))])
    }

    /// Logs in as a script that keeps its tokens (`transport: "body"`).
    #[track_caller]
    pub fn login(&self, user: &str) -> Tokens {
        Tokens::of(&self.login_with(user, r#","transport":"body""#).expect(200))
    }

    /// Logs in as a browser would, but without one: `transport: "cookie"`.
    #[track_caller]
    pub fn login_by_cookie(&self, user: &str) -> Answer {
        self.login_with(user, r#","transport":"cookie""#).expect(200)
    }

    #[track_caller]
    pub fn login_with(&self, user: &str, more: &str) -> Answer {
        let json = format!(r#"{{"username":"{user}","password":"a long passphrase"{more}}}"#);
        self.post_json("/auth/login", &[], &json)
    }

    /// Tries to log in with a password, as a script.
    #[track_caller]
    pub fn try_password(&self, user: &str, password: &str) -> Answer {
        let json = serde_json::json!({
            "username": user, "password": password, "transport": "body",
        });
        self.post_json("/auth/login", &[], &json.to_string())
    }

    #[track_caller]
    pub fn refresh(&self, token: &str) -> Answer {
        self.post_json("/auth/refresh", &[], &format!(r#"{{"refresh_token":"{token}"}}"#))
    }

    #[track_caller]
    pub fn refresh_by_cookie(&self, cookies: &str) -> Answer {
        self.ask("POST /auth/refresh", &[("Cookie", cookies)], "")
    }
}

impl Tokens {
    #[track_caller]
    pub fn of(answer: &Answer) -> Self {
        Self {
            access: answer.member("access_token"),
            refresh: answer.member("refresh_token"),
            session: answer.member("session_id"),
        }
    }
}
