//! Streams that are open, and what ends them: their session's end, or a decision taken again.
//!
//! A request is entered when it is permitted to a session, before anything of it is forwarded, and
//! leaves with the last byte of its answer. Invariant: a session that ended has no stream entered,
//! but one that has been cut; nor has one that the snapshot in force does not permit.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{MissedTickBehavior, interval};

use super::Gateway;
use super::refusal::{Refusal, Refused};
use super::serve::Visit;
use crate::clock::Timestamp;
use crate::identity::{Caller, Identity, SessionId};
use crate::policy::{self, Table};
use crate::request::NormalRequest;
use crate::revocation::{Concerned, Fate, News, Standing, Stream};
use crate::telemetry::Counter;

/// What a stream was permitted, and to whom: enough to decide again.
#[derive(Debug)]
pub(super) struct Claim {
    /// Of its headers with those alone that name another method or target. None: it was not permitted
    /// when it was decided on again.
    request: Option<NormalRequest>,
    identity: Identity,
    term: Term,
}

/// How long a stream's session may last, as far as is known: a read of the store that only streams
/// which stay are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Term {
    /// It has only just begun.
    New,
    /// It is to be asked for.
    Unknown,
    /// It is being asked for, and nothing has happened since.
    Asked,
    /// The session's idle or absolute end when it was last asked for; the idle end may move.
    Until(Timestamp),
}

impl Gateway {
    /// Enters a request that goes out for a session, if that has not ended by now. Public routes take no session's word.
    pub(super) fn open(
        &self,
        visit: &mut Visit,
        (mut request, caller): (NormalRequest, Caller),
    ) -> Result<(), Refused> {
        let Caller::Known(identity) = caller else {
            return Ok(());
        };
        request.forget_cookies();
        let (session, version) = (identity.session, visit.version);
        let mut claim = Claim { request: Some(request), identity, term: Term::New };
        // It was decided on before a swap that came meanwhile, and was not here to be judged by that.
        let in_force = self.in_force.borrow();
        if !Rc::ptr_eq(&in_force, &self.snapshot) {
            claim.decide(in_force.table()).map_err(|refused| refused.realm(&visit.snapshot))?;
        }
        if visit.leaving {
            return Ok(());
        }
        let cut = Rc::clone(&visit.cut);
        let place = self.streams.enter(Stream { session, version, cut, claim });
        // What ended between the decision and this was told when nobody was here to be cut.
        match self.auth.revocations().standing(session, version) {
            Standing::Good => {}
            // By roles that were true a moment ago: decided again like what went out just before.
            Standing::Stale => self.auth.revocations().tell(session),
            Standing::Ended => {
                return Err(Refused::from(Refusal::SessionRevoked).realm(&visit.snapshot));
            }
        }
        visit.place = Some(place);
        Ok(())
    }

