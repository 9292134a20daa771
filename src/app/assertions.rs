//! The keys by which applications are told who a caller is, where any is told so.

use std::path::PathBuf;

use crate::clock::Clock;
use crate::config::{Config, StoreUrl};
use crate::token::{Assertions, KeyError};

/// What signs assertions; its keys are loaded, or made, if a route needs them.
pub(super) fn load(config: &Config, clock: &Clock) -> Result<Assertions, KeyError> {
    let assertions = Assertions::new(match &config.store {
        StoreUrl::Memory => None,
        StoreUrl::Sqlite(_) => Some(folder(config)),
    });
    prepare(&assertions, config, clock)?;
    Ok(assertions)
}

/// Loads the keys once a route tells a signed identity; before, there is none.
pub(super) fn prepare(
    assertions: &Assertions,
    config: &Config,
    clock: &Clock,
) -> Result<(), KeyError> {
    let signs = config.routes.iter().any(|route| !route.identity.assertion.is_empty());
    if signs { assertions.prepare(clock.now()) } else { Ok(()) }
}

/// A folder of their own, so that no key of theirs is ever read as one of access tokens.
pub(super) fn folder(config: &Config) -> PathBuf {
    config.tokens.key_dir.join("assertions")
}
