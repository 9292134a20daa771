//! The companion cookie: proof of whom an application's own cookies were set for.
//!
//! It is base64url of version, end, an entry for each cookie and a tag over them and the user's id.
//! It lets nobody in; what it does not name, or names for another user, counts as somebody else's.
//! That it belongs to one user as a whole is what keeps alice's cookies from bob, and bob's from
//! alice when she is back: each makes the other's void.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::Auth;
use crate::clock::Timestamp;
use crate::identity::UserId;
use crate::secret::Secret;
use crate::token::MasterKeys;

/// The cookies of applications that were set for one user, or for the anonymous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companion {
    user: Option<UserId>,
    /// Milliseconds; 0: with the browser.
    end: i64,
    entries: Vec<Entry>,
}

/// A digest of a route's name and a cookie's.
type Entry = [u8; 8];

impl Auth {
    /// Reads the companion that a caller (None: anonymous) presents. Another's is an empty one.
    pub fn companion(&self, presented: Option<&str>, user: Option<UserId>) -> Companion {
        let read = presented.and_then(|text| read(&self.parts.masters, text, user));
        read.unwrap_or(Companion { user, end: 0, entries: Vec::new() })
    }

    /// The companion's text, and how long browsers shall keep it (None: to their own end).
    pub fn companion_text(&self, companion: &Companion) -> (Secret, Option<Duration>) {
        let mut bytes = companion.body();
        let tag = self.parts.masters.mac(PURPOSE, &claim(&bytes, companion.user));
        bytes.extend_from_slice(&tag);
        let left = self.parts.clock.now().until(Timestamp::from_millis(companion.end));
        let life = (!left.is_zero()).then(|| left.min(LONGEST_LIFE));
        (URL_SAFE_NO_PAD.encode(bytes).into(), life)
    }
}

impl Companion {
    /// Whether a cookie of a route was set for this user.
    pub fn holds(&self, route: &str, cookie: &[u8]) -> bool {
        self.entries.contains(&entry(route, cookie))
    }

    /// Notes that a cookie is being set for this user, to be kept until `end` (None: with the
    /// browser).
    pub fn note(&mut self, (route, cookie): (&str, &[u8]), end: Option<Timestamp>) {
        self.end = self.end.max(end.map_or(0, Timestamp::as_millis));
        let entry = entry(route, cookie);
        if self.entries.contains(&entry) {
            return;
        }
        if self.entries.len() >= MOST {
            self.entries.remove(0);
        }
        self.entries.push(entry);
    }

    fn body(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.end.to_be_bytes());
        bytes.extend(self.entries.iter().flatten());
        bytes
    }
}

