//! Which of several servers: pure choices over sets of them.

use crate::identity::SessionId;
use crate::secret;

/// Some servers of an upstream, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(u64);

impl Set {
    /// Those of the first `count` that are meant.
    pub(super) fn of(count: usize, mut is_meant: impl FnMut(usize) -> bool) -> Self {
        (0..count).filter(|at| is_meant(*at)).fold(Self::default(), Self::with)
    }

    #[must_use]
    pub(super) fn with(self, at: usize) -> Self {
        Self(self.0 | bit(at))
    }

    #[must_use]
    pub(super) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// These, unless there are none: then the others.
    #[must_use]
    pub(super) fn or(self, others: Self) -> Self {
        if self.is_empty() { others } else { self }
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn contains(self, at: usize) -> bool {
        self.0 & bit(at) != 0
    }

    pub(super) fn len(self) -> usize {
        usize::try_from(self.0.count_ones()).unwrap_or_default()
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        (0..64).filter(move |at| self.contains(*at))
    }
}

fn bit(at: usize) -> u64 {
    u32::try_from(at).ok().and_then(|at| 1_u64.checked_shl(at)).unwrap_or_default()
}

/// The next one at or after `turn`, else the first.
pub(super) fn next(set: Set, turn: usize) -> Option<usize> {
    set.iter().find(|at| *at >= turn).or_else(|| set.iter().next())
}

/// The less busy one of two drawn by lot. Always the least busy one would be hit by every worker
/// at once.
pub(super) fn of_two(set: Set, busy: impl Fn(usize) -> usize) -> Option<usize> {
    let lots = u64::from_le_bytes(secret::random());
    let count = u64::try_from(set.len()).ok().filter(|count| *count > 0)?;
    let first = (lots >> 32) % count;
    // Drawn among the others, so that two are compared wherever there are two.
    let second = match count {
        1 => first,
        _ => (first + 1 + (lots & 0xffff_ffff) % (count - 1)) % count,
    };
    let nth = |place: u64| usize::try_from(place).ok().and_then(|place| set.iter().nth(place));
    let (first, second) = (nth(first)?, nth(second)?);
    Some(if busy(second) < busy(first) { second } else { first })
}

/// The same one for every request of a session, as long as it is there; when one vanishes, only
/// its own sessions move (rendezvous hashing).
pub(super) fn of_session(
    set: Set,
    session: SessionId,
    seed: impl Fn(usize) -> u64,
) -> Option<usize> {
    let session = u128::from_le_bytes(*session.as_bytes());
    let halves =
        [session, session >> 64].map(|half| u64::try_from(half & MASK).unwrap_or_default());
    let [low, high] = halves;
    set.iter().max_by_key(|at| mix(mix(seed(*at) ^ low) ^ high))
}

/// A number to tell a server apart by, the same in every process.
pub(super) fn seed(name: &str) -> u64 {
    name.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)))
}

/// The finaliser of splitmix64: each bit of the result depends on each of the input.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

const MASK: u128 = 0xffff_ffff_ffff_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    fn set(places: &[usize]) -> Set {
        places.iter().copied().fold(Set::default(), Set::with)
    }

    fn session(n: u8) -> SessionId {
        SessionId::from_bytes([n; 16])
    }

    #[test]
    fn turns_go_round() {
        let some = set(&[1, 3, 63]);
        assert_eq!(
            [0, 1, 2, 3, 4, 63, 64].map(|turn| next(some, turn)),
            [1, 1, 3, 3, 63, 63, 1].map(Some)
        );
        assert_eq!(next(Set::default(), 0), None);
    }

    #[test]
    fn the_busiest_of_several_is_never_chosen_and_all_others_are() {
        let all = set(&[0, 1, 2, 63]);
        let busy = |at| if at == 2 { 9 } else { 1 };
        let mut chosen = Set::default();
        for _ in 0..1000 {
            chosen = chosen.with(of_two(all, busy).unwrap());
        }
        assert_eq!(chosen, set(&[0, 1, 63]));
        assert_eq!(of_two(set(&[5]), busy), Some(5));
        assert_eq!(of_two(Set::default(), busy), None);
    }

    #[test]
    fn a_session_stays_and_only_those_of_a_server_that_vanished_move() {
        let seeds = ["http://a", "http://b", "http://c", "http://d"].map(seed);
        let of = |set, n| of_session(set, session(n), |at| seeds[at]).unwrap();
        let (all, fewer) = (set(&[0, 1, 2, 3]), set(&[0, 1, 3]));
        let mut counts = [0; 4];
        for n in 0..=255 {
            let before = of(all, n);
            counts[before] += 1;
            if before != 2 {
                assert_eq!(of(fewer, n), before, "session {n} moved");
            }
        }
        assert!(counts.iter().all(|count| *count > 30), "{counts:?}");
    }

    #[test]
    fn sets_hold_what_they_are_given() {
        let some = Set::of(5, |at| at % 2 == 0);
        assert_eq!((some, some.len()), (set(&[0, 2, 4]), 3));
        assert_eq!(some.without(set(&[2, 3])), set(&[0, 4]));
        assert_eq!((Set::default().or(some), some.or(set(&[1]))), (some, some));
        assert!(!some.with(64).contains(64));
    }
}
