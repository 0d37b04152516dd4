//! A peer that falls silent may have ended, and EC2 says so at once: the members are read soon, and now and then for as
//! long as it is silent. What one read doesn't show any more is followed at the pace of somebody who is missing.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::node::state::{Board, State};

/// From one read to the next, in the end: who stays silent without having ended costs one call a minute.
const SELDOM: Duration = Duration::from_secs(60);

/// Reads of the members that silent peers are a reason for.
pub(crate) struct Silence {
    board: watch::Receiver<State>,
    reasons: Reasons,
}

impl Silence {
    /// Of the peers on this board.
    pub(crate) fn of(board: &Board) -> Silence {
        Silence { board: board.subscribe(), reasons: Reasons::default() }
    }

    /// Until a read is due.
    pub(crate) async fn asks(&mut self) {
        loop {
            let silent = silent(&self.board.borrow_and_update());
            let now = Instant::now();
            let due = self.reasons.due(silent, now);
            if due.is_some_and(|due| due <= now) {
                return self.reasons.followed(now);
            }
            tokio::select! {
                // The board lives as long as the agent.
                _ = self.board.changed() => {}
                () = tokio::time::sleep_until(due.unwrap_or(now).into()), if due.is_some() => {}
            }
        }
    }
}

/// Which peers are silent, and when a read is due.
#[derive(Debug, Default)]
struct Reasons {
    silent: BTreeSet<Ipv4Addr>,
    reads: u32,
    due: Option<Instant>,
}

impl Reasons {
    /// When a read is due, now that these are silent: soon after another one is.
    fn due(&mut self, silent: BTreeSet<Ipv4Addr>, now: Instant) -> Option<Instant> {
        if !silent.is_subset(&self.silent) {
            (self.reads, self.due) = (0, Some(now + pause(0)));
        }
        self.silent = silent;
        self.due.filter(|_| !self.silent.is_empty())
    }

    /// One is made now.
    fn followed(&mut self, now: Instant) {
        self.reads += 1;
        self.due = Some(now + pause(self.reads));
    }
}

/// The peers whose agents don't answer.
fn silent(state: &State) -> BTreeSet<Ipv4Addr> {
    state.peers.iter().filter(|peer| !state.answering.contains(peer)).copied().collect()
}

/// Before the next read, after so many.
fn pause(reads: u32) -> Duration {
    Duration::from_secs(1 << reads.min(6)).min(SELDOM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::state::tests::state;

    #[test]
    fn a_peer_that_falls_silent_is_read_about_soon_and_then_less_and_less() {
        let (mut reasons, begin) = (Reasons::default(), Instant::now());
        let mut state = state();
        state.answering = state.peers.clone();
        assert_eq!(reasons.due(silent(&state), begin), None, "all answer");
        state.answering.clear();
        let mut times = Vec::new();
        let mut now = begin;
        for _ in 0..8 {
            now = reasons.due(silent(&state), now).unwrap();
            times.push((now - begin).as_secs());
            reasons.followed(now);
        }
        assert_eq!(times, [1, 3, 7, 15, 31, 63, 123, 183]);
        state.peers.push(Ipv4Addr::new(10, 0, 3, 10));
        assert_eq!(reasons.due(silent(&state), now), Some(now + pause(0)), "another one is");
        state.answering = state.peers.clone();
        assert_eq!(reasons.due(silent(&state), now), None);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_peer_that_answers() {
        let board = Board::new(state());
        board.change(|state| state.answering = state.peers.clone());
        let mut silence = Silence::of(&board);
        let asks = tokio::time::timeout(pause(0) / 20, silence.asks());
        assert!(asks.await.is_err());
        board.change(|state| state.answering.clear());
        tokio::time::timeout(pause(3), silence.asks()).await.expect("a read is due");
    }
}