    /// Cuts the streams of sessions as they end, by whoever's word or by time, and decides again on
    /// those whose roles change. To be run for the worker's life, whichever gateway is in force.
    pub async fn heed(current: &RefCell<Rc<Self>>, news: News) {
        let gateway = || Rc::clone(&current.borrow());
        let (ask, mut asked) = unbounded_channel();
        let cut = async {
            loop {
                // In this order, or a gateway that a reload has replaced lives on until something ends.
                let concerned = news.next().await;
                for session in gateway().cut_ended(&concerned) {
                    // The other half below lives as long as this one.
                    let _ = ask.send(session);
                }
            }
        };
        // Apart, so that a slow store holds up no ending.
        let decide = async {
            let mut tick = interval(TICK);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    Some(session) = asked.recv() => gateway().decide_again(session).await,
                    _ = tick.tick() => gateway().end_what_is_over().await,
                }
            }
        };
        tokio::join!(cut, decide);
    }

    /// Puts this gateway's snapshot into force: decides again on every open stream, and cuts those
    /// that it does not permit. Gives how many were cut.
    pub fn reconsider(&self) -> usize {
        self.in_force.replace(Rc::clone(&self.snapshot));
        let fate = |stream: &mut Stream<Claim>| stream.claim.judge(self.snapshot.table());
        self.count_cut("policy", self.streams.judge(&Concerned::Anybody, fate))
    }

    /// Gives the sessions that go on with another `sv`.
    fn cut_ended(&self, concerned: &Concerned) -> HashSet<SessionId> {
        let mut changed = HashSet::new();
        let cut = self.streams.judge(concerned, |stream| {
            // What the store was asked before may not be true any more.
            if stream.claim.term != Term::New {
                stream.claim.term = Term::Unknown;
            }
            match self.auth.revocations().standing(stream.session, stream.version) {
                Standing::Good => Fate::Goes,
                Standing::Stale => {
                    changed.insert(stream.session);
                    Fate::Goes
                }
                Standing::Ended => Fate::Ends,
            }
        });
        self.count_cut("session", cut);
        changed
    }

    /// With the roles that the store knows by now; where it does not answer nobody can say that the
    /// stream is still permitted.
    async fn decide_again(&self, session: SessionId) {
        let row = self.auth.store().peek(session).await.ok().flatten();
        let row = row.filter(|row| row.revoked.is_none());
        // Taken now: a swap may have come while the store was asked.
        let in_force = Rc::clone(&self.in_force.borrow());
        let cut = self.streams.judge(&Concerned::only(session), |stream| match &row {
            Some(row) => {
                stream.version = row.version;
                stream.claim.identity.clone_from(&row.identity);
                stream.claim.judge(in_force.table())
            }
            None => Fate::Ends,
        });
        self.count_cut("role", cut);
    }

    /// Sessions end by time as well. An open stream keeps none alive, but other requests of the same
    /// browser do: so the store is asked again before one is cut.
    async fn end_what_is_over(&self) {
        for session in self.due() {
            // Where the store does not answer, the session lives until it does.
            let Ok(row) = self.auth.store().peek(session).await else {
                continue;
            };
            let end = row
                .filter(|row| row.revoked.is_none())
                .map(|row| row.idle_end.min(row.absolute_end));
            let now = self.auth.now();
            let cut = self.streams.judge(&Concerned::only(session), |stream| match end {
                Some(end) if end > now => {
                    if stream.claim.term == Term::Asked {
                        stream.claim.term = Term::Until(end);
                    }
                    Fate::Goes
                }
                Some(_) | None => Fate::Ends,
            });
            self.count_cut("time", cut);
        }
    }

    /// Sessions whose streams have stayed, and whose end is not known or has come.
    fn due(&self) -> HashSet<SessionId> {
        let (now, mut due) = (self.auth.now(), HashSet::new());
        self.streams.judge(&Concerned::Anybody, |stream| {
            match stream.claim.term {
                Term::New => stream.claim.term = Term::Unknown,
                Term::Until(end) if now < end => {}
                Term::Unknown | Term::Asked | Term::Until(_) => {
                    stream.claim.term = Term::Asked;
                    due.insert(stream.session);
                }
            }
            Fate::Goes
        });
        due
    }

    fn count_cut(&self, why: &'static str, cut: usize) -> usize {
        for _ in 0..cut {
            self.telemetry.count(Counter::StreamsCut, why);
        }
        cut
    }
}

impl Claim {
    fn judge(&mut self, table: &Table) -> Fate {
        if self.decide(table).is_ok() { Fate::Goes } else { Fate::Ends }
    }

    /// Whether the table would permit it now. The origin rule has had its say: what it looked at
    /// cannot change.
    fn decide(&mut self, table: &Table) -> Result<(), Refused> {
        let request = self.request.take().ok_or(Refusal::Forbidden)?;
        let matched = table.find(request).map_err(|(_, why)| why)?;
        let allows = matched.route().allow.method_override;
        if !allows && matched.request().headers().keys().any(policy::is_method_override) {
            // The application has been told of it, and may have heeded it.
            return Err(Refusal::Forbidden.into());
        }
        let caller = Caller::Known(self.identity.clone());
        let permitted = policy::authorise(matched, caller, false).map_err(|(_, why)| why)?;
        let (request, _, _) = permitted.into_parts();
        self.request = Some(request);
        Ok(())
    }
}

/// How often sessions are looked at that end by time.
const TICK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
