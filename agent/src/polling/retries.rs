//! Retries failed reads of the API before their turn. A standby would otherwise wait for minutes, and refuse to take
//! over in that time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::poll_schedule::Read;
use crate::host::backoff::Backoff;

/// The pause before the first retry. The call itself has been retried for some seconds by then.
const FIRST: Duration = Duration::from_secs(4);
/// The longest pause: an API that stays down is read little more often than a healthy one.
const MOST: Duration = Duration::from_secs(60);

/// The reads that failed last time, and when each is due again.
#[derive(Debug, Default)]
pub(crate) struct Retries(BTreeMap<Read, (Backoff, Instant)>);

impl Retries {
    /// Records that a read ended at `now`, with or without an answer.
    pub(crate) fn note(&mut self, read: Read, answered: bool, now: Instant) {
        if answered {
            self.0.remove(&read);
            return;
        }
        let (backoff, due) = self.0.entry(read).or_insert_with(|| (Backoff::new(FIRST, MOST), now));
        *due = now + backoff.next_pause();
    }

    /// When the next retry is due; `None` if no read failed last time.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.values().map(|(_, due)| *due).min()
    }

    pub(crate) fn due(&self, now: Instant) -> Vec<Read> {
        self.0.iter().filter(|(_, (_, due))| *due <= now).map(|(read, _)| *read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_read_is_retried_within_seconds_and_then_less_and_less_often() {
        let (mut retries, mut now) = (Retries::default(), Instant::now());
        assert_eq!(retries.next(), None);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            retries.note(Read::Members, false, now);
            let due = retries.next().unwrap();
            assert!(retries.due(now).is_empty());
            assert_eq!(retries.due(due), [Read::Members]);
            pauses.push(due - now);
            now = due;
        }
        assert!(pauses[0] <= FIRST, "{pauses:?}");
        assert!(pauses.iter().skip(4).all(|pause| *pause >= MOST / 2 && *pause <= MOST), "{pauses:?}");
    }

    #[test]
    fn an_answer_ends_the_retries_of_that_read_only() {
        let (mut retries, now) = (Retries::default(), Instant::now());
        retries.note(Read::Members, false, now);
        retries.note(Read::Tables, false, now);
        retries.note(Read::Members, true, now);
        assert_eq!(retries.due(now + MOST), [Read::Tables]);
    }
}
