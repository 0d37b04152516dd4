//! Limits the requests to hand over that a node accepts: a burst of ten, then one a minute. Others than the launcher
//! can set the tag, and each handover delays every client a moment. Pure.

use jiff::{SignedDuration, Timestamp};

/// Requests that are accepted without a pause.
const BURST: i32 = 10;
/// Time until one more request is accepted.
const EACH: SignedDuration = SignedDuration::from_mins(1);

/// A token bucket, stored as the time at which it is full again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct RequestLimit(pub Timestamp);

impl RequestLimit {
    /// Takes a token. The error is the time of the next one.
    pub(super) fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        // If the clock is set back, the bucket is locked for at most the time that it takes to fill.
        let full = self.0.clamp(now, now + EACH * BURST);
        let due = full - EACH * (BURST - 1);
        if due > now {
            return Err(due);
        }
        self.0 = full + EACH;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_796_000_000 + second).unwrap()
    }

    /// How many of the requests at these seconds are accepted.
    fn handled(limit: &mut RequestLimit, seconds: impl Iterator<Item = i64>) -> usize {
        seconds.filter(|second| limit.take(at(*second)).is_ok()).count()
    }

    #[test]
    fn ten_requests_are_followed_at_once_and_then_one_a_minute() {
        let mut limit = RequestLimit::default();
        assert_eq!(handled(&mut limit, 0..60), 10);
        assert_eq!(handled(&mut limit, 60..660), 10);
    }

    #[test]
    fn a_node_that_was_left_alone_follows_a_burst_again() {
        let mut limit = RequestLimit::default();
        handled(&mut limit, 0..20);
        assert_eq!(handled(&mut limit, 700..720), 10);
    }

    #[test]
    fn a_refusal_says_when_the_next_request_is_followed() {
        let mut limit = RequestLimit::default();
        handled(&mut limit, 0..10);
        assert_eq!(limit.take(at(12)), Err(at(60)));
        assert_eq!(limit.take(at(60)), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nothing_for_longer_than_the_bucket_takes_to_fill() {
        let mut limit = RequestLimit::default();
        handled(&mut limit, (0..10).map(|_| 1_000_000));
        assert_eq!(limit.take(at(0)), Err(at(60)));
    }
}
