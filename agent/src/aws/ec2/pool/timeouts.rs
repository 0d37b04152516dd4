//! Time limits for handshakes and calls, derived from the API's slowest answer. Pure: the pool reports each answer.
//!
//! A slow API isn't an unreachable one, so the limits grow with the answers. They needn't detect a lost peer: TCP does
//! that (`connection`), as a kernel acknowledges at once, however slow its programs are.

use std::time::Duration;

/// The bounds of the spare limit: twice the slowest answer. After it a second connection is opened beside the first.
const SPARE: [Duration; 2] = [Duration::from_millis(800), Duration::from_secs(30)];
/// The bounds of the answer limit: four times the slowest answer. After it a handshake or a call fails.
const ANSWER: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(120)];

#[derive(Debug, Default)]
pub(super) struct Limits {
    slowest: Duration,
}

impl Limits {
    /// A handshake or a call was answered after `time`. Each faster answer lowers the slowest by at most a quarter.
    pub(super) fn answered(&mut self, time: Duration) {
        self.slowest = time.max(self.slowest * 3 / 4);
    }

    /// There was no answer within `time`. The next limit is twice as long.
    pub(super) fn gave_up(&mut self, time: Duration) {
        self.answered(time / 2);
    }

    /// The time after which a spare connection is opened.
    pub(super) fn spare(&self) -> Duration {
        (self.slowest * 2).clamp(SPARE[0], SPARE[1])
    }

    /// The time after which a handshake or a call fails.
    pub(super) fn answer(&self) -> Duration {
        (self.slowest * 4).clamp(ANSWER[0], ANSWER[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const S: Duration = Duration::from_secs(1);

    fn after(answers: &[Duration]) -> Limits {
        let mut limits = Limits::default();
        answers.iter().for_each(|time| limits.answered(*time));
        limits
    }

    #[test]
    fn the_minimum_limits_admit_a_fast_api_that_becomes_slow() {
        let limits = after(&[20 * MS; 50]);
        assert_eq!(limits.spare(), 800 * MS);
        // Two round trips of 8 s for the handshake, one for the call.
        assert!(limits.answer() > 16 * S);
    }

    #[test]
    fn limits_grow_with_the_answers_and_shrink_with_faster_ones() {
        let slow = after(&[16 * S]);
        assert_eq!((slow.spare(), slow.answer()), (30 * S, 64 * S));
        let recovering = after(&[2 * S, 10 * MS]);
        assert_eq!(recovering.spare(), 3 * S);
        let mut answers = vec![16 * S];
        answers.extend([10 * MS; 20]);
        assert_eq!(after(&answers).spare(), 800 * MS);
    }

    #[test]
    fn an_exceeded_limit_is_doubled_up_to_a_bound() {
        let mut limits = Limits::default();
        let ran_out = |limits: &mut Limits| {
            let limit = limits.answer();
            limits.gave_up(limit);
            limit
        };
        assert_eq!([(); 4].map(|()| ran_out(&mut limits)), [30 * S, 60 * S, 120 * S, 120 * S]);
    }
}
