//! Limits how fast the pool reopens closed connections: a burst, then one every two seconds. If an endpoint closes idle
//! connections early, fewer are ready, and the node doesn't keep reopening them.

use std::time::{Duration, Instant};

/// The burst: twice the largest pool.
const BURST: f64 = 16.0;
/// The sustained interval, in seconds.
const EVERY: f64 = 2.0;
/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A token bucket for opening connections ahead of time.
#[derive(Debug)]
pub(super) struct Refill {
    left: f64,
    at: Instant,
    failures: u32,
}

impl Refill {
    pub(super) fn new(now: Instant) -> Refill {
        Refill { left: BURST, at: now, failures: 0 }
    }

    /// Takes a token and returns the pause before the next connection is opened.
    pub(super) fn pause(&mut self, now: Instant) -> Duration {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + elapsed / EVERY).min(BURST) - 1.0;
        self.at = now;
        let mercy = match self.failures {
            0 => Duration::ZERO,
            failures => (FIRST_PAUSE * 2_u32.pow(failures.min(8) - 1)).min(LONGEST_PAUSE),
        };
        Duration::from_secs_f64((-self.left).max(0.0) * EVERY).max(mercy)
    }

    pub(super) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_filled_at_once_and_reopened_slowly() {
        let start = Instant::now();
        let mut refill = Refill::new(start);
        assert!((0..16).all(|_| refill.pause(start) == Duration::ZERO));
        assert_eq!(refill.pause(start), Duration::from_secs(2));
        assert_eq!(refill.pause(start + Duration::from_secs(60)), Duration::ZERO);
    }

    #[test]
    fn pauses_double_while_the_api_does_not_answer() {
        let start = Instant::now();
        let mut refill = Refill::new(start);
        let pauses: Vec<u64> = (0..8)
            .map(|_| {
                refill.failed();
                refill.pause(start).as_millis() as u64
            })
            .collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
        refill.succeeded();
        assert_eq!(refill.pause(start), Duration::ZERO);
    }
}
