//! The embedded back end: one writer thread that takes many operations into one transaction, and
//! two reader threads beside it. In memory the writer reads as well, for no second connection can.
//!
//! Not for network file systems. Invariant: every file is 0600, every commit is on the disk
//! (`synchronous=FULL`) before it is answered.

mod columns;
mod endings;
mod file;
mod lifetimes;
mod master_keys;
mod perform;
mod renewal;
mod rotation;
mod schema;
mod sessions;
mod users;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::clock::Clock;
use crate::revocation::Revocations;

pub(super) use file::Whereabouts;

use super::operation::{Op, Read};
use super::{OpenError, Place, QUEUE, Store, Troubles};

/// Opens or makes a store and starts its threads.
pub(super) fn open(
    place: Place<'_>,
    checks: &[(u8, [u8; 32])],
    clock: &Clock,
) -> Result<Store, OpenError> {
    let (path, mut writer, lock) = match place {
        Place::File(path) => (path, file::open(path)?, Some(file::hold(path)?)),
        Place::Memory => (Path::new(MEMORY), file::in_memory()?, None),
    };
    schema::upgrade(&mut writer, path)?;
    master_keys::check(&mut writer, path, checks, clock.now())?;
    let (reads, readers) = match place {
        Place::File(path) => start_readers(path, clock).map(|(reads, them)| (Some(reads), them))?,
        Place::Memory => (None, Vec::new()),
    };
    let file = match place {
        Place::File(path) => Some(Arc::new(Whereabouts::of(path)?)),
        Place::Memory => None,
    };
    let (operations, waiting) = mpsc::channel(QUEUE);
    let ended = Arc::<Revocations>::default();
    let troubles = Arc::new(Troubles::new(clock));
    let (clock, told) = (clock.clone(), Arc::clone(&ended));
    let work = move || {
        write(&mut writer, waiting, (&clock, &told));
        // Whoever closes a database last takes its log away, and a reader may not.
        readers.into_iter().for_each(|reader| drop(reader.join()));
        drop((writer, lock));
    };
    let writer = Arc::new(Ending(Some(start("store-writer", path, work)?)));
    Ok(Store { operations, reads, ended, troubles, file, cancellation: None, _writer: writer })
}

/// Whether there are neither users nor sessions; a missing file is not made, but could be.
pub(super) fn is_empty_at(place: Place<'_>) -> Result<bool, OpenError> {
    let Place::File(path) = place else {
        return Ok(true);
    };
    let Some(database) = file::look(path)? else {
        return Ok(true);
    };
    if schema::version(&database, path)? == 0 {
        return Ok(true);
    }
    master_keys::has_rows(&database).map(|rows| !rows).map_err(|error| file::explain(path, &error))
}

/// Waits for the writer when the last handle is gone: what it was asked is done by then, and the
/// file is closed.
#[derive(Debug, Default)]
pub(super) struct Ending(Option<JoinHandle<()>>);

impl Drop for Ending {
    fn drop(&mut self) {
        // A writer that panicked has told so itself.
        self.0.take().into_iter().for_each(|writer| drop(writer.join()));
    }
}

fn start_readers(
    path: &Path,
    clock: &Clock,
) -> Result<(Sender<Read>, Vec<JoinHandle<()>>), OpenError> {
    let (reads, waiting) = mpsc::channel(QUEUE);
    let waiting = Arc::new(Mutex::new(waiting));
    let mut readers = Vec::new();
    for name in ["store-reader-1", "store-reader-2"] {
        let reader = file::reader(path)?;
        let (waiting, clock) = (Arc::clone(&waiting), clock.clone());
        readers.push(start(name, path, move || read(&reader, &waiting, &clock))?);
    }
    Ok((reads, readers))
}

fn start(
    name: &str,
    path: &Path,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    let failed = |error: io::Error| OpenError::Other {
        path: path.to_owned(),
        cause: format!("the thread {name} does not start: {error}"),
    };
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(failed)
}

fn write(
    database: &mut Connection,
    mut waiting: Receiver<Op>,
    (clock, ended): (&Clock, &Revocations),
) {
    while let Some(first) = waiting.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = waiting.try_recv()
        {
            group.push(next);
        }
        perform::group(database, group, (clock, ended));
    }
}

fn read(database: &Connection, waiting: &Mutex<Receiver<Read>>, clock: &Clock) {
    loop {
        // Whoever waits holds the lock: the other reader is at work, or waits for the lock.
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(read) = next else { return };
        perform::read(database, read, clock.now())(&Ok(()));
    }
}

/// Operations that share a commit: beyond 64 little is won and the first one waits longer.
const GROUP: usize = 64;

/// What stands for the path of a store in memory.
const MEMORY: &str = ":memory:";

#[cfg(test)]
mod tests;
