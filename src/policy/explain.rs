//! Tells how a request is decided, by deciding it.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::paths::{Group, folded};
use super::{Denied, Endpoint, Permitted, Route, Table, Target, Unmatched, UpstreamId, authorise};
use crate::identity::Caller;
use crate::request::NormalRequest;

/// How a request was decided, as data for `explain`.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The path in normal form: what is matched and what is forwarded.
    pub path: String,
    /// Every reading of the path, folded; bytes that are not UTF-8 are shown as U+FFFD.
    pub readings: Vec<ReadingExplained>,
    /// Every route whose pattern matches the literal path, most specific first.
    pub candidates: Vec<Candidate>,
    /// What came out.
    pub verdict: Verdict,
    /// The route of the literal path.
    pub route: Option<String>,
    /// Where the route leads, if not to an endpoint.
    #[serde(serialize_with = "index")]
    pub upstream: Option<UpstreamId>,
    /// The proof, from which the headers that would go out can be told.
    #[serde(skip)]
    pub permitted: Option<Permitted>,
}

/// One reading of the path.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ReadingExplained {
    /// The reading.
    pub reading: String,
    /// The routes it leads to, each of which must permit; empty: it leads nowhere, or to us.
    pub routes: Vec<String>,
}

/// A route that could have taken the request.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Its name.
    pub route: String,
    /// Its path pattern.
    pub pattern: String,
    /// Its place in the configuration, `gateway.toml:84`, for whoever knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Why another one took it; None: it did.
    pub why_lost: Option<&'static str>,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would be forwarded.
    Permitted,
    /// An endpoint of the gateway's would answer.
    Endpoint(Endpoint),
    /// No route takes it.
    Unmatched(Unmatched),
    /// Its route, or that of another reading, refuses it.
    Denied(Denied),
}

impl Verdict {
    /// A stable short code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::Endpoint(_) => "endpoint",
            Self::Unmatched(Unmatched::Misdirected) => "misdirected",
            Self::Unmatched(Unmatched::NotFound) | Self::Denied(Denied::NotFound) => "not_found",
            Self::Unmatched(Unmatched::Method { .. }) | Self::Denied(Denied::Method { .. }) => {
                "method_not_allowed"
            }
            Self::Denied(Denied::SignIn(_)) => "sign_in",
            Self::Denied(Denied::Forbidden) => "forbidden",
            Self::Denied(Denied::AmbiguousPath) => "ambiguous_path",
            Self::Denied(Denied::Address) => "address_refused",
            Self::Denied(Denied::CrossOrigin) => "cross_origin",
            Self::Denied(Denied::Destination(_)) => "destination",
        }
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// Decides a request as the gateway does, and tells how. `by_cookie` as for [`authorise`](authorise()).
pub fn explain(
    table: &Table,
    request: NormalRequest,
    caller: Caller,
    by_cookie: bool,
) -> Explanation {
    let mut explanation = Explanation {
        path: request.target().path().to_owned(),
        readings: readings(table, &request),
        candidates: candidates(table, &request),
        verdict: Verdict::Permitted,
        route: None,
        upstream: None,
        permitted: None,
    };
    let matched = match table.find(request) {
        Ok(matched) => matched,
        Err((_, unmatched)) => {
            if unmatched == Unmatched::Misdirected {
                explanation.is_misdirected();
            }
            explanation.verdict = Verdict::Unmatched(unmatched);
            return explanation;
        }
    };
    explanation.take(&matched.route().name);
    match matched.route().target {
        Target::Endpoint(endpoint) => {
            explanation.verdict = Verdict::Endpoint(endpoint);
            return explanation;
        }
        Target::Upstream(upstream) => explanation.upstream = Some(upstream),
        Target::Answer(_) => {}
    }
    match authorise(matched, caller, by_cookie) {
        Ok(permitted) => explanation.permitted = Some(permitted),
        Err((_, denied)) => explanation.verdict = Verdict::Denied(denied),
    }
    explanation
}

impl Explanation {
    fn take(&mut self, name: &str) {
        self.route = Some(name.to_owned());
        let taken = self.candidates.iter_mut().find(|candidate| candidate.route == name);
        if let Some(candidate) = taken {
            candidate.why_lost = None;
        }
    }

    fn is_misdirected(&mut self) {
        for candidate in &mut self.candidates {
            candidate.why_lost = Some("the host is none of ours");
        }
    }
}

fn readings(table: &Table, request: &NormalRequest) -> Vec<ReadingExplained> {
    let paths = table.paths(&request.host().name);
    let explain = |reading: &[u8]| ReadingExplained {
        reading: String::from_utf8_lossy(reading).into_owned(),
        routes: paths
            .routes_of(reading, request.method())
            .map(|route| route.map(|route| route.name.to_string()))
            .collect::<Option<_>>()
            .unwrap_or_default(),
    };
    folded(request.target()).map(explain).collect()
}

fn candidates(table: &Table, request: &NormalRequest) -> Vec<Candidate> {
    let groups = table.paths(&request.host().name).find_all(request.target().path().as_bytes());
    let lost = |place: usize| match place {
        0 => "its methods",
        _ => "a more specific path matches",
    };
    let of_group = |(place, group): (usize, &Group)| {
        let explain = |route: &Arc<Route>| Candidate {
            route: route.name.to_string(),
            pattern: route.pattern.to_string(),
            place: None,
            why_lost: Some(lost(place)),
        };
        group.routes.iter().map(explain).collect::<Vec<_>>()
    };
    groups.into_iter().enumerate().flat_map(of_group).collect()
}

fn index<S: Serializer>(upstream: &Option<UpstreamId>, serializer: S) -> Result<S::Ok, S::Error> {
    upstream.map(|UpstreamId(index)| index).serialize(serializer)
}
