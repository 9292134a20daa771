//! Builds everything from a [`Config`], starts the workers, and stops it all in order.
//!
//! What is built here is lent to the layers below; nothing below builds itself.

mod admin;
pub mod administration;
mod assertions;
pub mod certificate;
pub mod control;
mod data_dir;
pub mod demo;
mod descriptors;
pub mod keys;
mod notify;
mod office;
mod reload;
mod sample;
mod signals;
mod sockets;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use thiserror::Error;
use tokio::sync::watch;

pub use data_dir::{DataDir, DataDirError};
pub use reload::{ReloadError, Reloaded, Source};

use administration::Patience;
use notify::Notifier;
use reload::{Reloader, roles_gone};
use sockets::Sockets;

use crate::auth::{Auth, Changes, Detached, Parts, Peeks, Unfinished, UserError};
use crate::clock::Clock;
use crate::config::{Config, Loaded, Passwords, StoreUrl};
use crate::gateway;
use crate::identity::Username;
use crate::limit::Limits;
use crate::password::{Bounds, Hasher, Meter};
use crate::secret::{self, Secret};
use crate::server::{self, Slots, SocketFile, Tls};
use crate::store::{OpenError, Place, Store, Unavailable};
use crate::telemetry::{Telemetry, Timing};
use crate::token::{Algorithm, KeyError, KeyRing, MasterKey, MasterKeys};
use crate::upstream::Health;

/// Why a gateway did not start. Nothing is left half-done.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// An address cannot be listened on.
    #[error("{}{}", .0, sockets::way_out(.0, sockets::LISTEN))]
    Listen(#[from] server::ListenError),
    /// The redirect's address cannot be listened on.
    #[error("{}{}", .0, sockets::way_out(.0, "server.http_redirect.listen"))]
    Redirect(server::ListenError),
    /// The admin listener's address cannot be listened on.
    #[error(
        "cannot listen on {address} for server.admin: {cause}; choose another address, or \"off\""
    )]
    Admin {
        /// The address.
        address: SocketAddr,
        /// Why not.
        cause: io::Error,
    },
    /// A log cannot be written.
    #[error("cannot open the log: {0}; see log.output and log.audit_output")]
    Log(#[source] io::Error),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The master key's file is gone, and the store has rows that need it.
    #[error(
        "the master key {file} is missing, and the store {store} has users or sessions that were made \
         with it; put the file back from your backup (without it every session would end)"
    )]
    MasterKeyMissing {
        /// Where it should be.
        file: String,
        /// The store.
        store: String,
    },
    /// A key cannot be read or made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store does not answer right after it was opened.
    #[error(
        "cannot use the store {store}: {cause}; see that its file system is sound and has room, then start again"
    )]
    Unavailable {
        /// The store.
        store: String,
        /// What it said.
        cause: Unavailable,
    },
    /// A user of the configuration cannot be created.
    #[error("cannot create the [[bootstrap]] user {name}: {cause}")]
    Bootstrap {
        /// The user's name.
        name: Username,
        /// Why not.
        cause: UserError,
    },
    /// A thread or a socket of our own cannot be made.
    #[error("cannot start: {0}")]
    Machine(#[from] io::Error),
    /// The list of master keys is empty, or an id stands twice.
    #[error(
        "sessions.master_keys needs at least one key, each with an id of its own from 1 to 255"
    )]
    MasterKeys,
    /// The routes do not compile, which `check` tells better.
    #[error("the routes contradict each other; `portcullis check` shows where")]
    Routes,
}

/// A running gateway. Dropping it stops it at once; [`Running::stop`] lets requests end first.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    redirect: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    users: usize,
    auth: Auth,
    telemetry: Telemetry,
    phase: watch::Sender<Phase>,
    reloader: Option<Arc<Reloader>>,
    notifier: Notifier,
    workers: Vec<JoinHandle<()>>,
    office: Option<JoinHandle<()>>,
    unix_files: Vec<SocketFile>,
    /// Those of a service manager.
    inherited_files: Vec<PathBuf>,
    _data_dir: Option<DataDir>,
}

