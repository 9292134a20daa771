//! Health checks: asks servers whether they are well, beside the workers, and tells all of these.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Failure;
use super::resolve::{Place, Resolver};
use super::socket::Socket;
use super::standing::Standing;
use super::stream::for_logs;
use super::streams::Speaks;
use super::tls::{self, Offer, Tls};
use crate::config::{HealthCheck, Upstream, UpstreamServer};

/// How every server stands; one for the process. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<Vec<Known>>,
    changed: Notify,
}

#[derive(Clone, Debug)]
struct Known {
    upstream: Upstream,
    standings: Vec<Arc<Standing>>,
}

/// One server, for the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHealth {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// Its URL.
    pub server: String,
    /// Neither a check nor a worker has anything against it.
    pub healthy: bool,
}

impl Health {
    /// Of these upstreams, of which nothing is known yet.
    pub fn new(upstreams: &[Upstream]) -> Self {
        let health = Self::default();
        health.update(upstreams);
        health
    }

    /// Goes on with other upstreams. What is known of unchanged ones stays.
    pub fn update(&self, upstreams: &[Upstream]) {
        let mut known = self.known();
        let kept = |upstream: &Upstream| {
            let same = known.iter().find(|known| known.upstream == *upstream);
            same.cloned().unwrap_or_else(|| Known::new(upstream))
        };
        *known = upstreams.iter().map(kept).collect();
        drop(known);
        self.0.changed.notify_one();
    }

    /// Checks until dropped. One task of the whole process does this.
    pub async fn watch(&self) {
        loop {
            let checks = self.start();
            self.0.changed.notified().await;
            drop(checks);
        }
    }

    /// How every server stands, in the order of the configuration.
    pub fn servers(&self) -> Vec<ServerHealth> {
        self.known().iter().flat_map(Known::servers).collect()
    }

    /// Of one upstream's servers. One that is not known has never failed.
    pub(super) fn standings(&self, upstream: &Upstream) -> Vec<Arc<Standing>> {
        let known = self.known();
        let found = known.iter().find(|known| known.upstream == *upstream);
        found.map_or_else(|| Known::new(upstream).standings, |known| known.standings.clone())
    }

    fn start(&self) -> JoinSet<()> {
        let (mut checks, mut resolver) = (JoinSet::new(), Resolver::default());
        // Not held while certificates are read: workers want it at a reload.
        let known = self.known().clone();
        for Known { upstream, standings } in known {
            match Probe::all(&upstream, &mut resolver) {
                Ok(probes) => probes.into_iter().zip(standings).for_each(|(probe, standing)| {
                    checks.spawn(probe.repeat(standing));
                }),
                Err(cause) => tracing::warn!("{} cannot be checked: {cause}", upstream.name),
            }
        }
        checks
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn new(upstream: &Upstream) -> Self {
        let standings = upstream.servers.iter().map(|_| Arc::new(Standing::unknown()));
        Self { upstream: upstream.clone(), standings: standings.collect() }
    }

    fn servers(&self) -> impl Iterator<Item = ServerHealth> {
        self.upstream.servers.iter().zip(&self.standings).map(|(server, standing)| ServerHealth {
            upstream: Arc::clone(&self.upstream.name),
            server: server.url(),
            healthy: standing.is_healthy(),
        })
    }
}

/// What one server is asked.
struct Probe {
    name: String,
    place: Place,
    host: HeaderValue,
    check: HealthCheck,
}

impl Probe {
    /// One for each server, if they are to be checked.
    fn all(upstream: &Upstream, resolver: &mut Resolver) -> io::Result<Vec<Self>> {
        let Some(check) = &upstream.health else {
            return Ok(Vec::new());
        };
        let client = tls::client(upstream)?;
        let servers = upstream.servers.iter();
        servers
            .map(|server| Self::new((upstream, client.as_ref()), (server, check), resolver))
            .collect()
    }

