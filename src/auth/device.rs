//! Device cookies: proof that somebody signed in here before, so that guesses of strangers slow
//! nobody but strangers. And a device's name, guessed for its owner.
//!
//! A device cookie lets nobody in. It is base64url of version, nonce, expiry and a tag over them,
//! the user's id and the password's epoch: whoever changes a password makes all of them void.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Timestamp;
use crate::identity::UserId;
use crate::secret::{self, Secret};
use crate::store::User;
use crate::token::MasterKeys;

/// How long a device is remembered.
pub const DEVICE_LIFE: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// A cookie for the device on which a user just signed in.
pub(super) fn cookie(masters: &MasterKeys, user: (UserId, u32), now: Timestamp) -> Secret {
    let proof = Proof { nonce: secret::random(), expires: now.plus(DEVICE_LIFE).as_millis() };
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&proof.nonce);
    bytes.extend_from_slice(&proof.expires.to_be_bytes());
    bytes.extend_from_slice(&masters.mac(PURPOSE, &proof.claim(user)));
    URL_SAFE_NO_PAD.encode(bytes).into()
}

/// Whether a cookie shows that this user signed in on the device. The same is computed for nobody.
pub(super) fn is_of(
    masters: &MasterKeys,
    cookie: &str,
    user: Option<&User>,
    now: Timestamp,
) -> bool {
    let Some((proof, tag)) = read(cookie) else {
        return false;
    };
    let nobody = (UserId::from_bytes([0; 16]), 0);
    let whose = user.map_or(nobody, |user| (user.id, user.password_epoch));
    let genuine = masters.is_mac(PURPOSE, &proof.claim(whose), &tag);
    genuine && user.is_some() && now.as_millis() < proof.expires
}

/// What a device is called when its owner does not say: "Firefox on Linux", with that `on`. Guessed
/// of browsers.
pub fn device_name(agent: &str, on: &str) -> Option<String> {
    let first = |known: &[(&str, &'static str)]| {
        known.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    let browser = first(BROWSERS)?;
    Some(match first(SYSTEMS) {
        Some(system) => format!("{browser} {on} {system}"),
        None => browser.to_owned(),
    })
}

struct Proof {
    nonce: [u8; 16],
    expires: i64,
}

impl Proof {
    fn claim(&self, (user, epoch): (UserId, u32)) -> Vec<u8> {
        let mut claim = user.as_bytes().to_vec();
        claim.extend_from_slice(&epoch.to_be_bytes());
        claim.extend_from_slice(&self.nonce);
        claim.extend_from_slice(&self.expires.to_be_bytes());
        claim
    }
}

fn read(cookie: &str) -> Option<(Proof, [u8; 32])> {
    let mut bytes = [0; LENGTH];
    // Longer texts are refused before they are decoded, shorter ones after.
    let read = URL_SAFE_NO_PAD.decode_slice(cookie, &mut bytes).ok()?;
    let (&[version], rest) = bytes.split_first_chunk()?;
    let (nonce, rest) = rest.split_first_chunk()?;
    let (expires, tag) = rest.split_first_chunk()?;
    let proof = Proof { nonce: *nonce, expires: i64::from_be_bytes(*expires) };
    (read == LENGTH && version == VERSION).then_some((proof, tag.try_into().ok()?))
}

const PURPOSE: &str = "device";
const VERSION: u8 = 1;
/// Version, nonce, expiry, tag.
const LENGTH: usize = 1 + 16 + 8 + 32;

/// Marks in a user agent; browsers that hold the mark of another come before it.
const BROWSERS: &[(&str, &str)] = &[
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Epiphany/", "Web"),
    ("Safari/", "Safari"),
];

const SYSTEMS: &[(&str, &str)] = &[
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

#[cfg(test)]
mod tests;