/// What the threads of a gateway are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Accept and serve.
    Serving,
    /// Accept nothing more, let requests in flight end.
    Draining,
    /// End now.
    Stopped,
}

impl Running {
    /// The addresses listened on, as bound, in the order of `server.listen`.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The files of the Unix sockets listened on.
    pub fn unix_sockets(&self) -> impl Iterator<Item = &Path> {
        let inherited = self.inherited_files.iter().map(PathBuf::as_path);
        self.unix_files.iter().map(SocketFile::path).chain(inherited)
    }

    /// The address of `server.http_redirect`, as bound.
    pub fn redirect(&self) -> Option<SocketAddr> {
        self.redirect
    }

    /// The admin listener's address, as bound.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Whether nobody can log in, since there were no users at the start.
    pub fn has_no_users(&self) -> bool {
        self.users == 0
    }

    /// The use cases as they were at the start, for what the process administers itself.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Writes out every queued line of the logs.
    pub fn flush_logs(&self) {
        self.telemetry.flush();
    }

    /// Lets requests in flight end, at most `drain_timeout` long, then ends.
    pub fn stop(self) {
        self.phase.send_replace(Phase::Draining);
        self.wait();
    }

    /// Heeds signals from now on: SIGTERM and SIGINT drain, a second one ends at once, SIGHUP opens
    /// the log files again and reloads. Before this is called they end the process as they end any
    /// other.
    pub fn heed_signals(&self) -> io::Result<()> {
        let reloader = self.reloader.as_ref().map(Arc::downgrade).unwrap_or_default();
        signals::watch(self.phase.clone(), self.telemetry.clone(), reloader)
    }

    /// Tells the service manager, if there is one, that requests are served.
    pub fn announce(&self) {
        self.notifier.ready();
    }

    /// Brings a configuration into force that is loaded already. Blocks.
    pub fn reload(&self, loaded: Loaded) -> Result<Reloaded, ReloadError> {
        let Some(reloader) = &self.reloader else { return Err(ReloadError::Stopping) };
        block_on(reloader.adopt(loaded))?
    }

    /// Serves until a signal ends it.
    pub fn until_signalled(self) {
        self.wait();
    }

    fn wait(mut self) {
        for worker in self.workers.drain(..) {
            // A worker that panicked has told so itself.
            let _ = worker.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Stopped);
        for thread in self.workers.drain(..).chain(self.office.take()) {
            // A thread that panicked has told so itself.
            let _ = thread.join();
        }
        self.telemetry.flush();
    }
}

/// Starts a gateway: everything that can fail has been tried before this returns. It has no file to
/// read again.
pub fn start(config: Config, clock: &Clock) -> Result<Running, StartError> {
    start_from(config, clock, None)
}

