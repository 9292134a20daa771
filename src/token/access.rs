//! Access tokens: JWTs (RFC 7519) after RFC 9068, verified after RFC 8725.
//!
//! jsonwebtoken signs and checks signatures. Everything else is said here, once and strictly: one
//! struct is both what is minted and all that is accepted, and the time is an argument. Whether
//! the session still lives is the revocation set's to say, after this.

use std::borrow::Cow;
use std::time::Duration;

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::{Engine, alphabet};
use jsonwebtoken::Validation;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{KeyError, KeyRing};
use crate::clock::Timestamp;
use crate::identity::{Identity, Role, Username};
use crate::secret::{random, random_fraction};

/// What every access token of this gateway must say, and how long it lives.
#[derive(Clone, Debug)]
pub struct AccessRules {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// Life at most; an hour is the most that counts.
    pub ttl: Duration,
    /// Each lives up to this share less, at random: 0.2.
    pub jitter: f64,
    /// Of `exp`, at most 5 s.
    pub leeway: Duration,
    /// `sub` is the username instead of the id.
    pub sub_is_username: bool,
}

/// What one access token is minted from.
#[derive(Clone, Debug)]
pub struct AccessClaims<'a> {
    /// Who.
    pub identity: &'a Identity,
    /// `sv`.
    pub version: u32,
    /// `auth_time`.
    pub auth_time: Timestamp,
    /// `iat`, cut to its second.
    pub issued: Timestamp,
    /// The session's nearer end, which no token outlives.
    pub session_end: Timestamp,
    /// `client_id`: "web" or "api".
    pub client: &'static str,
}

/// A token that verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who.
    pub identity: Identity,
    /// `sv`.
    pub version: u32,
    /// `iat`.
    pub issued: Timestamp,
    /// `exp`.
    pub expires: Timestamp,
    /// `auth_time`.
    pub auth_time: Timestamp,
}

/// Why a token does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// Wrong in any way but time.
    Invalid,
    /// Issued more than a minute ahead of our clock: invalid, but what it said holds for a logout.
    Ahead(Box<Verified>),
    /// Past `exp` and leeway; what it said otherwise holds (for logout with an expired token).
    Expired(Box<Verified>),
}

impl KeyRing {
    /// Mints an access token; gives it with the moment of its `exp`.
    pub fn mint(
        &self,
        claims: &AccessClaims<'_>,
        rules: &AccessRules,
        now: Timestamp,
    ) -> Result<(String, Timestamp), KeyError> {
        let issued = Timestamp::from_secs(claims.issued.as_secs());
        let expires = issued.plus(life(rules)).min(claims.session_end).max(issued);
        let content = Content::new(claims, rules, [issued, expires]);
        let keys = self.keys();
        let key = keys.active(now).ok_or(KeyError::NoSecret)?;
        let token =
            jsonwebtoken::encode(&key.header, &content, &key.key).map_err(KeyError::Sign)?;
        if token.len() > LONGEST_MINTED {
            return Err(KeyError::TooLong { length: token.len(), longest: LONGEST_MINTED });
        }
        Ok((token, Timestamp::from_secs(expires.as_secs())))
    }

    /// Verifies an access token.
    pub fn verify(
        &self,
        token: &str,
        rules: &AccessRules,
        now: Timestamp,
    ) -> Result<Verified, BadToken> {
        let verified = self.read(token, rules, now).ok_or(BadToken::Invalid)?;
        verified.check_time(rules, now)?;
        Ok(verified)
    }

    /// Whether a Bearer value claims to be ours: `pcr_…`, `pca_…`, our `kid`, or (unverified) our
    /// `iss`. Such a value decides alone, whether or not it verifies. Read far more leniently than a token
    /// is: whatever is no letter of base64 parts words, and each may be ours. Letters that an application
    /// would have to leave out of the midst of a word are not looked for.
    pub fn claims_ours(&self, value: &str, rules: &AccessRules) -> bool {
        value.split(|char| !is_base64(char)).any(|word| self.claims_word(word, rules))
    }

    fn claims_word(&self, word: &str, rules: &AccessRules) -> bool {
        if word.starts_with("pcr_") || word.starts_with("pca_") {
            return true;
        }
        if word.len() < SHORTEST_CLAIM {
            return false;
        }
        let json = decode_leniently(word).unwrap_or_default();
        let Ok(claims) = serde_json::from_slice::<AnyClaims>(&json) else {
            return false;
        };
        claims.kid.as_str().is_some_and(|kid| self.keys().knows(kid))
            || claims.iss.as_str() == Some(&rules.issuer)
    }

    /// All but `exp`.
    fn read(&self, token: &str, rules: &AccessRules, now: Timestamp) -> Option<Verified> {
        if token.len() > LONGEST_READ {
            return None;
        }
        let (encoded, _) = token.split_once('.')?;
        let header = decode::<Header>(encoded)?;
        let keys = self.keys();
        let key = keys.find(&header.kid, now)?;
        if header.alg != key.alg || header.typ != TYPE {
            return None;
        }
        let content = jsonwebtoken::decode::<Content>(token, &key.key, &key.validation).ok()?;
        content.claims.verified(rules)
    }
}

impl Verified {
    /// Whether the token counts at this moment, as far as it says so itself.
    pub(super) fn check_time(&self, rules: &AccessRules, now: Timestamp) -> Result<(), BadToken> {
        if self.issued.as_secs() > now.as_secs().saturating_add(MOST_AHEAD) {
            return Err(BadToken::Ahead(Box::new(self.clone())));
        }
        if now >= self.expires.plus(rules.leeway) {
            return Err(BadToken::Expired(Box::new(self.clone())));
        }
        Ok(())
    }
}

