//! Reading the head: method, framing, names, values.

use std::borrow::Cow;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Version};

use super::Malformed;

/// A header's name as CGI and its kin see it: lower case, each character that is no letter or
/// digit read as `-`. Names that fold alike are one name to somebody behind us.
pub fn fold(name: &HeaderName) -> Cow<'_, str> {
    let name = name.as_str();
    let kept = |byte: u8| byte == b'-' || byte.is_ascii_alphanumeric();
    if name.bytes().all(kept) {
        return Cow::Borrowed(name);
    }
    // All of a name's bytes are ASCII.
    Cow::Owned(name.bytes().map(|byte| char::from(if kept(byte) { byte } else { b'-' })).collect())
}

/// Refuses methods that are never forwarded; what a route allows is the business of `policy`.
pub(super) fn check_method(method: &Method) -> Result<(), Malformed> {
    match method.as_str() {
        "CONNECT" | "TRACE" | "TRACK" => Err(Malformed::Method),
        name if name.bytes().any(|byte| byte.is_ascii_lowercase()) => {
            Err(Malformed::Bad("methods are written in upper case"))
        }
        _ => Ok(()),
    }
}

/// Refuses every head whose framing two servers could read differently (RFC 9112 section 6.3).
pub(super) fn check_framing(head: &Parts) -> Result<(), Malformed> {
    if head.headers.keys().any(looks_like_framing) {
        return Err(Malformed::Bad(
            "a header's name looks like Content-Length or Transfer-Encoding",
        ));
    }
    let length = check_length(&head.headers)?;
    let Some(coding) = only(&head.headers, &TRANSFER_ENCODING)
        .or(Err(Malformed::Bad("more than one Transfer-Encoding")))?
    else {
        return Ok(());
    };
    if length.is_some() && head.version == Version::HTTP_2 {
        return Err(Malformed::Bad("a Content-Length of 0 and a body that does not end"));
    }
    if length.is_some() {
        return Err(Malformed::Bad("both Content-Length and Transfer-Encoding"));
    }
    if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Malformed::Bad("a Transfer-Encoding other than chunked"));
    }
    if head.version == Version::HTTP_10 {
        return Err(Malformed::Bad("Transfer-Encoding on HTTP/1.0"));
    }
    // Towards the upstream framing is made anew, and hyper's client makes none for a GET or HEAD of
    // unknown length: the chunks would be lost, or go out raw. One with a Content-Length keeps it.
    if matches!(head.method, Method::GET | Method::HEAD) {
        return Err(Malformed::Bad("a chunked body on GET or HEAD"));
    }
    Ok(())
}

/// `Authorization` is one header: of two, we might read the one and the application the other.
pub(super) fn check_authorization(headers: &HeaderMap) -> Result<(), Malformed> {
    match only(headers, &AUTHORIZATION) {
        Ok(_) => Ok(()),
        Err(Repeated) => Err(Malformed::Bad("more than one Authorization")),
    }
}

/// The value of `Authorization: Bearer VALUE`, read as leniently as the most lenient application
/// could: whatever is no printable ASCII parts words, and of a list each element is one. What is
/// no text is an empty value, and so nobody's that we know.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let line = only(headers, &AUTHORIZATION).ok()??.as_bytes();
    // A token is long: it is not looked at for commas.
    bearer_of(line).or_else(|| line.split(|byte| *byte == b',').find_map(bearer_of))
}

fn bearer_of(element: &[u8]) -> Option<&str> {
    let is_mark = u8::is_ascii_graphic;
    let element = element.get(element.iter().position(is_mark)?..)?;
    let (scheme, rest) = element.split_at(element.iter().position(|byte| !is_mark(byte))?);
    let value = rest.get(rest.iter().position(is_mark)?..)?.trim_ascii_end();
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return None;
    }
    // A token is long: looked at in words rather than in characters.
    Some(if value.is_ascii() { str::from_utf8(value).unwrap_or_default() } else { "" })
}

/// RFC 9113 section 8.2.1: no blank around a value. Over HTTP/1.1 there is none when it is read.
pub(super) fn check_values(headers: &HeaderMap) -> Result<(), Malformed> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let padded = |value: &HeaderValue| {
        let value = value.as_bytes();
        is_blank(value.first()) || is_blank(value.last())
    };
    if headers.values().any(padded) {
        return Err(Malformed::Bad("a value with a blank before or behind it"));
    }
    Ok(())
}

/// Whether `Connection` nominates an `Upgrade` (RFC 9110 section 7.8).
pub(super) fn asks_upgrade(headers: &HeaderMap) -> bool {
    let nominates = |value: &HeaderValue| {
        let mut options = value.as_bytes().split(|byte| *byte == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    };
    headers.contains_key(UPGRADE) && headers.get_all(CONNECTION).iter().any(nominates)
}

pub(super) struct Repeated;

pub(super) fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, Repeated> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (line, None) => Ok(line),
        _ => Err(Repeated),
    }
}

/// A length in its one canonical spelling: plain digits without leading zeros (RFC 9110 section 8.6).
fn check_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let repeated = Malformed::Bad("more than one Content-Length");
    let Some(value) = only(headers, &CONTENT_LENGTH).or(Err(repeated))? else {
        return Ok(None);
    };
    let digits = value.to_str().unwrap_or_default();
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    // As far as those count who count with a sign.
    let length = digits.parse::<i64>().ok().filter(|_| plain);
    let length = length.and_then(|length| u64::try_from(length).ok());
    length.map(Some).ok_or(Malformed::Bad("a Content-Length that is no plain number below 2^63"))
}

fn looks_like_framing(name: &HeaderName) -> bool {
    match name.as_str().len() {
        14 | 17 => matches!(fold(name), Cow::Owned(folded)
            if folded == "content-length" || folded == "transfer-encoding"),
        _ => false,
    }
}
