//! Reads of the API that failed are made again before their turn: a standby would wait for minutes, and refuse to take
//! over all the while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::pace::Read;
use crate::host::backoff::Backoff;

/// To the first repetition. The call itself has been repeated for some seconds by then.
const FIRST: Duration = Duration::from_secs(4);
/// Between repetitions in the end: an API that stays out is asked little more often than one that is well.
const MOST: Duration = Duration::from_secs(60);

/// What failed when it was read last, and when it is due again.
#[derive(Debug, Default)]
pub(crate) struct Retries(BTreeMap<Read, (Backoff, Instant)>);

impl Retries {
    /// This read ended at `now`, with an answer or without.
    pub(crate) fn note(&mut self, read: Read, answered: bool, now: Instant) {
        if answered {
            self.0.remove(&read);
            return;
        }
        let (backoff, due) = self.0.entry(read).or_insert_with(|| (Backoff::new(FIRST, MOST), now));
        *due = now + backoff.next_pause();
    }

    /// When the next is due; never, if the last of each were answered.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.values().map(|(_, due)| *due).min()
    }

    /// Those that are due.
    pub(crate) fn due(&self, now: Instant) -> Vec<Read> {
        self.0.iter().filter(|(_, (_, due))| *due <= now).map(|(read, _)| *read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_read_again_within_seconds_and_less_and_less_often() {
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
    fn an_answer_ends_it_for_what_was_read_and_for_nothing_else() {
        let (mut retries, now) = (Retries::default(), Instant::now());
        retries.note(Read::Members, false, now);
        retries.note(Read::Tables, false, now);
        retries.note(Read::Members, true, now);
        assert_eq!(retries.due(now + MOST), [Read::Tables]);
    }
}
