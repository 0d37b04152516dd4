//! Decides when the webhook gets an event about a group. Pure. An event comes at once; the next one of the same group
//! comes after a pause, with the state at that time, so the last state is always sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::snapshot::Group;
use crate::haproxy::TargetState;

/// The shortest time between two events of a group.
const PAUSE: Duration = Duration::from_secs(30);

/// What was announced.
#[derive(Debug, Default)]
pub(super) struct Announcer(BTreeMap<String, Announced>);

#[derive(Debug, Default)]
struct Announced {
    down: BTreeSet<String>,
    at: Option<Instant>,
}

impl Announcer {
    /// The groups to announce at `now`: others of their targets are down than announced. A node that isn't active
    /// announces nothing, and nothing of that when it becomes active: another node did.
    pub(super) fn due<'a>(&mut self, groups: &'a BTreeMap<String, Group>, active: bool, now: Instant) -> Vec<&'a str> {
        self.0.retain(|name, _| groups.contains_key(name));
        let mut due = Vec::new();
        for (name, group) in groups {
            let announced = self.0.entry(name.clone()).or_default();
            let down = group.iter().filter(|(_, target)| target.state == TargetState::Down);
            let down: BTreeSet<String> = down.map(|(name, _)| name.clone()).collect();
            let is_early = announced.at.is_some_and(|at| now.saturating_duration_since(at) < PAUSE);
            if down == announced.down || (active && is_early) {
                continue;
            }
            announced.down = down;
            if active {
                announced.at = Some(now);
                due.push(name.as_str());
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target_health::snapshot::tests::group;

    use TargetState::{Down, Draining, Unchecked, Up};

    /// A read: its second, the targets' states, and whether this node is active.
    type Read = (u64, &'static [TargetState], bool);

    /// The seconds of the events.
    fn events(reads: &[Read]) -> Vec<u64> {
        let (mut announcer, start) = (Announcer::default(), Instant::now());
        let mut events = Vec::new();
        for (second, states, active) in reads {
            let groups = BTreeMap::from([("web".to_owned(), group(states))]);
            if !announcer.due(&groups, *active, start + Duration::from_secs(*second)).is_empty() {
                events.push(*second);
            }
        }
        events
    }

    #[test]
    fn a_failure_is_announced_at_once_and_then_at_most_every_half_minute() {
        let read = |second: u64| -> Read { (second, if second.is_multiple_of(2) { &[Down] } else { &[Up] }, true) };
        let flapping: Vec<Read> = (0..120).map(read).collect();
        assert_eq!(events(&flapping), [0, 31, 62, 93]);
    }

    #[test]
    fn the_last_state_is_always_sent() {
        let mut reads: Vec<Read> = vec![(0, &[Up, Down], true), (4, &[Down, Down], true)];
        reads.extend((6..60).map(|second| -> Read { (second, &[Up, Up], true) }));
        assert_eq!(events(&reads), [0, 30]);
        assert_eq!(events(&[(0, &[Down], true), (4, &[Up], true), (8, &[Down], true), (60, &[Down], true)]), [0]);
    }

    #[test]
    fn targets_that_are_healthy_from_the_start_or_drained_are_no_news() {
        assert_eq!(events(&[(0, &[Unchecked], true), (2, &[Up], true), (4, &[Draining], true)]), [] as [u64; 0]);
    }

    #[test]
    fn a_node_that_becomes_active_announces_changes_only() {
        assert_eq!(events(&[(0, &[Down], false), (2, &[Down], true)]), [] as [u64; 0]);
        assert_eq!(events(&[(0, &[Down], false), (2, &[Up], true)]), [2]);
    }

    #[test]
    fn each_group_has_its_own_pause() {
        let (mut announcer, start) = (Announcer::default(), Instant::now());
        let groups = |web, api| BTreeMap::from([("api".to_owned(), group(&[api])), ("web".to_owned(), group(&[web]))]);
        assert_eq!(announcer.due(&groups(Down, Up), true, start), ["web"]);
        assert_eq!(announcer.due(&groups(Up, Down), true, start + Duration::from_secs(1)), ["api"]);
        assert_eq!(announcer.due(&groups(Up, Down), true, start + PAUSE), ["web"]);
    }
}
