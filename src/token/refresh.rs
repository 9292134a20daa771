//! Refresh tokens: opaque, tagged, their successors computed and never stored.
//!
//! A token is `pcr_` and the base64url (RFC 4648 section 5, no padding) of
//! version, key id, session, generation, secret, tag. The tag lets a forgery be refused without a
//! look at the store; that the *secret* is the session's current one, only the store can tell.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::digest::consts::U16;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{KeyError, files};
use crate::identity::SessionId;
use crate::secret::{Secret, random, same};

/// SHA-256 of a refresh token's secret: all that the store holds.
pub type SecretHash = [u8; 32];
/// The random part of a rotation.
pub type Salt = [u8; 16];

/// A refresh token whose tag is good.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    /// Session.
    pub session: SessionId,
    /// Generation: 0 at login, one more with each rotation.
    pub generation: u64,
    /// The master key that made it.
    pub key: u8,
    secret: Secret,
}

impl RefreshToken {
    /// What the store holds of it.
    pub fn hash(&self) -> SecretHash {
        Sha256::digest(self.secret.expose()).into()
    }
}

/// Why a text is no refresh token of ours: 401 without a look at the store.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadRefreshToken {
    /// Malformed, or its tag is wrong.
    #[error("not a refresh token of ours")]
    Invalid,
    /// Made under a key id above every known one: 503, for another replica may know it.
    #[error("made under a master key that is not known here")]
    UnknownKey,
}

/// One master key, with its id.
#[derive(Clone, Debug)]
pub struct MasterKey {
    /// 1 to 255.
    pub id: u8,
    /// 32 bytes.
    pub key: Secret,
}

impl MasterKey {
    /// Reads a key file: one line of 43 base64url characters, not readable by group or others.
    pub fn read(id: u8, path: &Path) -> Result<Self, KeyError> {
        let text = files::read(path)?;
        let line = text.strip_suffix(b"\n").unwrap_or(&text);
        let mut key = Zeroizing::new([0; KEY_LENGTH]);
        match URL_SAFE_NO_PAD.decode_slice(line, key.as_mut_slice()) {
            Ok(KEY_LENGTH) => Ok(Self { id, key: Secret::new(*key) }),
            _ => Err(KeyError::NotAMasterKey { path: path.to_owned() }),
        }
    }

    /// Makes a random key and its file (mode 0600); a file that is there is never overwritten.
    pub fn create(id: u8, path: &Path) -> Result<Self, KeyError> {
        let key = Zeroizing::new(random::<KEY_LENGTH>());
        let mut line = Zeroizing::new(URL_SAFE_NO_PAD.encode(*key));
        line.push('\n');
        files::create(path, line.as_bytes())?;
        Ok(Self { id, key: Secret::new(*key) })
    }
}

/// The master keys: the first makes, all read.
#[derive(Debug)]
pub struct MasterKeys {
    active: Derived,
    others: Vec<Derived>,
}

impl MasterKeys {
    /// Derives what is needed of each key. None: no key at all, an id of 0 or twice, or a key
    /// that is not 32 bytes long.
    pub fn new(keys: Vec<MasterKey>) -> Option<Self> {
        let mut derived = Vec::with_capacity(keys.len());
        for key in keys {
            let twice = derived.iter().any(|known: &Derived| known.id == key.id);
            if twice || key.id == 0 || key.key.expose().len() != KEY_LENGTH {
                return None;
            }
            derived.push(Derived::from(&key));
        }
        let mut derived = derived.into_iter();
        Some(Self { active: derived.next()?, others: derived.collect() })
    }

    /// The first token of a session.
    pub fn first(&self, session: SessionId) -> RefreshToken {
        let secret = Secret::new(random::<KEY_LENGTH>());
        RefreshToken { session, generation: 0, key: self.active.id, secret }
    }

    /// Reads a token and checks its tag in constant time.
    pub fn read(&self, text: &str) -> Result<RefreshToken, BadRefreshToken> {
        let bytes = decode(text).ok_or(BadRefreshToken::Invalid)?;
        let (body, tag) = bytes.split_last_chunk::<TAG_LENGTH>().ok_or(BadRefreshToken::Invalid)?;
        let token = parse(body).ok_or(BadRefreshToken::Invalid)?;
        let key = self.of(token.key).ok_or_else(|| self.stranger(token.key))?;
        if same(&key.tag_of(body), tag) { Ok(token) } else { Err(BadRefreshToken::Invalid) }
    }

