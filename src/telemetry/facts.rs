//! What becomes known of a request, and the access line that tells it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, Version};

use super::access::Decision;
use super::line::{Line, Shape, calendar, escape, put};
use super::request_id::RequestId;
use crate::clock::Timestamp;
use crate::config::LogFormat;
use crate::identity::{SessionId, Username};
use crate::request::TraceId;

/// Each fact is absent until it is known.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) method: Option<Method>,
    pub(super) version: Version,
    /// In normal form, without the query. Never what could not be read.
    pub(super) path: Option<String>,
    pub(super) status: Option<StatusCode>,
    pub(super) client: Option<IpAddr>,
    pub(super) trace: Option<TraceId>,
    pub(super) user: Option<Username>,
    pub(super) session: Option<SessionId>,
    pub(super) route: Option<Arc<str>>,
    pub(super) decision: Option<(Decision, &'static str)>,
    pub(super) upstream: Option<Arc<str>>,
    /// From forwarding to the head of the upstream's answer.
    pub(super) upstream_took: Option<Duration>,
    /// Why the upstream gave no answer, or none to its end.
    pub(super) error: Option<String>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// The answer was handed over whole.
    pub(super) complete: bool,
}

/// The end of a request: when, after how long, which.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) at: Timestamp,
    pub(super) took: Duration,
    pub(super) id: RequestId,
    /// Of the configuration.
    pub(super) generation: u64,
}

impl Facts {
    /// Adds the access line to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>, format: LogFormat, end: End) {
        match format {
            LogFormat::Json => self.fields(Line::begin(out, Shape::Json), end),
            LogFormat::Text => self.fields(Line::begin(out, Shape::Text), end),
            LogFormat::Combined => self.combined(out, end.at),
        }
    }

    fn fields(&self, mut line: Line<'_>, end: End) {
        line.moment("time", end.at);
        line.text("level", self.level());
        self.asked(&mut line);
        line.millis("duration_ms", end.took);
        line.number("bytes_in", self.bytes_in);
        line.number("bytes_out", self.bytes_out);
        self.decided(&mut line);
        if let Some(upstream) = &self.upstream {
            line.text("upstream", upstream);
        }
        if let Some(took) = self.upstream_took {
            line.millis("upstream_ms", took);
        }
        if let Some(error) = &self.error {
            line.text("error", error);
        }
        if !self.complete {
            line.number("aborted", true);
        }
        line.text("request_id", end.id.as_str());
        if let Some(trace) = self.trace {
            line.id("trace_id", trace);
        }
        line.number("config", end.generation);
        line.end();
    }

    fn asked(&self, line: &mut Line<'_>) {
        if let Some(method) = &self.method {
            line.text("method", clipped(method));
        }
        if let Some(path) = &self.path {
            line.text("path", path);
        }
        if let Some(status) = self.status {
            line.number("status", status.as_u16());
        }
    }

    fn decided(&self, line: &mut Line<'_>) {
        if let Some(client) = self.client {
            line.id("client", client);
        }
        if let Some(user) = &self.user {
            line.text("user", user.as_str());
        }
        if let Some(session) = self.session {
            line.id("session", session);
        }
        if let Some(route) = &self.route {
            line.text("route", route);
        }
        if let Some((decision, reason)) = self.decision {
            line.text("decision", decision.as_str());
            line.text("reason", reason);
        }
    }

    /// Only what is broken is an error; a refusal is everyday life.
    fn level(&self) -> &'static str {
        let failed = matches!(self.decision, Some((Decision::Failed, _)));
        if failed || self.error.is_some() { "error" } else { "info" }
    }

    /// Apache's combined format. Referer and User-Agent stay blank: the one holds query strings,
    /// both are the client's to invent. A request that ended before its answer is a 499, as nginx
    /// has it.
    fn combined(&self, out: &mut Vec<u8>, at: Timestamp) {
        match self.client {
            Some(client) => put(out, format_args!("{client} - ")),
            None => out.extend_from_slice(b"- - "),
        }
        escape(out, self.user.as_ref().map_or("-", Username::as_str));
        stamp(out, at);
        escape(out, self.method.as_ref().map_or("-", clipped));
        out.push(b' ');
        escape(out, self.path.as_deref().unwrap_or("-"));
        let status = self.status.map_or(499, |status| status.as_u16());
        let (version, sent) = (self.version, self.bytes_out);
        put(out, format_args!(" {version:?}\" {status} {sent} \"-\" \"-\"\n"));
    }
}

/// A method's beginning, since a client may invent one as long as a head. It is ASCII.
fn clipped(method: &Method) -> &str {
    method.as_str().get(..LONGEST_METHOD).unwrap_or(method.as_str())
}

fn stamp(out: &mut Vec<u8>, at: Timestamp) {
    let at = calendar(at);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    let month = month.to_string();
    let month = month.get(..3).unwrap_or_default();
    put(
        out,
        format_args!(" [{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000] \""),
    );
}

/// Bytes of a method that are told; no registered one has more than 17.
const LONGEST_METHOD: usize = 32;
