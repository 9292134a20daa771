//! Whether the wall clock may be believed when it says that an ending is long past.
//!
//! A clock that runs hours ahead and is put right again would else have the set forget endings whose
//! access tokens then count once more; and what was minted while it ran ahead counts when that time
//! comes. So after a jump nothing is forgotten until no token of either time can be alive.

use std::time::Duration;

use super::KEPT;
use crate::clock::Timestamp;

/// What the clock said, by looks at it now and then.
#[derive(Debug, Default)]
pub(super) struct Jumps {
    last: Option<(Timestamp, Duration)>,
    /// Nothing is forgotten before this uptime: it jumped ahead.
    ahead_until: Duration,
    /// Nor before this moment: it jumped back.
    back_until: Option<Timestamp>,
}

impl Jumps {
    /// Whether it has not jumped lately.
    pub(super) fn none_lately(&mut self, now: Timestamp, uptime: Duration) -> bool {
        if let Some((before, then)) = self.last.replace((now, uptime)) {
            let expected = before.plus(uptime.saturating_sub(then));
            if now > expected.plus(DRIFT) {
                self.ahead_until = uptime.saturating_add(KEPT);
            } else if expected > now.plus(DRIFT) {
                // A clock that was years ahead is not to fill the memory for years.
                let alive = expected.min(now.plus(FARTHEST)).plus(KEPT);
                self.back_until = self.back_until.max(Some(alive));
            }
        }
        uptime >= self.ahead_until && self.back_until.is_none_or(|until| now >= until)
    }
}

/// What an adjustment of the clock may come to, between two looks.
const DRIFT: Duration = Duration::from_secs(30);
/// The farthest jump back that is waited out.
const FARTHEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
