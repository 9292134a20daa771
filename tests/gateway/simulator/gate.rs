//! What browsers and thieves stand before: the gateway behind its sockets, or a model of it.

use std::fmt;
use std::net::Ipv4Addr;
use std::rc::Rc;

use super::Millis;
use super::jar::{Jar, Pair};

/// Whatever answers, by a clock that the world moves.
pub trait Gate {
    /// Milliseconds since the epoch.
    fn now(&self) -> Millis;

    fn advance_to(&mut self, moment: Millis);

    /// A new session by cookie, and its first pair.
    fn log_in(&mut self, seat: &Seat, user: usize, remember: bool) -> (String, Pair);

    /// Sends all at once and reads what comes back.
    fn ask_all(&mut self, seat: &Seat, asks: &[Ask]) -> Vec<Reply>;

    /// Sends a page whose answer the application holds back.
    fn hold(&mut self, seat: &Seat, jar: &Jar) -> Held;

    /// The application answers at last.
    fn let_go(&mut self, id: Id) -> Option<Reply>;

    /// The browser leaves before the answer.
    fn abort(&mut self, id: Id);

    /// What the store says of a session.
    fn state(&self, session: &str) -> State;

    /// What was written of a session lately.
    fn trail(&self, session: &str) -> String;

    /// Requests so far.
    fn requests(&self) -> u64;
}

/// Where somebody sits, and by what browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    pub address: Ipv4Addr,
    pub agent: String,
}

/// One request.
#[derive(Debug, Clone)]
pub enum Ask {
    /// A page, by these cookies.
    Page(Jar),
    /// `/auth/refresh`, by these cookies.
    Refresh(Jar),
    /// The list of sessions, by an access token as Bearer.
    List(Rc<str>),
}

/// One answer, as far as it concerns who asked.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    /// What was set.
    pub pair: Option<Pair>,
    pub text: String,
}

/// What has become of a request that the application was to hold back.
#[derive(Debug)]
pub enum Held {
    Waiting(Id),
    /// The gateway answered by itself.
    Answered(Reply),
}

pub type Id = u64;

/// What the store says of a session.
#[derive(Debug, PartialEq, Eq)]
pub struct State {
    /// Why it ended, or nothing.
    pub reason: String,
    /// Its idle or absolute end has passed.
    pub passed: bool,
    pub generation: u64,
    /// Time since the current token was made or given again.
    pub fresh: Millis,
    pub confirmed: bool,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, generation, fresh, confirmed, .. } = self;
        write!(f, "{reason} (generation {generation}, {fresh} ms old, confirmed: {confirmed})")
    }
}
