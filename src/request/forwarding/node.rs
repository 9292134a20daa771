//! How proxies write addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str;

/// Reads an address with or without a port, IPv6 with or without brackets and zone; a v4-mapped
/// one is IPv4. Blanks around it do not count.
pub fn read_address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(trimmed(text)).ok()?;
    if text.starts_with('[') {
        return read_bracketed(text);
    }
    match text.split_once(':') {
        None => read_v4(text),
        Some((_, rest)) if rest.contains(':') => read_v6(text),
        Some((address, port)) => is_port(port).then(|| read_v4(address))?,
    }
}

/// The address of a `Forwarded` element's `for` (RFC 7239 section 4). None: it tells of none, as
/// `unknown` and `_hidden` do, or is no element.
pub(super) fn read_element(element: &[u8]) -> Option<IpAddr> {
    let mut node = None;
    let mut seen: Vec<&[u8]> = Vec::new();
    for pair in split_unquoted(trimmed(element), b';') {
        if pair.is_empty() {
            continue;
        }
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair.get(..at)?, pair.get(at.checked_add(1)?..)?);
        let again = seen.iter().any(|known| known.eq_ignore_ascii_case(name));
        if again || !is_token(name) || !is_value(value) {
            return None;
        }
        seen.push(name);
        if name.eq_ignore_ascii_case(b"for") {
            node = Some(value);
        }
    }
    read_node(node?)
}

/// An IPv6 address stands in brackets and quotes, a port within the quotes (RFC 7239 section 6).
fn read_node(value: &[u8]) -> Option<IpAddr> {
    let text = unquoted(value).unwrap_or(value);
    let is_bare_v6 = !text.starts_with(b"[") && text.iter().filter(|b| **b == b':').count() > 1;
    // Within quotes a blank is a part of the name.
    if is_bare_v6 || text.len() != trimmed(text).len() { None } else { read_address(text) }
}

/// The elements of a `Forwarded` line, last first. Read from the end, what a client wrote to the
/// left can shift nothing in what a proxy wrote to the right of it.
pub(super) struct Elements<'a>(Option<&'a [u8]>);

impl<'a> Elements<'a> {
    pub(super) fn from_the_end(line: &'a [u8]) -> Self {
        Self(Some(line))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.0?;
        let mut quoted = false;
        for (at, byte) in line.iter().enumerate().rev() {
            match byte {
                b'"' if !quoted => quoted = true,
                b'"' => quoted = is_escaped(line, at),
                b',' if !quoted => {
                    self.0 = line.get(..at);
                    return line.get(at.checked_add(1)?..);
                }
                _ => {}
            }
        }
        self.0 = None;
        Some(line)
    }
}

/// Whether an odd number of backslashes stands before.
fn is_escaped(line: &[u8], at: usize) -> bool {
    let before = line.iter().take(at).rev().take_while(|byte| **byte == b'\\');
    before.count() % 2 == 1
}

/// Splits where no quotes are open.
fn split_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |byte| {
        let (was_quoted, was_escaped) = (quoted, escaped);
        escaped = was_quoted && !was_escaped && *byte == b'\\';
        quoted = was_quoted ^ (*byte == b'"' && !was_escaped);
        *byte == separator && !was_quoted
    })
}

fn is_value(value: &[u8]) -> bool {
    is_token(value) || unquoted(value).is_some_and(is_quoted_text)
}

/// What stands between quotes: no quote that is not escaped (RFC 9110 section 5.6.4).
fn is_quoted_text(text: &[u8]) -> bool {
    let mut escaped = false;
    for byte in text {
        let control = byte.is_ascii_control() && *byte != b'\t';
        if control || (*byte == b'"' && !escaped) {
            return false;
        }
        escaped = *byte == b'\\' && !escaped;
    }
    !escaped
}

fn unquoted(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &[u8]) -> bool {
    let is_sign = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || is_sign(*byte))
}

fn read_bracketed(text: &str) -> Option<IpAddr> {
    let (address, rest) = text.strip_prefix('[')?.split_once(']')?;
    let after = rest.strip_prefix(':');
    let whole = rest.is_empty() || after.is_some_and(is_port);
    whole.then(|| read_v6(address))?
}

fn read_v4(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

/// The zone is of use on the machine that wrote it alone (RFC 4007 section 11).
fn read_v6(text: &str) -> Option<IpAddr> {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let is_zone = !zone.is_empty()
        && zone
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'~'));
    is_zone.then(|| address.parse::<Ipv6Addr>().ok())?.map(|address| address.to_canonical())
}

/// Digits, or a name that hides them (RFC 7239 section 6.2).
fn is_port(text: &str) -> bool {
    if let Some(hidden) = text.strip_prefix('_') {
        let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        return !hidden.is_empty() && hidden.bytes().all(is_part);
    }
    (1..=5).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u16>().is_ok()
}

fn trimmed(mut text: &[u8]) -> &[u8] {
    while let Some((b' ' | b'\t', rest)) = text.split_first() {
        text = rest;
    }
    while let Some((b' ' | b'\t', rest)) = text.split_last() {
        text = rest;
    }
    text
}
