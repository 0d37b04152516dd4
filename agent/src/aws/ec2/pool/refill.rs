//! How fast connections that were closed are opened again: at once, but not for ever faster than every other second. An
//! endpoint that closes idle connections early makes fewer stand ready, and not this node open them all the time.

use std::time::{Duration, Instant};

/// So many at once: all that stand ready, twice.
const BURST: f64 = 16.0;
/// On the average one in so many seconds.
const EVERY: f64 = 2.0;
/// After a failure the API is left alone for as long, and longer after the next.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What is left for opening connections ahead of time.
#[derive(Debug)]
pub(super) struct Refill {
    left: f64,
    at: Instant,
    failures: u32,
}

impl Refill {
    /// Full.
    pub(super) fn new(now: Instant) -> Refill {
        Refill { left: BURST, at: now, failures: 0 }
    }

    /// The pause before the next one is opened.
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

    /// The last one could not be opened.
    pub(super) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// The last one was opened.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_filled_at_once_and_an_endpoint_that_closes_early_is_not_stormed() {
        let start = Instant::now();
        let mut refill = Refill::new(start);
        assert!((0..16).all(|_| refill.pause(start) == Duration::ZERO));
        assert_eq!(refill.pause(start), Duration::from_secs(2));
        assert_eq!(refill.pause(start + Duration::from_secs(60)), Duration::ZERO);
    }

    #[test]
    fn an_api_that_does_not_answer_is_asked_less_and_less() {
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
