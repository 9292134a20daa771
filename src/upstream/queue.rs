//! Those who wait for what is given back one at a time: who has waited longest is woken first, and
//! whoever is woken keeps its turn until it has had it, or leaves.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Single-threaded.
#[derive(Default)]
pub(super) struct Queue {
    asleep: RefCell<VecDeque<Rc<Turn>>>,
    waiting: Cell<usize>,
}

/// Of one who waits.
#[derive(Default)]
pub(super) struct Turn {
    has_come: Cell<bool>,
    task: Cell<Option<Waker>>,
}

impl Queue {
    /// All who wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.get()
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those of them who were woken, and have not left yet.
    pub(super) fn woken(&self) -> usize {
        self.len().saturating_sub(self.asleep.borrow().len())
    }

    /// Waits behind all others, until it [leaves](Self::leave).
    pub(super) fn join(&self) -> Rc<Turn> {
        self.waiting.set(self.waiting.get().saturating_add(1));
        let turn = Rc::<Turn>::default();
        self.asleep.borrow_mut().push_back(Rc::clone(&turn));
        turn
    }

    /// Wakes who has waited longest.
    pub(super) fn wake_next(&self) {
        let next = self.asleep.borrow_mut().pop_front();
        if let Some(turn) = next {
            turn.has_come.set(true);
            if let Some(task) = turn.task.take() {
                task.wake();
            }
        }
    }

    /// Waits once more, before all others: its turn brought it nothing.
    pub(super) fn wait_again(&self, turn: &Rc<Turn>) {
        if turn.has_come.replace(false) {
            self.asleep.borrow_mut().push_front(Rc::clone(turn));
        }
    }

    /// Waits no longer.
    pub(super) fn leave(&self, turn: &Rc<Turn>) {
        self.waiting.set(self.waiting.get().saturating_sub(1));
        if !turn.has_come.get() {
            let mut asleep = self.asleep.borrow_mut();
            let at = asleep.iter().position(|other| Rc::ptr_eq(other, turn));
            at.and_then(|at| asleep.remove(at));
        }
    }
}

impl Turn {
    /// Waits until it has come. May be dropped and asked for again.
    pub(super) async fn come(&self) {
        poll_fn(|cx| {
            if self.has_come.get() {
                return Poll::Ready(());
            }
            self.task.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
