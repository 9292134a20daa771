//! The gateway's own cookies: their names, reading them, and taking them out.
//!
//! Reading is strict and taking out is lenient: a spelling that any other parser might take for a
//! cookie of ours makes ours count as absent, and never reaches an application.

use std::borrow::Cow;

use http::header::{COOKIE, HeaderMap, HeaderValue};

use super::app_cookies::remove_cookies;
use super::{Origin, Scheme};

/// A cookie of ours, as presented.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CookieValue {
    /// Not there.
    #[default]
    Absent,
    /// There once.
    One(String),
    /// There twice or more, or in look-alike spellings: treated as none. The page after a login says
    /// so, or its user would sign in again and again.
    Doubled,
}

impl CookieValue {
    /// The value of a cookie that is there once.
    pub fn value(&self) -> Option<&str> {
        if let Self::One(value) = self { Some(value) } else { None }
    }

    fn add(&mut self, value: Option<&str>) {
        *self = match (&*self, value) {
            (Self::Absent, Some(value)) => Self::One(value.to_owned()),
            _ => Self::Doubled,
        };
    }
}

/// Whether browsers are asked to hold our cookies to their prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookiePrefix {
    /// `__Host-Http-`: Secure, HttpOnly, `Path=/`, no Domain.
    HostHttp,
    /// None, for plain http where browsers drop Secure cookies (`cookies.insecure`).
    Bare,
}

/// The full names of the gateway's cookies, prefix and port included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieNames {
    /// Access token.
    pub access: String,
    /// Refresh token.
    pub refresh: String,
    /// Device.
    pub device: String,
    /// Companion of `app_cookies`.
    pub own: String,
}

/// The gateway's cookies of one request.
#[derive(Debug, Default)]
pub(super) struct Presented {
    pub(super) access: CookieValue,
    pub(super) refresh: CookieValue,
    pub(super) device: CookieValue,
}

impl CookieNames {
    /// The names for a gateway whose public origin is this. Over https the prefix is always there.
    /// On loopback over http the names end in the port, which cookies ignore: two gateways of one
    /// machine would sign each other out.
    pub fn new(public: &Origin, prefix: CookiePrefix) -> Self {
        let plain = public.scheme() == Scheme::Http;
        let prefix = if plain && prefix == CookiePrefix::Bare { "" } else { HOST_HTTP };
        let suffix = if plain && public.host().is_loopback() {
            format!("_{}", public.port())
        } else {
            String::new()
        };
        let [access, refresh, device, own] = BASES.map(|base| format!("{prefix}{base}{suffix}"));
        Self { access, refresh, device, own }
    }

    /// Removes from the `Cookie` lines every cookie that is a gateway's, under each name that any
    /// gateway could give it and in each spelling that a parser could take for it. All others stay
    /// byte for byte, in order.
    pub fn strip(&self, headers: &mut HeaderMap) {
        remove_cookies(headers, is_gateway_cookie);
    }

    /// The companion of applications' cookies, which few routes ask for.
    pub fn companion(&self, headers: &HeaderMap) -> CookieValue {
        let mut found = CookieValue::Absent;
        let mut style = Style::Netscape;
        for pair in headers.get_all(COOKIE).iter().flat_map(pairs) {
            for name in names_in(pair) {
                if is_version(&name) {
                    style = Style::Rfc2109;
                } else if self.own.as_bytes().eq_ignore_ascii_case(&name) {
                    found.add(exact_value(pair, &self.own));
                }
            }
        }
        if style == Style::Rfc2109 { CookieValue::Absent } else { found }
    }

    /// Every value under the name of a token, doubled or not: where nothing is decided by them, as at
    /// a logout, which whoever holds a token may ask for.
    pub fn all_tokens<'h>(&'h self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h str> {
        let names = [&self.refresh, &self.access];
        headers
            .get_all(COOKIE)
            .iter()
            .flat_map(pairs)
            .flat_map(move |pair| names.into_iter().filter_map(|name| exact_value(pair, name)))
    }

