//! Reload: file → parsed → checked → compiled → `[[tests]]` → one swap in every worker.
//!
//! Invariant: whatever fails, the configuration in force stays in force, whole. So all that can fail
//! comes first; from the word to the workers on nothing does.

use std::io;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::task::spawn_blocking;

use super::notify::Notifier;
use super::sockets::Bound;
use super::worker::{Law, Lent, Orders, Renewal};
use super::{StartError, assertions, bootstrap, bounds, descriptors, issuer, meter, setup_url};
use crate::auth::{Auth, Parts};
use crate::clock::Clock;
use crate::config::{self, Config, Environment, Frozen, Loaded, Report, Style};
use crate::gateway::{self, Snapshot};
use crate::password::{Hasher, Meter};
use crate::server::{Slots, Tls};
use crate::store::User;
use crate::telemetry::{Counter, Diagnostics, Gauge, Outputs, Telemetry};
use crate::token::{Algorithm, KeyError, KeyRing};
use crate::upstream::Health;

/// Where a reload reads, and what follows it outside of the gateway.
#[derive(Clone, Debug)]
pub struct Source {
    /// What the file may refer to.
    pub environment: Environment,
    /// The printed diagnostics.
    pub diagnostics: Diagnostics,
}

/// A configuration that came into force.
#[derive(Debug)]
pub struct Reloaded {
    /// Its number: 1 is that of the start.
    pub generation: u64,
    /// What to say of it, with its warnings.
    pub text: String,
}

