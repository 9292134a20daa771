//! What the gateway tells its operator: problems and changes of state, on standard error.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Level;

/// The printed diagnostics, whose level may change.
#[derive(Clone, Debug)]
pub struct Diagnostics(Handle<Targets, Registry>);

impl Diagnostics {
    /// Prints those of this severity and worse from now on.
    pub fn set(&self, level: Level) {
        // The only error is that they are not ours: somebody, in a test for instance, was here before.
        drop(self.0.reload(targets(level)));
    }
}

/// Prints diagnostics of this severity and worse from now on; a second call changes nothing.
///
/// Of the libraries only warnings are shown: what they say of requests is not ours to answer for.
pub fn diagnostics(level: Level) -> Diagnostics {
    let (shown, handle) = reload::Layer::new(targets(level));
    let lines = tracing_subscriber::fmt::layer()
        .compact()
        .with_target(false)
        .with_ansi(false)
        .with_writer(io::stderr);
    let installed = tracing_subscriber::registry().with(shown).with(lines).try_init();
    // The only error is that somebody, in a test for instance, was here before.
    drop(installed);
    Diagnostics(handle)
}

fn targets(level: Level) -> Targets {
    let shown = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    Targets::new()
        .with_default(shown.min(LevelFilter::WARN))
        .with_target(env!("CARGO_CRATE_NAME"), shown)
}
