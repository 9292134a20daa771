//! Bodies of the endpoints: JSON or a form, at most 8 KiB.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::super::refusal::{Refusal, Refused};
use super::super::serve::Arriving;
use crate::request::{NormalRequest, collect};

/// More than any login needs, less than would hurt.
const MOST_BYTES: usize = 8 * 1024;

const TWICE: &str = "A field comes twice.";

/// The shape of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Json,
    Form,
    /// No body, whatever the type says.
    Empty,
}

/// Reads a body whole. An empty one reads as `{}`.
pub(super) async fn read<T: DeserializeOwned>(
    request: &NormalRequest,
    upload: Arriving,
) -> Result<(T, Shape), Refused> {
    parse(request, &arrived(upload).await?)
}

/// The bytes of a body. Where something taken away meanwhile must not count, they come first and
/// it is asked afterwards who sends them: a client may take its time.
pub(super) async fn arrived(upload: Arriving) -> Result<Bytes, Refused> {
    Ok(collect(upload, MOST_BYTES).await?)
}

/// What the bytes say. None read as `{}`.
pub(super) fn parse<T: DeserializeOwned>(
    request: &NormalRequest,
    body: &Bytes,
) -> Result<(T, Shape), Refused> {
    let shape = if body.is_empty() { Shape::Empty } else { shape(request)? };
    let read = match shape {
        Shape::Json => serde_json::from_slice(body),
        Shape::Form => fields(body).and_then(serde_json::from_value),
        Shape::Empty => serde_json::from_value(Value::Object(Map::new())),
    };
    read.map(|value| (value, shape)).map_err(|fault| refused(&fault))
}

/// Says what is wrong with a body, and nothing of what it holds: that could be a password. Of what
/// serde says, it is the names of fields of ours that are told.
fn refused(fault: &serde_json::Error) -> Refused {
    let text = fault.to_string();
    let mut words = text.split('`');
    let told: Cow<'static, str> = match (words.next(), words.next()) {
        (Some("missing field "), Some(name)) => format!("The field `{name}` is missing.").into(),
        (Some("duplicate field "), Some(name)) => format!("The field `{name}` comes twice.").into(),
        (Some(TWICE), _) => TWICE.into(),
        _ if fault.is_data() => "A field holds what it cannot hold.".into(),
        _ => "The body is not valid JSON.".into(),
    };
    Refused::from(Refusal::InvalidRequest).detail(told)
}

fn shape(request: &NormalRequest) -> Result<Shape, Refused> {
    let value = request.headers().get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") {
        Ok(Shape::Json)
    } else if essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        Ok(Shape::Form)
    } else {
        Err(Refusal::UnsupportedMediaType.into())
    }
}

/// The fields of a form as a JSON object of strings; a name that comes twice is refused.
fn fields(body: &[u8]) -> Result<Value, serde_json::Error> {
    let mut fields = Map::new();
    for (name, value) in form_urlencoded::parse(body) {
        let before = fields.insert(name.into_owned(), Value::String(value.into_owned()));
        if before.is_some() {
            return Err(serde::de::Error::custom(TWICE));
        }
    }
    Ok(Value::Object(fields))
}

/// A switch, from JSON `true` or a form's `on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Switch(pub(super) bool);

impl<'de> serde::Deserialize<'de> for Switch {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(on) => Ok(Self(on)),
            Value::String(text) => match text.as_str() {
                "on" | "true" | "1" => Ok(Self(true)),
                "off" | "false" | "0" | "" => Ok(Self(false)),
                _ => Err(serde::de::Error::custom("not a switch")),
            },
            Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Err(serde::de::Error::custom("not a switch"))
            }
        }
    }
}
