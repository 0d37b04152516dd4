//! Judges from the health checks whether HAProxy serves. Pure.

use std::io;
use std::time::Duration;

use super::Serves;
use crate::host::probe::{self, LIMIT};

/// HAProxy counts as hung after this many checks in a row without an answer.
const SILENCES: u32 = 3;
/// A check that ends this long after its time limit shows that this node stood still.
const STOOD_STILL: Duration = Duration::from_millis(150);

#[derive(Debug)]
pub(super) struct Verdict {
    pub serves: Serves,
    silences: u32,
}

impl Verdict {
    /// Starts from an earlier verdict.
    pub(super) fn new(serves: Serves) -> Verdict {
        Verdict { serves, silences: 0 }
    }

    /// Takes in the result of a check; returns whether the verdict changed. A refused connection is certain: no process
    /// listens. A time-out may be a hiccup, and a broken connection a worker that a reload replaced, so only three in a
    /// row count. A check for which this node had no descriptor is no evidence. Nor is one during which the machine
    /// stood still, as in a live migration.
    pub(super) fn hear(&mut self, answer: &io::Result<()>, took: Duration) -> bool {
        let serves = match answer {
            Ok(()) => {
                self.silences = 0;
                Serves::Yes
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.silences = 0;
                Serves::No
            }
            Err(error) if probe::unasked(error) || took > LIMIT + STOOD_STILL => self.serves,
            Err(_) => {
                self.silences += 1;
                if self.silences < SILENCES { self.serves } else { Serves::No }
            }
        };
        std::mem::replace(&mut self.serves, serves) != serves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: io::ErrorKind) -> io::Result<()> {
        Err(kind.into())
    }

    fn silence() -> io::Result<()> {
        failed(io::ErrorKind::TimedOut)
    }

    fn well() -> Verdict {
        Verdict::new(Serves::Yes)
    }

    #[test]
    fn a_refused_connection_is_believed_at_once() {
        let mut verdict = well();
        assert!(verdict.hear(&failed(io::ErrorKind::ConnectionRefused), Duration::ZERO));
        assert_eq!(verdict.serves, Serves::No);
        assert!(verdict.hear(&Ok(()), Duration::ZERO));
        assert_eq!(verdict.serves, Serves::Yes);
    }

    #[test]
    fn one_broken_connection_changes_nothing() {
        let mut verdict = well();
        assert!(!verdict.hear(&failed(io::ErrorKind::UnexpectedEof), Duration::ZERO));
        assert!(!verdict.hear(&failed(io::ErrorKind::ConnectionReset), Duration::ZERO));
        assert!(verdict.hear(&failed(io::ErrorKind::ConnectionRefused), Duration::ZERO));
    }

    #[test]
    fn it_takes_three_silences_in_a_row() {
        let mut verdict = well();
        assert!(!verdict.hear(&silence(), LIMIT) && !verdict.hear(&silence(), LIMIT));
        assert!(!verdict.hear(&Ok(()), LIMIT / 2));
        assert!(!verdict.hear(&silence(), LIMIT) && !verdict.hear(&silence(), LIMIT));
        assert!(verdict.hear(&silence(), LIMIT));
        assert_eq!(verdict.serves, Serves::No);
    }

    #[test]
    fn a_check_without_a_descriptor_is_no_evidence() {
        let mut verdict = well();
        // EMFILE, ENFILE, ENOMEM, ENOBUFS, EADDRNOTAVAIL.
        for code in [24, 23, 12, 105, 99] {
            assert!((0..5).all(|_| !verdict.hear(&Err(io::Error::from_raw_os_error(code)), Duration::ZERO)), "{code}");
        }
        assert!(verdict.hear(&failed(io::ErrorKind::ConnectionRefused), Duration::ZERO), "this check was made");
        assert!(!verdict.hear(&Err(io::Error::from_raw_os_error(24)), Duration::ZERO), "nor does it clear HAProxy");
        assert_eq!(verdict.serves, Serves::No);
    }

    #[test]
    fn a_check_during_a_standstill_is_no_evidence() {
        let mut verdict = well();
        for _ in 0..10 {
            assert!(!verdict.hear(&silence(), Duration::from_secs(5)));
        }
        assert!(!verdict.hear(&silence(), LIMIT) && !verdict.hear(&silence(), LIMIT));
        assert!(verdict.hear(&silence(), LIMIT));
    }
}
