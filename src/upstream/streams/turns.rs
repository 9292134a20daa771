//! Who may begin a request next, and who connects: one at a time, after all who wait already.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Age, Sharing, Speaks, Ticket, connect};
use crate::upstream::Failure;
use crate::upstream::pool::{Lease, Pool, first_shed};
use crate::upstream::queue::Turn;

/// A place for one request. None: the server turns out to speak HTTP/1.1, and a connection may be
/// idle in the pool.
pub(in crate::upstream) async fn place(
    pool: &Rc<Pool>,
    sharing: Sharing,
    patience: Duration,
) -> Result<Option<Ticket>, Failure> {
    let end = Instant::now() + patience;
    if sharing == Sharing::Never {
        return alone(pool, patience).await;
    }
    match wait_for(pool, end).await? {
        Share::Nothing => Ok(None),
        Share::Ticket(ticket) => Ok(Some(ticket)),
        // The whole time: had who waited longest only what is left of theirs, and so the next one
        // after them, no handshake would ever be done in time.
        Share::Connector(connector) => connector.connect(Instant::now() + patience).await,
    }
}

/// What a request that shares a connection may do.
enum Share {
    /// Nothing: see [`place`].
    Nothing,
    Ticket(Ticket),
    /// Connect.
    Connector(Connector),
}

/// Waits for it, after all who wait already.
async fn wait_for(pool: &Rc<Pool>, end: Instant) -> Result<Share, Failure> {
    let streams = pool.streams();
    if (streams.queue.is_empty() || streams.speaks() == Speaks::Http1)
        && let Some(share) = take(pool)
    {
        return Ok(share);
    }
    let waiting = Waiting::begin(pool)?;
    let mut shed_at = first_shed();
    loop {
        // An attempt that is under way, or a later one: what failed before has been told.
        let begun = usize::from(!streams.connecting.get());
        let attempt = streams.attempts.get().wrapping_add(begun);
        let late = || if streams.connecting.get() { Failure::TimedOut } else { Failure::Full };
        pool.turn(&waiting.turn, (end, &mut shed_at), streams.debts())
            .await
            .map_err(|_full| late())?;
        if let Some(failure) = streams.failure(attempt) {
            return Err(failure);
        }
        if let Some(share) = take(pool) {
            return Ok(share);
        }
        streams.queue.wait_again(&waiting.turn);
    }
}

/// What there is now.
fn take(pool: &Rc<Pool>) -> Option<Share> {
    let streams = pool.streams();
    if streams.speaks() == Speaks::Http1 {
        return Some(Share::Nothing);
    }
    let ticket = streams.take(pool.max_idle()).map(Share::Ticket);
    ticket.or_else(|| Connector::take(pool).map(Share::Connector))
}

/// A connection that takes no other request. None: see [`place`].
async fn alone(pool: &Rc<Pool>, patience: Duration) -> Result<Option<Ticket>, Failure> {
    let lease = pool.wait_for(Instant::now() + patience, || match pool.streams().speaks() {
        Speaks::Http1 => Some(None),
        Speaks::Http2 | Speaks::Either => Lease::take(pool).map(Some),
    });
    let Some(lease) = lease.await? else {
        return Ok(None);
    };
    let end = Instant::now() + patience;
    Ok(connect(lease, end).await?.map(|shared| Ticket::new(&shared, (Age::New, Sharing::Never))))
}

/// Who connects, and the connection's place.
struct Connector {
    pool: Rc<Pool>,
    lease: Option<Lease>,
}

impl Connector {
    fn take(pool: &Rc<Pool>) -> Option<Self> {
        let streams = pool.streams();
        if !streams.may_connect(pool) {
            return None;
        }
        let lease = Some(Lease::take(pool)?);
        streams.connecting.set(true);
        streams.attempts.set(streams.attempts.get().wrapping_add(1));
        streams.failed.take();
        Some(Self { pool: Rc::clone(pool), lease })
    }

    async fn connect(mut self, end: Instant) -> Result<Option<Ticket>, Failure> {
        let Some(lease) = self.lease.take() else {
            return Err(Failure::Full);
        };
        let streams = self.pool.streams();
        match connect(lease, end).await {
            Ok(None) => Ok(None),
            Ok(Some(shared)) => {
                let ticket = Ticket::new(&shared, (Age::New, Sharing::Allowed));
                streams.open.borrow_mut().push(shared);
                Ok(Some(ticket))
            }
            Err(failure) => {
                if failure != Failure::TimedOut {
                    *streams.failed.borrow_mut() = Some((streams.attempts.get(), failure.clone()));
                }
                Err(failure)
            }
        }
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        let streams = self.pool.streams();
        streams.connecting.set(false);
        if streams.failed.borrow().is_some() {
            streams.tell_all();
        } else {
            streams.tell_next(&self.pool);
        }
    }
}

/// A request that waits for a place. When it is over, with a place or without, its turn is passed on.
struct Waiting<'a> {
    pool: &'a Pool,
    turn: Rc<Turn>,
}

impl<'a> Waiting<'a> {
    fn begin(pool: &'a Pool) -> Result<Self, Failure> {
        let queue = &pool.streams().queue;
        // Those who were woken have only to be run.
        if queue.len().saturating_sub(queue.woken()) >= pool.most_streams() {
            return Err(Failure::Full);
        }
        Ok(Self { pool, turn: queue.join() })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let streams = self.pool.streams();
        streams.queue.leave(&self.turn);
        streams.tell_next(self.pool);
    }
}
