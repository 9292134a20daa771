//! How work learns that nobody waits for it any more.

use std::sync::{Arc, Weak};

/// Held by whoever waits; dropping it cancels.
#[derive(Debug, Default)]
pub struct Interest(Arc<()>);

/// Tells work whether it is still wanted. Clones belong to one interest.
#[derive(Clone, Debug)]
pub struct CancellationToken(Weak<()>);

impl Interest {
    /// For the work.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        CancellationToken(Arc::downgrade(&self.0))
    }
}

impl CancellationToken {
    /// Whether whoever waited has left.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.strong_count() == 0
    }
}
