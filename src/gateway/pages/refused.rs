//! How a refusal is told: to programs as a problem, to people as a page or by the login.

use http::header::RETRY_AFTER;
use http::{Response, StatusCode};

use super::super::audience::{Asked, Audience};
use super::super::body::Content;
use super::super::refusal::{Refusal, Refused};
use super::super::serve::Visit;
use super::screens::{Door, MessagePage, Place};
use super::strings::Door as DoorText;
use super::{CROSS_ORIGIN_OPENER_POLICY, Embedding, Look, Prompt, see_other};

/// The answer of a refusal, for whoever asked.
pub(in super::super) fn refused(visit: &Visit, refused: &Refused) -> Response<Content> {
    let mut answer = told_to(visit, refused);
    // In place of an application's form, which as a rule came from a page without that header.
    // WebKit takes a page that differs from the form's into another browsing context group, and
    // then the reload that sends the form again for another site's. Forms of ours have the header.
    if visit.asked.is_for_application() && !visit.asked.is_read() {
        answer.headers_mut().remove(CROSS_ORIGIN_OPENER_POLICY);
    }
    answer
}

fn told_to(visit: &Visit, refused: &Refused) -> Response<Content> {
    let status = refused.status();
    let audience = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            visit.audience.on(visit.asked.on_denied())
        }
        _ => visit.audience,
    };
    let (look, asked) = (visit.look(), &visit.asked);
    let asks_login =
        status == StatusCode::UNAUTHORIZED && refused.refusal() != Refusal::InvalidCredentials;
    match audience {
        Audience::Program => refused.response(visit.exchange.request_id()),
        Audience::Navigation if asks_login && asked.is_read() => {
            see_other(&look.login_link(asked.way_back().as_ref(), prompt(refused.refusal())))
        }
        Audience::Navigation | Audience::Form if asks_login => {
            page(look, refused, held(look, refused.refusal()))
        }
        Audience::Frame if asks_login => page(look, refused, framed(look)),
        Audience::Navigation | Audience::Form | Audience::Frame => {
            let place = if audience == Audience::Frame { Place::Top } else { Place::Here };
            page(look, refused, (told(visit, refused, place), embedding(audience)))
        }
    }
}

fn page(
    look: Look<'_>,
    refused: &Refused,
    (page, embedding): (MessagePage<'_>, Embedding),
) -> Response<Content> {
    let mut answer = look.answer(refused.status(), &page, embedding);
    for (name, value) in refused.headers() {
        answer.headers_mut().append(name, value.clone());
    }
    answer
}

const fn embedding(audience: Audience) -> Embedding {
    match audience {
        Audience::Frame => Embedding::SameOrigin,
        Audience::Program | Audience::Navigation | Audience::Form => Embedding::Never,
    }
}

/// One who is signed in, but not lately, is asked all the same.
fn prompt(refusal: Refusal) -> Prompt {
    if refusal == Refusal::ReauthRequired { Prompt::Always } else { Prompt::IfNeeded }
}

/// For a form: elsewhere, what was typed would be lost.
fn held(look: Look<'_>, refusal: Refusal) -> (MessagePage<'_>, Embedding) {
    let page = match prompt(refusal) {
        Prompt::Always => {
            let to = look.login_link(look.account().as_ref(), Prompt::Always);
            door(look, &look.text.recent, (to, Place::Here))
        }
        Prompt::IfNeeded => {
            let to = look.login_link(None, Prompt::IfNeeded);
            door(look, &look.text.held, (to, Place::NewTab))
        }
    };
    (page, Embedding::Never)
}

fn framed(look: Look<'_>) -> (MessagePage<'_>, Embedding) {
    let to = look.login_link(None, Prompt::IfNeeded);
    (door(look, &look.text.frame, (to, Place::Top)), Embedding::SameOrigin)
}

fn door<'a>(look: Look<'a>, text: &'a DoorText, (to, place): (String, Place)) -> MessagePage<'a> {
    MessagePage {
        look,
        title: &text.title,
        detail: &text.lead,
        wait: None,
        doors: vec![Door { label: &text.link, to, place }],
        reference: None,
    }
}

/// What is wrong, when it may be tried again, and where to go on.
fn told<'a>(visit: &'a Visit, refused: &'a Refused, place: Place) -> MessagePage<'a> {
    let (look, refusal) = (visit.look(), refused.refusal());
    let said = look.text.refusals.get(refusal.code());
    let seconds = refused.headers().iter().find(|(name, _)| name == RETRY_AFTER);
    let seconds = seconds.and_then(|(_, value)| value.to_str().ok()?.parse().ok());
    MessagePage {
        look,
        title: said.map_or(refusal.title(), |said| &said.title),
        detail: said.map_or(refusal.detail(), |said| &said.detail),
        wait: seconds.map(|seconds| look.text.message.wait(seconds)),
        doors: doors(look, (&visit.asked, refusal), place),
        reference: Some(format!("{} · {}", refusal.code(), visit.exchange.request_id().as_str())),
    }
}

fn doors<'a>(look: Look<'a>, (asked, refusal): (&Asked, Refusal), place: Place) -> Vec<Door<'a>> {
    let (text, way_back) = (&look.text, asked.way_back());
    let home = Door { label: &text.common.home, to: "/".to_owned(), place };
    match refusal.status() {
        StatusCode::FORBIDDEN if refusal == Refusal::Forbidden => {
            let to = look.login_link(way_back.as_ref(), Prompt::Always);
            vec![home, Door { label: &text.message.other_account, to, place }]
        }
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED => {
            vec![home]
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            let again = |to: String| Door { label: &text.message.again, to, place: Place::Here };
            asked.again().map(again).into_iter().collect()
        }
        _ => Vec::new(),
    }
}
