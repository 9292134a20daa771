//! `explain` and the `[[tests]]`: the server's own reading, matching, deciding and rewriting, asked
//! about a request that nobody sent.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use serde::Serialize;

use super::Snapshot;
use super::refusal::{Refusal, Refused};
use crate::config::{Config, Expect, PolicyTest};
use crate::identity::{Caller, Identity, Role, SessionId, UserId, Username, Why};
use crate::policy::{self, AnswerRules, Permitted, Target, Verdict};
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
    /// Where the client is; None: on this machine.
    pub from: Option<IpAddr>,
}

/// What would become of it.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The status that the gateway would answer; 200: it would be forwarded, or an endpoint asked.
    pub status: u16,
    /// The code of the refusal, or `permitted`, or `endpoint`.
    pub code: &'static str,
    /// Why it could not even be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How it was matched and decided; None: it could not even be read.
    #[serde(flatten)]
    pub decided: Option<policy::Explanation>,
    /// The upstream's name.
    pub upstream_name: Option<String>,
    /// The headers that the upstream would get, as `name: value`; what is secret is masked.
    pub headers: Vec<String>,
    /// What the route does to the answer's headers: `name: value` sets, `-name` removes.
    pub answer: Vec<String>,
    /// The application's own cookies, as the route names them: forwarded only to whom they were
    /// set for.
    pub app_cookies: Vec<String>,
}

/// Tells what would become of a request.
pub fn explain(snapshot: &Snapshot, question: &Question) -> Explanation {
    let request = match read(snapshot, question) {
        Ok(request) => request,
        Err((refused, why)) => return Explanation::refused(&refused, why),
    };
    let mut decided = policy::explain(snapshot.table(), request, caller(question), false);
    for candidate in &mut decided.candidates {
        candidate.place = place(snapshot.config(), &candidate.route);
    }
    let permitted = decided.permitted.take();
    let (mut status, code) = outcome(&decided.verdict);
    if let Some(Target::Answer(fixed)) =
        permitted.as_ref().map(|permitted| &permitted.route().target)
    {
        status = fixed.status.as_u16();
    }
    let upstream = decided.upstream.and_then(|upstream| snapshot.upstream_name(upstream));
    Explanation {
        status,
        code,
        why: None,
        upstream_name: upstream.map(ToString::to_string),
        answer: permitted
            .as_ref()
            .map(|permitted| edits(&permitted.route().answer))
            .unwrap_or_default(),
        app_cookies: permitted
            .iter()
            .filter_map(|permitted| permitted.route().app_cookies.as_ref())
            .flat_map(|patterns| patterns.iter().map(ToString::to_string))
            .collect(),
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
        from: test.from,
    };
    let found = explain(snapshot, &question);
    let route = found.decided.as_ref().and_then(|decided| decided.route.as_deref());
    let upstream = found.upstream_name.as_deref();
    let holds = match &test.expect {
        Expect::Status(status) => *status == found.status,
        Expect::Forwarded { route: asked, upstream: wanted } => {
            matches!(found.code, "permitted" | "endpoint")
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

fn read(snapshot: &Snapshot, question: &Question) -> Result<NormalRequest, (Refused, String)> {
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
        .map_err(|cause| (Refused::from(Refusal::BadRequest), cause.to_string()))?;
    let address = question.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let peer = Peer { address: address.to_canonical(), port: 0 };
    NormalRequest::read(head.into_parts().0, peer, snapshot.reader()).map_err(|malformed| {
        let why = malformed.to_string();
        (Refused::from(malformed), why)
    })
}

fn caller(question: &Question) -> Caller {
    match &question.caller {
        None => Caller::Anonymous(Why::NoCredential),
        Some((username, roles)) => Caller::Known(Identity {
            user: UserId::from_bytes([0; 16]),
            username: username.clone(),
            roles: roles.clone().into(),
            session: SessionId::from_bytes([0; 16]),
        }),
    }
}

/// Where the file says it; an endpoint of ours stands in none.
fn place(config: &Config, route: &str) -> Option<String> {
    let at = config.routes.iter().position(|known| &*known.name == route)?;
    let line = config.route_lines.get(at)?;
    Some(format!("{}:{}", line.file.display(), line.line))
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
        request_id: "(one for each request)",
        trace: None,
        own_credential: false,
        assertion: Some(HeaderValue::from_static("(one for each request)")),
        withheld: &[],
    };
    let outbound = Outbound::new(permitted, &facts);
    outbound.map(|outbound| lines(&outbound.head().headers)).unwrap_or_default()
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    headers.iter().map(|(name, value)| line(name, value)).collect()
}

/// What is secret to `show` is secret here.
fn line(name: &HeaderName, value: &HeaderValue) -> String {
    if value.is_sensitive() {
        return format!("{name}: ********");
    }
    format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
}

fn edits(rules: &AnswerRules) -> Vec<String> {
    let removed = rules.remove.iter().map(|name| format!("-{name}"));
    removed.chain(rules.set.iter().map(|(name, value)| line(name, value))).collect()
}

impl Explanation {
    fn refused(refused: &Refused, why: String) -> Self {
        Self {
            status: refused.status().as_u16(),
            code: refused.code(),
            why: Some(why),
            decided: None,
            upstream_name: None,
            headers: Vec::new(),
            answer: Vec::new(),
            app_cookies: Vec::new(),
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
                let place = candidate.place.iter().map(|place| format!(" {place}"));
                let place = place.collect::<String>();
                writeln!(f, "candidate {} ({}){place}: {why}", candidate.route, candidate.pattern)?;
            }
        }
        write!(f, "verdict   {} {}", self.status, self.code)?;
        if let Some(why) = &self.why {
            write!(f, ": {why}")?;
        }
        if let Some(upstream) = &self.upstream_name {
            write!(f, "\nupstream  {upstream}")?;
        }
        for header in &self.headers {
            write!(f, "\nsends     {header}")?;
        }
        if !self.app_cookies.is_empty() {
            write!(f, "\nwithholds cookies of others: {}", self.app_cookies.join(", "))?;
        }
        for edit in &self.answer {
            write!(f, "\nanswers   {edit}")?;
        }
        Ok(())
    }
}

fn or_none(routes: &[String]) -> String {
    if routes.is_empty() { "no route".to_owned() } else { routes.join(", ") }
}
