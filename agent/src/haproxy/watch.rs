//! The agent's watch over HAProxy.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use super::{Serves, UNIT, answers, tell_keepalived};
use crate::state::{Board, Topic};
use crate::systemd;

/// From one request to the next.
const EVERY: Duration = Duration::from_millis(250);
/// How often an HAProxy that is down is started: systemd's own restart comes first.
const RESTART: Duration = Duration::from_secs(5);

/// Watches HAProxy for ever, telling keepalived through `track` and everybody else through `board`.
pub async fn watch(board: Board, track: &Path) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut opinion = Opinion { serves: board.read().haproxy, silences: 0 };
    let mut since = Instant::now();
    // What an agent before this one told keepalived may be wrong by now.
    let mut told = false;
    loop {
        ticks.tick().await;
        let answer = answers().await;
        if opinion.hear(&answer) {
            since = Instant::now();
            say(&board, track, opinion.serves, &answer);
        } else if !told {
            tell(track, opinion.serves);
        }
        told = true;
        if opinion.serves == Serves::No && since.elapsed() > RESTART {
            since = Instant::now();
            if let Err(error) = systemd::start(UNIT).await {
                tracing::warn!("HAProxy is down: {error:#}");
            }
        }
    }
}

fn tell(track: &Path, serves: Serves) {
    if let Err(error) = tell_keepalived(track, serves) {
        tracing::error!("keepalived cannot be told about HAProxy: {error:#}");
    }
}

fn say(board: &Board, track: &Path, serves: Serves, answer: &io::Result<()>) {
    tell(track, serves);
    let problem = answer.as_ref().err().map(|error| format!("HAProxy doesn't answer its health page: {error}"));
    match &problem {
        None => tracing::info!("HAProxy answers"),
        Some(problem) => tracing::error!("{problem}"),
    }
    board.change(|state| state.haproxy = serves);
    board.problem(Topic::Haproxy, problem);
}

/// What is thought of HAProxy.
#[derive(Debug)]
struct Opinion {
    serves: Serves,
    silences: u32,
}

impl Opinion {
    /// Takes in an answer; whether the opinion changed. A refused connection is certain: nobody listens. A time-out may
    /// be this machine's hiccup, and a connection that breaks off a worker that a reload has relieved, so of these it
    /// takes three in a row.
    fn hear(&mut self, answer: &io::Result<()>) -> bool {
        self.silences = match answer {
            Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => self.silences + 1,
            _ => 0,
        };
        let serves = match answer {
            Ok(()) => Serves::Yes,
            Err(_) if (1..3).contains(&self.silences) => self.serves,
            Err(_) => Serves::No,
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

    #[test]
    fn a_refused_connection_is_believed_at_once() {
        let mut opinion = Opinion { serves: Serves::Yes, silences: 0 };
        assert!(opinion.hear(&failed(io::ErrorKind::ConnectionRefused)));
        assert_eq!(opinion.serves, Serves::No);
        assert!(opinion.hear(&Ok(())));
        assert_eq!(opinion.serves, Serves::Yes);
    }

    #[test]
    fn one_broken_connection_moves_nothing() {
        let mut opinion = Opinion { serves: Serves::Yes, silences: 0 };
        assert!(!opinion.hear(&failed(io::ErrorKind::UnexpectedEof)));
        assert!(!opinion.hear(&failed(io::ErrorKind::ConnectionReset)));
        assert!(opinion.hear(&failed(io::ErrorKind::ConnectionRefused)));
    }

    #[test]
    fn it_takes_three_silences_in_a_row() {
        let mut opinion = Opinion { serves: Serves::Yes, silences: 0 };
        let silence = || failed(io::ErrorKind::TimedOut);
        assert!(!opinion.hear(&silence()) && !opinion.hear(&silence()));
        assert!(!opinion.hear(&Ok(())));
        assert!(!opinion.hear(&silence()) && !opinion.hear(&silence()));
        assert!(opinion.hear(&silence()));
        assert_eq!(opinion.serves, Serves::No);
    }
}
