//! The record of one request: one access line and one set of metrics, whatever the way out.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, Version};

use super::facts::{End, Facts};
use super::request_id::{RequestId, X_REQUEST_ID};
use super::{Desk, lock};
use crate::identity::{Caller, SessionId};
use crate::policy::Route;
use crate::request::{NormalRequest, PeerKind, TraceId, UploadState};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// Forwarded.
    Permitted,
    /// An expected no.
    Refused,
    /// Something is broken, ours or the upstream's.
    Failed,
    /// Answered by one of the gateway's own endpoints.
    Own,
}

impl Decision {
    /// The name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Own => "own",
        }
    }
}

/// One request and its answer, as recorded. Facts are told as they become known; the record is
/// made when this is dropped, and tells of an aborted exchange unless [`Exchange::complete`] came
/// before.
#[derive(Debug)]
#[must_use]
pub struct Exchange {
    desk: Rc<Desk>,
    id: RequestId,
    started: Duration,
    forwarded: Option<Duration>,
    upload: Option<UploadState>,
    logged: bool,
    /// The trace that begins here; None: the request belongs to another.
    begun: Option<TraceId>,
    pub(super) facts: Facts,
}

impl Exchange {
    pub(super) fn open(desk: Rc<Desk>) -> Self {
        desk.cells.opened();
        let (id, trace) = RequestId::with_trace(desk.core.clock.now());
        Self {
            id,
            started: desk.core.clock.uptime(),
            forwarded: None,
            upload: None,
            logged: desk.access.format.is_some(),
            facts: Facts { trace: Some(trace), ..Facts::default() },
            begun: Some(trace),
            desk,
        }
    }

    /// The id of this request, in its lines, its answer and what is forwarded.
    pub const fn request_id(&self) -> RequestId {
        self.id
    }

    /// The trace that begins with this request; None: it belongs to one that its caller began.
    pub const fn begun_trace(&self) -> Option<TraceId> {
        self.begun
    }

    /// The version of HTTP that it came by.
    pub fn version(&mut self, version: Version) {
        self.facts.version = version;
    }

    /// The request, once it is read. Its id is the one that a trusted proxy gave it, if any did.
    pub fn request(&mut self, request: &NormalRequest) {
        self.asked(request.method(), request.target().path(), request.client());
        if request.peer_kind() == PeerKind::Proxy {
            let mut given = request.headers().get_all(X_REQUEST_ID).iter();
            if let (Some(given), None) = (given.next(), given.next()) {
                self.id = RequestId::read(given).unwrap_or(self.id);
            }
        }
        if let Some(trace) = TraceId::of(request.headers()) {
            self.facts.trace = Some(trace);
            self.begun = None;
        }
    }

    pub(super) fn asked(&mut self, method: &Method, path: &str, client: IpAddr) {
        self.raw(method, client);
        if self.logged {
            self.facts.path = Some(path.to_owned());
        }
    }

    /// What is known of a request that could not be read: its target is not told, since it may
    /// hold anything.
    pub fn raw(&mut self, method: &Method, client: IpAddr) {
        self.facts.method = Some(method.clone());
        self.facts.client = Some(client);
    }

    /// The route that was found.
    pub fn route(&mut self, route: &Route) {
        self.placed(&route.name, route.access_log);
    }

    pub(super) fn placed(&mut self, name: &Arc<str>, access_log: bool) {
        self.facts.route = Some(Arc::clone(name));
        self.logged &= access_log;
    }

    /// Who sends it.
    pub fn caller(&mut self, caller: &Caller) {
        if self.logged
            && let Some(identity) = caller.identity()
        {
            self.facts.user = Some(identity.username.clone());
            self.facts.session = Some(identity.session);
        }
    }

    /// Whose it is, where no more is known of the caller.
    pub fn session(&mut self, session: SessionId) {
        self.facts.session = Some(session);
    }

    /// What was decided, and the short code why. The last one told counts.
    pub fn decision(&mut self, decision: Decision, reason: &'static str) {
        self.facts.decision = Some((decision, reason));
    }

    /// It is being forwarded to this upstream, from now on.
    pub fn upstream(&mut self, name: &Arc<str>) {
        self.facts.upstream = Some(Arc::clone(name));
        self.forwarded = Some(self.desk.core.clock.uptime());
    }

    /// The head of the upstream's answer is here.
    pub fn upstream_answered(&mut self) {
        let now = self.desk.core.clock.uptime();
        self.facts.upstream_took = self.forwarded.map(|then| now.saturating_sub(then));
    }

    /// There is no answer of the upstream's: what kind of reason that has, and why. The operator is
    /// told.
    pub fn upstream_failed(&mut self, kind: &'static str, why: &str) {
        let why = shortened(why);
        if let Some(upstream) = &self.facts.upstream {
            self.desk.core.gives_no_answer(upstream, (kind, &why));
        }
        self.facts.error = Some(why);
    }

    /// The answer of the upstream's ends before its end, and why. A broken upload breaks the
    /// connection too; the upstream is not to blame.
    pub fn upstream_broke_off(&mut self, why: &str) {
        if self.upload.as_ref().is_none_or(|upload| upload.fault().is_none()) {
            self.facts.error = Some(shortened(&format!("the answer broke off: {why}")));
        }
    }

    /// The status of the answer.
    pub fn status(&mut self, status: StatusCode) {
        self.facts.status = Some(status);
    }

    /// Counts the request's body; asked at the end.
    pub fn upload(&mut self, state: UploadState) {
        self.upload = Some(state);
    }

    /// So many more bytes of the answer's body were handed over.
    pub fn sent(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.facts.bytes_out = self.facts.bytes_out.saturating_add(bytes);
    }

    /// So many more bytes went through the tunnel that the answer has opened.
    pub fn carried(&mut self, from_client: u64, to_client: u64) {
        self.facts.bytes_in = self.facts.bytes_in.saturating_add(from_client);
        self.facts.bytes_out = self.facts.bytes_out.saturating_add(to_client);
    }

    /// The answer was handed over whole.
    pub fn complete(&mut self) {
        self.facts.complete = true;
    }
}

fn shortened(why: &str) -> String {
    why.chars().take(LONGEST_WHY).collect()
}

/// Characters of why there is no answer: some of it may come from the application.
const LONGEST_WHY: usize = 300;

impl Drop for Exchange {
    fn drop(&mut self) {
        let took = self.desk.core.clock.uptime().saturating_sub(self.started);
        lock(&self.desk.cells.cells).exchange(&self.facts, took);
        self.desk.cells.closed();
        if !self.logged {
            return;
        }
        let uploaded = self.upload.as_ref().map_or(0, UploadState::bytes);
        self.facts.bytes_in = self.facts.bytes_in.saturating_add(uploaded);
        let log = &self.desk.access;
        if let Some(format) = log.format {
            let generation = self.desk.generation;
            let end = End { at: self.desk.core.clock.now(), took, id: self.id, generation };
            let mut line = log.scratch.take();
            self.facts.write(&mut line, format, end);
            log.queue.offer(&line);
            line.clear();
            log.scratch.replace(line);
        }
    }
}
