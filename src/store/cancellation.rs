//! How work learns that nobody waits for it any more.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

/// Held by whoever waits; dropping it cancels.
#[derive(Debug, Default)]
pub struct Interest {
    held: Arc<()>,
    in_vain: Arc<AtomicBool>,
}

/// Tells work whether it is still wanted. Clones belong to one interest.
#[derive(Clone, Debug)]
pub struct CancellationToken {
    held: Weak<()>,
    in_vain: Arc<AtomicBool>,
}

impl Interest {
    /// For the work.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        CancellationToken { held: Arc::downgrade(&self.held), in_vain: Arc::clone(&self.in_vain) }
    }

    /// Cancels for whoever has waited long enough.
    pub fn in_vain(self) {
        self.in_vain.store(true, Relaxed);
    }
}

impl CancellationToken {
    /// Whether nobody waits any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.held.strong_count() == 0
    }

    /// Whether whoever waited has left, and has not waited in vain.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.is_cancelled() && !self.in_vain.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_in_vain_has_not_left() {
        let (waits, left, late) = (Interest::default(), Interest::default(), Interest::default());
        let tokens = [waits.token(), left.token(), late.token()];
        drop(left);
        late.in_vain();
        assert_eq!(tokens.each_ref().map(|token| token.is_cancelled()), [false, true, true]);
        assert_eq!(tokens.each_ref().map(|token| token.has_left()), [false, true, false]);
        drop(waits);
    }
}
