//! The head of an answer: whether it is one, and how it is framed.

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode, Version};

use super::Failure;

/// Whether the connection may be used again, after a clean end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// It may.
    Allowed,
    /// Whatever comes.
    Never,
}

/// Refuses what is no final answer, and takes out its framing, which is made anew for the client.
pub(super) fn reframe<B>(answer: &mut Response<B>, method: &Method) -> Result<Reuse, Failure> {
    if answer.status().is_informational() {
        return Err(Failure::Answer(format!("{} that nobody asked for", answer.status())));
    }
    let contradicts = reframe_headers(answer.headers_mut())?;
    // RFC 9110 section 8.6 has none in a 204.
    let tells_length = method == Method::HEAD && answer.status() != StatusCode::NO_CONTENT;
    if !tells_length || !has_one_length(answer.headers()) {
        answer.headers_mut().remove(CONTENT_LENGTH);
    }
    // hyper would speak HTTP/1.0 in the next request too, which has no chunked bodies, and in the
    // answer to the client.
    let old = std::mem::replace(answer.version_mut(), Version::HTTP_11) != Version::HTTP_11;
    let never = contradicts || old || asks_to_bind(answer);
    Ok(if never { Reuse::Never } else { Reuse::Allowed })
}

/// Whether both framings were there (RFC 9112 section 6.3: `Transfer-Encoding` holds).
fn reframe_headers(headers: &mut HeaderMap) -> Result<bool, Failure> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => return Ok(false),
        // What a further coding did to the body could not be told to the client.
        (Some(only), None) if only.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => {}
        _ => {
            return Err(Failure::Answer("a transfer coding other than chunked".to_owned()));
        }
    }
    headers.remove(TRANSFER_ENCODING);
    Ok(headers.remove(CONTENT_LENGTH).is_some())
}

/// Whether there is one length, in plain digits.
pub(super) fn has_one_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let only = lengths.next().filter(|_| lengths.next().is_none());
    only.is_some_and(|length| {
        let digits = length.as_bytes();
        digits.len() < 20 && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    })
}

fn asks_to_bind<B>(answer: &Response<B>) -> bool {
    let binds = |challenge: &HeaderValue| {
        challenge.as_bytes().split(|byte| *byte == b',').any(binds_connection)
    };
    answer.status() == StatusCode::UNAUTHORIZED
        && answer.headers().get_all(WWW_AUTHENTICATE).iter().any(binds)
}

/// Schemes whose login holds for the connection, and would hold for whoever uses it next (RFC 4559
/// section 5).
pub(super) fn binds_connection(credentials: &[u8]) -> bool {
    let scheme = credentials.trim_ascii_start().split(|byte| byte.is_ascii_whitespace()).next();
    let scheme = scheme.unwrap_or_default();
    [&b"NTLM"[..], b"Negotiate", b"Kerberos"].iter().any(|bound| scheme.eq_ignore_ascii_case(bound))
}
