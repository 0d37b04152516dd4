//! Decides whether the API is reachable. Pure: the pool reports each attempt, and tries again while the last one
//! failed.

use std::time::{Duration, Instant};

/// The API is lost if all attempts have failed for this long. One broken connection doesn't count as a loss.
const LOST_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Default)]
pub(super) struct Reach {
    /// Since when the API hasn't been reached, if the last attempt failed.
    doubt: Option<Instant>,
    reached: Option<Instant>,
}

impl Reach {
    /// A connection was opened, or a call got any answer.
    pub(super) fn reached(&mut self, now: Instant) {
        (self.doubt, self.reached) = (None, Some(now));
    }

    /// An attempt that began at `began` failed.
    pub(super) fn failed(&mut self, began: Instant) {
        self.doubt.get_or_insert(began.max(self.reached.unwrap_or(began)));
    }

    /// Whether the last attempt failed, so that another is due.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubt.is_some()
    }

    pub(super) fn is_lost(&self, now: Instant) -> bool {
        self.doubt.is_some_and(|since| now.saturating_duration_since(since) >= LOST_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_lost_when_every_attempt_failed_for_a_while() {
        let start = Instant::now();
        let mut reach = Reach::default();
        assert!(!reach.is_lost(start + LOST_AFTER * 9));
        reach.failed(start);
        reach.failed(start + LOST_AFTER / 2);
        assert!(reach.is_doubtful() && !reach.is_lost(start + LOST_AFTER / 2));
        assert!(reach.is_lost(start + LOST_AFTER));
        reach.reached(start + LOST_AFTER);
        assert!(!reach.is_doubtful() && !reach.is_lost(start + LOST_AFTER));
    }

    #[test]
    fn one_attempt_that_succeeds_begins_the_count_anew() {
        let start = Instant::now();
        let mut reach = Reach::default();
        reach.failed(start);
        reach.reached(start + LOST_AFTER / 2);
        // An attempt that began before the success and failed after it.
        reach.failed(start);
        assert!(!reach.is_lost(start + LOST_AFTER));
        assert!(reach.is_lost(start + LOST_AFTER * 3 / 2));
    }

    #[test]
    fn the_time_that_an_attempt_took_to_fail_counts() {
        let start = Instant::now();
        let mut reach = Reach::default();
        reach.failed(start);
        assert!(reach.is_lost(start + LOST_AFTER));
    }
}
