//! Finds dark peers: a booting node got no packet, no answer and no sign of life from them in two short looks. Pure.
//! Reads of the peers' tags alone would take about a minute.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::aws::ids::InterfaceId;
use crate::node::members::Member;
use crate::ownership::decide::DARK_LOOKS;

/// The pause between two short looks.
const LOOK: Duration = Duration::from_secs(2);
/// The pause while every silent peer shows a sign of life.
const LATER: Duration = Duration::from_secs(10);
/// How long a peer must be silent if its tags can't be read.
const HUNG: Duration = Duration::from_secs(15);
/// A tag's sign of life is rewritten every 20 s. The rest allows for the write, a stale answer and clock skew.
const FRESH: Duration = Duration::from_secs(30);

/// What a short look found about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trace {
    /// Its agent or its kernel answered, it moved a route, or its tags show a recent sign of life.
    Alive,
    /// It sent nothing, and its tags couldn't be read.
    Unread,
    /// It sent nothing, and its tags show nothing recent.
    Nothing,
}

/// What the API shows of `peer` at `now`; `peer` is `None` if it can't be read.
pub(crate) fn trace(peer: Option<&Member>, now: Timestamp) -> Trace {
    match peer {
        // The peer's clock may be ahead of this node's.
        Some(Member { says: Some(_), alive: Some(at), .. }) if now.duration_since(*at).unsigned_abs() < FRESH => {
            Trace::Alive
        }
        Some(Member { says: Some(_), .. }) => Trace::Nothing,
        _ => Trace::Unread,
    }
}

/// The peers that left no trace: since when, and the looks that count.
#[derive(Debug, Default)]
pub(crate) struct Dark {
    peers: BTreeMap<InterfaceId, (Instant, u8)>,
    last: Option<Instant>,
}

impl Dark {
    /// Records what a look at `now` found about `peer`.
    pub(crate) fn note(&mut self, peer: &InterfaceId, trace: Trace, now: Instant) {
        if trace == Trace::Alive {
            self.peers.remove(peer);
            return;
        }
        let (since, looks) = self.peers.entry(peer.clone()).or_insert((now, 0));
        if trace == Trace::Nothing || now.saturating_duration_since(*since) >= HUNG {
            *looks = looks.saturating_add(1).min(DARK_LOOKS);
        }
    }

    /// The number of looks in a row without a trace of `peer`.
    pub(crate) fn looks(&self, peer: &InterfaceId) -> u8 {
        self.peers.get(peer).map_or(0, |(_, looks)| *looks)
    }

    pub(crate) fn looked(&mut self, now: Instant) {
        self.last = Some(now);
    }

    pub(crate) fn due(&self, now: Instant) -> Instant {
        let pause = if self.peers.is_empty() { LATER } else { LOOK };
        self.last.map_or(now, |last| last + pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::members::tests::member;

    const PEER: &str = "eni-2";

    /// The count after each of these traces, one every [`LOOK`].
    fn counted(traces: &[Trace]) -> Vec<u8> {
        let (mut dark, mut now) = (Dark::default(), Instant::now());
        let mut look = |trace: &Trace| {
            assert!(dark.due(now) <= now);
            dark.note(&PEER.into(), *trace, now);
            dark.looked(now);
            now = dark.due(now);
            dark.looks(&PEER.into())
        };
        traces.iter().map(&mut look).collect()
    }

    #[test]
    fn two_looks_without_a_trace_make_a_peer_dark_and_any_trace_ends_it() {
        use Trace::{Alive, Nothing};
        assert_eq!(counted(&[Nothing, Nothing, Nothing, Alive, Nothing]), [1, 2, 2, 0, 1]);
    }

    #[test]
    fn a_peer_with_unreadable_tags_is_dark_after_15_s() {
        let counted = counted(&[Trace::Unread; 12]);
        let dark = counted.iter().position(|looks| *looks >= DARK_LOOKS).unwrap() as u32;
        assert!((HUNG..HUNG + LOOK * 2).contains(&(LOOK * dark)), "{counted:?}");
    }

    #[test]
    fn a_sign_of_life_counts_while_it_is_fresh() {
        let now: Timestamp = "2026-11-29T14:03:12Z".parse().unwrap();
        let read = Member { says: Some("active".into()), ..member("i-b", 2) };
        let alive = |at: &str| trace(Some(&Member { alive: Some(at.parse().unwrap()), ..read.clone() }), now);
        assert_eq!(alive("2026-11-29T14:02:50Z"), Trace::Alive);
        assert_eq!(alive("2026-11-29T14:02:30Z"), Trace::Nothing);
        assert_eq!(alive("2026-11-29T14:03:20Z"), Trace::Alive, "its clock is ahead");
        assert_eq!(trace(Some(&read), now), Trace::Nothing);
        assert_eq!(trace(Some(&member("i-b", 2)), now), Trace::Unread, "this read didn't show its tags");
        assert_eq!(trace(None, now), Trace::Unread);
    }
}
