//! Requests reads of the members while a peer is silent: soon at first, then less and less often. The peer may have
//! been terminated, which EC2 shows at once. Once a read misses it, the schedule for missing members applies.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::node::state::{Board, State};

/// The longest pause between reads: a peer that stays silent costs one call a minute.
const SELDOM: Duration = Duration::from_secs(60);

/// Reports when silent peers make a read of the members due.
pub(crate) struct Silence {
    board: watch::Receiver<State>,
    reasons: Reasons,
}

impl Silence {
    pub(crate) fn of(board: &Board) -> Silence {
        Silence { board: board.subscribe(), reasons: Reasons::default() }
    }

    /// Waits until a read is due.
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
    /// When a read is due, given the `silent` peers: soon after one more falls silent.
    fn due(&mut self, silent: BTreeSet<Ipv4Addr>, now: Instant) -> Option<Instant> {
        if !silent.is_subset(&self.silent) {
            (self.reads, self.due) = (0, Some(now + pause(0)));
        }
        self.silent = silent;
        self.due.filter(|_| !self.silent.is_empty())
    }

    /// Records a read at `now`.
    fn followed(&mut self, now: Instant) {
        self.reads += 1;
        self.due = Some(now + pause(self.reads));
    }
}

/// The peers with an agent that doesn't answer.
fn silent(state: &State) -> BTreeSet<Ipv4Addr> {
    state.peers.iter().filter(|peer| !state.answering.contains(peer)).copied().collect()
}

/// The pause after this many reads.
fn pause(reads: u32) -> Duration {
    Duration::from_secs(1 << reads.min(6)).min(SELDOM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::state::tests::state;

    #[test]
    fn a_silent_peer_causes_a_read_soon_and_then_less_and_less_often() {
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
        assert_eq!(reasons.due(silent(&state), now), Some(now + pause(0)), "another peer is silent");
        state.answering = state.peers.clone();
        assert_eq!(reasons.due(silent(&state), now), None);
    }

    #[tokio::test]
    async fn only_a_silent_peer_makes_a_read_due() {
        let board = Board::new(state());
        board.change(|state| state.answering = state.peers.clone());
        let mut silence = Silence::of(&board);
        let asks = tokio::time::timeout(pause(0) / 20, silence.asks());
        assert!(asks.await.is_err());
        board.change(|state| state.answering.clear());
        tokio::time::timeout(pause(3), silence.asks()).await.expect("a read is due");
    }
}
