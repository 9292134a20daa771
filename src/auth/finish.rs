//! Work that goes on when whoever asked for it leaves, so that nothing of it stays untold: the
//! store has committed what an audit line must say.

use super::Failure;
use crate::store::Unavailable;

/// Waits for work that nobody's leaving interrupts.
pub(super) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    // Only a runtime that stops ends it early.
    let stopped = |_| Unavailable("the gateway is stopping".to_owned());
    tokio::spawn(work).await.map_err(stopped)?
}