/// Starts a gateway that can read its file again.
pub fn start_from(
    config: Config,
    clock: &Clock,
    source: Option<Source>,
) -> Result<Running, StartError> {
    let config = Arc::new(config);
    descriptors::raise();
    if let Some(lack) = descriptors::too_few(&config.server) {
        tracing::warn!("{lack}");
    }
    let data_dir = hold(&config)?;
    let control = data_dir.as_ref().map(DataDir::listen).transpose()?;
    let surroundings = source.as_ref().map(|source| &source.environment);
    let (sockets, unix_files) = Sockets::open(&config, surroundings)?;
    let tls = Tls::new(&config.server.tls)?;
    let admin = office::listen(config.server.admin)?;
    let telemetry = Telemetry::open(&config.log, clock).map_err(StartError::Log)?;
    let (bound, inherited_files) = (sockets.bound(), sockets.inherited_files());
    let auth = build(&config, clock, (&telemetry, issuer(&config, &bound.addresses)))?;
    let settled = block_on(auth.to_the_last(settle(&auth, &config)));
    telemetry.flush();
    let users = settled??;
    let (phase, watching) = watch::channel(Phase::Serving);
    let slots = Slots::new(config.server.max_connections, config.server.max_connections_per_ip);
    let notifier = surroundings.map(Notifier::of).unwrap_or_default();
    let health = Health::new(&config.upstreams);
    let mut running = Running {
        redirect: sockets.redirect(),
        admin: admin.as_ref().and_then(|listener| listener.local_addr().ok()),
        addresses: bound.addresses.clone(),
        users,
        auth: auth.clone(),
        telemetry: telemetry.clone(),
        phase,
        reloader: None,
        notifier: notifier.clone(),
        workers: Vec::new(),
        office: None,
        unix_files,
        inherited_files,
        _data_dir: data_dir,
    };
    let lent =
        worker::Lent { config, auth, telemetry, slots, health, tls, watching: watching.clone() };
    let hands = worker::spawn_all(&lent, sockets)?;
    let orders = hands.iter().map(|hand| hand.orders.clone()).collect();
    running.workers = hands.into_iter().map(|hand| hand.thread).collect();
    let clock = clock.clone();
    let reloader = Reloader::of(source, lent, (bound, orders), (clock, notifier));
    running.reloader = Some(Arc::clone(&reloader));
    let office = office::Office::of(reloader);
    running.office = Some(office::spawn(office, (admin, control), watching)?);
    Ok(running)
}

/// A store in memory needs no folder. A command may hold it for a moment.
fn hold(config: &Config) -> Result<Option<DataDir>, DataDirError> {
    if config.store == StoreUrl::Memory {
        return Ok(None);
    }
    let data_dir = &config.server.data_dir;
    let mut patience = Patience::default();
    loop {
        match DataDir::open(data_dir) {
            Err(DataDirError::Held { .. }) if patience.wait(data_dir).is_ok() => {}
            opened => return opened.map(Some),
        }
    }
}

fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}

/// The use cases of a configuration, for the gateway and for the command line without one.
///
/// Loads or makes the keys, opens the store, loads what has ended.
pub(crate) fn build(
    config: &Config,
    clock: &Clock,
    (telemetry, issuer): (&Telemetry, String),
) -> Result<Auth, StartError> {
    // What is there is read before anything is made: a refused start leaves nothing half-done.
    let existing = existing_master_keys(config)?;
    let ring = ring(config, clock)?;
    let assertions = assertions::load(config, clock)?;
    let masters = master_keys(config, existing)?;
    let store = Store::open(place(config), &masters.check_values(), clock)?;
    let passwords = &config.passwords;
    let setup_url = setup_url(config, &issuer);
    let auth = Auth::new(Parts {
        rules: Parts::rules(config, issuer),
        revocations: Arc::clone(store.ended()),
        store,
        ring: Arc::new(ring),
        assertions: Arc::new(assertions),
        rotate_every: config.tokens.rotate_every,
        masters: Arc::new(masters),
        hasher: Hasher::start(passwords.cost, bounds(passwords), &meter(telemetry, clock))?,
        limits: Arc::new(Limits::new(&config.rate_limits, clock)),
        telemetry: telemetry.clone(),
        clock: clock.clone(),
        sessions: config.sessions.clone(),
        detached: Detached::default(),
        unfinished: Arc::<Unfinished>::default(),
        peeks: Arc::<Peeks>::default(),
        changes: Changes::default(),
        full_address: config.log.full_address,
        passwords: passwords.clone(),
        dearest: Arc::default(),
        roles: config.auth.roles.clone(),
        setup_url,
    });
    block_on(auth.load_revocations())?.map_err(unavailable(config))?;
    Ok(auth)
}

/// Brings the store to what the configuration says; gives how many users there are.
async fn settle(auth: &Auth, config: &Config) -> Result<usize, StartError> {
    let users = bootstrap(auth, config).await?;
    auth.shorten_sessions().await.map_err(unavailable(config))?;
    for line in roles_gone(auth, config).await {
        tracing::warn!("{line}");
    }
    Ok(users)
}