    /// The text of a token: `pcr_…`, 103 characters.
    pub fn text(&self, token: &RefreshToken) -> Secret {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH));
        bytes.extend_from_slice(&[VERSION, token.key]);
        bytes.extend_from_slice(token.session.as_bytes());
        bytes.extend_from_slice(&token.generation.to_be_bytes());
        bytes.extend_from_slice(token.secret.expose());
        // A key that is not known here makes a text that nobody can read: closed, not open.
        let tag = self.of(token.key).unwrap_or(&self.active).tag_of(&bytes);
        bytes.extend_from_slice(&tag);
        let mut text = String::with_capacity(LONGEST);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
        text.into()
    }

    /// The one successor under a salt, by the master key named (None: not known here, or the last
    /// generation). The successor's own `key` is that id.
    pub fn successor(&self, token: &RefreshToken, salt: &Salt, key: u8) -> Option<RefreshToken> {
        let generation = token.generation.checked_add(1)?;
        let secret = self
            .of(key)?
            .rotation
            .clone()
            .chain_update(b"portcullis/rt/1")
            .chain_update(token.session.as_bytes())
            .chain_update(generation.to_be_bytes())
            .chain_update(salt)
            .chain_update(token.secret.expose())
            .finalize()
            .into_bytes();
        let secret = Secret::new(secret.as_slice());
        Some(RefreshToken { session: token.session, generation, key, secret })
    }

    /// The id of the active key.
    pub fn active(&self) -> u8 {
        self.active.id
    }

    /// The check value of each key, for the store: id, HMAC under the key.
    pub fn check_values(&self) -> Vec<(u8, [u8; 32])> {
        self.all().map(|key| (key.id, key.mac("check", b""))).collect()
    }

    /// HMAC-SHA256 under a key derived for `purpose` from the active master key: device cookies,
    /// limiter keys.
    pub fn mac(&self, purpose: &str, text: &[u8]) -> [u8; 32] {
        self.active.mac(purpose, text)
    }

    /// Whether a value is that HMAC under any of the keys, told in constant time of each.
    pub fn is_mac(&self, purpose: &str, text: &[u8], value: &[u8; 32]) -> bool {
        self.all().any(|key| same(&key.mac(purpose, text), value))
    }

    fn of(&self, id: u8) -> Option<&Derived> {
        self.all().find(|key| key.id == id)
    }

    fn all(&self) -> impl Iterator<Item = &Derived> {
        std::iter::once(&self.active).chain(&self.others)
    }

    /// A newer key is one that this replica was not told of yet; an older one is gone for good.
    fn stranger(&self, id: u8) -> BadRefreshToken {
        if self.all().all(|known| known.id < id) {
            BadRefreshToken::UnknownKey
        } else {
            BadRefreshToken::Invalid
        }
    }
}

/// What is computed with one master key, each purpose under a key of its own.
struct Derived {
    id: u8,
    /// HMAC keyed with HKDF's pseudorandom key, from which all others come.
    root: Hmac<Sha256>,
    tag: Hmac<Sha256>,
    rotation: Hmac<Sha256>,
}

impl Derived {
    fn from(master: &MasterKey) -> Self {
        let (prk, _) = Hkdf::<Sha256>::extract(None, master.key.expose());
        let root = keyed(&Zeroizing::new(prk.into()));
        let (tag, rotation) = (derive(&root, "rt-tag"), derive(&root, "rt-rot"));
        Self { id: master.id, root, tag, rotation }
    }

    fn tag_of(&self, body: &[u8]) -> [u8; TAG_LENGTH] {
        let (tag, _) = self.tag.clone().chain_update(body).finalize().into_bytes().split::<U16>();
        tag.into()
    }

    fn mac(&self, purpose: &str, text: &[u8]) -> [u8; 32] {
        derive(&self.root, purpose).chain_update(text).finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for Derived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey({}, ..)", self.id)
    }
}

/// HKDF-Expand (RFC 5869 section 2.3) with the info `portcullis/1/` and the purpose. One key is
/// one hash long, so that the first block is all of it, and nothing can fail.
fn derive(root: &Hmac<Sha256>, purpose: &str) -> Hmac<Sha256> {
    let block = root
        .clone()
        .chain_update(b"portcullis/1/")
        .chain_update(purpose)
        .chain_update([1])
        .finalize()
        .into_bytes();
    keyed(&Zeroizing::new(block.into()))
}

/// HMAC under a key of 32 bytes, padded with zeros to its block as RFC 2104 asks.
fn keyed(key: &[u8; KEY_LENGTH]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; 64]);
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    Hmac::new((&*block).into())
}

fn decode(text: &str) -> Option<Zeroizing<[u8; LENGTH]>> {
    if text.len() > LONGEST {
        return None;
    }
    let mut bytes = Zeroizing::new([0; LENGTH]);
    // The engine refuses padding, foreign characters and bits set behind the last byte.
    let read = URL_SAFE_NO_PAD.decode_slice(text.strip_prefix(PREFIX)?, bytes.as_mut_slice());
    (read == Ok(LENGTH)).then_some(bytes)
}

fn parse(body: &[u8]) -> Option<RefreshToken> {
    let (&[version, key], rest) = body.split_first_chunk()?;
    let (session, rest) = rest.split_first_chunk()?;
    let (generation, secret) = rest.split_first_chunk()?;
    (version == VERSION).then(|| RefreshToken {
        session: SessionId::from_bytes(*session),
        generation: u64::from_be_bytes(*generation),
        key,
        secret: Secret::new(secret),
    })
}

const PREFIX: &str = "pcr_";
const VERSION: u8 = 1;
const KEY_LENGTH: usize = 32;
const TAG_LENGTH: usize = 16;
/// Version, key id, session, generation, secret, tag.
const LENGTH: usize = 1 + 1 + 16 + 8 + KEY_LENGTH + TAG_LENGTH;
/// Characters of a text that is looked at.
const LONGEST: usize = 128;
