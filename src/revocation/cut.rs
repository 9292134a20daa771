//! How an open stream is ended from outside.

use std::cell::Cell;
use std::fmt;
use std::task::{Context, Poll, Waker};

/// Shared by who carries a stream, whose task looks at it, and who may have to end it. A cut holds
/// for ever, and reaches its task also where nothing moves: a client that does not read has no say.
#[derive(Default)]
pub struct Cut {
    made: Cell<bool>,
    task: Cell<Option<Waker>>,
}

impl Cut {
    /// Ends the stream: its task is woken and drops it.
    pub fn make(&self) {
        self.made.set(true);
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// Whether the stream is to end.
    pub fn is_made(&self) -> bool {
        self.made.get()
    }

    /// Ready once the stream is to end.
    pub fn poll_made(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.made.get() {
            return Poll::Ready(());
        }
        let task = self.task.take().filter(|task| task.will_wake(cx.waker()));
        self.task.set(Some(task.unwrap_or_else(|| cx.waker().clone())));
        Poll::Pending
    }
}

impl fmt::Debug for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cut").field("made", &self.made).finish_non_exhaustive()
    }
}
