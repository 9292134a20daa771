//! Whether a new password is good enough. Asked when one is set, never of one that is presented.

use std::fmt;

use super::{LONGEST, Password};
use crate::identity::Username;
use crate::secret::Secret;

/// What a new password must satisfy beside the fixed rules.
#[derive(Clone, Copy, Debug)]
pub struct Demands<'a> {
    /// Characters at least.
    pub min_length: usize,
    /// Forbidden passwords, compared without case.
    pub blocklist: &'a [String],
}

/// One reason why a new password is refused, fit to be shown to its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Fewer characters than so many.
    TooShort(usize),
    /// More bytes than so many.
    TooLong(usize),
    /// Empty, not UTF-8, or with a control or unassigned character (RFC 8265 section 4.2).
    Characters,
    /// It holds the username.
    Username,
    /// A short piece, such as one character, again and again.
    Repeated,
    /// On a list of common or forbidden passwords.
    Listed,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort(least) => write!(f, "it needs at least {least} characters"),
            Self::TooLong(most) => write!(f, "it may have at most {most} bytes"),
            Self::Characters => f.write_str("it holds a character that no password may hold"),
            Self::Username => f.write_str("it must not contain the username"),
            Self::Repeated => f.write_str("it must not be one short piece repeated"),
            Self::Listed => f.write_str("it is on a list of common passwords"),
        }
    }
}

/// Prepares a new password, or tells everything that is wrong with it.
pub fn judge(
    typed: &Secret,
    username: &Username,
    demands: Demands<'_>,
) -> Result<Password, Vec<Rejection>> {
    if typed.expose().len() > LONGEST {
        return Err(vec![Rejection::TooLong(LONGEST)]);
    }
    let password = Password::new(typed).ok_or_else(|| vec![Rejection::Characters])?;
    let rejections = faults(password.as_str(), username, demands);
    if rejections.is_empty() { Ok(password) } else { Err(rejections) }
}

fn faults(password: &str, username: &Username, demands: Demands<'_>) -> Vec<Rejection> {
    let folded = password.to_lowercase();
    let listed = |list: &str| folded == list.to_lowercase();
    let mut all = Vec::new();
    if password.chars().count() < demands.min_length {
        all.push(Rejection::TooShort(demands.min_length));
    }
    if folded.contains(username.as_str()) && username.as_str().len() >= SHORTEST_NAME {
        all.push(Rejection::Username);
    }
    if is_repeated(&folded) {
        all.push(Rejection::Repeated);
    }
    if COMMON.contains(&folded.as_str()) || demands.blocklist.iter().any(|line| listed(line)) {
        all.push(Rejection::Listed);
    }
    all
}

/// Whether a text is its own beginning three times or more, the last time perhaps cut short.
fn is_repeated(text: &str) -> bool {
    let characters: Vec<char> = text.chars().collect();
    let repeats = |period| {
        let shifted = characters.iter().skip(period);
        characters.iter().zip(shifted).all(|(one, other)| one == other)
    };
    (1..=(characters.len() / 3).max(1)).any(repeats)
}

/// Bytes of a name at least, for a password that holds it to be weak by that.
const SHORTEST_NAME: usize = 3;

/// The commonest ones that are long enough to pass the usual minimum.
const COMMON: &[&str] = &[
    "password1234",
    "password12345",
    "password123456",
    "passwordpassword",
    "password123!",
    "p@ssw0rd1234",
    "123456789012",
    "1234567890123",
    "12345678901234",
    "123456789012345",
    "1234567890123456",
    "123456789123456789",
    "123123123123",
    "123412341234",
    "123456123456",
    "987654321098",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwertyuiopasdf",
    "qwertyqwerty",
    "qwerty123456",
    "qwertyuiop[]",
    "1qaz2wsx3edc",
    "1q2w3e4r5t6y",
    "q1w2e3r4t5y6",
    "zaq12wsxcde3",
    "asdfghjkl123",
    "asdfghjkl;'",
    "abcdefghijkl",
    "abcdefghijklmnop",
    "abc123abc123",
    "abcd1234abcd",
    "iloveyou1234",
    "iloveyouiloveyou",
    "letmeinletmein",
    "letmein12345",
    "welcome12345",
    "welcome123456",
    "changemechangeme",
    "changeme1234",
    "administrator",
    "administrator1",
    "admin1234567",
    "adminadminadmin",
    "administrator123",
    "sunshine1234",
    "football1234",
    "baseball1234",
    "princess1234",
    "dragondragon",
    "superman1234",
    "trustno1trustno1",
    "correct horse battery staple",
    "correcthorsebatterystaple",
];
