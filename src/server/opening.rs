//! What a new connection turns out to be: the handshake, and which HTTP its client speaks.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::timeout;

use super::bare::Bare;
use super::connection::within;
use super::stream::Stream;
use super::{ParseError, Settings, Tls};

/// A connection whose client has begun to speak, with what was read of it already.
pub(super) enum Opened {
    /// HTTP/1.1, as far as one can tell yet.
    Http1(Stream, Bytes),
    /// HTTP/2, agreed on in the handshake or known beforehand (RFC 9113 section 3.3).
    Http2(Stream, Bytes),
    /// Nothing: it is closed. Told, if the client is to blame.
    Closed(Option<ParseError>),
}

/// Opens a connection, within its time-outs; in the drain it has the grace that silent ones have.
pub(super) async fn open(
    socket: Bare,
    tls: Option<&Tls>,
    settings: &Settings,
    drain: &mut watch::Receiver<bool>,
) -> Opened {
    // Each step has a time-out of its own.
    let patience = (A_YEAR, settings.grace());
    let opened = within(pin!(begin(socket, tls, settings)), patience, drain).await;
    opened.unwrap_or(Opened::Closed(None))
}

async fn begin(socket: Bare, tls: Option<&Tls>, settings: &Settings) -> Opened {
    let mut stream = match tls {
        None => Stream::Plain(socket),
        Some(tls) => match timeout(settings.handshake_timeout, tls.accept(socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => return Opened::Closed(Some(ParseError::Handshake)),
            Err(_) => return Opened::Closed(Some(ParseError::LateHandshake)),
        },
    };
    if stream.agreed_on_h2() {
        return Opened::Http2(stream, Bytes::new());
    }
    match in_time(settings.header_timeout, spoken(&mut stream)).await {
        Some((Version::Http1, read)) => Opened::Http1(stream, read),
        Some((Version::Http2, read)) => Opened::Http2(stream, read),
        None => {
            stream.close();
            Opened::Closed(None)
        }
    }
}

async fn in_time<T>(patience: Duration, wait: impl Future<Output = Option<T>>) -> Option<T> {
    timeout(patience, wait).await.ok().flatten()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// Waits for the first byte, and reads on only while it could be the preface of HTTP/2. None: the
/// client has gone.
async fn spoken(stream: &mut Stream) -> Option<(Version, Bytes)> {
    if stream.first_byte().await? != PREFACE.first().copied() {
        return Some((Version::Http1, Bytes::new()));
    }
    let mut read = BytesMut::with_capacity(PREFACE.len());
    while read.len() < PREFACE.len() {
        let mut left = (&mut *stream).take(u64::try_from(PREFACE.len() - read.len()).ok()?);
        if left.read_buf(&mut read).await.ok()? == 0 || !PREFACE.starts_with(&read) {
            return Some((Version::Http1, read.freeze()));
        }
    }
    Some((Version::Http2, read.freeze()))
}

/// Longer than anything is waited for.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
