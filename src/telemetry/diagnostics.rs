//! What the gateway tells its operator: problems and changes of state, on standard error.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Level;

/// Prints diagnostics of this severity and worse from now on; a second call changes nothing.
///
/// Of the libraries only warnings are shown: what they say of requests is not ours to answer for.
pub fn diagnostics(level: Level) {
    let shown = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let targets = Targets::new()
        .with_default(shown.min(LevelFilter::WARN))
        .with_target(env!("CARGO_CRATE_NAME"), shown);
    let installed = tracing_subscriber::fmt()
        .compact()
        .with_target(false)
        .with_ansi(false)
        .with_writer(io::stderr)
        .with_max_level(shown)
        .finish()
        .with(targets)
        .try_init();
    // The only error is that somebody, in a test for instance, was here before.
    drop(installed);
}
