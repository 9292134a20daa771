//! What a worker carries for sessions at this moment.
//!
//! Every request that a session vouches for is here from its permission to the last byte of its
//! answer, so entering and leaving must cost next to nothing: a place in a list. Looking for a
//! session reads the list of ids, sixteen bytes for each stream, and only when one has ended.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use super::{Concerned, Cut};
use crate::identity::SessionId;

/// The open streams of one worker; `C` is what is kept of each to decide on it again.
pub struct Streams<C>(Rc<RefCell<List<C>>>);

/// A request and its answer under way, or a tunnel.
#[derive(Debug)]
pub struct Stream<C> {
    /// Whose login it lives by.
    pub session: SessionId,
    /// `sv` of what it was permitted on.
    pub version: u32,
    /// Ends it.
    pub cut: Rc<Cut>,
    /// What it is.
    pub claim: C,
}

/// A stream's place in the list, left when this is dropped.
#[must_use]
pub struct Place<C> {
    streams: Streams<C>,
    at: usize,
}

/// What becomes of a stream that was judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Fate {
    /// It goes on.
    Goes,
    /// It is cut.
    Ends,
}

struct List<C> {
    /// Of the place with the same number; of a free place it means nothing.
    sessions: Vec<SessionId>,
    streams: Vec<Option<Stream<C>>>,
    free: Vec<usize>,
}

impl<C> Streams<C> {
    /// Takes a stream in, until its place is dropped.
    pub fn enter(&self, stream: Stream<C>) -> Place<C> {
        let mut list = self.0.borrow_mut();
        let at = list.free.pop().unwrap_or(list.streams.len());
        let session = stream.session;
        match (list.sessions.get_mut(at), at) {
            (Some(place), at) => {
                *place = session;
                if let Some(place) = list.streams.get_mut(at) {
                    *place = Some(stream);
                }
            }
            (None, _) => {
                list.sessions.push(session);
                list.streams.push(Some(stream));
            }
        }
        Place { streams: self.clone(), at }
    }

    /// Judges every stream of the sessions concerned, and cuts those that are to end. Gives how many
    /// were cut. The judge must not enter or leave streams.
    pub fn judge(
        &self,
        concerned: &Concerned,
        mut judge: impl FnMut(&mut Stream<C>) -> Fate,
    ) -> usize {
        let mut list = self.0.borrow_mut();
        let List { sessions, streams, .. } = &mut *list;
        let mut cut = 0_usize;
        for (_, place) in sessions.iter().zip(streams).filter(|(id, _)| concerned.has(**id)) {
            if let Some(stream) = place
                && !stream.cut.is_made()
                && judge(stream) == Fate::Ends
            {
                stream.cut.make();
                cut = cut.saturating_add(1);
            }
        }
        cut
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let list = self.0.borrow();
        list.streams.len().saturating_sub(list.free.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn leave(&self, at: usize) {
        let mut list = self.0.borrow_mut();
        let stream = list.streams.get_mut(at).and_then(Option::take);
        list.free.push(at);
        if list.free.len() == list.streams.len() && list.streams.len() > KEPT_PLACES {
            *list = List::default();
        }
        drop(list);
        // Whatever it holds is dropped when nobody looks at the list.
        drop(stream);
    }
}

impl<C> Clone for Streams<C> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<C> Default for Streams<C> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<C> fmt::Debug for Streams<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Streams").field(&self.len()).finish()
    }
}

impl<C> Drop for Place<C> {
    fn drop(&mut self) {
        self.streams.leave(self.at);
    }
}

impl<C> fmt::Debug for Place<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.at).finish()
    }
}

impl<C> Default for List<C> {
    fn default() -> Self {
        Self { sessions: Vec::new(), streams: Vec::new(), free: Vec::new() }
    }
}

/// Places kept when all are free; more are given back after a rush.
const KEPT_PLACES: usize = 256;
