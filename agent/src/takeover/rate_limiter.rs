//! Limits the rate of calls to EC2; it learns the rate from throttled calls. Pure: the caller passes the time.
//!
//! EC2 throttles each account, Region and call with a token bucket: a burst, then a few calls a second (EC2 Developer
//! Guide, "Request throttling"). All callers share the bucket, and its size can't be read. So calls go at once until
//! one is throttled. Then they go one after another: a little faster after a success, half as fast after a throttled
//! call. Calls slower than the refill lose nothing, as tokens gather. Faster ones do if throttled calls take tokens.

use std::time::Duration;

/// Calls a second after the first throttled call: EC2's documented rate for calls that change something.
const FIRST: f64 = 5.0;
/// A slower caller would be late when the bucket has tokens again.
const SLOWEST: f64 = 0.2;
const FASTEST: f64 = 200.0;
/// A success raises the rate by this share of it, and at least by `STEP` calls a second. The latter lets slow callers
/// catch up with others that share the bucket.
const SHARE: f64 = 0.06;
const STEP: f64 = 0.2;
const AFTER_REFUSAL: f64 = 0.5;
/// An empty bucket is full again after about this long without a call: then a burst is worth a try.
const FORGET: Duration = Duration::from_secs(30);

/// What this node has learned about the API's bucket.
#[derive(Debug, Clone, Default)]
pub struct RateLimiter {
    /// Calls a second; `None`, without a limit, until a call is throttled.
    rate: Option<f64>,
    /// When the last call began.
    last: Duration,
    /// When the next may begin.
    next: Duration,
    /// When it last slowed down. Throttled calls that began before don't slow it again.
    slowed: Duration,
}

impl RateLimiter {
    /// The earliest time for the next call, at or after `now`.
    pub fn next(&mut self, now: Duration) -> Duration {
        if self.rate.is_some() && now.saturating_sub(self.last.max(self.slowed)) > FORGET {
            *self = RateLimiter::default();
        }
        self.next.max(now)
    }

    /// Records that a call begins. `chance` in 0..1 keeps balancers that share a bucket from calling in step.
    pub fn begin(&mut self, now: Duration, chance: f64) {
        self.last = now;
        if let Some(rate) = self.rate {
            self.next = now + Duration::from_secs_f64((0.8 + 0.4 * chance) / rate);
        }
    }

    /// Records that a call which began at `began` was answered, and not throttled.
    pub fn granted(&mut self, began: Duration) {
        if began >= self.slowed {
            self.rate = self.rate.map(|rate| (rate + f64::max(rate * SHARE, STEP)).min(FASTEST));
        }
    }

