//! Answers that the configuration gives, to whom the route permits.

use http::Response;
use http::header::CONTENT_TYPE;

use super::body::Content;
use crate::policy::{FixedAnswer, Permitted, Target};
use crate::upstream::{self, Keeper};

/// The answer of a route without an upstream; `Err`: it has one, and the proof goes on.
pub(super) fn answer(permitted: Permitted, keeper: Keeper) -> Result<Response<Content>, Permitted> {
    let Target::Answer(fixed) = &permitted.route().target else {
        return Err(permitted);
    };
    let mut answer = content(fixed);
    let headers = answer.headers_mut();
    upstream::clean_answer(headers, keeper);
    upstream::edit(headers, permitted.route(), keeper);
    Ok(answer)
}

fn content(fixed: &FixedAnswer) -> Response<Content> {
    let mut answer = Response::new(Content::Own(fixed.body.clone()));
    *answer.status_mut() = fixed.status;
    if let Some(kind) = &fixed.content_type {
        answer.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    answer
}
