//! Which peers are silent, and which of those are unreachable. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use templates::report::Moment;

/// A peer counts as unreachable after this long a silence on every path. An operator sees it within ten seconds.
const PATIENCE: Duration = Duration::from_secs(4);
/// The least number of such rounds: a node that stood still misses the answers of one.
const ROUNDS: u32 = 4;

/// What one round heard of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Its agent answers.
    Agent,
    /// Its machine answers, its agent doesn't.
    Machine,
    Nothing,
}

/// The silent peers, except for those that EC2 reports as shutting down.
#[derive(Debug, Default)]
pub(super) struct Silences(BTreeMap<Ipv4Addr, Silence>);

#[derive(Debug)]
struct Silence {
    quiet: Instant,
    gone: Option<Gone>,
}

#[derive(Debug)]
struct Gone {
    since: Instant,
    moment: Moment,
    rounds: u32,
}

impl Silences {
    /// Takes in a round that ended at `now`; `clock` is the same time as a timestamp.
    pub(super) fn note(&mut self, heard: &BTreeMap<Ipv4Addr, Heard>, now: Instant, clock: Timestamp) {
        self.0.retain(|peer, _| heard.contains_key(peer));
        for (peer, heard) in heard {
            match heard {
                Heard::Agent => drop(self.0.remove(peer)),
                Heard::Machine => self.silence(*peer, now).gone = None,
                Heard::Nothing => {
                    let moment = Moment::of(clock);
                    let gone = self.silence(*peer, now).gone.get_or_insert(Gone { since: now, moment, rounds: 0 });
                    gone.rounds += 1;
                }
            }
        }
    }

    fn silence(&mut self, peer: Ipv4Addr, now: Instant) -> &mut Silence {
        self.0.entry(peer).or_insert(Silence { quiet: now, gone: None })
    }

    /// The unreachable peers, and since when.
    pub(super) fn unreachable(&self, now: Instant) -> BTreeMap<Ipv4Addr, Moment> {
        let is_gone = |gone: &&Gone| gone.rounds >= ROUNDS && now - gone.since >= PATIENCE;
        let gone = self.0.iter().map(|(peer, silence)| (peer, silence.gone.as_ref().filter(is_gone)));
        gone.filter_map(|(peer, gone)| Some((*peer, gone?.moment))).collect()
    }

    /// Whether the peer is silent on every path, but not yet long enough to count as unreachable.
    pub(super) fn is_open(&self, peer: Ipv4Addr, now: Instant) -> bool {
        let gone = self.0.get(&peer).is_some_and(|silence| silence.gone.is_some());
        gone && !self.unreachable(now).contains_key(&peer)
    }

    /// The longest silence of a peer's agent, and that peer.
    pub(super) fn longest(&self, now: Instant) -> Option<(Duration, Ipv4Addr)> {
        self.0.iter().map(|(peer, silence)| (now - silence.quiet, *peer)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 10);
    const ROUND: Duration = Duration::from_secs(1);

    /// Whether the peer is unreachable after each round.
    fn unreachable(rounds: &[Heard]) -> Vec<bool> {
        let (mut silences, begin) = (Silences::default(), Instant::now());
        let rounds = rounds.iter().enumerate().map(|(number, heard)| {
            let now = begin + ROUND * number as u32;
            silences.note(&[(PEER, *heard)].into(), now, Timestamp::UNIX_EPOCH);
            silences.unreachable(now).contains_key(&PEER)
        });
        rounds.collect()
    }

    #[test]
    fn a_peer_that_is_silent_on_every_path_for_some_seconds_is_unreachable_until_it_answers() {
        use Heard::{Agent, Nothing};
        let seen = unreachable(&[Agent, Nothing, Nothing, Nothing, Nothing, Nothing, Agent, Nothing]);
        assert_eq!(seen, [false, false, false, false, false, true, false, false]);
    }

    #[test]
    fn a_machine_without_an_agent_is_reachable_and_its_agent_is_silent() {
        assert!(!unreachable(&[Heard::Machine; 60]).contains(&true));
        let (mut silences, begin) = (Silences::default(), Instant::now());
        for second in 0..=30 {
            silences.note(&[(PEER, Heard::Machine)].into(), begin + ROUND * second, Timestamp::UNIX_EPOCH);
        }
        assert_eq!(silences.longest(begin + ROUND * 30), Some((ROUND * 30, PEER)));
    }

    #[test]
    fn one_round_that_took_long_is_no_evidence() {
        let (mut silences, begin) = (Silences::default(), Instant::now());
        let silent = [(PEER, Heard::Nothing)].into();
        silences.note(&silent, begin, Timestamp::UNIX_EPOCH);
        silences.note(&silent, begin + ROUND * 20, Timestamp::UNIX_EPOCH);
        assert_eq!(silences.unreachable(begin + ROUND * 20), BTreeMap::new());
        assert!(silences.is_open(PEER, begin + ROUND * 20));
    }

    #[test]
    fn the_silence_began_with_its_first_round() {
        let (mut silences, begin) = (Silences::default(), Instant::now());
        let clock = |second| Timestamp::from_second(1_796_000_000 + i64::from(second)).unwrap();
        for second in 0..10 {
            silences.note(&[(PEER, Heard::Nothing)].into(), begin + ROUND * second, clock(second));
        }
        let now = begin + ROUND * 9;
        assert_eq!(silences.unreachable(now), BTreeMap::from([(PEER, Moment::of(clock(0)))]));
    }

    #[test]
    fn a_former_peer_is_forgotten() {
        let (mut silences, begin) = (Silences::default(), Instant::now());
        silences.note(&[(PEER, Heard::Nothing)].into(), begin, Timestamp::UNIX_EPOCH);
        silences.note(&BTreeMap::new(), begin + ROUND, Timestamp::UNIX_EPOCH);
        assert_eq!(silences.longest(begin + ROUND), None);
    }
}
