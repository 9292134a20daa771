//! An upstream's connection that has become a tunnel.
//!
//! Begins only with a 101 that answers what was asked: the same protocol, and for a WebSocket the
//! proof that the key was read (RFC 6455 section 4.2.2).

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::digest::{Context as Digest, SHA1_FOR_LEGACY_USE_ONLY};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use http::header::{
    CONNECTION, CONTENT_LENGTH, GetAll, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, TE, TRANSFER_ENCODING, UPGRADE,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::link::Wire;
use super::pool::Lease;
use crate::request::Upgrade;

/// The upstream's side of a tunnel. Counts among the upstream's connections as long as it lives.
pub struct Upgraded {
    wire: Wire,
    /// What came right behind the 101.
    rest: Bytes,
    idle: Duration,
    _lease: Lease,
}

impl Upgraded {
    pub(super) fn new((wire, rest): (Wire, Bytes), idle: Duration, lease: Lease) -> Self {
        // Nothing of a buffer still keeps it.
        let rest = if rest.is_empty() { Bytes::new() } else { rest };
        Self { wire, rest, idle, _lease: lease }
    }

    /// How long neither side may be silent.
    pub fn idle(&self) -> Duration {
        self.idle
    }

    /// Lets the connection end in a reset when it is dropped.
    pub fn reset(&self) {
        self.wire.reset();
    }
}

/// Writes what asks for the protocol, in the place of what the client wrote.
pub(super) fn ask(headers: &mut HeaderMap, upgrade: &Upgrade) {
    headers.remove(TE);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, upgrade.protocol().clone());
    if let Some(key) = upgrade.key() {
        headers.insert(SEC_WEBSOCKET_KEY, key.clone());
    }
}

/// Whether a 101 answers what was asked.
pub(super) fn is_answered(upgrade: &Upgrade, headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONNECTION);
    let mut options = lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let protocol = only(&headers.get_all(UPGRADE)).map(HeaderValue::as_bytes).unwrap_or_default();
    let accepts = |key| {
        let accept = only(&headers.get_all(SEC_WEBSOCKET_ACCEPT));
        accept.is_some_and(|accept| accept.as_bytes() == accept_of(key).as_bytes())
    };
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        && protocol.trim_ascii().eq_ignore_ascii_case(upgrade.protocol().as_bytes())
        && upgrade.key().is_none_or(accepts)
        && !headers.contains_key(TRANSFER_ENCODING)
        && !headers.contains_key(CONTENT_LENGTH)
}

fn only<'a>(lines: &GetAll<'a, HeaderValue>) -> Option<&'a HeaderValue> {
    let mut lines = lines.iter();
    lines.next().filter(|_| lines.next().is_none())
}

fn accept_of(key: &HeaderValue) -> String {
    let mut digest = Digest::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(WEBSOCKETS);
    STANDARD.encode(digest.finish())
}

/// RFC 6455 section 1.3.
const WEBSOCKETS: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            return Pin::new(&mut self.wire).poll_read(cx, buffer);
        }
        let count = self.rest.len().min(buffer.remaining());
        if let Some(early) = self.rest.get(..count) {
            buffer.put_slice(early);
        }
        self.rest.advance(count);
        if self.rest.is_empty() {
            // Else the whole of what it was a part of would stay.
            self.rest = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded").field("early", &self.rest.len()).finish_non_exhaustive()
    }
}
