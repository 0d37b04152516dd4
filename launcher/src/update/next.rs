//! Who is told to run the new revision next. Pure: looked at again and again until all run it or one refuses.

use std::collections::BTreeSet;

use templates::Order;
use templates::names::{TAG_MESSAGE, TAG_REVISION, TAG_ROLE, TAG_RUNNING};
use templates::{Role, Roles};

use crate::resources::instances::Node;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Every node runs it.
    Done,
    /// Tell these.
    Tell(Vec<String>),
    /// These have been told, or can't be yet.
    Wait(Vec<String>),
    /// This one won't run it.
    Refused {
        /// The instance.
        node: String,
        /// In the node's words.
        why: String,
    },
}

/// What to do next to have `nodes` run `order`. `told` are those that were told by this very command (the API may not
/// show it yet); what they said before in `stale` is not their answer.
pub fn next(order: &Order, nodes: &[Node], told: &BTreeSet<String>, stale: &BTreeSet<String>) -> Next {
    // One that is stopped boots what it ran, and can't be told.
    let live: Vec<&Node> = nodes.iter().filter(|node| matches!(node.state.as_str(), "pending" | "running")).collect();
    let is_told = |node: &Node| told.contains(&node.id) || node.tags.get(TAG_REVISION) == Some(&order.to_string());
    let refusal = live
        .iter()
        .filter(|node| is_told(node) && !stale.contains(&node.id))
        .find_map(|node| Some(Next::Refused { node: node.id.clone(), why: refusal(order, node)?.to_owned() }));
    if let Some(refused) = refusal {
        return refused;
    }
    let pending: Vec<&Node> = live.into_iter().filter(|node| running(node) != Some(&order.revision.0)).collect();
    let ids = |nodes: &mut dyn Iterator<Item = &&Node>| nodes.map(|node| node.id.clone()).collect::<Vec<String>>();
    if pending.is_empty() {
        return Next::Done;
    }
    // One that starts now boots the default, and says so soon.
    let waits = |node: &&&Node| is_told(node) || node.state != "running" || running(node).is_none();
    if pending.iter().any(|node| waits(&node)) {
        return Next::Wait(ids(&mut pending.iter().filter(waits)));
    }
    let standbys = ids(&mut pending.iter().filter(|node| active(node) == 0));
    if !standbys.is_empty() {
        return Next::Tell(standbys);
    }
    // Active ones one at a time, those with least to lose first.
    let first = pending.iter().min_by_key(|node| (active(node), std::cmp::Reverse(node.slot())));
    Next::Tell(ids(&mut first.into_iter()))
}

/// What the node says about why it won't run this, if it says so.
pub fn refusal<'a>(order: &Order, node: &'a Node) -> Option<&'a str> {
    order.refused_in(node.tags.get(TAG_MESSAGE)?)
}

/// The revision that the node says it runs.
pub fn running(node: &Node) -> Option<&str> {
    node.tags.get(TAG_RUNNING)
}

/// For how many virtual IPs the node is active.
pub fn active(node: &Node) -> usize {
    let roles = node.tags.get(TAG_ROLE).and_then(|tag| tag.parse::<Roles>().ok()).unwrap_or_default();
    roles.0.iter().filter(|role| **role == Role::Active).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::tests::node;

    fn order() -> Order {
        "2:fedcba987654".parse().unwrap()
    }

    fn nodes() -> Vec<Node> {
        vec![node("i-0", 0, "running"), node("i-1", 1, "running"), node("i-2", 2, "running")]
    }

    fn tag(node: &mut Node, key: &str, value: &str) {
        node.tags.0.insert(key.to_owned(), value.to_owned());
    }

    fn on(nodes: &[Node]) -> Next {
        next(&order(), nodes, &BTreeSet::new(), &BTreeSet::new())
    }

    #[test]
    fn standbys_go_first_and_together_and_the_active_one_when_they_run_it() {
        let mut nodes = nodes();
        assert_eq!(on(&nodes), Next::Tell(vec!["i-1".into(), "i-2".into()]));
        for node in &mut nodes[1..] {
            tag(node, TAG_REVISION, "2:fedcba987654");
        }
        assert_eq!(on(&nodes), Next::Wait(vec!["i-1".into(), "i-2".into()]));
        tag(&mut nodes[1], TAG_RUNNING, "fedcba987654");
        assert_eq!(on(&nodes), Next::Wait(vec!["i-2".into()]));
        tag(&mut nodes[2], TAG_RUNNING, "fedcba987654");
        assert_eq!(on(&nodes), Next::Tell(vec!["i-0".into()]));
        tag(&mut nodes[0], TAG_RUNNING, "fedcba987654");
        assert_eq!(on(&nodes), Next::Done);
    }

    #[test]
    fn nodes_that_are_all_active_go_one_at_a_time() {
        let mut nodes = nodes();
        tag(&mut nodes[0], TAG_ROLE, "active active standby");
        tag(&mut nodes[1], TAG_ROLE, "standby standby active");
        nodes.truncate(2);
        assert_eq!(on(&nodes), Next::Tell(vec!["i-1".into()]));
    }

    #[test]
    fn a_refusal_ends_it_and_an_old_one_or_of_another_revision_does_not() {
        let mut nodes = nodes();
        let said = order().refusal("haproxy.cfg:12: no");
        tag(&mut nodes[1], TAG_MESSAGE, &said);
        assert_eq!(on(&nodes), Next::Tell(vec!["i-1".into(), "i-2".into()]));
        tag(&mut nodes[1], TAG_REVISION, "2:fedcba987654");
        assert_eq!(on(&nodes), Next::Refused { node: "i-1".into(), why: "haproxy.cfg:12: no".into() });
        let stale = BTreeSet::from(["i-1".to_owned()]);
        assert_eq!(next(&order(), &nodes, &BTreeSet::new(), &stale), Next::Wait(vec!["i-1".into()]));
        tag(&mut nodes[1], TAG_MESSAGE, "refuses revision 000000000000 of version 1: no");
        assert_eq!(on(&nodes), Next::Wait(vec!["i-1".into()]));
    }

    #[test]
    fn a_node_that_boots_is_waited_for_and_one_that_has_ended_is_not() {
        let mut nodes = nodes();
        nodes[1].tags.0.remove(TAG_RUNNING);
        nodes[2].state = "terminated".into();
        assert_eq!(on(&nodes), Next::Wait(vec!["i-1".into()]));
        nodes[1].state = "stopped".into();
        assert_eq!(on(&nodes), Next::Tell(vec!["i-0".into()]));
    }

    #[test]
    fn who_was_told_a_moment_ago_is_not_told_again() {
        let told = BTreeSet::from(["i-1".to_owned(), "i-2".to_owned()]);
        let waits = Next::Wait(vec!["i-1".into(), "i-2".into()]);
        assert_eq!(next(&order(), &nodes(), &told, &BTreeSet::new()), waits);
    }
}
