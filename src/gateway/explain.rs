//! `explain` and the `[[tests]]`: the server's own reading, matching, deciding and rewriting, asked
//! about a request that nobody sent.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request};
use serde::Serialize;

use super::Snapshot;
use super::refusal::{Refusal, Refused};
use crate::config::{Expect, PolicyTest};
use crate::identity::{Caller, Identity, Role, SessionId, UserId, Username, Why};
use crate::policy::{self, Permitted, Verdict};
use crate::request::{Host, NormalRequest, Peer};
use crate::upstream::{Facts, Outbound, Profile};

/// A request that nobody sent.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its method.
    pub method: Method,
    /// Its host; None: that of the first served origin.
    pub host: Option<Host>,
    /// Its target.
    pub target: String,
    /// Who asks; None: anonymous.
    pub caller: Option<(Username, Vec<Role>)>,
}

/// What would become of it.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The status that the gateway would answer; 200: it would be forwarded, or an endpoint asked.
    pub status: u16,
    /// The code of the refusal, or `permitted`, or `endpoint`.
    pub code: &'static str,
    /// How it was matched and decided; None: it could not even be read.
    #[serde(flatten)]
    pub decided: Option<policy::Explanation>,
    /// The upstream's name.
    pub upstream_name: Option<String>,
    /// The headers that the upstream would get, as `name: value`.
    pub headers: Vec<String>,
}

/// Tells what would become of a request.
pub fn explain(snapshot: &Snapshot, question: &Question) -> Explanation {
    let request = match read(snapshot, question) {
        Ok(request) => request,
        Err(refused) => return Explanation::refused(&refused),
    };
    let mut decided = policy::explain(snapshot.table(), request, caller(question), false);
    let permitted = decided.permitted.take();
    let (status, code) = outcome(&decided.verdict);
    let upstream = decided.upstream.and_then(|upstream| snapshot.upstream_name(upstream));
    Explanation {
        status,
        code,
        upstream_name: upstream.map(ToString::to_string),
        headers: permitted.map(|permitted| headers(snapshot, permitted)).unwrap_or_default(),
        decided: Some(decided),
    }
}

/// Runs the `[[tests]]` of a configuration; gives a text for each that fails.
pub fn run_tests(snapshot: &Snapshot, tests: &[PolicyTest]) -> Vec<String> {
    tests.iter().filter_map(|test| fails(snapshot, test)).collect()
}

fn fails(snapshot: &Snapshot, test: &PolicyTest) -> Option<String> {
    let stranger = || Username::new("somebody").ok();
    let asker = test.user.clone().or_else(stranger);
    let known = test.roles.is_some() || test.user.is_some();
    let question = Question {
        method: test.method.clone(),
        host: test.host.clone(),
        target: test.target.clone(),
        caller: asker.filter(|_| known).map(|name| (name, test.roles.clone().unwrap_or_default())),
    };
    let found = explain(snapshot, &question);
    let route = found.decided.as_ref().and_then(|decided| decided.route.as_deref());
    let upstream = found.upstream_name.as_deref();
    let holds = match &test.expect {
        Expect::Status(status) => *status == found.status,
        Expect::Forwarded { route: asked, upstream: wanted } => {
            found.status == 200
                && asked.as_deref().is_none_or(|asked| Some(asked) == route)
                && wanted.as_deref().is_none_or(|wanted| Some(wanted) == upstream)
        }
    };
    (!holds).then(|| {
        format!(
            "{}:{}: test `{}`: expected {}, got {} ({}) by route {}",
            test.line.file.display(),
            test.line.line,
            test.text,
            expected(&test.expect),
            found.status,
            found.code,
            route.unwrap_or("none"),
        )
    })
}

fn expected(expect: &Expect) -> String {
    match expect {
        Expect::Status(status) => status.to_string(),
        Expect::Forwarded { route, upstream } => {
            let part = |name: &str, value: &Option<String>| {
                value.as_ref().map(|value| format!(" by {name} {value}")).unwrap_or_default()
            };
            format!("200{}{}", part("route", route), part("upstream", upstream))
        }
    }
}

fn read(snapshot: &Snapshot, question: &Question) -> Result<NormalRequest, Refused> {
    let host = match &question.host {
        Some(host) => host.to_string(),
        None => snapshot.first_host(),
    };
    let head = Request::builder()
        .method(question.method.clone())
        .uri(question.target.as_str())
        .header(HOST, host)
        .body(())
        // What hyper cannot take for a target either.
        .map_err(|_no_uri| Refused::from(Refusal::BadRequest))?;
    let nobody = Peer { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 0 };
    Ok(NormalRequest::read(head.into_parts().0, nobody, snapshot.reader())?)
}

fn caller(question: &Question) -> Caller {
    match &question.caller {
        None => Caller::Anonymous(Why::NoCredential),
        Some((username, roles)) => Caller::Known(Identity {
            user: UserId::from_bytes([0; 16]),
            username: username.clone(),
            roles: roles.clone(),
            session: SessionId::from_bytes([0; 16]),
        }),
    }
}

fn outcome(verdict: &Verdict) -> (u16, &'static str) {
    let refused = match verdict {
        Verdict::Permitted => return (200, "permitted"),
        Verdict::Endpoint(_) => return (200, "endpoint"),
        Verdict::Unmatched(unmatched) => Refused::from(unmatched.clone()),
        Verdict::Denied(denied) => Refused::from(denied.clone()),
    };
    (refused.status().as_u16(), refused.code())
}

fn headers(snapshot: &Snapshot, permitted: Permitted) -> Vec<String> {
    let facts = Facts {
        rules: snapshot.header_rules(),
        profile: Some(&Profile::default()),
        request_id: HeaderValue::from_static("(one for each request)"),
        own_credential: false,
    };
    let outbound = Outbound::new(permitted, &facts);
    outbound.map(|outbound| lines(&outbound.head().headers)).unwrap_or_default()
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let line = |(name, value): (&http::HeaderName, &HeaderValue)| {
        format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
    };
    headers.iter().map(line).collect()
}

impl Explanation {
    fn refused(refused: &Refused) -> Self {
        Self {
            status: refused.status().as_u16(),
            code: refused.code(),
            decided: None,
            upstream_name: None,
            headers: Vec::new(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(decided) = &self.decided {
            writeln!(f, "path      {}", decided.path)?;
            for reading in &decided.readings {
                writeln!(f, "reading   {}  ->  {}", reading.reading, or_none(&reading.routes))?;
            }
            for candidate in &decided.candidates {
                let why = candidate.why_lost.map_or("takes it", |why| why);
                writeln!(f, "candidate {} ({}): {why}", candidate.route, candidate.pattern)?;
            }
        }
        write!(f, "verdict   {} {}", self.status, self.code)?;
        if let Some(upstream) = &self.upstream_name {
            write!(f, "\nupstream  {upstream}")?;
        }
        for header in &self.headers {
            write!(f, "\nsends     {header}")?;
        }
        Ok(())
    }
}

fn or_none(routes: &[String]) -> String {
    if routes.is_empty() { "no route".to_owned() } else { routes.join(", ") }
}