    /// Reads the gateway's cookies, from one line or several.
    pub(super) fn read(&self, headers: &HeaderMap) -> Presented {
        let mut presented = Presented::default();
        let mut style = Style::Netscape;
        for pair in headers.get_all(COOKIE).iter().flat_map(pairs) {
            for name in names_in(pair) {
                if is_version(&name) {
                    style = Style::Rfc2109;
                } else if let Some((slot, name)) = self.slot(&mut presented, &name) {
                    slot.add(exact_value(pair, name));
                }
            }
        }
        if style == Style::Rfc2109 {
            presented.distrust();
        }
        presented
    }

    fn slot<'a>(
        &'a self,
        presented: &'a mut Presented,
        name: &[u8],
    ) -> Option<(&'a mut CookieValue, &'a str)> {
        let is = |ours: &str| ours.as_bytes().eq_ignore_ascii_case(name);
        match name {
            _ if is(&self.access) => Some((&mut presented.access, &self.access)),
            _ if is(&self.refresh) => Some((&mut presented.refresh, &self.refresh)),
            _ if is(&self.device) => Some((&mut presented.device, &self.device)),
            _ => None,
        }
    }
}

impl Presented {
    fn distrust(&mut self) {
        for slot in [&mut self.access, &mut self.refresh, &mut self.device] {
            if *slot != CookieValue::Absent {
                *slot = CookieValue::Doubled;
            }
        }
    }
}

/// Makes one line of several, into which HTTP/2 may split it (RFC 9113 section 8.2.3).
pub(super) fn join(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else {
        return;
    };
    let all: Vec<&[u8]> = [first, second].into_iter().chain(lines).collect();
    // Of valid values and a separator that is valid: this does not fail.
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Whether a cookie, sent back as this pair, would be taken for a gateway's, or make us distrust
/// those beside it.
pub fn disturbs_gateway_cookies(pair: &[u8]) -> bool {
    names_in(pair).any(|name| is_gateway_cookie(&name) || is_version(&name))
}

/// Whether a cookie's name is one that a gateway could use: letter case aside, with or without a
/// prefix, with or without a port.
fn is_gateway_cookie(name: &[u8]) -> bool {
    let name = PREFIXES.iter().find_map(|prefix| without_prefix(name, prefix)).unwrap_or(name);
    BASES.iter().filter_map(|base| without_prefix(name, base)).any(|port| match port {
        [] => true,
        [b'_', port @ ..] => !port.is_empty() && port.iter().all(u8::is_ascii_digit),
        _ => false,
    })
}

const BASES: [&str; 4] = ["pc_at", "pc_rt", "pc_dev", "pc_own"];
const HOST_HTTP: &str = "__Host-Http-";
const PREFIXES: [&str; 4] = [HOST_HTTP, "__Host-", "__Secure-", "__Http-"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Netscape,
    Rfc2109,
}

fn without_prefix<'a>(name: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix.as_bytes()).then_some(rest)
}

pub(super) fn pairs(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|byte| *byte == b';')
}

/// What parsers could take for the name of a cookie in a pair.
pub(super) fn names_in(pair: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    written_names(pair).flat_map(name_readings)
}

/// Blanks and quotes around a name do not count, old parsers part cookies at commas too, and
/// Python's at blanks. To one or another everything is a blank that is no printable ASCII.
fn written_names(pair: &[u8]) -> impl Iterator<Item = &[u8]> {
    pair.split(|byte| *byte == b',').flat_map(|part| {
        let part = trim_start(part, |byte| is_padding(byte) || byte == b'=');
        let mut before_signs = part.split(|byte| *byte == b'=');
        let first = before_signs.next().unwrap_or_default();
        // Seldom is there a blank: the values, which are long, are looked at in words.
        let rest = if holds_blank(part) { Some(words_before(part)) } else { None };
        std::iter::once(trim(first, is_padding)).chain(rest.into_iter().flatten())
    })
}

