//! The pages themselves: what each template is told. The words come with the [`Look`].

use std::borrow::Cow;

use askama::Template;

use super::super::Snapshot;
use super::{Look, Prompt};
use crate::auth::device_name;
use crate::clock::Timestamp;
use crate::password::Rejection;
use crate::request::{CookieValue, LocalPath, NormalRequest, Scheme};
use crate::session::Row;

/// What came before a login form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Tried {
    /// Nothing.
    Not,
    /// A login that was refused.
    Refused,
    /// A login that is not recent, or of another account.
    Again,
}

/// The login form.
#[derive(Template)]
#[template(path = "login.html")]
pub(in super::super) struct LoginPage<'a> {
    pub(in super::super) look: Look<'a>,
    pub(in super::super) tried: Tried,
    pub(in super::super) return_to: &'a LocalPath,
    /// The box, as it was sent.
    pub(in super::super) remember: bool,
}

/// What is said when a good login left no cookie.
#[derive(Template)]
#[template(path = "done.html")]
pub(in super::super) struct LostCookie<'a> {
    look: Look<'a>,
    reasons: Vec<&'a str>,
    again: String,
}

impl<'a> LostCookie<'a> {
    pub(in super::super) fn new(
        look: Look<'a>,
        (snapshot, request): (&Snapshot, &NormalRequest),
        to: &LocalPath,
    ) -> Self {
        let text = &look.text.done;
        let is_https = request.origin().is_some_and(|own| own.scheme() == Scheme::Https);
        let likeliest = match (is_https, snapshot.jar().is_secure()) {
            (true, _) => Some(&text.not_https),
            (false, false) => None,
            (false, true) if request.host().name.is_loopback() => Some(&text.localhost),
            (false, true) => Some(&text.plain_http),
        };
        let twice = |cookie: &CookieValue| *cookie == CookieValue::Doubled;
        let reasons = if twice(request.access_cookie()) || twice(request.refresh_cookie()) {
            vec![text.doubled.as_str()]
        } else {
            likeliest.into_iter().chain([&text.blocked]).map(String::as_str).collect()
        };
        Self { look, reasons, again: look.login_link(Some(to), Prompt::Always) }
    }
}

/// One button that ends the session.
#[derive(Template)]
#[template(path = "logout.html")]
pub(in super::super) struct LogoutPage<'a> {
    pub(in super::super) look: Look<'a>,
}

/// A heading, some words, and ways on.
#[derive(Template)]
#[template(path = "message.html")]
pub(in super::super) struct MessagePage<'a> {
    pub(super) look: Look<'a>,
    pub(super) title: &'a str,
    pub(super) detail: &'a str,
    pub(super) wait: Option<String>,
    pub(super) doors: Vec<Door<'a>>,
    /// Code and request id, for whoever has to find out.
    pub(super) reference: Option<String>,
}

/// A way on from a message.
pub(super) struct Door<'a> {
    pub(super) label: &'a str,
    pub(super) to: String,
    pub(super) place: Place,
}

/// Where a link opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Here.
    Here,
    /// In place of the page around this one.
    Top,
    /// Beside this page, which stays.
    NewTab,
}

impl<'a> MessagePage<'a> {
    /// Nobody is signed in.
    pub(in super::super) fn signed_out(look: Look<'a>) -> Self {
        let (text, to) = (&look.text.signed_out, look.login_link(None, Prompt::IfNeeded));
        let door = Door { label: &text.again, to, place: Place::Here };
        Self {
            look,
            title: &text.title,
            detail: &text.lead,
            wait: None,
            doors: vec![door],
            reference: None,
        }
    }

    /// A link that sets no password; whichever way it came to that.
    pub(in super::super) fn bad_link(look: Look<'a>) -> Self {
        let text = &look.text.bad_link;
        let (title, detail) = (&text.title, &text.lead);
        // Most often the password is set already.
        let to = look.login_link(None, Prompt::IfNeeded);
        let doors = vec![Door { label: &look.text.signed_out.again, to, place: Place::Here }];
        Self { look, title, detail, wait: None, doors, reference: None }
    }
}

