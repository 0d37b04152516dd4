//! Finds unreachable nodes by their peers' reports. Pure. A dead node keeps its last tags, and EC2 may show it as
//! `running` for long; a live peer's report outranks both.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use templates::names::{TAG_ALIVE, TAG_RUNNING, TAG_UNREACHABLE};
use templates::report::{Moment, Unreachable as Report};

use crate::model::node::{Node, Unreachable};

/// An active node renews its sign of life every 20 s while a peer is silent. If two nodes report each other, the one
/// with a sign of life this much older is silent itself.
const OUTLIVED: Duration = Duration::from_secs(45);
/// A node is silent if its sign of life is older than this, by the launcher's own clock.
const SILENT: Duration = Duration::from_secs(90);

/// Marks the nodes that are unreachable at `now`. A node that never reported may still boot and isn't marked.
pub fn mark(nodes: &mut [Node], now: Timestamp) {
    let running = nodes.iter().filter(|node| node.state == "running");
    let reporters: Vec<Reporter> = running.map(Reporter::of).collect();
    for node in nodes.iter_mut() {
        let judged = judged(&node.id, &reporters, now);
        node.unreachable = judged.filter(|_| node.tags.get(TAG_RUNNING).is_some());
    }
}

struct Reporter {
    id: String,
    alive: Option<Timestamp>,
    peers: BTreeMap<String, Moment>,
}

impl Reporter {
    fn of(node: &Node) -> Reporter {
        let alive = node.tags.get(TAG_ALIVE).and_then(|tag| tag.parse().ok()).map(Moment::timestamp);
        let peers = node.tags.get(TAG_UNREACHABLE).and_then(|tag| tag.parse().ok()).map(|Report(peers)| peers);
        Reporter { id: node.id.clone(), alive, peers: peers.unwrap_or_default() }
    }

    /// Whether `other` reports this node, and this node's own report is the older one: it doesn't report `other`, or
    /// its sign of life is older.
    fn is_outlived_by(&self, other: &Reporter) -> bool {
        if !other.peers.contains_key(&self.id) {
            return false;
        }
        let older =
            || matches!((self.alive, other.alive), (Some(own), Some(others)) if is_before(own, others, OUTLIVED));
        !self.peers.contains_key(&other.id) || older()
    }
}

fn judged(id: &str, reporters: &[Reporter], now: Timestamp) -> Option<Unreachable> {
    let node = reporters.iter().find(|reporter| reporter.id == id)?;
    let counts = |reporter: &&Reporter| !reporters.iter().any(|other| reporter.is_outlived_by(other));
    let reports = reporters.iter().filter(counts).filter_map(|reporter| Some((reporter.peers.get(id)?, &reporter.id)));
    let reports: Vec<(&Moment, &String)> = reports.collect();
    if let Some((since, _)) = reports.iter().min() {
        let from = reports.iter().map(|(_, reporter)| (*reporter).clone()).collect();
        return Some(Unreachable::of(since.timestamp(), from, now));
    }
    let last = node.alive.filter(|alive| is_before(*alive, now, SILENT))?;
    Some(Unreachable::of(last, Vec::new(), now))
}