    fn new(
        (upstream, client): (&Upstream, Option<&Arc<ClientConfig>>),
        (server, check): (&UpstreamServer, &HealthCheck),
        resolver: &mut Resolver,
    ) -> io::Result<Self> {
        let tls = Tls::new(server, &upstream.tls, client)?;
        Ok(Self {
            name: format!("{} of {}", server.url(), upstream.name),
            place: Place::new(server, tls, resolver)?,
            host: HeaderValue::from_str(&server.authority()).map_err(io::Error::other)?,
            check: check.clone(),
        })
    }

    async fn repeat(self, standing: Arc<Standing>) {
        let mut ticks = interval(self.check.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut run = Run::default();
        loop {
            ticks.tick().await;
            let asked = timeout(self.check.every.max(LEAST_PATIENCE), self.ask()).await;
            let told = asked.unwrap_or(Err(Failure::TimedOut));
            run.heed(told.is_ok());
            self.judge(&run, told.err(), &standing);
        }
    }

    /// The first check of all decides alone: an application that is just starting is not asked
    /// before it is there.
    fn judge(&self, run: &Run, failure: Option<Failure>, standing: &Standing) {
        let first = !standing.is_known();
        match failure {
            None if run.length >= self.check.pass_after || first => {
                if !standing.is_up() {
                    tracing::info!("{} is back", self.name);
                }
                standing.rise();
            }
            Some(failure) if run.length >= self.check.fail_after || first => {
                if standing.is_up() {
                    tracing::warn!("{} is left out: {failure}", self.name);
                }
                standing.fall();
            }
            None | Some(_) => {}
        }
    }

    /// Over a connection of its own, so that a server that takes no new ones is found out.
    async fn ask(&self) -> Result<(), Failure> {
        let told = |cause: hyper::Error| Failure::Answer(cause.to_string());
        let socket = self.place.connect(LONGEST_CONNECT, Offer::Both).await?;
        if socket.speaks(self.place.speaks()) == Speaks::Http2 {
            return self.ask_by_stream(socket).await;
        }
        let (mut sender, connection) =
            http1::handshake::<_, Empty<Bytes>>(TokioIo::new(socket)).await.map_err(told)?;
        let mut request = Request::new(Empty::new());
        let path = self.check.path.parse();
        *request.uri_mut() = path.map_err(|_bad| Failure::Answer("no path".to_owned()))?;
        request.headers_mut().insert(HOST, self.host.clone());
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("portcullis-health"));
        let mut answer = pin!(sender.send_request(request));
        let answered = tokio::select! {
            answered = &mut answer => answered,
            // With its last word it may have hung up.
            _ended = connection => answer.await,
        };
        verdict(answered.map_err(told)?.status())
    }
}

impl Probe {
    async fn ask_by_stream(&self, socket: Socket) -> Result<(), Failure> {
        let told = |cause: h2::Error| Failure::Answer(for_logs(&cause));
        let (sender, connection) = h2::client::handshake(socket).await.map_err(told)?;
        let mut sender = sender.ready().await.map_err(told)?;
        let host = self.host.to_str().unwrap_or("localhost");
        let scheme = if self.place.is_encrypted() { "https" } else { "http" };
        let request = Request::builder()
            .uri(format!("{scheme}://{host}{}", self.check.path))
            .header(USER_AGENT, "portcullis-health")
            .body(());
        let request = request.map_err(|cause| Failure::Answer(cause.to_string()))?;
        let (mut answer, _no_body) = sender.send_request(request, true).map_err(told)?;
        let answered = tokio::select! {
            answered = &mut answer => answered,
            _ended = connection => answer.await,
        };
        verdict(answered.map_err(told)?.status())
    }
}

/// A redirection shows life too: to a login, most often.
fn verdict(status: StatusCode) -> Result<(), Failure> {
    if status.is_success() || status.is_redirection() {
        return Ok(());
    }
    Err(Failure::Answer(status.to_string()))
}

/// Answers of one kind in a row.
#[derive(Debug, Default)]
struct Run {
    well: bool,
    length: usize,
}

impl Run {
    fn heed(&mut self, well: bool) {
        self.length = if self.well == well { self.length.saturating_add(1) } else { 1 };
        self.well = well;
    }
}

/// A check that comes more often than this has longer all the same.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);
const LONGEST_CONNECT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
