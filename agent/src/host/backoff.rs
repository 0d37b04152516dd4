//! Exponential backoff with jitter, up to a limit.

use std::time::Duration;

/// A growing pause.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    tries: u32,
}

impl Backoff {
    /// Pauses around `first`, doubling up to `most`.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Backoff { first, most, tries: 0 }
    }

    pub fn next_pause(&mut self) -> Duration {
        let pause = pause(self.first, self.most, self.tries, rand::random());
        self.tries = self.tries.saturating_add(1);
        pause
    }

    /// Waits for the next pause.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_pause()).await;
    }
}

/// The pause after `tries` earlier ones: between half and all of `first · 2^tries`, at most `most`; `chance` in 0..1.
/// The half keeps a jittered pause from shrinking to nothing.
pub fn pause(first: Duration, most: Duration, tries: u32, chance: f64) -> Duration {
    let whole = first.saturating_mul(2_u32.saturating_pow(tries.min(20))).min(most);
    whole.mul_f64(0.5 + chance / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_never_vanish() {
        let ms = Duration::from_millis;
        assert_eq!(pause(ms(100), ms(1000), 0, 1.0), ms(100));
        assert_eq!(pause(ms(100), ms(1000), 0, 0.0), ms(50));
        assert_eq!(pause(ms(100), ms(1000), 2, 1.0), ms(400));
        assert_eq!(pause(ms(100), ms(1000), 60, 1.0), ms(1000));
    }
}