/// The last word before each `=` but for what has no blank before it, which is a value's.
fn words_before(part: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = part.iter().rposition(|byte| *byte == b'=').unwrap_or_default();
    let before = part.get(..end).unwrap_or_default();
    before.split(|byte| *byte == b'=').filter_map(|text| {
        let text = trim(text, is_padding);
        let blank = text.iter().rposition(|byte| is_blank(*byte))?;
        Some(trim(text.get(blank..)?, is_padding))
    })
}

fn holds_blank(part: &[u8]) -> bool {
    part.chunks(32).any(|chunk| chunk.iter().fold(false, |found, byte| found | is_blank(*byte)))
}

fn is_blank(byte: u8) -> bool {
    !byte.is_ascii_graphic()
}

fn is_padding(byte: u8) -> bool {
    is_blank(byte) || matches!(byte, b'"' | b'\'')
}

/// A name as it is written, and as it reads to whom percent-decodes it: as CGI.pm, Rack and older
/// PHP do, or once more behind a proxy that does too.
pub fn name_readings(written: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let once = decoded(written);
    let twice = once.as_deref().and_then(decoded);
    std::iter::once(Cow::Borrowed(written))
        .chain([once, twice].into_iter().flatten().map(Cow::Owned))
}

/// A name without escapes, and without what PHP does not count: blanks before it, `+` among them,
/// and what follows a NUL. None: there is nothing of it to decode.
fn decoded(name: &[u8]) -> Option<Vec<u8>> {
    if !name.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return None;
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((byte, after)) = rest.split_first() {
        let (byte, after) = escaped(rest).unwrap_or((*byte, after));
        bytes.push(byte);
        rest = after;
    }
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(trim(text, |byte| is_padding(byte) || byte == b'+').to_vec())
}

/// The byte that an escape stands for (to CGI.pm `%u0070` is one too), and what follows it.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let ([b'%', b'u' | b'U', b'0', b'0', high, low, rest @ ..] | [b'%', high, low, rest @ ..]) =
        text
    else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let code = (digit(*high)? << 4) | digit(*low)?;
    Some((u8::try_from(code).ok()?, rest))
}

fn trim_start(mut text: &[u8], is_stranger: impl Fn(u8) -> bool) -> &[u8] {
    while let Some((byte, rest)) = text.split_first()
        && is_stranger(*byte)
    {
        text = rest;
    }
    text
}

fn trim(text: &[u8], is_stranger: impl Fn(u8) -> bool) -> &[u8] {
    let mut text = trim_start(text, &is_stranger);
    while let Some((byte, rest)) = text.split_last()
        && is_stranger(*byte)
    {
        text = rest;
    }
    text
}

/// The value of a pair that spells this name as we do, and could hold no second name.
fn exact_value<'a>(pair: &'a [u8], name: &str) -> Option<&'a str> {
    let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
    std::str::from_utf8(value).ok()
}

/// A line without cookies of such names, and without the attributes that follow one of them in the
/// style of RFC 2109; None where no cookie is left.
pub(super) fn without(
    line: &HeaderValue,
    is_doomed: &impl Fn(&[u8]) -> bool,
) -> Option<HeaderValue> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut after_doomed = false;
    for pair in pairs(line) {
        let doomed = names_in(pair).any(|name| is_doomed(&name));
        after_doomed = doomed || (after_doomed && names_in(pair).any(|name| is_attribute(&name)));
        if !after_doomed {
            kept.push(pair);
        }
    }
    let tells_style = |pair: &[u8]| names_in(pair).any(|name| is_version(&name));
    if kept.iter().all(|pair| pair.trim_ascii().is_empty() || tells_style(pair)) {
        return None;
    }
    HeaderValue::from_bytes(kept.join(&b';').trim_ascii()).ok()
}

fn is_version(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"$version")
}

fn is_attribute(name: &[u8]) -> bool {
    ["$path", "$domain", "$port"].iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}
