//! Work that goes on when whoever asked for it leaves, so that nothing of it stays untold: the
//! store has committed what an audit line must say. And work that ends then, which is told as well.

use std::sync::{Arc, Weak};

use crate::store::Unavailable;

/// Waits for work that nobody's leaving interrupts.
pub(super) async fn to_its_end<T, E>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Unavailable> + Send + 'static,
{
    // Only a runtime that stops ends it early.
    let stopped = |_| Unavailable("the gateway is stopping".to_owned());
    tokio::spawn(work).await.map_err(stopped)?
}

/// The same for what is not to begin any more once whoever asked has left: it gets word of that.
pub(super) async fn once_begun<T, E, W>(work: impl FnOnce(Weak<()>) -> W) -> Result<T, E>
where
    W: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: From<Unavailable> + Send + 'static,
{
    let asker = Arc::new(());
    let outcome = to_its_end(work(Arc::downgrade(&asker))).await;
    drop(asker);
    outcome
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
