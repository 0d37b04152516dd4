//! What is thought of HAProxy, given what became of questions to it. Pure.

use std::io;
use std::time::Duration;

use super::Serves;
use crate::probe::LIMIT;

/// So many questions in a row without an answer, and it counts as hung.
const SILENCES: u32 = 3;
/// A question that ends so long after its limit was cut short by nobody: this node itself stood still meanwhile.
const STOOD_STILL: Duration = Duration::from_millis(150);

/// What is thought of HAProxy.
#[derive(Debug)]
pub(super) struct Opinion {
    pub serves: Serves,
    silences: u32,
}

impl Opinion {
    /// Begins with what was thought before.
    pub(super) fn new(serves: Serves) -> Opinion {
        Opinion { serves, silences: 0 }
    }

    /// Takes in an answer that took so long; whether the opinion changed. A refused connection is certain: nobody
    /// listens. A time-out may be a hiccup, and a connection that breaks off a worker that a reload has relieved, so of
    /// these it takes three in a row; so does a question that can't be asked. A question during which this node stood
    /// still, as in a live migration, says nothing about HAProxy, which stood still too.
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
            Err(_) if took > LIMIT + STOOD_STILL => self.serves,
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

    fn well() -> Opinion {
        Opinion::new(Serves::Yes)
    }

    #[test]
    fn a_refused_connection_is_believed_at_once() {
        let mut opinion = well();
        assert!(opinion.hear(&failed(io::ErrorKind::ConnectionRefused), Duration::ZERO));
        assert_eq!(opinion.serves, Serves::No);
        assert!(opinion.hear(&Ok(()), Duration::ZERO));
        assert_eq!(opinion.serves, Serves::Yes);
    }

    #[test]
    fn one_broken_connection_moves_nothing() {
        let mut opinion = well();
        assert!(!opinion.hear(&failed(io::ErrorKind::UnexpectedEof), Duration::ZERO));
        assert!(!opinion.hear(&failed(io::ErrorKind::ConnectionReset), Duration::ZERO));
        assert!(opinion.hear(&failed(io::ErrorKind::ConnectionRefused), Duration::ZERO));
    }

    #[test]
    fn it_takes_three_silences_in_a_row() {
        let mut opinion = well();
        assert!(!opinion.hear(&silence(), LIMIT) && !opinion.hear(&silence(), LIMIT));
        assert!(!opinion.hear(&Ok(()), LIMIT / 2));
        assert!(!opinion.hear(&silence(), LIMIT) && !opinion.hear(&silence(), LIMIT));
        assert!(opinion.hear(&silence(), LIMIT));
        assert_eq!(opinion.serves, Serves::No);
    }

    #[test]
    fn a_question_that_cannot_be_asked_counts_as_failed() {
        let mut opinion = well();
        let no_socket = || Err(io::Error::from_raw_os_error(24));
        assert!(!opinion.hear(&no_socket(), Duration::ZERO) && !opinion.hear(&no_socket(), Duration::ZERO));
        assert!(opinion.hear(&no_socket(), Duration::ZERO));
    }

    #[test]
    fn a_node_that_stood_still_holds_nothing_against_haproxy() {
        let mut opinion = well();
        for _ in 0..10 {
            assert!(!opinion.hear(&silence(), Duration::from_secs(5)));
        }
        assert!(!opinion.hear(&silence(), LIMIT) && !opinion.hear(&silence(), LIMIT));
        assert!(opinion.hear(&silence(), LIMIT));
    }
}
