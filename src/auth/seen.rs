//! Access tokens that came back: proof that the rotation which minted them arrived.

use std::cell::RefCell;
use std::collections::HashSet;

use super::Auth;
use crate::clock::Timestamp;
use crate::identity::SessionId;
use crate::token::Verified;

/// What a worker has seen, so that it tells the store once for each token. Bounded: when it is
/// full it begins anew, and telling twice is harmless.
#[derive(Debug, Default)]
pub struct Seen(RefCell<HashSet<(SessionId, Timestamp)>>);

impl Auth {
    /// Marks the rotation that minted this token as confirmed, the first time a worker sees it.
    pub fn confirm(&self, seen: &Seen, token: &Verified) {
        let mut known = seen.0.borrow_mut();
        let one = (token.identity.session, token.issued);
        if known.contains(&one) {
            return;
        }
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(one);
        self.parts.store.confirm(vec![one]);
    }
}

/// Tokens that a worker remembers: a megabyte and a half.
const MOST: usize = 65_536;
