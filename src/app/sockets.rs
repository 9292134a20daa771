//! Where a gateway listens: its own sockets, those of a service manager, and Unix sockets.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::StartError;
use crate::config::{Config, Environment, ListenAddress, Server};
use crate::request::TrustedProxy;
use crate::server::{self, Handed, Inherited, ListenError, Listener, SocketFile, UnixDoor};

/// Where all workers listen.
#[derive(Debug)]
pub(super) struct Sockets {
    ours: Vec<Listener>,
    /// Those of a service manager.
    inherited: Vec<Listener>,
    inherited_unix: Vec<Vec<UnixListener>>,
    /// One socket for each worker of each file.
    unix: Vec<Vec<UnixListener>>,
    /// Of the plain listener that leads to https.
    redirect: Vec<Listener>,
    inherited_redirect: Vec<Listener>,
}

/// The sockets of a service manager, by what takes them.
#[derive(Debug, Default)]
struct FromManager {
    tcp: Vec<Listener>,
    unix: Vec<Vec<UnixListener>>,
    redirect: Vec<Listener>,
}

/// What later configurations must go with: where the gateway listens until it ends.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) addresses: Vec<SocketAddr>,
    /// Whether clients come by a Unix socket of a service manager.
    inherits_unix: bool,
}

/// Where one worker listens.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) ours: Vec<TcpListener>,
    pub(super) inherited: Inherited,
    pub(super) unix: Vec<UnixListener>,
    pub(super) redirect: Vec<TcpListener>,
    pub(super) inherited_redirect: Inherited,
}

impl Sockets {
    /// Listens everywhere that the configuration names. The files are for whoever outlives the
    /// workers.
    pub(super) fn open(
        config: &Config,
        environment: Option<&Environment>,
    ) -> Result<(Self, Vec<SocketFile>), StartError> {
        let workers = config.server.workers;
        let handed = handed(config, &names(environment))?;
        let ours = server::listen(&config.server.tcp_listeners(), workers)?;
        let paths = config.server.listen.iter().filter_map(ListenAddress::unix);
        let doors = paths
            .map(|path| server::listen_unix(path, workers).map(UnixDoor::into_parts))
            .collect::<Result<Vec<_>, _>>()?;
        let (unix, files) = doors.into_iter().unzip();
        let plain = config.server.http_redirect.iter().filter_map(|plain| plain.listen.tcp());
        let plain: Vec<_> = plain.collect();
        let redirect = server::listen(&plain, workers).map_err(StartError::Redirect)?;
        let FromManager { tcp: inherited, unix: inherited_unix, redirect: inherited_redirect } =
            handed;
        Ok((Self { ours, inherited, inherited_unix, unix, redirect, inherited_redirect }, files))
    }

    /// Every address, and what else is bound.
    pub(super) fn bound(&self) -> Bound {
        let addresses = self.ours.iter().chain(&self.inherited).map(|listener| listener.address);
        Bound { addresses: addresses.collect(), inherits_unix: !self.inherited_unix.is_empty() }
    }

    /// The address of the plain listener that leads to https, as bound.
    pub(super) fn redirect(&self) -> Option<SocketAddr> {
        self.redirect.iter().chain(&self.inherited_redirect).next().map(|listener| listener.address)
    }

    /// The files of a service manager's sockets.
    pub(super) fn inherited_files(&self) -> Vec<PathBuf> {
        let path = |sockets: &Vec<UnixListener>| {
            sockets.first()?.local_addr().ok()?.as_pathname().map(Path::to_owned)
        };
        self.inherited_unix.iter().filter_map(path).collect()
    }

    /// The share of each worker.
    pub(super) fn by_worker(self, workers: usize) -> Vec<Own> {
        let mut all: Vec<Own> = Vec::new();
        all.resize_with(workers.max(1), Own::default);
        for listener in self.ours {
            all.iter_mut().zip(listener.sockets).for_each(|(own, socket)| own.ours.push(socket));
        }
        for listener in self.inherited {
            all.iter_mut()
                .zip(listener.sockets)
                .for_each(|(own, socket)| own.inherited.tcp.push(socket));
        }
        for sockets in self.inherited_unix {
            all.iter_mut().zip(sockets).for_each(|(own, socket)| own.inherited.unix.push(socket));
        }
        for listener in self.redirect {
            let shares = all.iter_mut().zip(listener.sockets);
            shares.for_each(|(own, socket)| own.redirect.push(socket));
        }
        for listener in self.inherited_redirect {
            let shares = all.iter_mut().zip(listener.sockets);
            shares.for_each(|(own, socket)| own.inherited_redirect.tcp.push(socket));
        }
        for sockets in self.unix {
            all.iter_mut().zip(sockets).for_each(|(own, socket)| own.unix.push(socket));
        }
        all
    }
}

