//! Assertions: what an application that checks signatures is told of a caller.
//!
//! Their keys are their own, always asymmetric, and no verifier of access tokens holds them: what an
//! application gets is good for that application, a minute long, and for nothing at the gateway.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use serde::Serialize;

use super::{AccessRules, Algorithm, KeyEntry, KeyError, KeyRing, OldKeys, Rotated, Upkeep};
use crate::clock::Timestamp;
use crate::identity::Identity;
use crate::secret::random;

/// Signs assertions, once it was asked to be [ready](Self::prepare). Shared by all workers.
#[derive(Debug)]
pub struct Assertions {
    /// None: keys are in memory.
    folder: Option<PathBuf>,
    ring: OnceLock<KeyRing>,
}

impl Assertions {
    /// Nothing is read or made yet. None: keys in memory, for the demo and tests.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, ring: OnceLock::new() }
    }

    /// Loads the keys, making the first one if there is none.
    pub fn prepare(&self, now: Timestamp) -> Result<(), KeyError> {
        if self.ring.get().is_some() {
            return Ok(());
        }
        let ring = match &self.folder {
            Some(folder) => KeyRing::open(folder, Algorithm::EdDsa, now)?,
            None => KeyRing::ephemeral(Algorithm::EdDsa)?,
        };
        // Whoever was here first has read the same keys.
        drop(self.ring.set(ring));
        Ok(())
    }

    /// Tells an application (its upstream's name is the audience) who the caller is.
    pub fn mint(
        &self,
        (identity, audience): (&Identity, &str),
        rules: &AccessRules,
        now: Timestamp,
    ) -> Result<String, KeyError> {
        let keys = self.ring.get().ok_or(KeyError::NoSecret)?.keys();
        let key = keys.active(now).ok_or(KeyError::NoSecret)?;
        let mut header = key.header.clone();
        header.typ = Some(TYPE.to_owned());
        let claims = Claims::new((identity, audience), rules, now);
        jsonwebtoken::encode(&header, &claims, &key.key).map_err(KeyError::Sign)
    }

    /// The JWKS (RFC 7517) of these keys and of those that sign access tokens.
    pub fn jwks_with(&self, access: &KeyRing) -> String {
        let Some(ring) = self.ring.get() else {
            return access.jwks();
        };
        let keys = [access, ring].into_iter().flat_map(|ring| ring.keys().public_keys()).collect();
        // A set of strings has a text.
        serde_json::to_string(&JwkSet { keys }).unwrap_or_else(|_unwritable| access.jwks())
    }

    /// Every key, in the order in which they sign; none before they are needed.
    pub fn list(&self, now: Timestamp) -> Vec<KeyEntry> {
        self.ring.get().map(|ring| ring.list(now)).unwrap_or_default()
    }

    /// Brings another key, as for access tokens. None: no key is needed.
    pub fn rotate(&self, old: OldKeys, now: Timestamp) -> Result<Option<Rotated>, KeyError> {
        self.ring.get().map(|ring| ring.rotate(old, now)).transpose()
    }

    /// As for access tokens.
    pub fn keep_house(&self, every: Duration, now: Timestamp) -> Result<Upkeep, KeyError> {
        self.ring.get().map_or_else(|| Ok(Upkeep::default()), |ring| ring.keep_house(every, now))
    }
}

/// RFC 9068's names, without what is the gateway's own business.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: String,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
    r#type: &'static str,
    roles: Vec<&'a str>,
    preferred_username: &'a str,
}

impl<'a> Claims<'a> {
    fn new(
        (identity, audience): (&'a Identity, &'a str),
        rules: &'a AccessRules,
        now: Timestamp,
    ) -> Self {
        let name = identity.username.as_str();
        let id = || identity.user.to_string();
        Self {
            iss: &rules.issuer,
            sub: if rules.sub_is_username { name.to_owned() } else { id() },
            aud: audience,
            iat: now.as_secs(),
            exp: now.plus(LIFE).as_secs(),
            jti: URL_SAFE_NO_PAD.encode(random::<16>()),
            r#type: "assertion",
            roles: identity.roles.iter().map(|role| role.as_str()).collect(),
            preferred_username: name,
        }
    }
}

const TYPE: &str = "portcullis-assertion+jwt";
const LIFE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Role, SessionId, UserId, Username};
    use crate::token::BadToken;

    fn alice() -> Identity {
        Identity {
            user: UserId::from_bytes([1; 16]),
            username: Username::new("alice").unwrap(),
            roles: vec![Role::new("user").unwrap()].into(),
            session: SessionId::from_bytes([2; 16]),
        }
    }

    fn rules() -> AccessRules {
        AccessRules {
            issuer: "https://apps.example.com".to_owned(),
            audience: "portcullis".to_owned(),
            ttl: Duration::from_secs(60),
            jitter: 0.0,
            leeway: Duration::ZERO,
            sub_is_username: false,
        }
    }

    #[test]
    fn nothing_is_signed_before_there_is_a_key() {
        let now = Timestamp::from_secs(1_800_000_000);
        let assertions = Assertions::new(None);
        assert!(assertions.mint((&alice(), "wiki"), &rules(), now).is_err());
        let access = KeyRing::ephemeral(Algorithm::EdDsa).unwrap();
        assert_eq!(assertions.jwks_with(&access), access.jwks());
        assertions.prepare(now).unwrap();
        assert!(assertions.mint((&alice(), "wiki"), &rules(), now).is_ok());
    }

    #[test]
    fn no_assertion_is_an_access_token_even_for_an_upstream_of_that_audience() {
        let now = Timestamp::from_secs(1_800_000_000);
        let assertions = Assertions::new(None);
        assertions.prepare(now).unwrap();
        let token = assertions.mint((&alice(), "portcullis"), &rules(), now).unwrap();
        // By its own keys too: type, content and audience each stand in the way.
        let own = assertions.ring.get().unwrap();
        for ring in [own, &KeyRing::ephemeral(Algorithm::EdDsa).unwrap()] {
            assert_eq!(ring.verify(&token, &rules(), now), Err(BadToken::Invalid));
            assert!(ring.claims_ours(&token, &rules()), "so it decides alone, and is refused");
        }
    }
}
