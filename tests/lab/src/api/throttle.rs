//! AWS's token bucket for throttling: one for each action, full at first, refilled steadily.
//!
//! EC2 Developer Guide, "Request throttling": calls that change something get 50 tokens and 5 per second, calls that
//! read get 100 and 20. `lab throttle` sets the first pair, and the second follows in this ratio.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A bucket for calls that change something; [`Throttle::for_reading`] gives the one for calls that read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Throttle {
    /// The bucket's size: calls of one action that are allowed at once.
    pub burst: f64,
    /// Tokens per second.
    pub refill: f64,
}

/// The bucket of one action.
#[derive(Debug, Clone)]
pub struct Bucket {
    throttle: Throttle,
    tokens: f64,
    at: Instant,
}

impl Throttle {
    /// The bucket for an action that only reads.
    pub fn for_reading(self) -> Throttle {
        Throttle { burst: self.burst * 2.0, refill: self.refill * 4.0 }
    }
}

impl Bucket {
    /// A full bucket.
    pub fn new(throttle: Throttle, now: Instant) -> Bucket {
        Bucket { throttle, tokens: throttle.burst, at: now }
    }

    /// Takes a token. Returns `false` if the bucket is empty.
    pub fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.throttle.refill).min(self.throttle.burst);
        self.at = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn granted(bucket: &mut Bucket, now: Instant, asked: usize) -> usize {
        (0..asked).filter(|_| bucket.take(now)).count()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_refill() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Throttle { burst: 50.0, refill: 5.0 }, start);
        assert_eq!(granted(&mut bucket, start, 200), 50);
        assert_eq!(granted(&mut bucket, start + Duration::from_millis(100), 10), 0);
        assert_eq!(granted(&mut bucket, start + Duration::from_millis(200), 10), 1);
        assert_eq!(granted(&mut bucket, start + Duration::from_millis(1200), 10), 5);
        assert_eq!(granted(&mut bucket, start + Duration::from_secs(3600), 200), 50);
    }

    #[test]
    fn reading_gets_more() {
        let reading = Throttle { burst: 50.0, refill: 5.0 }.for_reading();
        assert_eq!(reading, Throttle { burst: 100.0, refill: 20.0 });
    }
}
