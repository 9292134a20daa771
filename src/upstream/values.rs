//! Values of headers, made without a detour over strings.

use std::fmt::Write as _;
use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use http::HeaderValue;
use http::uri::PathAndQuery;

use crate::identity::Role;

/// Values in the making, one after the other, in one buffer that they all share: a value of its own
/// would cost an allocation, and another one when it is cloned.
pub(super) struct Text(BytesMut);

impl Default for Text {
    fn default() -> Self {
        Self(BytesMut::with_capacity(USUAL))
    }
}

impl Text {
    /// Goes on with this.
    pub(super) fn push(&mut self, part: impl AsRef<[u8]>) {
        self.0.put_slice(part.as_ref());
    }

    /// `name`, or `name:port`.
    pub(super) fn authority(&mut self, name: &str, port: Option<u16>) {
        self.push(name);
        if let Some(port) = port {
            self.0.put_u8(b':');
            self.number(port);
        }
    }

    /// In decimal digits.
    pub(super) fn number(&mut self, number: u16) {
        let mut rest = number;
        let mut digits = [0; 5];
        let mut length = 0;
        for digit in digits.iter_mut().rev() {
            *digit = u8::try_from(rest % 10).unwrap_or_default().saturating_add(b'0');
            length += 1;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let unused = digits.len().saturating_sub(length);
        self.0.put_slice(digits.get(unused..).unwrap_or_default());
    }

    pub(super) fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                for (at, octet) in address.octets().into_iter().enumerate() {
                    if at > 0 {
                        self.0.put_u8(b'.');
                    }
                    self.number(octet.into());
                }
            }
            // A buffer that grows takes all.
            IpAddr::V6(address) => drop(write!(self.0, "{address}")),
        }
    }

    /// UTF-8 with `%` and every byte outside of 0x20-0x7E percent-encoded. Nothing of blanks alone:
    /// a header that is there and empty would be taken for a nameless user.
    pub(super) fn identity(&mut self, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        for byte in text.bytes() {
            if matches!(byte, b' '..=b'~') && byte != b'%' {
                self.0.put_u8(byte);
            } else {
                self.0.put_slice(&[b'%', hex_digit(byte >> 4), hex_digit(byte & 0xf)]);
            }
        }
    }

    /// Roles in their order.
    pub(super) fn roles(&mut self, roles: &[Role], separator: &str) {
        for (at, role) in roles.iter().enumerate() {
            if at > 0 {
                self.push(separator);
            }
            self.push(role.as_str());
        }
    }

    /// What was written since the last value.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as a header's value; None if it is empty, or none.
    pub(super) fn value(&mut self) -> Option<HeaderValue> {
        let written = self.0.split().freeze();
        if written.is_empty() { None } else { HeaderValue::from_maybe_shared(written).ok() }
    }

    /// The same as a target; None if it is none. The parser cuts at `#` without a word.
    pub(super) fn target(&mut self) -> Option<PathAndQuery> {
        let written = self.0.split().freeze();
        let length = written.len();
        let target = PathAndQuery::from_maybe_shared(written).ok();
        target.filter(|target| target.as_str().len() == length)
    }

    /// Drops what was written since the last value.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

fn hex_digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0'.saturating_add(nibble),
        _ => b'A'.saturating_add(nibble.saturating_sub(10)),
    }
}

/// Bytes that the values of most requests fit in.
const USUAL: usize = 384;
