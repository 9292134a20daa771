//! Values of headers, made without a detour over strings.

use std::fmt::Display;
use std::io::Write as _;

use bytes::{BufMut, BytesMut};
use http::HeaderValue;

use crate::identity::Role;

/// UTF-8 with `%` and every byte outside of 0x20-0x7E percent-encoded. None for nothing: a header
/// that is there and empty would be taken for a nameless user.
pub(super) fn identity_value(text: &str) -> Option<HeaderValue> {
    if text.trim().is_empty() {
        return None;
    }
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'%';
    if text.bytes().all(is_plain) {
        return HeaderValue::from_str(text).ok();
    }
    let mut encoded = BytesMut::with_capacity(text.len().saturating_mul(3));
    for byte in text.bytes() {
        if is_plain(byte) {
            encoded.put_u8(byte);
        } else {
            encoded.put_slice(&[b'%', hex_digit(byte >> 4), hex_digit(byte & 0xf)]);
        }
    }
    HeaderValue::from_maybe_shared(encoded.freeze()).ok()
}

/// Roles in their order. None for nobody's.
pub(super) fn joined(roles: &[Role], separator: &str) -> Option<HeaderValue> {
    let (first, rest) = roles.split_first()?;
    if rest.is_empty() {
        return HeaderValue::from_str(first.as_str()).ok();
    }
    let mut text = BytesMut::with_capacity(64);
    text.put_slice(first.as_str().as_bytes());
    for role in rest {
        text.put_slice(separator.as_bytes());
        text.put_slice(role.as_str().as_bytes());
    }
    HeaderValue::from_maybe_shared(text.freeze()).ok()
}

fn hex_digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0'.saturating_add(nibble),
        _ => b'A'.saturating_add(nibble.saturating_sub(10)),
    }
}

/// A short value in the making, on the stack: no authority is longer than a name of 253 bytes and
/// a port.
pub(super) struct Text {
    bytes: [u8; 288],
    len: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { bytes: [0; 288], len: 0 }
    }
}

impl Text {
    /// `name`, or `name:port`.
    pub(super) fn authority(&mut self, name: &str, port: Option<u16>) {
        self.display(name);
        if let Some(port) = port {
            self.display(":");
            self.display(port);
        }
    }

    /// What does not fit makes the whole too long to be a value.
    pub(super) fn display(&mut self, part: impl Display) {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let before = room.len();
        let mut rest = room;
        self.len = match write!(rest, "{part}") {
            Ok(()) => self.len.saturating_add(before.saturating_sub(rest.len())),
            Err(_) => usize::MAX,
        };
    }

    /// What was written so far; nothing if it was too long.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// As a header's value; None if it is empty or was too long.
    pub(super) fn value(&self) -> Option<HeaderValue> {
        Some(self.bytes()).filter(|bytes| !bytes.is_empty()).map(HeaderValue::from_bytes)?.ok()
    }
}
