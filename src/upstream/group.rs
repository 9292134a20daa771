//! One worker's view of an upstream's servers: which takes a request, which is left out, and how
//! much may be tried again.

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::Failure;
use super::balance::{self, Set};
use super::pool::Pool;
use super::resolve::{Place, Resolver};
use super::standing::Standing;
use super::tls::{self, Tls};
use crate::config::{Balance, Upstream};
use crate::identity::SessionId;
use crate::secret;

/// The servers of one upstream, each with its connections.
#[derive(Debug)]
pub(super) struct Group {
    upstream: Upstream,
    servers: Box<[Rc<Pool>]>,
    seeds: Box<[u64]>,
    turn: Cell<usize>,
    retrying: Cell<usize>,
}

/// Who asks, as far as that says where to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asker {
    pub(super) session: Option<SessionId>,
    /// The client, if its request has a body.
    pub(super) uploads_from: Option<IpAddr>,
}

impl Asker {
    /// Whether a server has no place for the request now.
    fn would_wait(self, pool: &Pool) -> bool {
        let is_next_upload = |client| pool.has_most_uploads_of(client);
        pool.is_full() || self.uploads_from.is_some_and(is_next_upload)
    }
}

impl Group {
    /// Nothing is connected yet.
    pub(super) fn new(
        upstream: &Upstream,
        standings: &[Arc<Standing>],
        resolver: &mut Resolver,
        workers: usize,
    ) -> io::Result<Self> {
        let client = tls::client(upstream)?;
        let servers = upstream.servers.iter().zip(standings).map(|(server, standing)| {
            let tls = Tls::new(server, &upstream.tls, client.as_ref())?;
            let place = Place::new(server, tls, resolver)?;
            Ok(Rc::new(Pool::new(upstream, place, Arc::clone(standing), workers)))
        });
        let seeds = upstream.servers.iter().map(|server| balance::seed(&server.url()));
        Ok(Self {
            servers: servers.collect::<io::Result<_>>()?,
            seeds: seeds.collect(),
            upstream: upstream.clone(),
            turn: Cell::new(0),
            retrying: Cell::new(0),
        })
    }

    /// What it was made of.
    pub(super) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Whether a request that failed at one server could go to another.
    pub(super) fn has_others(&self) -> bool {
        self.servers.len() > 1 && self.upstream.retries > 0
    }

    /// Where a request goes first.
    pub(super) fn first(&self, asker: Asker) -> Result<(usize, &Rc<Pool>), Failure> {
        if let [only] = &*self.servers {
            let standing = only.standing();
            return if standing.is_up() { Ok((0, only)) } else { Err(Failure::Down) };
        }
        self.choose(Set::default(), asker).ok_or(Failure::Down)
    }

    /// Where it goes when these have failed; the place among the retries is held until dropped.
    pub(super) fn again(
        self: &Rc<Self>,
        tried: Set,
        asker: Asker,
    ) -> Option<(usize, &Rc<Pool>, Retry)> {
        if tried.len() > self.upstream.retries {
            return None;
        }
        let (at, pool) = self.choose(tried, asker)?;
        Some((at, pool, self.retry()?))
    }

    fn choose(&self, tried: Set, asker: Asker) -> Option<(usize, &Rc<Pool>)> {
        // The last ones are asked whatever they did, but for what has failed elsewhere already.
        let up = self.set(|pool| pool.standing().is_up());
        let usable = self.set(Pool::is_usable).or(up).without(tried);
        let free = usable.without(self.set(|pool| asker.would_wait(pool))).or(usable);
        let at = match (self.upstream.balance, asker.session) {
            // A session keeps its server, cold and busy too.
            (Balance::HashSession, Some(session)) => {
                let seed = |at| self.seeds.get(at).copied().unwrap_or_default();
                balance::of_session(usable, session, seed)?
            }
            (Balance::RoundRobin, _) => balance::next(self.warm(free), self.turn.get())?,
            (Balance::LeastRequests | Balance::HashSession, _) => {
                let busy =
                    |at| self.servers.get(at).map_or(usize::MAX, |pool: &Rc<Pool>| pool.busy());
                balance::of_two(self.warm(free), busy)?
            }
        };
        self.turn.set(at.saturating_add(1));
        Some((at, self.servers.get(at)?))
    }

    fn set(&self, is_meant: impl Fn(&Pool) -> bool) -> Set {
        Set::of(self.servers.len(), |at| self.servers.get(at).is_some_and(|pool| is_meant(pool)))
    }

    /// Without those that have just come back and do not draw the lot that their age gives them.
    fn warm(&self, set: Set) -> Set {
        let slow_start = match &self.upstream.health {
            Some(health) if !health.slow_start.is_zero() => health.slow_start,
            Some(_) | None => return set,
        };
        let cold = self.set(|pool| {
            let warmth = pool.standing().warmth(slow_start);
            // One in ten to begin with: a server that gets nothing never warms up.
            warmth < 1.0 && secret::random_fraction() > warmth.max(0.1)
        });
        set.without(cold).or(set)
    }

    /// An answer came from a server.
    pub(super) fn succeeded(&self, at: usize) {
        if let Some(pool) = self.servers.get(at) {
            pool.record().succeeded();
        }
    }

    /// None came. A server that fails too often in a row is left out for a while, unless too many
    /// are already.
    pub(super) fn failed(&self, at: usize) {
        let (Some(pool), eject) = (self.servers.get(at), &self.upstream.eject) else {
            return;
        };
        let left_out = self.set(|pool| pool.record().is_left_out());
        if pool.record().failed() < eject.failures || left_out.contains(at) {
            return;
        }
        let share = left_out.len().saturating_add(1).saturating_mul(100);
        if share <= self.servers.len().saturating_mul(eject.at_most) {
            pool.record().leave_out(eject.lasts, pool.standing());
        }
    }

    /// At most a fifth of what is under way is tried again: where most fails, repeating it all
    /// would keep the servers from recovering.
    fn retry(self: &Rc<Self>) -> Option<Retry> {
        let under_way: usize = self.servers.iter().map(|pool| pool.busy()).sum();
        let retrying = self.retrying.get();
        if retrying >= (under_way / 5).max(LEAST_RETRIES) {
            return None;
        }
        self.retrying.set(retrying.saturating_add(1));
        Some(Retry(Rc::clone(self)))
    }
}

/// A place among the requests that are being tried again.
pub(super) struct Retry(Rc<Group>);

impl Drop for Retry {
    fn drop(&mut self) {
        self.0.retrying.set(self.0.retrying.get().saturating_sub(1));
    }
}

/// A quiet upstream's requests may be tried again, a few at a time.
const LEAST_RETRIES: usize = 3;

#[cfg(test)]
mod tests;
