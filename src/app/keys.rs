//! `portcullis key`: the signing keys listed and rotated, and all keys kept elsewhere.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::administration::AdministrationError;
use super::control::Answer;
use super::{StartError, assertions};
use crate::auth::Keys;
use crate::config::{Config, StoreUrl};
use crate::token::{self, Algorithm, KeyEntry, KeyState, OldKeys};

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
    let next = keys.rotate(old).map_err(|refused| refused.to_string())?;
    let next = KeyView::of(&next);
    let (kid, from) = (next.kid, next.signs_from.unwrap_or_default());
    Ok(Answer::Done(match old {
        OldKeys::Overlap => format!("key {kid} is published, and signs from {from} on"),
        OldKeys::Revoked => format!(
            "key {kid} signs from now on; every access token before it is refused, and sessions go on"
        ),
    }))
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
        "{count} keys are in {to}: whoever reads it can sign in as anybody, so keep it well.\n\
         To bring them back: tar -xpf {to} -C {home}{beside}"
    ))
}

impl KeyView {
    fn of(key: &KeyEntry) -> Self {
        let state = match key.state {
            KeyState::Next => "next",
            KeyState::Active => "active",
            KeyState::Retired => "retired",
        };
        Self {
            kid: key.kid.clone(),
            algorithm: key.algorithm.to_owned(),
            state: state.to_owned(),
            signs_from: key.from.map(|from| from.to_string()),
            verifies_until: key.until.map(|until| until.to_string()),
        }
    }
}
