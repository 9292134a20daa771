//! Access tokens that came back: proof that the rotation which minted them arrived, and that their
//! sessions are in use.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use super::Auth;
use crate::clock::Timestamp;
use crate::identity::SessionId;
use crate::token::Verified;

/// What a worker has seen, so that it tells the store once for each token, and once a minute that
/// its session is in use. Bounded: when it is full it begins anew, and telling twice is harmless.
#[derive(Debug, Default)]
pub struct Seen {
    /// The round in which each token was seen last.
    known: RefCell<HashMap<(SessionId, Timestamp), u32>>,
    /// Counts the minutes: no request asks the clock.
    round: Cell<u32>,
    /// Uptime at which the round began.
    since: Cell<Duration>,
    /// To be told at the end of the round.
    waiting: RefCell<Vec<(SessionId, Timestamp)>>,
}

impl Auth {
    /// Notes a token: the first time a worker sees one, the rotation that minted it is confirmed;
    /// the first time in a minute, its session waits to be told of.
    pub fn note(&self, seen: &Seen, token: &Verified) {
        let one = (token.identity.session, token.issued);
        let round = seen.round.get();
        let mut known = seen.known.borrow_mut();
        match known.get_mut(&one) {
            Some(last) if *last == round => return,
            Some(last) => *last = round,
            None => {
                if known.len() >= MOST {
                    known.clear();
                }
                known.insert(one, round);
                self.parts.store.confirm(vec![one], self.parts.sessions.windows.cookie);
            }
        }
        let mut waiting = seen.waiting.borrow_mut();
        if waiting.len() < MOST_WAITING {
            waiting.push((one.0, self.now()));
        }
    }

    /// Tells the store of the sessions that were seen, once the round has lasted for a minute; to
    /// be called again and again.
    pub fn tell_seen(&self, seen: &Seen) {
        let uptime = self.parts.clock.uptime();
        if uptime.saturating_sub(seen.since.get()) < ROUND {
            return;
        }
        seen.since.set(uptime);
        seen.round.set(seen.round.get().wrapping_add(1));
        for some in seen.waiting.take().chunks(CHUNK) {
            self.parts.store.touch(some.to_vec());
        }
    }
}

/// Tokens that a worker remembers: two megabytes.
const MOST: usize = 65_536;

/// Sessions that a worker tells of in a minute; others have their turn in another.
const MOST_WAITING: usize = 8192;

/// Sessions told of at once, so that no login waits long behind them.
const CHUNK: usize = 256;

const ROUND: Duration = Duration::from_secs(60);
