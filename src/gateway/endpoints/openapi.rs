//! `GET /auth/openapi.json`: what the endpoints are, for programs.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};

use super::super::Snapshot;
use super::super::body::Content;

/// Written by hand; a test holds it to the endpoints and to their answers.
const DESCRIPTION: &str = include_str!("openapi.json");

/// The description, with `auth.path` as this configuration has it.
pub(super) fn describe(snapshot: &Snapshot) -> Response<Content> {
    let here = format!("\"url\": \"{}\"", snapshot.config().auth.path);
    let body = DESCRIPTION.replacen("\"url\": \"/auth\"", &here, 1);
    let mut answer = Response::new(Content::Own(Bytes::from(body)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    answer
}
