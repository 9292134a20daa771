//! Who sends a request: which credential is ours, and whether it counts.

use std::rc::Rc;

use super::{Auth, Parts};
use crate::identity::{Caller, Why};
use crate::request::CookieValue;
use crate::revocation::Standing;
use crate::token::{BadToken, TokenCache, Verified, decode_leniently};

/// What came along with a request.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The access cookie.
    pub access: &'a CookieValue,
    /// The value of `Authorization: Bearer`, whoever made it.
    pub bearer: Option<&'a str>,
}

/// Which credential decided who the caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// There was none of ours.
    Nothing,
    /// A cookie, so that the origin rule applies.
    Cookie,
    /// A Bearer token of ours.
    Bearer,
}

/// Who the caller is and how that is known.
#[derive(Debug)]
pub struct Authentication {
    /// Who.
    pub caller: Caller,
    /// By what.
    pub by: DecidedBy,
    /// What the access token said, for a known caller.
    pub verified: Option<Rc<Verified>>,
    /// A Bearer value came along that is not ours: it belongs to the application.
    pub foreign_bearer: bool,
}

impl Authentication {
    /// Whether a good Bearer token of ours decided.
    pub fn is_by_bearer(&self) -> bool {
        self.by == DecidedBy::Bearer && self.verified.is_some()
    }
}

impl Auth {
    /// Decides who sends a request. Ours as Bearer decides alone, else the cookie; the set of ended
    /// sessions is asked after every good token.
    pub fn authenticate(&self, credentials: Credentials<'_>, cache: &TokenCache) -> Authentication {
        if let Some(token) = credentials.bearer {
            let found = self.parts.examine((token, DecidedBy::Bearer), cache);
            if found.verified.is_some() || self.is_ours(token) {
                return found;
            }
        }
        let mut found = match credentials.access {
            CookieValue::One(token) => self.parts.examine((token, DecidedBy::Cookie), cache),
            CookieValue::Absent => anonymous(Why::NoCredential, DecidedBy::Nothing),
            CookieValue::Doubled => anonymous(Why::Invalid, DecidedBy::Nothing),
        };
        found.foreign_bearer = credentials.bearer.is_some();
        found
    }

    /// Whether the value of an `Authorization` header holds a credential of ours, by whichever
    /// scheme and valid or not; such a one never reaches an upstream. Read as leniently as the most
    /// lenient application could.
    pub fn owns(&self, authorization: &[u8]) -> bool {
        let value = String::from_utf8_lossy(authorization);
        value.split(',').any(|element| self.owns_element(element))
    }

    fn owns_element(&self, element: &str) -> bool {
        let is_gap = |char: char| !char.is_ascii_graphic();
        let element = element.trim_matches(is_gap);
        let (scheme, rest) = element.split_once(is_gap).unwrap_or(("", element));
        let rest = rest.trim_start_matches(is_gap);
        self.is_ours(rest) || (scheme.eq_ignore_ascii_case("basic") && self.owns_basic(rest))
    }

    fn owns_basic(&self, encoded: &str) -> bool {
        let decoded = decode_leniently(encoded).unwrap_or_default();
        let pair = String::from_utf8_lossy(&decoded);
        let (user, password) = pair.split_once(':').unwrap_or((&pair, ""));
        self.is_ours(user) || self.is_ours(password)
    }

    /// Whether a Bearer value is, or claims to be, one of ours; such a one never reaches an upstream.
    pub fn is_ours(&self, bearer: &str) -> bool {
        self.parts.ring.claims_ours(bearer, &self.parts.rules)
    }
}

impl Parts {
    fn examine(&self, (token, by): (&str, DecidedBy), cache: &TokenCache) -> Authentication {
        match cache.verify(token, (&self.ring, &self.rules), self.clock.now()) {
            Ok(verified) => self.standing(verified, by),
            Err(BadToken::Expired(_)) => anonymous(Why::Expired, by),
            Err(BadToken::Invalid | BadToken::Ahead(_)) => anonymous(Why::Invalid, by),
        }
    }

    fn standing(&self, verified: Rc<Verified>, by: DecidedBy) -> Authentication {
        match self.revocations.standing(verified.identity.session, verified.version) {
            Standing::Good => Authentication {
                caller: Caller::Known(verified.identity.clone()),
                by,
                verified: Some(verified),
                foreign_bearer: false,
            },
            // From before a change of roles: a refresh gives one with the new ones.
            Standing::Stale => anonymous(Why::Expired, by),
            Standing::Ended => anonymous(Why::Revoked, by),
        }
    }
}

fn anonymous(why: Why, by: DecidedBy) -> Authentication {
    Authentication { caller: Caller::Anonymous(why), by, verified: None, foreign_bearer: false }
}