async fn bootstrap(auth: &Auth, config: &Config) -> Result<usize, StartError> {
    for user in &config.bootstrap {
        let created = auth.users().by_configuration().bootstrap(user).await;
        created.map_err(|error| {
            if let UserError::Store(cause) = error {
                return unavailable(config)(cause);
            }
            StartError::Bootstrap { name: user.name.clone(), cause: error }
        })?;
    }
    let users = auth.store().users().await.map_err(unavailable(config))?;
    auth.hide_hashes(&users);
    Ok(users.len())
}

fn bounds(passwords: &Passwords) -> Bounds {
    Bounds {
        threads: passwords.concurrent,
        queue: passwords.queue,
        queue_per_network: passwords.queue_per_network,
    }
}

fn meter(telemetry: &Telemetry, clock: &Clock) -> Meter {
    let telemetry = telemetry.clone();
    Meter::new(clock, move |algorithm, took| {
        telemetry.time(Timing::PasswordHash, algorithm, took);
    })
}

/// The page of the links that set a password.
fn setup_url(config: &Config, issuer: &str) -> String {
    format!("{issuer}{}/setup", config.auth.path)
}

fn unavailable(config: &Config) -> impl Fn(Unavailable) -> StartError {
    move |cause| StartError::Unavailable { store: name(&config.store), cause }
}

/// The store as its operator knows it.
fn name(store: &StoreUrl) -> String {
    match store {
        StoreUrl::Sqlite(path) => path.display().to_string(),
        StoreUrl::Memory => "in memory".to_owned(),
    }
}

fn place(config: &Config) -> Place<'_> {
    match &config.store {
        StoreUrl::Sqlite(path) => Place::File(path),
        StoreUrl::Memory => Place::Memory,
    }
}

/// The issuer when none is written: the origin that browsers see.
pub(crate) fn issuer(config: &Config, bound: &[SocketAddr]) -> String {
    let origins = gateway::public_origins(config, bound);
    origins.first().map_or_else(|| "portcullis".to_owned(), ToString::to_string)
}

fn ring(config: &Config, clock: &Clock) -> Result<KeyRing, KeyError> {
    let tokens = &config.tokens;
    match (tokens.algorithm, &config.store) {
        (Algorithm::Hs256, _) => KeyRing::shared(&tokens.secrets),
        (algorithm, StoreUrl::Memory) => KeyRing::ephemeral(algorithm),
        (algorithm, StoreUrl::Sqlite(_)) => KeyRing::open(&tokens.key_dir, algorithm, clock.now()),
    }
}

/// Reads the master keys. The active one may be missing for a store without rows alone: for any
/// other, a new key would end every session.
fn existing_master_keys(config: &Config) -> Result<Vec<MasterKey>, StartError> {
    let StoreUrl::Sqlite(store) = &config.store else {
        return Ok(Vec::new());
    };
    let is_empty = Store::is_empty_at(place(config))?;
    let mut keys = Vec::new();
    for (at, (id, file)) in config.sessions.master_keys.iter().enumerate() {
        if at > 0 || file.exists() {
            keys.push(MasterKey::read(*id, file)?);
        } else if !is_empty {
            let [file, store] = [file, store].map(|path| path.display().to_string());
            return Err(StartError::MasterKeyMissing { file, store });
        }
    }
    Ok(keys)
}

/// The master keys, the active one made if it is missing.
fn master_keys(config: &Config, mut keys: Vec<MasterKey>) -> Result<MasterKeys, StartError> {
    match (&config.store, config.sessions.master_keys.first()) {
        (StoreUrl::Memory, _) => {
            keys.push(MasterKey { id: 1, key: Secret::new(secret::random::<32>()) })
        }
        (StoreUrl::Sqlite(_), Some((id, file))) if !file.exists() => {
            keys.insert(0, MasterKey::create(*id, file)?);
        }
        (StoreUrl::Sqlite(_), _) => {}
    }
    MasterKeys::new(keys).ok_or(StartError::MasterKeys)
}