/// What jsonwebtoken is asked for: the signature in the one algorithm of the key, and the claims
/// there. Their values, and the time, are [`Content::verified`]'s.
pub(super) fn validation(algorithm: jsonwebtoken::Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // It would ask the machine's clock and take a float. `nbf` is no claim of ours: refused.
    validation.validate_exp = false;
    // It would take a list.
    validation.validate_aud = false;
    validation
}

/// `typ` of an access token (RFC 9068 section 2.1).
pub(super) const TYPE: &str = "at+jwt";

/// All that a header may have, each member once. No `crit`, no `jku`, no key brought along.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

/// The claims, as they are minted and as they must be: each once, none else.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    iss: String,
    sub: String,
    /// The user's id, where `sub` is the username.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    aud: String,
    client_id: Cow<'static, str>,
    iat: i64,
    exp: i64,
    jti: String,
    sid: String,
    sv: u32,
    r#type: Kind,
    /// The first of `roles`; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    roles: Vec<String>,
    preferred_username: String,
    auth_time: i64,
    amr: [Method; 1],
}

#[derive(Serialize, Deserialize)]
enum Kind {
    #[serde(rename = "access")]
    Access,
}

/// RFC 8176.
#[derive(Serialize, Deserialize)]
enum Method {
    #[serde(rename = "pwd")]
    Password,
}

impl Content {
    fn new(
        claims: &AccessClaims<'_>,
        rules: &AccessRules,
        [issued, expires]: [Timestamp; 2],
    ) -> Self {
        let Identity { user, username, roles, session } = claims.identity;
        let roles: Vec<String> = roles.iter().map(|role| role.as_str().to_owned()).collect();
        let name = username.as_str().to_owned();
        let id = user.to_string();
        let (sub, uid) = if rules.sub_is_username { (name.clone(), Some(id)) } else { (id, None) };
        Self {
            iss: rules.issuer.clone(),
            sub,
            uid,
            aud: rules.audience.clone(),
            client_id: Cow::Borrowed(claims.client),
            iat: issued.as_secs(),
            exp: expires.as_secs(),
            jti: URL_SAFE_NO_PAD.encode(random::<16>()),
            sid: session.to_string(),
            sv: claims.version,
            r#type: Kind::Access,
            role: roles.first().cloned(),
            roles,
            preferred_username: name,
            auth_time: claims.auth_time.as_secs(),
            amr: [Method::Password],
        }
    }

    fn verified(self, rules: &AccessRules) -> Option<Verified> {
        let stands = self.iss == rules.issuer
            && self.aud == rules.audience
            && self.role.as_ref() == self.roles.first()
            && (0..=LONGEST_LIFE).contains(&self.exp.checked_sub(self.iat)?);
        if !stands {
            return None;
        }
        Some(Verified {
            identity: self.identity(rules)?,
            version: self.sv,
            issued: Timestamp::from_secs(self.iat),
            expires: Timestamp::from_secs(self.exp),
            auth_time: Timestamp::from_secs(self.auth_time),
        })
    }

    /// Ids, name and roles, each valid by construction again: they become headers.
    fn identity(&self, rules: &AccessRules) -> Option<Identity> {
        let username = Username::new(&self.preferred_username).ok()?;
        let user = match (rules.sub_is_username, &self.uid) {
            (true, Some(uid)) if self.sub == self.preferred_username => uid,
            (false, None) => &self.sub,
            _ => return None,
        };
        if username.as_str() != self.preferred_username {
            return None;
        }
        Some(Identity {
            user: user.parse().ok()?,
            username,
            roles: self.roles.iter().map(|role| Role::new(role).ok()).collect::<Option<_>>()?,
            session: self.sid.parse().ok()?,
        })
    }
}

/// Of any header or any claims, ours or not.
#[derive(Deserialize)]
struct AnyClaims {
    #[serde(default)]
    kid: Value,
    #[serde(default)]
    iss: Value,
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Base64 of either alphabet, padded or not, and with bits left over.
pub fn decode_leniently(text: &str) -> Option<Vec<u8>> {
    let standard = |byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        _ => byte,
    };
    let plain: Vec<_> = text.trim_end_matches('=').bytes().map(standard).collect();
    LENIENT.decode(plain).ok()
}

fn is_base64(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '+' | '/' | '-' | '_')
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Evenly drawn, in whole seconds rounded up: a thief cannot know when the victim will refresh.
fn life(rules: &AccessRules) -> Duration {
    let longest = Duration::from_secs(LONGEST_LIFE.unsigned_abs());
    let ttl = rules.ttl.min(longest);
    let off = Duration::try_from_secs_f64(ttl.as_secs_f64() * rules.jitter * random_fraction());
    let life = ttl.saturating_sub(off.unwrap_or_default());
    Duration::from_secs(life.saturating_add(Duration::from_millis(999)).as_secs()).min(longest)
}

/// Letters of base64 that say `{"kid":""}`.
const SHORTEST_CLAIM: usize = 14;
/// Bytes of a token that is looked at.
const LONGEST_READ: usize = 4096;
/// Bytes of a token that is made: with its name and attributes it must fit into a cookie.
const LONGEST_MINTED: usize = 3800;
/// `exp - iat` at most, in seconds: revocations are kept a little longer than that.
const LONGEST_LIFE: i64 = 60 * 60;
/// Seconds that `iat` may lie ahead of our clock.
const MOST_AHEAD: i64 = 60;
