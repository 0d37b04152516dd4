//! How long the API is waited for. Pure: the pool says what it saw.
//!
//! A slow API isn't an unreachable one, so the limits grow with the answers. They need not find a peer that is gone: TCP
//! does that (`connection`), as a kernel acknowledges at once, however slow its programs are.

use std::time::Duration;

/// A second connection is opened beside one that takes at least this long, twice the slowest answer, and at most that.
const SPARE: [Duration; 2] = [Duration::from_millis(800), Duration::from_secs(30)];
/// A handshake or a call is given up after four times the slowest answer, within these bounds.
const ANSWER: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(120)];

/// What the API showed of its speed.
#[derive(Debug, Default)]
pub(super) struct Limits {
    slowest: Duration,
}

impl Limits {
    /// A handshake or a call was answered after `time`. A slow answer counts less with each faster one after it.
    pub(super) fn answered(&mut self, time: Duration) {
        self.slowest = time.max(self.slowest * 3 / 4);
    }

    /// There was no answer for `time`: the next limit is twice as long.
    pub(super) fn gave_up(&mut self, time: Duration) {
        self.answered(time / 2);
    }

    /// The time from opening a connection to opening a spare one beside it.
    pub(super) fn spare(&self) -> Duration {
        (self.slowest * 2).clamp(SPARE[0], SPARE[1])
    }

    /// The time after which a handshake or a call is given up.
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
    fn an_api_that_was_fast_may_become_slow_at_once() {
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
    fn a_limit_that_ran_out_is_doubled_up_to_a_bound() {
        let mut limits = Limits::default();
        let ran_out = |limits: &mut Limits| {
            let limit = limits.answer();
            limits.gave_up(limit);
            limit
        };
        assert_eq!([(); 4].map(|()| ran_out(&mut limits)), [30 * S, 60 * S, 120 * S, 120 * S]);
    }
}
