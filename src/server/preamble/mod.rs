//! The PROXY protocol, versions 1 and 2: what a trusted proxy says of its client before the first
//! byte of that client's.
//!
//! It is read of trusted peers alone, which must send it, and never of anybody else. Not a byte
//! beyond the preamble is taken. The format is that of HAProxy's `proxy-protocol.txt`.

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::request::Peer;

/// For whom a proxy has opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// For a client of its own.
    Client(Peer),
    /// For itself, as to see whether we live, or it does not tell.
    Itself,
}

/// Why a connection of a proxy is closed.
#[derive(Debug, Error)]
pub(super) enum BadPreamble {
    /// It did not begin with one, or with one that nobody can be sure to understand.
    #[error("no preamble of the PROXY protocol, or a malformed one")]
    Malformed,
    /// The connection broke off.
    #[error("the connection ended in its preamble")]
    Ended(#[from] io::Error),
}

/// Reads a preamble and nothing behind it. How long that may take is the caller's to bound.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Announced, BadPreamble> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == *SIGNATURE {
        return read_binary(stream).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(BadPreamble::Malformed);
    }
    let mut line = start.to_vec();
    // By single bytes: what comes behind the line is the client's.
    while !line.ends_with(b"\r\n") {
        if line.len() >= LONGEST_LINE {
            return Err(BadPreamble::Malformed);
        }
        line.push(stream.read_u8().await?);
    }
    read_line(&line).ok_or(BadPreamble::Malformed)
}

/// Version 1. The whole line is within the bound, so that a `\r` or `\n` elsewhere is no address.
fn read_line(line: &[u8]) -> Option<Announced> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix("PROXY ")?.strip_suffix("\r\n")?;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(Announced::Itself);
    }
    let mut parts = line.split(' ');
    let peer = match parts.next()? {
        "TCP4" => ends::<Ipv4Addr>(&mut parts)?,
        "TCP6" => ends::<Ipv6Addr>(&mut parts)?,
        _ => return None,
    };
    parts.next().is_none().then_some(Announced::Client(peer))
}

/// Two addresses of one family, then their ports; the first of each is the client's.
fn ends<'a, A: FromStr + Into<IpAddr>>(parts: &mut impl Iterator<Item = &'a str>) -> Option<Peer> {
    let (source, destination) = (parts.next()?, parts.next()?);
    let address: IpAddr = source.parse::<A>().ok()?.into();
    destination.parse::<A>().ok()?;
    let port = port(parts.next()?)?;
    self::port(parts.next()?)?;
    Some(Peer { address: address.to_canonical(), port })
}

fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    (plain && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok())?
}

/// Version 2, behind its signature.
async fn read_binary(stream: &mut (impl AsyncRead + Unpin)) -> Result<Announced, BadPreamble> {
    let (command, family) = (stream.read_u8().await?, stream.read_u8().await?);
    let length = usize::from(stream.read_u16().await?);
    if length > LONGEST_REST {
        return Err(BadPreamble::Malformed);
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    read_rest(command, family, &rest).ok_or(BadPreamble::Malformed)
}

/// What the families hold, source before destination, address before port.
fn read_rest(command: u8, family: u8, rest: &[u8]) -> Option<Announced> {
    let peer = match (command, family) {
        // A check of the proxy's own: whatever it says of addresses is to be passed over.
        (LOCAL, _) => return Some(Announced::Itself),
        (PROXY, UNSPECIFIED) => return Some(Announced::Itself),
        (PROXY, UNIX_STREAM) => {
            are_values(rest.get(UNIX_ADDRESSES..)?).then_some(())?;
            return Some(Announced::Itself);
        }
        (PROXY, TCP_4) => {
            let (source, rest) = rest.split_first_chunk::<4>()?;
            let rest = rest.split_first_chunk::<4>()?.1;
            from(Ipv4Addr::from(*source).into(), rest)?
        }
        (PROXY, TCP_6) => {
            let (source, rest) = rest.split_first_chunk::<16>()?;
            let rest = rest.split_first_chunk::<16>()?.1;
            from(Ipv6Addr::from(*source).into(), rest)?
        }
        _ => return None,
    };
    Some(Announced::Client(peer))
}

/// The ports, and the further values, which are passed over.
fn from(address: IpAddr, rest: &[u8]) -> Option<Peer> {
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let (_, values) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    are_values(values).then_some(Peer { address: address.to_canonical(), port })
}

/// Whether the bytes are whole values: type, length, so many bytes.
fn are_values(mut rest: &[u8]) -> bool {
    while let Some(([_, high, low], after)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        match after.get(length..) {
            Some(next) => rest = next,
            None => return false,
        }
    }
    rest.is_empty()
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// With its line end.
const LONGEST_LINE: usize = 107;
/// The format allows 65,535; a certificate among the values fits into this.
const LONGEST_REST: usize = 4_096;
/// Version 2, for the proxy itself.
const LOCAL: u8 = 0x20;
/// Version 2, for a client.
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP_4: u8 = 0x11;
const TCP_6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;
const UNIX_ADDRESSES: usize = 216;
