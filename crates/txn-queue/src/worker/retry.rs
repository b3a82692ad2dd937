//! When a message that failed is tried again.

use std::{num::NonZeroU32, time::Duration};

/// So many steps of growth are reckoned: every growth has come to its greatest wait by then, or is too slow to tell.
const STEPS_MAX: u32 = 1_024;

/// How long a message waits after its n-th delivery failed: `base`, times the factor for every delivery before, and at most `max`. Reckoned from the number of deliveries that the
/// queue counts, so that it is the same whichever process had the message before.
///
/// ```
/// use core::time::Duration;
/// use txn_queue::worker::{Jitter, RetryPolicy};
/// let policy = RetryPolicy { jitter: Jitter::None, ..RetryPolicy::default() };
/// let waits: Vec<u64> = (1..=5).map(|deliveries| policy.wait(deliveries, "7f3a").as_secs()).collect();
/// assert_eq!(waits, [1, 2, 4, 8, 16]);
/// assert_eq!(policy.wait(1_000_000, "7f3a"), policy.max);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The wait after the first delivery. A message that is put back uncounted is held so long before, and no longer than its worker's `hold_max`.
    pub base: Duration,
    /// What it grows by each time, as a ratio: 3 to 2 is half as much again. One that shrinks counts as 1 to 1.
    pub factor: (NonZeroU32, NonZeroU32),
    /// The longest wait.
    pub max: Duration,
    /// What keeps messages that failed together from coming back together.
    pub jitter: Jitter,
    /// A message whose next try would come later than so long after it was accepted, or first due, is dead instead. `None`: the group's deliveries are the only bound.
    pub max_elapsed: Option<Duration>,
    /// A message that fails at this delivery, or a later one, is dead instead. `None`: the group's deliveries are the only bound; they are in any case.
    pub deliveries_max: Option<NonZeroU32>,
}

/// How waits are spread. The same message at the same delivery has the same wait, so that nothing depends on chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Jitter {
    /// Not at all.
    None,
    /// Evenly from nothing to the whole wait, by this seed and the message's id.
    Full(u64),
}

impl Default for RetryPolicy {
    /// A second, twice as long each time, ten minutes at most; spread over the whole wait.
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            factor: (NonZeroU32::MIN.saturating_add(1), NonZeroU32::MIN),
            max: Duration::from_secs(600),
            jitter: Jitter::Full(0),
            max_elapsed: None,
            deliveries_max: None,
        }
    }
}

impl RetryPolicy {
    /// The wait after so many deliveries, of which the last failed.
    #[must_use]
    pub fn wait(&self, deliveries: u32, id: &str) -> Duration {
        let wait = self.whole_wait(deliveries);
        match self.jitter {
            Jitter::None => wait,
            Jitter::Full(seed) => {
                let nanos = wait.as_nanos().saturating_add(1);
                nanoseconds(u128::from(spread(seed, id, deliveries)).checked_rem(nanos).unwrap_or(0))
            }
        }
    }

    fn whole_wait(&self, deliveries: u32) -> Duration {
        let (times, per) = (u128::from(self.factor.0.get()), u128::from(self.factor.1.get()));
        let max = self.max.as_nanos();
        let mut wait = self.base.as_nanos().min(max);
        for _ in 1..deliveries.min(STEPS_MAX) {
            if wait >= max || times <= per {
                break;
            }
            // Rounded up, so that the smallest wait grows, too.
            wait = wait.saturating_mul(times).div_ceil(per).min(max);
        }
        nanoseconds(wait)
    }
}

fn nanoseconds(nanos: u128) -> Duration {
    u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
}

/// A number that looks random and is not: FNV-1a over the id, and the finaliser of SplitMix64 (Steele, Lea, Flood, 2014).
fn spread(seed: u64, id: &str, deliveries: u32) -> u64 {
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut mixed = hash.wrapping_add(u64::from(deliveries).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::{Jitter, RetryPolicy};

    fn ratio(times: u32, per: u32) -> (NonZeroU32, NonZeroU32) {
        (NonZeroU32::new(times).unwrap(), NonZeroU32::new(per).unwrap())
    }

    /// A rival reckons with a factor that is cut to a whole number, so that one and a half never grows.
    #[test]
    fn a_broken_factor_grows_and_nothing_overflows() {
        let policy = RetryPolicy { factor: ratio(3, 2), jitter: Jitter::None, ..RetryPolicy::default() };
        let waits: Vec<u128> = (1..=4).map(|n| policy.wait(n, "a").as_millis()).collect();
        assert_eq!(waits, [1_000, 1_500, 2_250, 3_375]);
        let smallest = RetryPolicy { base: Duration::from_nanos(1), ..policy };
        assert!(smallest.wait(100, "a") > Duration::from_secs(1));
        let endless = RetryPolicy { factor: ratio(u32::MAX, 1), max: Duration::MAX, ..policy };
        assert!(endless.wait(u32::MAX, "a") > Duration::from_secs(1 << 30));
        let shrinking = RetryPolicy { factor: ratio(1, 2), ..policy };
        assert_eq!(shrinking.wait(9, "a"), policy.base);
    }

    /// Case Q45.
    #[test]
    fn jitter_is_bounded_spread_and_the_same_each_time() {
        let policy = RetryPolicy::default();
        let whole = RetryPolicy { jitter: Jitter::None, ..policy };
        let mut below_half = 0;
        for id in 0..1_000_u32 {
            let id = id.to_string();
            let wait = policy.wait(4, &id);
            assert!(wait <= whole.wait(4, &id), "{wait:?}");
            assert_eq!(wait, policy.wait(4, &id));
            below_half += u32::from(wait < whole.wait(4, &id) / 2);
        }
        assert!((400..600).contains(&below_half), "{below_half}");
        let other = RetryPolicy { jitter: Jitter::Full(1), ..policy };
        assert_ne!(policy.wait(4, "a"), other.wait(4, "a"));
    }
}