    /// Records that a call which began at `began` was throttled at `now`.
    pub fn refused(&mut self, began: Duration, now: Duration, chance: f64) {
        if began >= self.slowed || self.rate.is_none() {
            let rate = self.rate.map_or(FIRST, |rate| (rate * AFTER_REFUSAL).max(SLOWEST));
            self.rate = Some(rate);
            self.slowed = now;
            self.next = now + Duration::from_secs_f64((0.8 + 0.4 * chance) / rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// What a throttled call does to the bucket.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Refusals {
        AreFree,
        TakeWhatIsThere,
    }

    #[derive(Debug, Clone, Copy)]
    struct Bucket {
        size: f64,
        refill: f64,
        refusals: Refusals,
    }

    /// The duration of a call, in seconds.
    const TRIP: f64 = 0.05;
    const WINDOW: usize = crate::takeover::move_routes::WINDOW;

    /// Lets `callers` share a bucket, with `calls` each. Returns when the last call was granted, in seconds, and the
    /// number of calls made.
    fn simulate(bucket: Bucket, callers: usize, calls: usize, seed: u64) -> (f64, usize) {
        let mut rng = StdRng::seed_from_u64(seed);
        let at = Duration::from_secs_f64;
        let (mut tokens, mut filled) = (bucket.size, 0.0);
        let mut paces = vec![RateLimiter::default(); callers];
        let mut waiting = vec![calls; callers];
        // Answers on their way: (when, caller, began, granted).
        let mut answers: Vec<(f64, usize, f64, bool)> = Vec::new();
        let (mut now, mut made, mut done) = (0.0, 0, 0);
        while done < callers * calls {
            for caller in 0..callers {
                let under_way =
                    |answers: &Vec<(f64, usize, f64, bool)>| answers.iter().filter(|a| a.1 == caller).count();
                while waiting[caller] > 0 && under_way(&answers) < WINDOW && paces[caller].next(at(now)) <= at(now) {
                    paces[caller].begin(at(now), rng.random());
                    waiting[caller] -= 1;
                    made += 1;
                    tokens = f64::min(tokens + (now - filled) * bucket.refill, bucket.size);
                    filled = now;
                    let granted = tokens >= 1.0;
                    tokens = match (granted, bucket.refusals) {
                        (true, _) => tokens - 1.0,
                        (false, Refusals::AreFree) => tokens,
                        (false, Refusals::TakeWhatIsThere) => 0.0,
                    };
                    answers.push((now + TRIP, caller, now, granted));
                }
            }
            let answered = answers.iter().map(|a| a.0);
            let begins =
                (0..callers).filter(|caller| waiting[*caller] > 0).map(|caller| paces[caller].next.as_secs_f64());
            now = answered.chain(begins.filter(|next| *next > now)).fold(f64::INFINITY, f64::min);
            assert!(now < 600.0, "{bucket:?}: {done} of {} after ten minutes", callers * calls);
            let (due, rest) = answers.into_iter().partition(|answer| answer.0 <= now);
            answers = rest;
            for (_, caller, began, granted) in due {
                if granted {
                    paces[caller].granted(at(began));
                    done += 1;
                } else {
                    paces[caller].refused(at(began), at(now), rng.random());
                    waiting[caller] += 1;
                }
            }
        }
        (now, made)
    }

    /// The least time that the bucket allows, in seconds.
    fn floor(bucket: Bucket, calls: usize) -> f64 {
        (calls as f64 - bucket.size).max(0.0) / bucket.refill + TRIP
    }

    const KINDS: [Refusals; 2] = [Refusals::AreFree, Refusals::TakeWhatIsThere];

    #[test]
    fn two_hundred_routes_take_little_longer_than_the_bucket_allows() {
        for (size, refill) in [(50.0, 5.0), (100.0, 5.0), (20.0, 2.0), (50.0, 10.0), (10.0, 20.0)] {
            for refusals in KINDS {
                for seed in 0..20 {
                    let bucket = Bucket { size, refill, refusals };
                    let (time, made) = simulate(bucket, 1, 200, seed);
                    let ratio = time / floor(bucket, 200);
                    let most = if refusals == Refusals::AreFree { 1.15 } else { 1.3 };
                    assert!(ratio < most, "{bucket:?}, seed {seed}: {time:.1} s, {ratio:.2} times the least");
                    assert!(made < 200 + 100, "{bucket:?}, seed {seed}: {made} calls made");
                }
            }
        }
    }

    #[test]
    fn ten_balancers_share_a_bucket() {
        for refusals in KINDS {
            for seed in 0..20 {
                let bucket = Bucket { size: 50.0, refill: 5.0, refusals };
                let (time, made) = simulate(bucket, 10, 20, seed);
                let ratio = time / floor(bucket, 200);
                assert!(ratio < 1.6, "{bucket:?}, seed {seed}: {time:.1} s, {ratio:.2} times the least");
                assert!(made < 200 + 300, "{bucket:?}, seed {seed}: {made} calls made");
            }
        }
    }

    #[test]
    fn without_a_refusal_nothing_waits() {
        let mut limiter = RateLimiter::default();
        for _ in 0..1000 {
            assert_eq!(limiter.next(Duration::ZERO), Duration::ZERO);
            limiter.begin(Duration::ZERO, 1.0);
        }
    }

    #[test]
    fn a_throttled_burst_slows_the_rate_once() {
        let second = Duration::from_secs(1);
        let mut limiter = RateLimiter::default();
        for _ in 0..50 {
            limiter.begin(Duration::ZERO, 0.5);
        }
        for _ in 0..50 {
            limiter.refused(Duration::ZERO, second, 0.5);
        }
        assert_eq!(limiter.next(second), second + Duration::from_millis(200));
    }

    #[test]
    fn what_was_learned_is_forgotten_after_a_while() {
        let mut limiter = RateLimiter::default();
        limiter.begin(Duration::ZERO, 0.5);
        (0..10).for_each(|n| limiter.refused(Duration::from_secs(n), Duration::from_secs(n), 0.5));
        assert!(limiter.next(Duration::from_secs(9)) > Duration::from_secs(10));
        assert_eq!(limiter.next(Duration::from_secs(60)), Duration::from_secs(60));
    }
}
