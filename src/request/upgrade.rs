//! A change of protocol, as a client asks for it (RFC 9110 section 7.8), and the opening handshake
//! of a WebSocket (RFC 6455 section 4.2.1; over HTTP/2 RFC 8441 section 5).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, Version};
use hyper::ext::Protocol;
use thiserror::Error;

use super::NormalRequest;
use super::headers::{asks_upgrade, only};
use crate::secret;

/// A protocol that a connection is to change to, well formed.
#[derive(Clone, Debug)]
pub struct Upgrade {
    protocol: HeaderValue,
    key: Option<HeaderValue>,
}

/// Why an opening handshake opens nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadHandshake {
    /// 400
    #[error("the handshake of a WebSocket is malformed")]
    Malformed,
    /// 426: this gateway knows version 13.
    #[error("the WebSocket is of a version other than 13")]
    Version,
}

impl Upgrade {
    /// The protocols that a request asks to change to; on nearly every request none.
    pub fn asked(request: &NormalRequest) -> Vec<&str> {
        if request.0.by_connect {
            return vec![WEBSOCKET];
        }
        if !asks_upgrade(&request.0.headers) {
            return Vec::new();
        }
        let lines = request.0.headers.get_all(UPGRADE).iter();
        // What is no text is no protocol, but it is not nothing either.
        let lines = lines.map(|line| line.to_str().unwrap_or("?"));
        let tokens = lines.flat_map(|line| line.split(',')).map(str::trim);
        tokens.filter(|token| !token.is_empty()).collect()
    }

    /// The opening handshake of a WebSocket.
    pub fn websocket(request: &NormalRequest) -> Result<Self, BadHandshake> {
        let key = if request.0.by_connect { own_nonce() } else { nonce_of(request) };
        let key = key.ok_or(BadHandshake::Malformed)?;
        match only(&request.0.headers, &SEC_WEBSOCKET_VERSION) {
            Ok(Some(version)) if version == "13" => {}
            Ok(Some(_)) => return Err(BadHandshake::Version),
            Ok(None) | Err(_) => return Err(BadHandshake::Malformed),
        }
        Ok(Self { protocol: HeaderValue::from_static(WEBSOCKET), key: Some(key) })
    }

    /// Another protocol, if it is all that is asked for; none on HTTP/1.0, where nobody may.
    pub fn other(request: &NormalRequest) -> Option<Self> {
        let [protocol] = Self::asked(request)[..] else {
            return None;
        };
        let protocol = HeaderValue::from_str(protocol).ok()?;
        (request.0.version == Version::HTTP_11).then_some(Self { protocol, key: None })
    }

    /// As it is named in `Upgrade`.
    pub fn protocol(&self) -> &HeaderValue {
        &self.protocol
    }

    /// `Sec-WebSocket-Key`, of a WebSocket: the client's, or over HTTP/2, which has none, ours.
    pub fn key(&self) -> Option<&HeaderValue> {
        self.key.as_ref()
    }
}

/// Whether this names the WebSocket protocol, in any case.
pub fn is_websocket(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case(WEBSOCKET)
}

/// Whether a head asks for a WebSocket by CONNECT (RFC 8441 section 4); by no other way does an
/// extension of the kind come about.
pub(super) fn is_websocket_by_connect(head: &Parts) -> bool {
    head.version == Version::HTTP_2
        && head.method == Method::CONNECT
        && head.extensions.get::<Protocol>().is_some_and(|protocol| is_websocket(protocol.as_str()))
}

fn nonce_of(request: &NormalRequest) -> Option<HeaderValue> {
    let is_alone = matches!(Upgrade::asked(request)[..], [one] if is_websocket(one));
    let is_get = *request.method() == Method::GET && request.0.version == Version::HTTP_11;
    let key = only(&request.0.headers, &SEC_WEBSOCKET_KEY).ok().flatten()?;
    (is_alone && is_get && is_nonce(key)).then(|| key.clone())
}

fn own_nonce() -> Option<HeaderValue> {
    HeaderValue::try_from(STANDARD.encode(secret::random::<16>())).ok()
}

/// Sixteen bytes in base64.
fn is_nonce(key: &HeaderValue) -> bool {
    STANDARD.decode(key.as_bytes()).is_ok_and(|nonce| nonce.len() == 16)
}

const WEBSOCKET: &str = "websocket";
