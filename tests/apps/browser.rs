//! What a browser keeps between requests: one jar of cookies, the gateway's and the applications'.

use std::collections::BTreeMap;

use crate::client::Answer;
use crate::gateway::{Gateway, PASSWORD};

/// A jar for one gateway; the paths of cookies are not looked at.
pub struct Browser<'a> {
    gateway: &'a Gateway,
    jar: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    pub fn new(gateway: &'a Gateway) -> Self {
        Self { gateway, jar: BTreeMap::new() }
    }

    #[track_caller]
    pub fn signed_in(gateway: &'a Gateway, user: &str) -> Self {
        let mut browser = Self::new(gateway);
        browser.sign_in(user);
        browser
    }

    #[track_caller]
    pub fn sign_in(&mut self, user: &str) {
        let json = format!(r#"{{"username":"{user}","password":"{PASSWORD}"}}"#);
        self.ask("POST /auth/login", &[("Content-Type", "application/json")], &json).expect(200);
    }

    #[track_caller]
    pub fn sign_out(&mut self) {
        self.ask("POST /auth/logout", &[], "").expect(200);
    }

    /// Asks with every cookie of the jar, and keeps those of the answer.
    #[track_caller]
    pub fn ask(&mut self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let cookies = self.cookies();
        let mut all = headers.to_vec();
        if !cookies.is_empty() {
            all.push(("Cookie", &cookies));
        }
        let answer = self.gateway.ask(line, &all, body);
        self.keep(&answer);
        answer
    }

    /// The `Cookie` header.
    pub fn cookies(&self) -> String {
        let pairs: Vec<_> =
            self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    /// Each cookie's name and value.
    pub fn jar(&self) -> impl Iterator<Item = (&str, &str)> {
        self.jar.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of the cookie whose name contains `part`.
    #[track_caller]
    pub fn cookie(&self, part: &str) -> String {
        let found = self.jar().find(|(name, _)| name.contains(part));
        found.unwrap_or_else(|| panic!("no cookie {part} in {:?}", self.jar)).1.to_owned()
    }

    fn keep(&mut self, answer: &Answer) {
        for line in answer.all("set-cookie") {
            let pair = line.split(';').next().unwrap_or_default();
            let Some((name, value)) = pair.split_once('=') else { continue };
            if line.to_ascii_lowercase().contains("max-age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}
