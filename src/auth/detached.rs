//! Work that goes on when whoever asked for it leaves, so that nothing of it stays untold: the
//! store has committed what an audit line must say. And work that ends then, which is told as well.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::store::{CancellationToken, Interest, Unavailable};

/// Counts such work; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Detached(watch::Sender<usize>);

/// One piece of it.
struct UnderWay(watch::Sender<usize>);

impl Detached {
    /// Waits for work that nobody's leaving interrupts.
    pub(super) async fn to_its_end<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Unavailable> + Send + 'static,
    {
        let under_way = self.begin();
        let work = async move {
            let outcome = work.await;
            drop(under_way);
            outcome
        };
        // Only a runtime that stops ends it early.
        let stopped = |_| Unavailable("the gateway is stopping".to_owned());
        tokio::spawn(work).await.map_err(stopped)?
    }

    /// The same for endings, which the store owes from when it is asked: whoever waits hears in time
    /// that it has not answered, and the work goes on until it can tell what came of it.
    pub(super) async fn though_late<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Unavailable> + Send + 'static,
    {
        let late = |_| Err(Unavailable("an ending has no answer yet".to_owned()).into());
        timeout(LONGEST, self.to_its_end(work)).await.unwrap_or_else(late)
    }

    /// The same for what is not to begin any more once whoever asked has left: its token tells.
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
        let outcome = self.to_its_end(work(interest.token())).await;
        drop(interest);
        outcome
    }

    /// Waits until all of it has ended, wherever it runs, but no longer than anybody waits for the
    /// store. To be awaited before a runtime is dropped.
    pub async fn ended(&self) {
        let mut count = self.0.subscribe();
        // The sender lives as long as this. Whatever hangs must not keep a gateway from stopping.
        let _either_way = timeout(LONGEST, count.wait_for(|count| *count == 0)).await;
    }

    fn begin(&self) -> UnderWay {
        self.0.send_modify(|count| *count = count.saturating_add(1));
        UnderWay(self.0.clone())
    }
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
