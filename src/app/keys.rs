//! `portcullis key`: the signing keys listed and rotated, and all keys kept elsewhere.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::administration::AdministrationError;
use super::control::{Answer, counted};
use super::{StartError, assertions};
use crate::auth::{Keys, Purpose, RotatedKeys};
use crate::config::{Config, StoreUrl};
use crate::token::{self, Algorithm, KeyEntry, KeyError, KeyState, OldKeys, Rotated};

/// What can be asked of the keys.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is the command of the same name")]
pub enum KeyOrder {
    List,
    Rotate { revoke_old: bool },
}

/// A signing key, as an administrator may see it.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of a list that people read")]
pub struct KeyView {
    pub kid: String,
    pub purpose: String,
    pub algorithm: String,
    pub state: String,
    pub signs_from: Option<String>,
    pub verifies_until: Option<String>,
}

pub(super) fn carry_out(keys: Keys<'_>, order: &KeyOrder) -> Result<Answer, String> {
    let revoke_old = match order {
        KeyOrder::List => {
            return Ok(Answer::Keys(keys.list().iter().map(KeyView::of).collect()));
        }
        KeyOrder::Rotate { revoke_old } => *revoke_old,
    };
    let old = if revoke_old { OldKeys::Revoked } else { OldKeys::Overlap };
    let RotatedKeys { access, assertions } = keys.rotate(old);
    // What is to be done by hand is no failure where something else was done.
    let access = match (access, &assertions) {
        (Err(by_hand @ KeyError::Configured), Ok(Some(_))) => Ok(by_hand.to_string()),
        (access, _) => access.map(|rotated| told((Purpose::Access, &rotated), old)),
    };
    let assertions =
        assertions.map(|rotated| rotated.map(|rotated| told((Purpose::Assertion, &rotated), old)));
    match (access, assertions) {
        (Ok(access), Ok(assertions)) => {
            let lines: Vec<_> = assertions.into_iter().chain([access]).collect();
            Ok(Answer::Done(lines.join("\n")))
        }
        (Err(refused), Ok(None)) => Err(refused.to_string()),
        (Err(refused), Ok(Some(done))) => Err(format!("{refused}\nbut {done}")),
        (Ok(done), Err(refused)) => Err(format!("the keys of assertions: {refused}\nbut {done}")),
        (Err(access), Err(assertions)) => {
            Err(format!("{access}\nthe keys of assertions: {assertions}"))
        }
    }
}

/// What came of a rotation.
fn told((purpose, rotated): (Purpose, &Rotated), old: OldKeys) -> String {
    let (what, signed) = match purpose {
        Purpose::Access => ("key", "access token before it is refused, and sessions go on"),
        Purpose::Assertion => {
            ("assertion key", "assertion before it is refused by who asks for the JWKS again")
        }
    };
    let key = rotated.key();
    let (kid, from) = (&key.kid, key.from.map(|from| from.to_string()).unwrap_or_default());
    match (rotated, old) {
        (Rotated::OnItsWay(_), _) => {
            format!(
                "{what} {kid} was on its way already: it signs from {from} on, nothing was changed"
            )
        }
        (Rotated::Made(_), OldKeys::Overlap) => {
            format!("{what} {kid} is published, and signs from {from} on")
        }
        (Rotated::Made(_), OldKeys::Revoked) => {
            format!("{what} {kid} signs from now on; every {signed}")
        }
    }
}

/// Writes the master keys and the signing keys into a new file of mode 0600; gives what to say. It
/// only reads, and as whoever runs it: so it asks no running gateway.
pub fn backup(config: &Config, to: &Path) -> Result<String, AdministrationError> {
    if config.store == StoreUrl::Memory {
        return Err(AdministrationError::Memory);
    }
    let masters = config.sessions.master_keys.iter().map(|(_, file)| file.clone());
    let mut files: Vec<_> = masters.collect();
    let shared = config.tokens.algorithm == Algorithm::Hs256;
    if !shared {
        let signing = token::signing_key_files(&config.tokens.key_dir).map_err(StartError::from)?;
        files.extend(signing);
    }
    let assertions = assertions::folder(config);
    if assertions.exists() {
        files.extend(token::signing_key_files(&assertions).map_err(StartError::from)?);
    }
    let home = &config.server.data_dir;
    let count = token::archive(to, home, &files).map_err(StartError::from)?;
    let (to, home) = (to.display(), home.display());
    let beside =
        if shared { "\nThe secrets of HS256 are in the configuration, not in it." } else { "" };
    Ok(format!(
        "{} in {to}: whoever reads it can sign in as anybody, so keep it well.\n\
         To bring them back: stop the gateway, then tar -xpf {to} -C {home}{beside}",
        counted(count, "key is", "keys are"),
    ))
}

impl KeyView {
    fn of((purpose, key): &(Purpose, KeyEntry)) -> Self {
        let state = match key.state {
            KeyState::Next => "next",
            KeyState::Active => "active",
            KeyState::Retired => "retired",
        };
        let purpose = match purpose {
            Purpose::Access => "access",
            Purpose::Assertion => "assertion",
        };
        Self {
            kid: key.kid.clone(),
            purpose: purpose.to_owned(),
            algorithm: key.algorithm.to_owned(),
            state: state.to_owned(),
            signs_from: key.from.map(|from| from.to_string()),
            verifies_until: key.until.map(|until| until.to_string()),
        }
    }
}
