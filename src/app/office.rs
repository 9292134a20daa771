//! The office: one thread with a runtime for everything slow. The admin listener, the control
//! socket, the sweep.

use std::future::{Future, pending};
use std::hint::black_box;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;

use super::reload::Reloader;
use super::{Phase, StartError, admin, control};
use crate::auth::Auth;
use crate::clock::Clock;
use crate::server::{Slots, Tls, passes_at_once};
use crate::telemetry::{Gauge, Telemetry};
use crate::upstream::Health;

/// What the office works with.
#[derive(Clone, Debug)]
pub(super) struct Office {
    pub(super) reloader: Arc<Reloader>,
    pub(super) telemetry: Telemetry,
    pub(super) slots: Arc<Slots>,
    pub(super) health: Health,
    pub(super) tls: Option<Tls>,
    pub(super) clock: Clock,
}

/// Binds the admin listener, if there is one.
pub(super) fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map(Some).map_err(|cause| StartError::Admin { address, cause })
}

/// Starts the thread. It ends when the gateway has stopped.
pub(super) fn spawn(
    office: Office,
    (admin, control): (Option<TcpListener>, Option<UnixListener>),
    watching: watch::Receiver<Phase>,
) -> Result<JoinHandle<()>, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let work = async move {
        let stopped = stopped(watching.clone());
        tokio::select! {
            () = stopped => {}
            () = admin::serve(&office, admin, watching) => {}
            () = control::serve(&office.reloader, control) => {}
            () = office.keep_house() => {}
            () = office.beat() => {}
            () = office.health.watch() => {}
        }
        office.finish().await;
    };
    Ok(Builder::new().name("office".to_owned()).spawn(move || runtime.block_on(work))?)
}

async fn stopped(mut watching: watch::Receiver<Phase>) {
    // An error means that the gateway is gone: stopped too.
    let _ = watching.wait_for(|phase| *phase == Phase::Stopped).await;
}

impl Office {
    pub(super) fn of(reloader: Arc<Reloader>) -> Self {
        let (telemetry, clock) = (reloader.telemetry.clone(), reloader.clock.clone());
        let slots = Arc::clone(&reloader.slots);
        let (health, tls) = (reloader.health.clone(), reloader.tls.clone());
        Self { reloader, telemetry, slots, health, tls, clock }
    }

    /// The use cases in force.
    pub(super) fn auth(&self) -> Auth {
        self.reloader.auth()
    }

    /// What is owed at a stop: endings under way, and logouts that the store did not take before.
    async fn finish(&self) {
        let auth = self.auth();
        let owed = async {
            auth.parts().detached.ended().await;
            auth.finish_logouts().await;
            auth.parts().detached.ended().await;
        };
        // The workers have waited as long before, and a manager that stops us does not wait for ever.
        let _either_way = tokio::time::timeout(LAST_WORK, owed).await;
        let lost = auth.parts().unfinished.count();
        if lost > 0 {
            tracing::error!(
                "logouts lost: {lost}; the store did not take them before the stop, and their \
                 sessions live on: `portcullis session revoke` ends them"
            );
        }
    }

    /// Tells the service manager that all is well, for as long as every worker turns.
    async fn beat(&self) {
        let Some(every) = self.reloader.notifier.beat() else { return pending().await };
        loop {
            let turn = tokio::time::timeout(every, self.reloader.workers_turn()).await;
            if turn == Ok(true) {
                self.reloader.notifier.alive();
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Sweeps what is long over, and keeps the gauges; both may be late, and nothing depends on them.
    async fn keep_house(&self) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for seconds in 0_u64.. {
            second.tick().await;
            give_back_memory();
            self.auth().finish_logouts().await;
            let no_jump = seconds % 60 == 0
                && self.auth().revocations().sweep(self.clock.now(), self.clock.uptime());
            if seconds % 60 == 0
                && let Err(cause) = self.auth().keys().keep_house()
            {
                tracing::warn!("the signing keys are as they were: {cause}");
            }
            // By a clock that is days ahead, live sessions are long over.
            if seconds % 3600 == FIRST_SWEEP && no_jump {
                self.sweep().await;
            }
        }
    }

    async fn sweep(&self) {
        loop {
            match self.auth().store().sweep().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(unavailable) => {
                    tracing::warn!("the hourly sweep did not end: {unavailable}");
                    return;
                }
            }
        }
    }

    /// Measures what is only worth a look when somebody asks.
    pub(super) async fn measure(&self) {
        let set = |gauge, count: Option<u32>| {
            self.telemetry.set(gauge, f64::from(count.unwrap_or(u32::MAX)));
        };
        let auth = self.auth();
        set(Gauge::RevocationSetSize, auth.revocations().len().try_into().ok());
        set(Gauge::PasswordHashQueue, auth.logins_waiting().try_into().ok());
        set(Gauge::Connections, self.slots.taken().try_into().ok());
        self.telemetry.set_servers(
            self.health
                .servers()
                .into_iter()
                .map(|server| (server.upstream, server.server, server.healthy)),
        );
        if let Some(age) = auth.keys().age() {
            self.telemetry.set(Gauge::KeyAge, age.as_secs_f64());
        }
        if let Some(tls) = &self.tls {
            // Seconds fit until 2106; a later end is told as then.
            set(Gauge::TlsCertNotAfter, tls.not_after().as_secs().try_into().ok());
        }
        let store = tokio::try_join!(auth.store().ping(), auth.store().live_sessions());
        set(Gauge::StoreUp, Some(store.is_ok().into()));
        if let Ok(((), sessions)) = store {
            set(Gauge::SessionsActive, Some(sessions));
        }
    }
}

/// Lets the allocator give back what was freed a second ago and more: it looks when a page is freed,
/// and a process at rest frees none.
fn give_back_memory() {
    drop(black_box(Vec::<u8>::with_capacity(PAGE)));
}

/// Bytes that the allocator gives a page of their own.
const PAGE: usize = 1 << 20;

/// As long as anybody waits for the store to answer.
const LAST_WORK: Duration = Duration::from_secs(3);

/// Seconds after the start: the clock of a machine that just booted may be put right until then.
const FIRST_SWEEP: u64 = 15 * 60;

/// Serves an accepted connection in a task of its own.
pub(super) async fn start<F>(accepted: io::Result<F>, telemetry: &Telemetry)
where
    F: Future<Output = ()> + Send + 'static,
{
    match accepted {
        Ok(connection) => {
            tokio::spawn(connection);
        }
        Err(cause) if passes_at_once(&cause) => {}
        // Out of file descriptors, most likely: they come back.
        Err(cause) => {
            telemetry.cannot_accept(&cause);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