/// The form of a link that sets a password.
#[derive(Template)]
#[template(path = "setup.html")]
pub(in super::super) struct SetupPage<'a> {
    look: Look<'a>,
    secret: &'a str,
    username: &'a str,
    /// Why the password before was refused.
    reasons: Vec<String>,
    /// Characters of a password.
    least: usize,
    hint: String,
}

impl<'a> SetupPage<'a> {
    /// A link's secret, whose password it sets, and of how many characters at least.
    pub(in super::super) fn new(
        look: Look<'a>,
        (secret, username): (&'a str, &'a str),
        least: usize,
    ) -> Self {
        let hint = look.text.setup.password_hint.replace("{least}", &least.to_string());
        Self { look, secret, username, reasons: Vec::new(), least, hint }
    }

    /// What was wrong with the password before.
    pub(in super::super) fn rejected(self, reasons: &[Rejection]) -> Self {
        Self { reasons: self.look.text.why(reasons), ..self }
    }
}

/// What came of a change of the password.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Attempt<'a> {
    /// There was none.
    None,
    /// It was done.
    Changed,
    /// The current password is another.
    Wrong,
    /// The new one is too weak.
    Weak(&'a [Rejection]),
}

/// A person's own page: sessions and password.
#[derive(Template)]
#[template(path = "account.html")]
pub(in super::super) struct AccountPage<'a> {
    look: Look<'a>,
    username: &'a str,
    sessions: Vec<Session<'a>>,
    /// The password was changed just now.
    changed: bool,
    /// The current password before was another.
    wrong: bool,
    /// Why the new password before was refused.
    reasons: Vec<String>,
    /// Characters of a new password.
    least: usize,
    new_password_hint: String,
}

struct Session<'a> {
    id: String,
    current: bool,
    device: Option<Cow<'a, str>>,
    network: Option<&'a str>,
    since: String,
    last_seen: String,
    until: String,
}

impl<'a> AccountPage<'a> {
    /// `current` is the row of whoever looks at it.
    pub(in super::super) fn new(
        look: Look<'a>,
        username: &'a str,
        sessions: impl Iterator<Item = (&'a Row, bool)>,
        least: usize,
    ) -> Self {
        let on = &look.text.account.on;
        let sessions = sessions.map(|(row, current)| Session::new(row, current, on)).collect();
        let hint = look.text.account.new_password_hint.replace("{least}", &least.to_string());
        let (changed, wrong, reasons) = (false, false, Vec::new());
        Self { look, username, sessions, changed, wrong, reasons, least, new_password_hint: hint }
    }

    /// What came of the change before.
    pub(in super::super) fn after(self, attempt: Attempt<'_>) -> Self {
        match attempt {
            Attempt::None => self,
            Attempt::Changed => Self { changed: true, ..self },
            Attempt::Wrong => Self { wrong: true, ..self },
            Attempt::Weak(reasons) => Self { reasons: self.look.text.why(reasons), ..self },
        }
    }
}

impl<'a> Session<'a> {
    /// Nothing here moves with a rotation, or a thief could watch the owner's.
    fn new(row: &'a Row, current: bool, on: &str) -> Self {
        Self {
            id: row.identity.session.to_string(),
            current,
            device: device(row, on),
            network: row.login_network.as_deref(),
            // The hour of the login began before it.
            last_seen: stamp(row.last_seen, ":00").max(stamp(row.created, "")),
            since: stamp(row.created, ""),
            until: stamp(row.absolute_end, ""),
        }
    }
}

/// As its owner calls it. What was guessed at the login is guessed again, with this `on`.
fn device<'a>(row: &'a Row, on: &str) -> Option<Cow<'a, str>> {
    let (name, agent) = (row.device_name.as_deref(), row.user_agent.as_deref());
    let guessed =
        agent.filter(|agent| name.is_some() && device_name(agent, "on").as_deref() == name);
    let again = guessed.and_then(|agent| device_name(agent, on));
    again.map(Cow::Owned).or_else(|| name.or(agent).map(Cow::Borrowed))
}

/// `2027-01-15 08:20 UTC`, the same in every language; the last digits may be given instead.
fn stamp(moment: Timestamp, minutes: &str) -> String {
    let text = moment.to_string();
    let (day, time) = text.split_once('T').unwrap_or((&text, ""));
    let shown: String = time.chars().take("08:20".len() - minutes.len()).collect();
    format!("{day} {shown}{minutes} UTC")
}
