//! `explain` and the gateway say the same of every request.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use portcullis::config::{self, Environment};
use portcullis::gateway::{Explanation, Question, Snapshot, explain};
use portcullis::identity::{Role, Username};
use portcullis::request::Host;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Gateway, Upstream, request, routes};

/// What a request's path is made of: names of routes, and every way to hide one.
const PIECES: &[&str] = &[
    "/",
    "//",
    "/./",
    "/../",
    "/admin",
    "/Admin",
    "/%61dmin",
    "/public",
    "/optional",
    "/files",
    "/docs",
    "/docs/new",
    "/x",
    "/%2e%2e/",
    "%2F",
    "%5c",
    "\\",
    ";v=1",
    "%3b",
    ".",
    "..",
    "%00",
    "%zz",
    "%",
    "?q=/admin",
    "%C3%A4",
    "%ff",
    "/auth",
    "/auth/ping",
    "/_x",
    "~",
    "%7e",
    " ",
];

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "get"];

const HOSTS: &[&str] = &["localhost", "127.0.0.1", "files.localhost", "elsewhere.example"];

const MORE: &str = r#"
[[routes]]
path = "/docs"
methods = ["GET", "POST"]
upstream = "UPSTREAM"
[[routes]]
path = "/docs/{name}"
users = ["alice"]
upstream = "UPSTREAM"
[[routes]]
path = "/files/*"
methods = ["PUT", "PROPFIND"]
roles = ["editor", "admin"]
upstream = "UPSTREAM"
"#;

#[derive(Debug, Clone)]
struct Asked {
    method: &'static str,
    target: String,
    host: &'static str,
    /// None: anonymous; else one of the callers.
    caller: Option<usize>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let parts = (
        prop::sample::select(METHODS),
        prop::collection::vec(prop::sample::select(PIECES), 0..5),
        prop::sample::select(HOSTS),
        prop::option::of(0..2_usize),
    );
    parts.prop_map(|(method, pieces, host, caller)| Asked {
        method,
        target: format!("/{}", pieces.concat().trim_start_matches('/')),
        host,
        caller,
    })
}

/// A gateway, and everything that its `explain` needs.
struct Both {
    gateway: Gateway,
    snapshot: Snapshot,
    /// Name, role and access token.
    callers: [(&'static str, &'static str, String); 2],
}

impl Both {
    fn before(upstream: &str) -> Self {
        let gateway = Gateway::start(&(routes(upstream) + &MORE.replace("UPSTREAM", upstream)));
        let text = std::fs::read_to_string(gateway.file()).unwrap();
        let loaded = config::read(&text, &gateway.file(), &Environment::fixed([])).unwrap();
        let snapshot = Snapshot::compile(&Arc::new(loaded.config), &[gateway.address()]);
        let callers = [("alice", "user"), ("admin", "admin")];
        let callers = callers.map(|(name, role)| (name, role, gateway.login(name).access));
        Self { snapshot: snapshot.unwrap(), callers, gateway }
    }

    fn host(&self, asked: &Asked) -> String {
        format!("{}:{}", asked.host, self.gateway.address().port())
    }

    fn explained(&self, asked: &Asked) -> Explanation {
        let caller = |at: usize| {
            let (name, role, _) = self.callers[at];
            (Username::new(name).unwrap(), vec![Role::new(role).unwrap()])
        };
        let question = Question {
            method: Method::from_bytes(asked.method.as_bytes()).unwrap(),
            host: Some(Host::read(&self.host(asked)).unwrap()),
            target: asked.target.clone(),
            caller: asked.caller.map(caller),
            from: None,
        };
        explain(&self.snapshot, &question)
    }

    fn answered(&self, asked: &Asked) -> u16 {
        let bearer = asked.caller.map(|at| format!("Bearer {}", self.callers[at].2));
        let host = self.host(asked);
        let mut headers = vec![("Host", host.as_str())];
        headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        let line = format!("{} {}", asked.method, asked.target);
        self.gateway.connect().ask(request(&line, &headers, "")).status
    }
}

#[test]
fn explain_agrees_with_the_gateway() {
    let upstream = Upstream::hello();
    let both = Both::before(&upstream.url());
    let seen = RefCell::new(BTreeMap::new());
    let mut runner =
        TestRunner::new(Config { cases: 1_000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&asked(), |asked| {
        let (said, live) = (both.explained(&asked), both.answered(&asked));
        *seen.borrow_mut().entry(said.status).or_insert(0) += 1;
        // An endpoint's answer is its own affair; that it would be asked is what counts.
        if said.code != "endpoint" {
            prop_assert_eq!(said.status, live, "{:?} {}", asked, said);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|differs| panic!("{differs}"));
    for status in [200, 400, 401, 403, 404, 405, 421] {
        assert!(seen.borrow().contains_key(&status), "never {status}: {seen:?}");
    }
}
