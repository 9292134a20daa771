//! What the gateway tells its operator: problems and changes of state, on standard error.
//!
//! One thread writes it, so that nobody else waits for whoever reads there. What finds no room
//! meanwhile is lost, and how much that was is told in its place.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use super::lock;
use super::output::FLUSH_PATIENCE;
use crate::config::Level;

/// The printed diagnostics, whose level may change. Clones share them.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    shown: Handle<Targets, Registry>,
    lines: Arc<Lines>,
}

impl Diagnostics {
    /// Prints those of this severity and worse from now on.
    pub fn set(&self, level: Level) {
        // The only error is that they are not ours: somebody, in a test for instance, was here before.
        drop(self.shown.reload(targets(level)));
    }

    /// Prints this among them, whatever their level.
    pub fn print(&self, text: &str) {
        self.lines.offer(format!("{text}\n").as_bytes());
    }

    /// Returns once everything told before is written, or after two seconds: before the process ends.
    pub fn flush(&self) {
        self.lines.flush();
    }
}

/// Prints diagnostics of this severity and worse from now on; a second call changes nothing. Fails
/// if no thread can be started.
///
/// Of the libraries only warnings are shown: what they say of requests is not ours to answer for.
pub fn diagnostics(level: Level) -> io::Result<Diagnostics> {
    let lines = Arc::<Lines>::default();
    let theirs = Arc::clone(&lines);
    let body = move || theirs.write_to(io::stderr());
    thread::Builder::new().name("diagnostics".to_owned()).spawn(body)?;
    let (shown, handle) = reload::Layer::new(targets(level));
    let told = tracing_subscriber::fmt::layer()
        .compact()
        .with_target(false)
        .with_ansi(false)
        .with_writer(Arc::clone(&lines));
    let installed = tracing_subscriber::registry().with(shown).with(told).try_init();
    // The only error is that somebody, in a test for instance, was here before.
    drop(installed);
    Ok(Diagnostics { shown: handle, lines })
}

fn targets(level: Level) -> Targets {
    let shown = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    Targets::new()
        .with_default(shown.min(LevelFilter::WARN))
        .with_target(env!("CARGO_CRATE_NAME"), shown)
}

/// On their way to whoever reads them.
#[derive(Debug, Default)]
struct Lines {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queued: Vec<u8>,
    /// Lines that came after those, or were not taken.
    lost: usize,
    writing: bool,
}

impl Lines {
    fn offer(&self, lines: &[u8]) {
        let mut state = lock(&self.state);
        if state.queued.len() < ROOM {
            state.queued.extend_from_slice(lines);
        } else {
            state.lost += count(lines);
        }
        self.changed.notify_all();
    }

    fn flush(&self) {
        let state = lock(&self.state);
        let pending = |state: &mut State| state.writing || !state.queued.is_empty();
        drop(self.changed.wait_timeout_while(state, FLUSH_PATIENCE, pending));
    }

    /// The life of the thread that writes.
    fn write_to(&self, mut out: impl Write) {
        loop {
            let batch = self.next();
            if out.write_all(&batch).is_err() {
                lock(&self.state).lost += count(&batch);
            }
        }
    }

    /// Waits for what is to be written next.
    fn next(&self) -> Vec<u8> {
        let mut state = lock(&self.state);
        state.writing = false;
        self.changed.notify_all();
        let idle = |state: &mut State| state.queued.is_empty();
        let mut state =
            self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        let mut batch = mem::take(&mut state.queued);
        match mem::take(&mut state.lost) {
            0 => {}
            lost => batch.extend_from_slice(format!("lines lost here: {lost}; {WHY}\n").as_bytes()),
        }
        batch
    }
}

/// How the subscriber writes: each event whole.
impl Write for &Lines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.offer(event);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn count(lines: &[u8]) -> usize {
    lines.iter().filter(|byte| **byte == b'\n').count()
}

/// Bytes that may wait.
const ROOM: usize = 512 * 1024;

const WHY: &str = "standard error did not take them";

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Each write is told, and takes effect once that is allowed.
    struct Reader {
        tell: Sender<String>,
        allowed: Receiver<io::Result<()>>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.tell.send(String::from_utf8(bytes.to_vec()).unwrap());
            self.allowed.recv().unwrap_or(Ok(())).map(|()| bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stuck() -> (Arc<Lines>, Receiver<String>, Sender<io::Result<()>>) {
        let ((tell, told), (allow, allowed)) = (channel(), channel());
        let lines = Arc::<Lines>::default();
        let theirs = Arc::clone(&lines);
        thread::spawn(move || theirs.write_to(Reader { tell, allowed }));
        lines.offer(b"first\n");
        assert_eq!(told.recv().unwrap(), "first\n");
        (lines, told, allow)
    }

    #[test]
    fn what_finds_no_room_is_counted_in_its_place_and_nobody_waits() {
        let (lines, told, allow) = stuck();
        let long = vec![b'x'; ROOM];
        for line in [b"second\n", &long[..], b"\n", b"lost\n", b"two\nlines\n"] {
            lines.offer(line);
        }
        allow.send(Ok(())).unwrap();
        let batch = told.recv().unwrap();
        assert!(batch.starts_with("second\nxxx"), "the queue in its order");
        let end = batch.trim_start_matches("second\n").trim_start_matches('x');
        assert_eq!(end, format!("lines lost here: 4; {WHY}\n"));
        lines.offer(b"later\n");
        allow.send(Ok(())).unwrap();
        assert_eq!(told.recv().unwrap(), "later\n");
        allow.send(Ok(())).unwrap();
        lines.flush();
    }

    #[test]
    fn what_was_not_taken_is_lost_and_told_too() {
        let (lines, told, allow) = stuck();
        allow.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        while lock(&lines.state).writing {
            thread::yield_now();
        }
        lines.offer(b"second\n");
        assert_eq!(told.recv().unwrap(), format!("second\nlines lost here: 1; {WHY}\n"));
    }
}
