//! Who someone is: ids, names and roles, each valid by construction.
//!
//! An [`Identity`] is only a statement; that it was proven is the business of `auth`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use precis_profiles::UsernameCaseMapped;
use precis_profiles::precis_core::profile::Profile;
use thiserror::Error;

/// Names a user for ever, whatever becomes of the username. Shown as a UUID (RFC 9562).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId([u8; 16]);

/// Names one login and its family of refresh tokens. Shown as a UUID (RFC 9562).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; 16]);

macro_rules! id {
    ($name:ident) => {
        impl $name {
            /// The id of these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                read_uuid(text).map(Self).ok_or(BadId)
            }
        }
    };
}

id!(UserId);
id!(SessionId);

/// Not the canonical form of an id: 32 lower-case hex digits in groups of 8-4-4-4-12.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not an id: expected 8-4-4-4-12 lower-case hex digits")]
pub struct BadId;

/// A username, folded (RFC 8265 UsernameCaseMapped): the key for lookup, limits and headers alike.
///
/// 1 to 64 characters, letters, digits and `. _ - @ +`; no control, blank or separator can occur.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Username(Arc<str>);

impl Username {
    /// Folds and checks a name as typed: `Alice` and fullwidth `ａｌｉｃｅ` are both `alice`.
    pub fn new(typed: &str) -> Result<Self, BadUsername> {
        if typed.is_empty() {
            return Err(BadUsername::Empty);
        }
        // So it is in most access tokens, which are read on each request.
        if is_folded_ascii(typed) && typed.len() <= 64 {
            return Ok(Self(typed.into()));
        }
        Self::fold(typed)
    }

    fn fold(typed: &str) -> Result<Self, BadUsername> {
        // 64 characters, before anything is folded: no form of UTF-8 needs more bytes.
        if typed.len() > 64 * 4 {
            return Err(BadUsername::TooLong);
        }
        // Of these RFC 8265 would say less clearly what is wrong; none folds to another.
        if let Some(stranger) = typed.chars().find(|c| c.is_ascii() && !may_hold(*c)) {
            return Err(BadUsername::Character(stranger));
        }
        let fold = |name: &str| {
            let folded = UsernameCaseMapped::new().enforce(name);
            folded
                .map(String::from)
                .map_err(|cause| BadUsername::Precis(cause.to_string().trim_end().to_owned()))
        };
        let folded = fold(typed)?;
        // Some letters fold to one that RFC 8265 refuses: such a name could never be read again.
        if fold(&folded)? != folded {
            return Err(BadUsername::Precis("it changes when folded twice".to_owned()));
        }
        if folded.chars().count() > 64 {
            return Err(BadUsername::TooLong);
        }
        match folded.chars().find(|c| !may_hold(*c)) {
            Some(stranger) => Err(BadUsername::Character(stranger)),
            None => Ok(Self(folded.into())),
        }
    }

    /// Whether a new user may take the name. One of dots alone is no segment of a path, so that nobody
    /// could name its user there (RFC 3986 section 5.2.4).
    pub fn may_be_taken(&self) -> Result<(), BadUsername> {
        if self.0.bytes().all(|byte| byte == b'.') { Err(BadUsername::Dots) } else { Ok(()) }
    }

    /// The folded name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn may_hold(c: char) -> bool {
    c.is_alphanumeric() || "._-@+".contains(c)
}

/// What RFC 8265 leaves as it is, and a username may hold.
fn is_folded_ascii(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-@+".contains(&b))
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a name cannot be a username.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BadUsername {
    /// Nothing was given.
    #[error("a username cannot be empty")]
    Empty,
    /// More than 64 characters.
    #[error("a username has at most 64 characters")]
    TooLong,
    /// A character that is no letter, digit or `. _ - @ +`.
    #[error("a username cannot hold {0:?}: letters, digits and . _ - @ + only")]
    Character(char),
    /// Nothing but dots.
    #[error("a username cannot be dots alone")]
    Dots,
    /// RFC 8265 refuses it.
    #[error("not a username by RFC 8265: {0}")]
    Precis(String),
}

/// The name of a role: `[a-z0-9][a-z0-9._:-]{0,31}`, so that no separator of a header can occur.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Role(Arc<str>);

impl Role {
    /// Checks a role's name; it is compared as a whole and with case.
    pub fn new(name: &str) -> Result<Self, BadRole> {
        let mut bytes = name.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest = |b: u8| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b':' | b'-')
        };
        if first && name.len() <= 32 && bytes.all(rest) {
            Ok(Self(name.into()))
        } else {
            Err(BadRole(name.to_owned()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Not the name of a role.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "not a role: {0:?}; lower-case letters, digits and . _ : - only, at most 32, beginning with a letter or digit"
)]
pub struct BadRole(String);

/// A known caller's user, roles and session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user, for ever.
    pub user: UserId,
    /// The user's name today.
    pub username: Username,
    /// In the order the administrator gave; the first is the `role` of the access token.
    pub roles: Arc<[Role]>,
    /// The login that this request belongs to.
    pub session: SessionId,
}

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody with a live session.
    Known(Identity),
    /// Nobody we know.
    Anonymous(Why),
}