fn read(masters: &MasterKeys, text: &str, user: Option<UserId>) -> Option<Companion> {
    if text.len() > LONGEST_TEXT {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (body, tag) = bytes.split_last_chunk::<32>()?;
    if !masters.is_mac(PURPOSE, &claim(body, user), tag) {
        return None;
    }
    let (&[version], rest) = body.split_first_chunk()?;
    let (end, entries) = rest.split_first_chunk()?;
    let (entries, rest) = entries.as_chunks();
    let whole = version == VERSION && rest.is_empty() && entries.len() <= MOST;
    whole.then(|| Companion { user, end: i64::from_be_bytes(*end), entries: entries.to_vec() })
}

/// What the tag is over: nobody's id has no bytes, so no user's companion is the anonymous one's.
fn claim(body: &[u8], user: Option<UserId>) -> Vec<u8> {
    let mut claim = Vec::with_capacity(body.len().saturating_add(17));
    claim.push(u8::from(user.is_some()));
    if let Some(user) = user {
        claim.extend_from_slice(user.as_bytes());
    }
    claim.extend_from_slice(body);
    claim
}

/// Letter case of a cookie's name is folded, as it is where names are matched.
fn entry(route: &str, cookie: &[u8]) -> Entry {
    let length = u64::try_from(route.len()).unwrap_or(u64::MAX);
    let digest = Sha256::new()
        .chain_update(length.to_be_bytes())
        .chain_update(route)
        .chain_update(cookie.to_ascii_lowercase())
        .finalize();
    let mut entry = Entry::default();
    entry.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    entry
}

const PURPOSE: &str = "own";
const VERSION: u8 = 1;
/// Cookies of all routes that one browser's companion remembers; the oldest is forgotten first.
const MOST: usize = 32;
/// Version, end, entries, tag: 297 bytes.
const LONGEST_TEXT: usize = 396;
/// No browser keeps a cookie for longer.
const LONGEST_LIFE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::MasterKey;

    fn masters(ids: &[u8]) -> MasterKeys {
        let key = |id: &u8| MasterKey { id: *id, key: Secret::new([*id; 32]) };
        MasterKeys::new(ids.iter().map(key).collect()).unwrap()
    }

    fn text(masters: &MasterKeys, companion: &Companion) -> String {
        let mut bytes = companion.body();
        let tag = masters.mac(PURPOSE, &claim(&bytes, companion.user));
        bytes.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn of(user: Option<u8>, cookies: &[&str]) -> Companion {
        let user = user.map(|byte| UserId::from_bytes([byte; 16]));
        let mut companion = Companion { user, end: 0, entries: Vec::new() };
        for cookie in cookies {
            companion.note(("route", cookie.as_bytes()), None);
        }
        companion
    }

    #[test]
    fn a_companion_is_read_for_its_own_user_alone() {
        let masters = masters(&[1]);
        let alice = of(Some(1), &["session"]);
        let written = text(&masters, &alice);
        let id = |byte| Some(UserId::from_bytes([byte; 16]));
        assert_eq!(read(&masters, &written, id(1)), Some(alice));
        for other in [id(2), id(0), None] {
            assert_eq!(read(&masters, &written, other), None, "{other:?}");
        }
        let nobody = text(&masters, &of(None, &["session"]));
        assert_eq!(read(&masters, &nobody, id(0)), None);
        assert!(read(&masters, &nobody, None).is_some());
    }

    #[test]
    fn a_companion_of_an_older_master_key_holds_while_that_is_known() {
        let written = text(&masters(&[1]), &of(Some(1), &["a"]));
        let user = Some(UserId::from_bytes([1; 16]));
        assert!(read(&masters(&[2, 1]), &written, user).is_some());
        assert_eq!(read(&masters(&[2]), &written, user), None);
    }

    #[test]
    fn no_byte_of_a_companion_can_be_changed() {
        let masters = masters(&[1]);
        let written = text(&masters, &of(None, &["a", "b"]));
        for at in 0..written.len() {
            let mut changed = written.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(read(&masters, &changed, None), None, "byte {at}");
        }
        for hostile in ["", "A", "AQ", written.get(1..).unwrap(), &"A".repeat(10_000), "\u{e9}"] {
            assert_eq!(read(&masters, hostile, None), None, "{hostile}");
        }
    }

    #[test]
    fn it_names_a_route_and_a_cookie_and_stays_short() {
        let mut companion = of(None, &["session"]);
        assert!(companion.holds("route", b"SESSION"));
        assert!(!companion.holds("rout", b"esession") && !companion.holds("other", b"session"));
        for number in 0..100 {
            companion.note(("route", format!("c{number}").as_bytes()), None);
        }
        assert!(!companion.holds("route", b"session") && companion.holds("route", b"c99"));
        let written = text(&masters(&[1]), &companion);
        assert_eq!(written.len(), LONGEST_TEXT);
        assert_eq!(read(&masters(&[1]), &written, None), Some(companion));
    }

    #[test]
    fn it_lasts_as_long_as_the_longest() {
        let mut companion = of(None, &["a"]);
        for (secs, expected) in [(None, 0), (Some(9), 9_000), (Some(8), 9_000), (None, 9_000)] {
            companion.note(("route", b"a"), secs.map(Timestamp::from_secs));
            assert_eq!(companion.end, expected, "{secs:?}");
        }
    }
}
