mod access;
mod cache;
mod forged;
mod keys;
mod refresh;
mod ring;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::clock::Timestamp;
use crate::identity::{Identity, Role, SessionId, UserId, Username};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const ALL: [Algorithm; 4] =
    [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Hs256];

fn rules() -> AccessRules {
    AccessRules {
        issuer: "https://app.example.com".to_owned(),
        audience: "portcullis".to_owned(),
        ttl: Duration::from_secs(300),
        jitter: 0.2,
        leeway: Duration::from_secs(5),
        sub_is_username: false,
    }
}

fn alice() -> Identity {
    Identity {
        user: UserId::from_bytes([1; 16]),
        username: Username::new("alice").unwrap(),
        roles: ["user", "team:ops"].map(|role| Role::new(role).unwrap()).into(),
        session: SessionId::from_bytes([2; 16]),
    }
}

fn claims(identity: &Identity) -> AccessClaims<'_> {
    AccessClaims {
        identity,
        version: 7,
        auth_time: Timestamp::from_secs(1_799_990_000),
        issued: NOW,
        session_end: Timestamp::from_secs(1_900_000_000),
        client: "api",
    }
}

fn mint(ring: &KeyRing) -> String {
    ring.mint(&claims(&alice()), &rules(), NOW).unwrap().0
}

/// Header and claims of a token, unverified.
fn parts(token: &str) -> (serde_json::Value, serde_json::Value) {
    let read = |part: Option<&str>| {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part.unwrap()).unwrap()).unwrap()
    };
    let mut parts = token.split('.');
    (read(parts.next()), read(parts.next()))
}
