//! Work that goes on when whoever asked for it leaves, so that nothing of it stays untold: the
//! store has committed what an audit line must say. And work that ends then, which is told as well.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::store::{CancellationToken, Interest, Unavailable};

/// Counts such work; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Detached(watch::Sender<usize>);

/// One piece of it.
struct UnderWay(watch::Sender<usize>);

impl Detached {
    /// Waits for a deed that nobody's leaving interrupts. Whoever waits hears in time that the store
    /// has not answered: what has not begun by then is not to begin, as its token tells, and what has
    /// goes on until it can tell what came of it.
    pub(super) async fn to_its_end<T, E, W>(
        &self,
        work: impl FnOnce(CancellationToken) -> W,
    ) -> Result<T, E>
    where
        W: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Unavailable> + Send + 'static,
    {
        let interest = Interest::default();
        let work = self.spawn(work(interest.token()));
        // The interest is not in the hands of who may leave.
        tokio::spawn(in_time(interest, work)).await.map_err(stopped)?
    }

    /// The same for what is not to begin any more once whoever asked has left.
    pub(super) async fn once_begun<T, E, W>(
        &self,
        work: impl FnOnce(CancellationToken) -> W,
    ) -> Result<T, E>
    where
        W: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Unavailable> + Send + 'static,
    {
        let interest = Interest::default();
        let work = self.spawn(work(interest.token()));
        in_time(interest, work).await
    }

    /// The same for endings, which the store owes from when it is asked.
    pub(super) async fn though_late<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Unavailable> + Send + 'static,
    {
        in_time(Interest::default(), self.spawn(work)).await
    }

    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let under_way = self.begin();
        tokio::spawn(async move {
            let outcome = work.await;
            drop(under_way);
            outcome
        })
    }

    /// Waits until all of it has ended, wherever it runs, but no longer than anybody waits for the
    /// store. To be awaited before a runtime is dropped.
    pub async fn ended(&self) {
        let mut count = self.0.subscribe();
        // The sender lives as long as this. Whatever hangs must not keep a gateway from stopping.
        let _either_way = timeout(LONGEST, count.wait_for(|count| *count == 0)).await;
    }

    /// Waits however long it takes: for who has nothing else to do, and waits for the store to close.
    pub(super) async fn all_ended(&self) {
        let mut count = self.0.subscribe();
        // The sender lives as long as this.
        drop(count.wait_for(|count| *count == 0).await);
    }

    fn begin(&self) -> UnderWay {
        self.0.send_modify(|count| *count = count.saturating_add(1));
        UnderWay(self.0.clone())
    }
}

/// Waits for work as long as anybody waits for the store, and then cancels what has not begun.
async fn in_time<T, E: From<Unavailable>>(
    interest: Interest,
    work: JoinHandle<Result<T, E>>,
) -> Result<T, E> {
    if let Ok(outcome) = timeout(LONGEST, work).await {
        return outcome.map_err(stopped)?;
    }
    interest.in_vain();
    Err(Unavailable(LATE.to_owned()).into())
}

/// Only a runtime that stops ends work early.
fn stopped(_: tokio::task::JoinError) -> Unavailable {
    Unavailable("the gateway is stopping".to_owned())
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Waits for work that ends when whoever asked for it leaves; then `left` is called instead.
pub(super) async fn unless_left<T>(work: impl Future<Output = T>, left: impl FnOnce()) -> T {
    let mut on_leave = OnDrop(Some(left));
    let outcome = work.await;
    on_leave.0 = None;
    outcome
}

struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

/// As long as anybody waits for the store to answer.
const LONGEST: Duration = Duration::from_secs(3);

/// What whoever waited so long is told.
const LATE: &str =
    "no answer within 3 s; what was asked may be done all the same: look before you ask again";