impl Caller {
    /// The identity of a known caller.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Known(identity) => Some(identity),
            Self::Anonymous(_) => None,
        }
    }
}

/// Why a caller is anonymous: decides which 401 is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// No credential of ours came along.
    NoCredential,
    /// A credential of ours that does not verify.
    Invalid,
    /// An access token past its end.
    Expired,
    /// The session was ended.
    Revoked,
    /// A cookie of a session that is not renewed by cookie, and no access token that still holds.
    NotByCookie,
}

fn write_uuid(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

fn read_uuid(text: &str) -> Option<[u8; 16]> {
    let mut value: u128 = 0;
    for (at, byte) in text.bytes().enumerate() {
        match (at, byte) {
            (8 | 13 | 18 | 23, b'-') => continue,
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => value = (value << 4) | u128::from(byte - b'0'),
            (_, b'a'..=b'f') => value = (value << 4) | u128::from(byte - b'a' + 10),
            _ => return None,
        }
    }
    (text.len() == 36).then(|| value.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_name_are_one_username() {
        for typed in ["alice", "Alice", "ALICE", "ａｌｉｃｅ"] {
            assert_eq!(Username::new(typed).unwrap().as_str(), "alice", "{typed}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_name_that_is_not_folded_for_being_plain_would_fold_to_itself(
            name in prop_oneof!["[a-z0-9._@+-]{1,70}", "[ -~]{1,8}"],
        ) {
            prop_assert_eq!(Username::new(&name), Username::fold(&name));
        }
    }

    #[test]
    fn a_username_holds_nothing_that_a_header_or_a_path_could_misread() {
        assert!(Username::new("\u{13a0}").is_err(), "its folded form is refused");
        for typed in ["", "a b", "a,b", "a\r\nb", "a\0", "a/b", "a:b", "a%b", "\u{202e}a", "a;b"] {
            assert!(Username::new(typed).is_err(), "{typed:?}");
        }
        assert!(Username::new(&"a".repeat(64)).is_ok());
        assert!(Username::new(&"a".repeat(65)).is_err());
    }

    #[test]
    fn a_new_name_is_more_than_dots() {
        for (name, may) in [(".", false), ("..", false), ("...", false), (".a", true), ("a.", true)]
        {
            assert_eq!(Username::new(name).unwrap().may_be_taken().is_ok(), may, "{name}");
        }
    }

    #[test]
    fn an_id_reads_back_from_its_canonical_form_alone() {
        let id = SessionId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string(), "abababab-abab-abab-abab-abababababab");
        assert_eq!(id.to_string().parse(), Ok(id));
        for other in [
            "ABABABAB-abab-abab-abab-abababababab",
            "ab",
            "abababab-abab-abab-abab-ababababab",
            "abababab-abab-abab-abab-ababababababab",
            "ababababababababababababababababab",
            "abababab-abab-abab-ababababababababab",
            "abababababab-abab-abab-abababababab",
            "abababab-abab-abab-abab-abababababag",
            "abababab-abab-abab-abab-ababababab-b",
            "{abababab-abab-abab-abab-abababababab}",
        ] {
            assert_eq!(other.parse::<SessionId>(), Err(BadId), "{other}");
        }
    }

    #[test]
    fn a_role_is_plain() {
        assert!(Role::new("team:ops-1.a_b").is_ok());
        for name in ["", "Admin", "-a", "a b", "a,b", &"a".repeat(33)] {
            assert!(Role::new(name).is_err(), "{name:?}");
        }
    }
}