/// Whether `first` is more than `span` before `second`.
fn is_before(first: Timestamp, second: Timestamp, span: Duration) -> bool {
    second.duration_since(first) > span.try_into().unwrap_or(jiff::SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::observe::tests::node;

    /// This many seconds after 14:00.
    fn at(second: i64) -> Timestamp {
        "2026-11-29T14:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(second)
    }

    fn says(slot: u8, unreachable: &[(u8, i64)], alive: Option<i64>) -> Node {
        let mut node = node(&format!("i-{slot}"), slot, "running");
        let peers = unreachable.iter().map(|(peer, second)| (format!("i-{peer}"), Moment::of(at(*second))));
        if !unreachable.is_empty() {
            node.tags = node.tags.with(TAG_UNREACHABLE, Report(peers.collect()).to_string());
        }
        if let Some(second) = alive {
            node.tags = node.tags.with(TAG_ALIVE, Moment::of(at(second)).to_string());
        }
        node
    }

    /// A line for each unreachable node: id, since when, reporters.
    fn unreachable(mut nodes: Vec<Node>, now: i64) -> Vec<String> {
        mark(&mut nodes, at(now));
        let said = nodes.iter().filter_map(|node| {
            let Unreachable { clock, from, .. } = node.unreachable.as_ref()?;
            Some(format!("{} since {clock} from {}", node.id, from.join(" ")))
        });
        said.collect()
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn a_node_is_unreachable_since_the_earliest_report_of_a_live_peer() {
        assert_eq!(unreachable(vec![says(0, &[], None), says(1, &[], None)], 200), NONE);
        let two = vec![says(0, &[], None), says(1, &[(0, 192)], Some(200))];
        assert_eq!(unreachable(two, 200), ["i-0 since 14:03:12Z from i-1"]);
        let three = vec![says(0, &[], None), says(1, &[(0, 192)], Some(200)), says(2, &[(0, 190)], Some(200))];
        assert_eq!(unreachable(three, 200), ["i-0 since 14:03:10Z from i-1 i-2"]);
    }

    #[test]
    fn a_lost_nodes_last_report_does_not_count() {
        // i-0 reported i-2, then died; i-2 is back.
        let nodes = vec![says(0, &[(2, 100)], Some(180)), says(1, &[(0, 192)], Some(200)), says(2, &[], None)];
        assert_eq!(unreachable(nodes, 200), ["i-0 since 14:03:12Z from i-1"]);
        // i-0 reported i-1, which has come back and reports i-0.
        let nodes = vec![says(0, &[(1, 100)], Some(140)), says(1, &[(0, 150)], Some(200))];
        assert_eq!(unreachable(nodes, 200), ["i-0 since 14:02:30Z from i-1"]);
    }

    #[test]
    fn nodes_that_are_cut_off_from_each_other_are_both_reported() {
        let nodes = vec![says(0, &[(1, 192)], Some(200)), says(1, &[(0, 193)], Some(213))];
        assert_eq!(unreachable(nodes, 215), ["i-0 since 14:03:13Z from i-1", "i-1 since 14:03:12Z from i-0"]);
        // A node that has just begun to report has no sign of life yet.
        let nodes = vec![says(0, &[(1, 192)], None), says(1, &[(0, 20)], Some(195))];
        assert_eq!(unreachable(nodes, 196).len(), 2);
    }

    #[test]
    fn a_node_with_an_old_sign_of_life_is_silent_and_another_day_is_named() {
        let nodes = || vec![says(0, &[], None), says(1, &[(0, 0)], Some(60))];
        assert_eq!(unreachable(nodes(), 120), ["i-0 since 14:00:00Z from i-1"]);
        let day = 24 * 3600;
        assert_eq!(
            unreachable(nodes(), day),
            ["i-0 since 2026-11-29 14:00:00Z from i-1", "i-1 since 2026-11-29 14:01:00Z from "]
        );
    }

    #[test]
    fn a_node_that_does_not_run_is_not_marked_and_its_report_does_not_count() {
        let mut nodes = vec![says(0, &[], None), says(1, &[(0, 192)], Some(200))];
        nodes[1].state = "stopped".to_owned();
        assert_eq!(unreachable(nodes.clone(), 200), NONE);
        nodes[1].state = "running".to_owned();
        nodes[0].state = "stopping".to_owned();
        assert_eq!(unreachable(nodes, 200), NONE);
    }

    #[test]
    fn a_node_that_has_not_reported_is_not_unreachable() {
        let mut nodes = vec![says(0, &[], None), says(1, &[(0, 192)], Some(200))];
        nodes[0].tags.0.remove(TAG_RUNNING);
        assert_eq!(unreachable(nodes, 200), NONE);
    }

    #[test]
    fn an_unreadable_report_is_ignored() {
        let mut nodes = vec![says(0, &[], None), says(1, &[], None)];
        nodes[1].tags = nodes[1].tags.clone().with(TAG_UNREACHABLE, "i-0 since yesterday").with(TAG_ALIVE, "now");
        assert_eq!(unreachable(nodes, 200), NONE);
    }
}
