//! Every upstream of a configuration, as one worker reaches them.

use std::io;
use std::rc::Rc;

use http::{Request, Response};
use hyper::body::Incoming;
use thiserror::Error;

use super::group::Group;
use super::health::Health;
use super::resolve::Resolver;
use super::sent::Sent;
use super::terms::Terms;
use super::{AnswerBody, Outbound, TrailerRules, exchange};
use crate::config::Upstream;
use crate::policy::UpstreamId;
use crate::request::{Upgrade, Upload, UploadState};

/// A worker's connections, for the upstreams of one snapshot. Single-threaded.
#[derive(Debug)]
pub struct Pools {
    groups: Box<[Rc<Group>]>,
    workers: usize,
}

/// Why there is no answer. The texts are for the log, never for the client.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Failure {
    /// 502: refused, reset, no such name.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// 502: it speaks no protocol that it was offered (RFC 7301).
    #[error("cannot connect: {0}")]
    Protocol(String),
    /// 502: what it sent is no answer, or ended early.
    #[error("no valid answer: {0}")]
    Answer(String),
    /// 504.
    #[error("timed out")]
    TimedOut,
    /// 503: every connection is in use.
    #[error("all connections are in use")]
    Full,
    /// 503: no server is healthy.
    #[error("no server is healthy")]
    Down,
    /// The client's upload was cut: 413, 408, or it went away.
    #[error("the upload ended early")]
    Upload,
}

impl Failure {
    /// A name for reasons of this kind; None: nothing is wrong with the upstream.
    pub const fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Connect(_) => Some("connect"),
            Self::Protocol(_) => Some("protocol"),
            Self::Answer(_) => Some("answer"),
            Self::TimedOut => Some("timed_out"),
            Self::Full => Some("full"),
            Self::Down => Some("down"),
            Self::Upload => None,
        }
    }
}

/// A request that is ready to go.
struct Framed<'a> {
    group: &'a Rc<Group>,
    request: Box<Request<Sent>>,
    upload: Option<UploadState>,
    upgrade: Option<Box<Upgrade>>,
    terms: Terms,
    rules: TrailerRules,
}

impl Pools {
    /// Pools for these upstreams, which `health` knows; `workers` share each upstream's
    /// `max_connections`. Fails if an upstream has a name and the system's resolver configuration
    /// cannot be read.
    pub fn new(upstreams: &[Upstream], workers: usize, health: &Health) -> io::Result<Self> {
        Self { groups: Box::default(), workers }.updated(upstreams, health)
    }

    /// Pools for other upstreams, with the connections and the records of those that have not
    /// changed. Requests of an older snapshot keep the older pools: upstreams are told apart by
    /// their place in the configuration.
    pub fn updated(&self, upstreams: &[Upstream], health: &Health) -> io::Result<Self> {
        let mut resolver = Resolver::default();
        let groups = upstreams.iter().map(|upstream| {
            if let Some(group) = self.groups.iter().find(|group| group.upstream() == upstream) {
                return Ok(Rc::clone(group));
            }
            let standings = health.standings(upstream);
            Ok(Rc::new(Group::new(upstream, &standings, &mut resolver, self.workers)?))
        });
        Ok(Self { groups: groups.collect::<io::Result<_>>()?, workers: self.workers })
    }

    /// Sends the request and gives the head of the answer, the body streaming. Dropping the future
    /// or the body ends the request at once, on the upstream's side too.
    pub fn send(
        &self,
        outbound: Outbound,
        upload: Upload<Incoming>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Failure>> {
        // Framed here, since the future would carry the head along.
        let framed = self.frame(outbound, upload);
        async move {
            let Framed { group, request, upload, upgrade, terms, rules } = framed?;
            let state = upload.clone();
            let answer = exchange::carry(group, request, (upload, upgrade, &terms)).await?;
            if let Some(state) = &state {
                state.note_answer();
            }
            Ok(answer.map(|body| body.with_rules(rules).beside(state)))
        }
    }

    fn frame(&self, outbound: Outbound, upload: Upload<Incoming>) -> Result<Framed<'_>, Failure> {
        let UpstreamId(id) = outbound.upstream();
        let none = || Failure::Connect("no such upstream".to_owned());
        let group = self.groups.get(id).ok_or_else(none)?;
        upload.check_declared().map_err(|_fault| Failure::Upload)?;
        let state = (!http_body::Body::is_end_stream(&upload)).then(|| upload.state());
        let terms = outbound.terms();
        let (head, rules, upgrade) = outbound.into_head();
        let request = Box::new(Sent::frame(head, upload, &rules));
        Ok(Framed { group, request, upload: state, upgrade, terms, rules })
    }

    #[cfg(test)]
    pub(super) fn group(&self, at: usize) -> &Rc<Group> {
        &self.groups[at]
    }
}
