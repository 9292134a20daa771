//! Signals of the operating system.

use std::io;
use std::thread::Builder;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Phase;
use crate::telemetry::Telemetry;

/// Watches for signals on a thread of its own, which ends with the process.
pub(super) fn watch(phase: watch::Sender<Phase>, telemetry: Telemetry) -> io::Result<()> {
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
                _ = terminate.recv() => stop(&phase),
                _ = interrupt.recv() => stop(&phase),
                _ = hangup.recv() => telemetry.reopen(),
            }
        }
    };
    Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(watching))?;
    Ok(())
}

/// The first drains, the second ends at once.
fn stop(phase: &watch::Sender<Phase>) {
    phase.send_modify(|phase| {
        *phase = match phase {
            Phase::Serving => Phase::Draining,
            Phase::Draining | Phase::Stopped => Phase::Stopped,
        };
    });
}