impl Bound {
    /// Whether another configuration may come into force over these sockets.
    pub(super) fn suit(&self, config: &Config) -> Result<(), ListenError> {
        if self.inherits_unix { hears_unix(config) } else { Ok(()) }
    }
}

/// What the service manager hands over: the socket that is named so is for the redirect, all others
/// are for `listen`.
fn handed(config: &Config, names: &[String]) -> Result<FromManager, StartError> {
    let Server { listen, http_redirect, workers, .. } = &config.server;
    let for_listen = listen.contains(&ListenAddress::Systemd);
    let redirects = http_redirect.as_ref().map(|redirect| &redirect.listen);
    let for_redirect = redirects == Some(&ListenAddress::Systemd);
    let mut handed = FromManager::default();
    if !for_listen && !for_redirect {
        return Ok(handed);
    }
    for (name, socket) in server::inherit(names, *workers)? {
        match (name == REDIRECT, socket) {
            (true, Handed::Tcp(listener)) if for_redirect => handed.redirect.push(listener),
            (true, Handed::Unix(_)) if for_redirect => {
                let cause = io::Error::other("it is a file, by which no browser comes");
                return Err(StartError::Redirect(ListenError::Handed { which: name, cause }));
            }
            (false, Handed::Tcp(listener)) if for_listen => handed.tcp.push(listener),
            (false, Handed::Unix(sockets)) if for_listen => handed.unix.push(sockets),
            (_, _) => tracing::warn!("no key asks for the socket {name} of systemd: not used"),
        }
    }
    if for_listen && handed.tcp.is_empty() && handed.unix.is_empty() {
        return Err(ListenError::NothingHanded("").into());
    }
    if for_redirect && handed.redirect.is_empty() {
        let nothing = ListenError::NothingHanded(" with FileDescriptorName=http_redirect");
        return Err(StartError::Redirect(nothing));
    }
    if !handed.unix.is_empty() {
        hears_unix(config)?;
    }
    Ok(handed)
}

/// Whoever comes by a Unix socket that was inherited has no address, and is trusted or nobody.
fn hears_unix(config: &Config) -> Result<(), ListenError> {
    let heard = config.server.trust.proxies.contains(&TrustedProxy::Unix);
    if heard { Ok(()) } else { Err(ListenError::HandedUntrusted) }
}

/// What the service manager calls its sockets.
fn names(environment: Option<&Environment>) -> Vec<String> {
    let names = environment.and_then(|environment| environment.variable("LISTEN_FDNAMES"));
    names.iter().flat_map(|names| names.split(':')).map(str::to_owned).collect()
}

/// What the failure to listen does not say by itself.
pub(super) fn way_out(error: &ListenError, key: &str) -> String {
    match error {
        ListenError::InUse(_) => {
            let demo = if key == LISTEN { "; demo --listen" } else { "" };
            format!("; stop the other one, or choose another address ({key}{demo})")
        }
        ListenError::Denied(_) => {
            format!(
                "; let systemd hand a socket over ({key} = \"systemd\"), grant the capability \
                 CAP_NET_BIND_SERVICE, or choose a port from 1024 on in {key}"
            )
        }
        ListenError::NothingHanded(_) => {
            format!(
                ", and {key} names \"systemd\"; start the gateway by its unit, with a socket unit \
                 beside it, or name an address"
            )
        }
        ListenError::Handed { .. } => {
            let or_path = if key == LISTEN { " or a path" } else { "" };
            format!(
                "; a socket unit of the gateway has ListenStream= alone, with an address and a \
                 port{or_path}"
            )
        }
        ListenError::HandedUntrusted => {
            "; add \"unix\" to server.trusted_proxies, or hand over an address and a port"
                .to_owned()
        }
        ListenError::UnixInUse(_) => {
            format!("; stop the other one, or choose another file in {key}")
        }
        ListenError::Unix { cause, .. } => {
            format!(": {cause}; its folder must exist and be writable for the gateway's user")
        }
        ListenError::Other { cause, .. } => {
            format!(": {cause}; choose an address of this machine in {key}")
        }
    }
}

/// The key of the ordinary listeners.
pub(super) const LISTEN: &str = "server.listen";

/// What a socket unit calls the socket of `http_redirect` (`FileDescriptorName=`).
const REDIRECT: &str = "http_redirect";
