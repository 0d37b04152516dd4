//! How fast the API may be called, learned from its refusals. Pure: time comes in as a number.
//!
//! EC2 throttles each account, Region and call with a token bucket: a burst, then a few calls a second (EC2 Developer
//! Guide, "Request throttling"), shared by all who call, and its size is nowhere to be read. So calls go at once until
//! one is refused; from then on, one after another, a little faster after each success and half as fast after a refusal.
//! Slower than the bucket refills loses nothing, as tokens gather meanwhile. Faster would, where refusals count too.

use std::time::Duration;

/// Calls a second after the first refusal: what EC2 documents for calls that change something.
const FIRST: f64 = 5.0;
/// Whoever waits longer for a turn is late when tokens are there again.
const SLOWEST: f64 = 0.2;
const FASTEST: f64 = 200.0;
/// After a success: so much of the rate, and not less than so many calls a second. The latter lets the slow ones among
/// many that share a bucket catch up.
const SHARE: f64 = 0.06;
const STEP: f64 = 0.2;
const AFTER_REFUSAL: f64 = 0.5;
/// A bucket that was empty is full again after about so long without a call: then a burst is worth a try.
const FORGET: Duration = Duration::from_secs(30);

/// What is known about the API's bucket.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// Calls a second; as many as there are while nothing was refused.
    rate: Option<f64>,
    /// When the last call was begun.
    last: Duration,
    /// When the next may begin.
    next: Duration,
    /// When it last slowed down: refusals of calls that began before that are the same news.
    slowed: Duration,
}

impl Pace {
    /// When the next call may begin, if one wants to at `now`.
    pub fn next(&mut self, now: Duration) -> Duration {
        if self.rate.is_some() && now.saturating_sub(self.last.max(self.slowed)) > FORGET {
            *self = Pace::default();
        }
        self.next.max(now)
    }

    /// A call begins; `chance` in 0..1 keeps balancers that share a bucket from calling in step.
    pub fn begin(&mut self, now: Duration, chance: f64) {
        self.last = now;
        if let Some(rate) = self.rate {
            self.next = now + Duration::from_secs_f64((0.8 + 0.4 * chance) / rate);
        }
    }

    /// A call that began at `began` was answered, and not refused for its haste.
    pub fn granted(&mut self, began: Duration) {
        if began >= self.slowed {
            self.rate = self.rate.map(|rate| (rate + f64::max(rate * SHARE, STEP)).min(FASTEST));
        }
    }

    /// A call that began at `began` was refused at `now`: there are too many.
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

    /// What a refused call does to the bucket.
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

    /// A call takes as long.
    const TRIP: f64 = 0.05;
    /// What `take_over` keeps under way at most.
    const WINDOW: usize = crate::takeover::WINDOW;

    /// Lets `callers` with so many calls each share a bucket; when the last call was granted, in seconds, and how many
    /// were made.
    fn simulate(bucket: Bucket, callers: usize, calls: usize, seed: u64) -> (f64, usize) {
        let mut rng = StdRng::seed_from_u64(seed);
        let at = Duration::from_secs_f64;
        let (mut tokens, mut filled) = (bucket.size, 0.0);
        let mut paces = vec![Pace::default(); callers];
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

    /// The bucket's own time.
    fn floor(bucket: Bucket, calls: usize) -> f64 {
        (calls as f64 - bucket.size).max(0.0) / bucket.refill + TRIP
    }

    const KINDS: [Refusals; 2] = [Refusals::AreFree, Refusals::TakeWhatIsThere];

    #[test]
    fn two_hundred_routes_take_the_buckets_own_time() {
        for (size, refill) in [(50.0, 5.0), (100.0, 5.0), (20.0, 2.0), (50.0, 10.0), (10.0, 20.0)] {
            for refusals in KINDS {
                for seed in 0..20 {
                    let bucket = Bucket { size, refill, refusals };
                    let (time, made) = simulate(bucket, 1, 200, seed);
                    let ratio = time / floor(bucket, 200);
                    let most = if refusals == Refusals::AreFree { 1.15 } else { 1.3 };
                    assert!(ratio < most, "{bucket:?}, seed {seed}: {time:.1} s, {ratio:.2} times its own time");
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
                assert!(ratio < 1.6, "{bucket:?}, seed {seed}: {time:.1} s, {ratio:.2} times its own time");
                assert!(made < 200 + 300, "{bucket:?}, seed {seed}: {made} calls made");
            }
        }
    }

    #[test]
    fn without_a_refusal_nothing_waits() {
        let mut pace = Pace::default();
        for _ in 0..1000 {
            assert_eq!(pace.next(Duration::ZERO), Duration::ZERO);
            pace.begin(Duration::ZERO, 1.0);
        }
    }

    #[test]
    fn a_burst_that_is_refused_is_one_piece_of_news() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::default();
        for _ in 0..50 {
            pace.begin(Duration::ZERO, 0.5);
        }
        for _ in 0..50 {
            pace.refused(Duration::ZERO, second, 0.5);
        }
        assert_eq!(pace.next(second), second + Duration::from_millis(200));
    }

    #[test]
    fn what_was_learned_is_forgotten_after_a_while() {
        let mut pace = Pace::default();
        pace.begin(Duration::ZERO, 0.5);
        (0..10).for_each(|n| pace.refused(Duration::from_secs(n), Duration::from_secs(n), 0.5));
        assert!(pace.next(Duration::from_secs(9)) > Duration::from_secs(10));
        assert_eq!(pace.next(Duration::from_secs(60)), Duration::from_secs(60));
    }
}