/// Why the configuration in force stays in force.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// There is no file to read again, as for the demo.
    #[error("this gateway was started without a file")]
    NoFile,
    /// The file cannot be used.
    #[error("{}", .0.render(Style::Plain).trim_end())]
    Problems(Report),
    /// It changes what cannot change in a running gateway.
    #[error("{}", frozen(.0))]
    Frozen(Vec<Frozen>),
    /// A file that was cut short would take every application away.
    #[error(
        "{file} has no [[routes]] any more, and {in_force} are in force: was it cut short? To serve \
         nothing but the gateway's own pages, restart the gateway"
    )]
    NoRoutes {
        /// The file.
        file: String,
        /// Routes in force.
        in_force: usize,
    },
    /// The routes do not compile, which `check` tells better.
    #[error("the routes contradict each other; `portcullis check` shows where")]
    Routes,
    /// Its rules do not answer what they must.
    #[error("{0}\na [[tests]] of the configuration fails")]
    Tests(String),
    /// A log cannot be written.
    #[error("cannot open the log: {0}; see log.output and log.audit_output")]
    Log(#[source] io::Error),
    /// A shared secret cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A user of the configuration cannot be created.
    #[error(transparent)]
    User(#[from] StartError),
    /// A thread or a resolver cannot be made.
    #[error("cannot prepare the new configuration: {0}")]
    Machine(#[from] io::Error),
    /// The gateway is about to end.
    #[error("the gateway is stopping")]
    Stopping,
}

fn frozen(keys: &[Frozen]) -> String {
    let line =
        |key: &Frozen| format!("`{}` cannot change while the gateway runs: {}", key.key, key.why);
    let lines: Vec<_> = keys.iter().map(line).collect();
    format!("{}\nrestart the gateway for it, or put the old value back", lines.join("\n"))
}

/// Brings configurations into force, one after the other.
#[derive(Debug)]
pub(super) struct Reloader {
    source: Option<Source>,
    in_force: Mutex<InForce>,
    auth: watch::Sender<Auth>,
    workers: Vec<Orders>,
    bound: Bound,
    pub(super) telemetry: Telemetry,
    pub(super) slots: Arc<Slots>,
    pub(super) health: Health,
    pub(super) tls: Option<Tls>,
    pub(super) clock: Clock,
    pub(super) notifier: Notifier,
}

/// The configuration in force.
#[derive(Debug)]
struct InForce {
    config: Arc<Config>,
    generation: u64,
}

/// All that was prepared of a configuration.
struct Prepared {
    law: Law,
    outputs: Outputs,
    warnings: String,
    commits: Commits,
}

/// The word to commit that each worker waits for, and where it says that it has.
type Commits = Vec<(oneshot::Sender<()>, oneshot::Receiver<()>)>;

impl Reloader {
    /// The configuration of the start is in force, and is said to be.
    pub(super) fn of(
        source: Option<Source>,
        lent: Lent,
        (bound, workers): (Bound, Vec<Orders>),
        (clock, notifier): (Clock, Notifier),
    ) -> Arc<Self> {
        let reloader = Self {
            source,
            in_force: Mutex::new(InForce { config: lent.config, generation: 1 }),
            auth: watch::Sender::new(lent.auth),
            workers,
            bound,
            telemetry: lent.telemetry,
            slots: lent.slots,
            health: lent.health,
            tls: lent.tls,
            clock,
            notifier,
        };
        reloader.tell_in_force(1);
        Arc::new(reloader)
    }

    /// The use cases in force.
    pub(super) fn auth(&self) -> Auth {
        self.auth.borrow().clone()
    }

    /// Whether there is anything to read again.
    pub(super) fn has_a_file(&self) -> bool {
        self.source.is_some()
    }

    /// Reads the file again and brings what it says into force.
    pub(super) async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let mut in_force = self.in_force.lock().await;
        self.notifier.reloading();
        let outcome = match self.read(&in_force.config).await {
            Ok(loaded) => self.bring(&mut in_force, loaded).await,
            Err(error) => Err(error),
        };
        self.notifier.ready();
        self.tell(&outcome);
        outcome
    }

    /// Brings a configuration into force that was read elsewhere.
    pub(super) async fn adopt(&self, loaded: Loaded) -> Result<Reloaded, ReloadError> {
        let mut in_force = self.in_force.lock().await;
        let outcome = self.bring(&mut in_force, loaded).await;
        self.tell(&outcome);
        outcome
    }

    /// Whether every worker still turns.
    pub(super) async fn workers_turn(&self) -> bool {
        for worker in &self.workers {
            let (tell, told) = oneshot::channel();
            if worker.pings.send(tell).is_err() || told.await.is_err() {
                return false;
            }
        }
        true
    }

    async fn read(&self, before: &Config) -> Result<Loaded, ReloadError> {
        let Some(Source { environment, .. }) = self.source.clone() else {
            return Err(ReloadError::NoFile);
        };
        let file = before.file.clone();
        let loaded = spawn_blocking(move || config::load(&file, &environment)).await;
        loaded.map_err(io::Error::other)?.map_err(ReloadError::Problems)
    }

    async fn bring(&self, now: &mut InForce, loaded: Loaded) -> Result<Reloaded, ReloadError> {
        let prepared = self.prepare(now, loaded).await?;
        let generation = prepared.law.generation;
        let config = Arc::clone(&prepared.law.config);
        let mut lines = vec![format!(
            "{} is in force, as configuration {generation}: {} routes, {} tests passed",
            config.file.display(),
            config.routes.len(),
            config.tests.len(),
        )];
        lines.push(prepared.warnings.trim_end().to_owned());
        let auth = prepared.law.auth.clone();
        self.put_into_force(prepared).await?;
        *now = InForce { config, generation };
        if let Err(cause) = auth.shorten_sessions().await {
            lines.push(format!(
                "warning: sessions keep their old lifetimes until the next start: {cause}"
            ));
        }
        let lack = descriptors::too_few(&now.config.server);
        let told = roles_gone(&auth, &now.config).await.into_iter().chain(lack);
        lines.extend(told.map(|line| format!("warning: {line}")));
        lines.retain(|line| !line.is_empty());
        let text = lines.join("\n");
        Ok(Reloaded { generation, text })
    }

    /// Everything that can fail.
    async fn prepare(&self, now: &InForce, loaded: Loaded) -> Result<Prepared, ReloadError> {
        let (config, generation) = (Arc::new(loaded.config), now.generation + 1);
        let in_force = now.config.routes.len();
        if config.routes.is_empty() && in_force > 0 {
            return Err(ReloadError::NoRoutes {
                file: config.file.display().to_string(),
                in_force,
            });
        }
        let frozen = config::frozen(&now.config, &config);
        if !frozen.is_empty() {
            return Err(ReloadError::Frozen(frozen));
        }
        self.bound.suit(&config).map_err(StartError::from)?;
        let snapshot = Snapshot::compile(&config, &self.bound.addresses)
            .map_err(|_conflicts| ReloadError::Routes)?;
        let red = gateway::run_tests(&snapshot, &config.tests);
        if !red.is_empty() {
            return Err(ReloadError::Tests(red.join("\n")));
        }
        let outputs = self.telemetry.prepare(&config.log).map_err(ReloadError::Log)?;
        let auth = self.renewed(now, &config).await?;
        let law = Law { config, auth, generation };
        let introduced = self.introduce((&now.config, &law)).await;
        let commits =
            introduced.inspect_err(|_refused| self.health.update(&now.config.upstreams))?;
        Ok(Prepared { law, outputs, warnings: loaded.warnings.render(Style::Plain), commits })
    }

    /// The use cases of another configuration, over the same store, keys and buckets.
    async fn renewed(&self, now: &InForce, config: &Arc<Config>) -> Result<Auth, ReloadError> {
        let before = self.auth();
        let kept = before.parts().clone();
        let issuer = issuer(config, &self.bound.addresses);
        let ring = match config.tokens.algorithm {
            Algorithm::Hs256 => Arc::new(KeyRing::shared(&config.tokens.secrets)?),
            Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Rs256 => kept.ring,
        };
        assertions::prepare(&kept.assertions, config, &self.clock)?;
        let hasher = match hashing_changed(&now.config, config) {
            true => hasher(Arc::clone(config), meter(&self.telemetry, &self.clock)).await?,
            false => kept.hasher,
        };
        Ok(Auth::new(Parts {
            setup_url: setup_url(config, &issuer),
            rules: Parts::rules(config, issuer),
            rotate_every: config.tokens.rotate_every,
            limits: Arc::new(kept.limits.renewed(&config.rate_limits, &self.clock)),
            sessions: config.sessions.clone(),
            full_address: config.log.full_address,
            passwords: config.passwords.clone(),
            roles: config.auth.roles.clone(),
            ring,
            hasher,
            ..kept
        }))
    }

    /// Has every worker prepare, with the servers of both configurations known meanwhile.
    async fn introduce(&self, (before, law): (&Config, &Law)) -> Result<Commits, ReloadError> {
        let both = before.upstreams.iter().chain(&law.config.upstreams).cloned();
        self.health.update(&both.collect::<Vec<_>>());
        let commits = self.ask(law).await?;
        // Last, since it leaves something behind.
        bootstrap(&law.auth, &law.config).await?;
        Ok(commits)
    }

    /// Has every worker prepare. They all wait for the word then, or one said why it cannot.
    async fn ask(&self, law: &Law) -> Result<Commits, ReloadError> {
        let mut commits = Vec::new();
        for worker in &self.workers {
            let (prepared, is_prepared) = oneshot::channel();
            let (say, commit) = oneshot::channel();
            let (committed, is_committed) = oneshot::channel();
            let renewal = Renewal { law: law.clone(), prepared, commit, committed };
            worker.renewals.send(renewal).map_err(|_gone| ReloadError::Stopping)?;
            is_prepared.await.map_err(|_gone| ReloadError::Stopping)??;
            commits.push((say, is_committed));
        }
        Ok(commits)
    }

    /// Nothing in here fails but the end of the gateway.
    async fn put_into_force(&self, prepared: Prepared) -> Result<(), ReloadError> {
        let Prepared { law, outputs, commits, .. } = prepared;
        let (commits, committed): (Vec<_>, Vec<_>) = commits.into_iter().unzip();
        for commit in commits {
            commit.send(()).map_err(|()| ReloadError::Stopping)?;
        }
        for done in committed {
            done.await.map_err(|_gone| ReloadError::Stopping)?;
        }
        let server = &law.config.server;
        self.slots.bound(server.max_connections, server.max_connections_per_ip);
        self.health.update(&law.config.upstreams);
        if let Some(tls) = &self.tls {
            tls.reload(&server.tls);
        }
        self.telemetry.adopt(outputs);
        if let Some(source) = &self.source {
            source.diagnostics.set(law.config.log.level);
        }
        let before = self.auth.send_replace(law.auth.clone());
        law.auth.limits().forget_changed(before.limits());
        Ok(())
    }

    fn tell(&self, outcome: &Result<Reloaded, ReloadError>) {
        match outcome {
            Ok(reloaded) => {
                tracing::info!("{}", reloaded.text);
                self.telemetry.count(Counter::Reload, "success");
                self.tell_in_force(reloaded.generation);
            }
            Err(error) => {
                tracing::error!("not reloaded, the configuration in force stays: {error}");
                self.telemetry.count(Counter::Reload, "refused");
                self.telemetry.set(Gauge::ReloadSuccessful, 0.0);
            }
        }
    }

    fn tell_in_force(&self, generation: u64) {
        let exact = |count: u64| u32::try_from(count).map_or(f64::INFINITY, f64::from);
        let now = u64::try_from(self.clock.now().as_secs()).unwrap_or(0);
        self.telemetry.set(Gauge::ConfigGeneration, exact(generation));
        self.telemetry.set(Gauge::ReloadSuccessful, 1.0);
        self.telemetry.set(Gauge::ReloadTimestamp, exact(now));
    }
}

/// A line for each role that users have and the configuration does not list, or why none is known.
pub(super) async fn roles_gone(auth: &Auth, config: &Config) -> Vec<String> {
    let users = match auth.store().users().await {
        Ok(users) => users,
        Err(cause) => return vec![format!("{UNKNOWN_ROLES}: {cause}")],
    };
    let gone = |user: &User| {
        let roles = user.roles.iter().filter(|role| !config.auth.roles.contains(role));
        let line = |role| {
            format!("user {} has the role {role}, which auth.roles does not list", user.username)
        };
        roles.map(line).collect::<Vec<_>>()
    };
    users.iter().flat_map(gone).collect()
}

const UNKNOWN_ROLES: &str = "whether users have roles that auth.roles does not list is not known";

fn hashing_changed(before: &Config, after: &Config) -> bool {
    let of = |config: &Config| {
        let passwords = &config.passwords;
        (passwords.cost, passwords.concurrent, passwords.queue, passwords.queue_per_network)
    };
    of(before) != of(after)
}

/// Hashing threads of other measures; those before end with their last job.
async fn hasher(config: Arc<Config>, meter: Meter) -> Result<Hasher, ReloadError> {
    let start = move || {
        let passwords = &config.passwords;
        Hasher::start(passwords.cost, bounds(passwords), &meter)
    };
    Ok(spawn_blocking(start).await.map_err(io::Error::other)??)
}
