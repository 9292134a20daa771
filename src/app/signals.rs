//! Signals of the operating system.

use std::io;
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Phase;
use super::reload::Reloader;
use crate::telemetry::Telemetry;

/// Watches for signals on a thread of its own, which ends with the process. The reloader, and with it
/// the store, ends before: another gateway may take over as soon as the data folder is free.
pub(super) fn watch(
    phase: watch::Sender<Phase>,
    telemetry: Telemetry,
    reloader: Weak<Reloader>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt, mut hangup) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        )
    };
    let watching = async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => stop(&phase, reloader.upgrade().as_deref()),
                _ = interrupt.recv() => stop(&phase, reloader.upgrade().as_deref()),
                _ = hangup.recv() => {
                    // Whatever becomes of the reload: the files may have been rotated away.
                    telemetry.reopen();
                    tokio::spawn(reload(reloader.upgrade()));
                }
            }
        }
    };
    Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(watching))?;
    Ok(())
}

/// Beside the watch, so that a signal to stop is heeded meanwhile. What comes of it is told in the
/// diagnostics.
async fn reload(reloader: Option<Arc<Reloader>>) {
    if let Some(reloader) = reloader.filter(|reloader| reloader.has_a_file()) {
        drop(reloader.reload().await);
    }
}

/// The first drains, the second ends at once.
fn stop(phase: &watch::Sender<Phase>, reloader: Option<&Reloader>) {
    if let Some(reloader) = reloader {
        reloader.notifier.stopping();
    }
    phase.send_modify(|phase| {
        *phase = match phase {
            Phase::Serving => Phase::Draining,
            Phase::Draining | Phase::Stopped => Phase::Stopped,
        };
    });
    if *phase.borrow() == Phase::Stopped {
        tokio::spawn(end_anyway());
    }
}

/// Whatever keeps the process from its end, such as a write to a terminal that nobody reads.
async fn end_anyway() {
    tokio::time::sleep(PATIENCE).await;
    std::process::exit(1);
}

/// For the store, and for outputs that got stuck: together they are given up after less.
const PATIENCE: Duration = Duration::from_secs(15);
