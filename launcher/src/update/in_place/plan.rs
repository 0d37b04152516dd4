//! Decides which running nodes get the order next. Pure; called until all nodes run the revision or one refuses.

use std::collections::BTreeSet;

use templates::Order;
use templates::names::TAG_REVISION;
use templates::{Role, Roles};

use crate::model::node::Node;
use crate::model::node_selector::NodeSelector;
use crate::model::node_status::{active, follows, is_told, refusal, roles, running, told_otherwise};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextOrder {
    /// Every node runs the revision, and none has another order.
    Done,
    /// Give these nodes the order.
    Give(Vec<String>),
    /// Remove the order from these nodes: they refused it before this command gave it. They drop the refusal when it is removed.
    Withdraw(Vec<String>),
    /// Wait for these nodes: they have the order, or can't get it yet.
    Wait(Vec<String>),
    /// Wait, for this reason: a virtual IP has no active node, or more than one.
    Unserved(String),
    /// A node refused the order.
    Refused {
        /// The instance.
        node: String,
        /// The node's reason.
        why: String,
    },
}

/// What the operator accepts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Goal {
    /// The nodes that may be unreachable.
    pub without: Vec<NodeSelector>,
    /// Whether to continue where an operator should check first.
    pub force: Force,
}

/// Whether to continue where an operator should check first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Force {
    /// Continue.
    Yes,
    /// Report what to check.
    #[default]
    No,
}

impl Goal {
    /// Whether the update continues without this node.
    pub fn leaves_out(&self, node: &Node) -> bool {
        node.unreachable.is_some() && self.names(node)
    }

    /// Whether `--without` names this node.
    pub fn names(&self, node: &Node) -> bool {
        self.without.iter().any(|which| which.is(node.named, &node.id))
    }
}

/// The order, and what this command has done so far.
pub struct Asking<'a> {
    /// What the nodes should run.
    pub order: &'a Order,
    /// Which nodes may be unreachable, and whether to continue where the active node isn't known.
    pub goal: &'a Goal,
    /// The nodes that this command gave the order: the API may not show it yet.
    pub told: &'a BTreeSet<String>,
    /// Those of them that may still show an earlier refusal.
    pub stale: &'a BTreeSet<String>,
}

/// What to do next to have `nodes` run the order. Stopped nodes and left-out nodes get it last and aren't waited for: they take
/// it when they start or return.
pub fn next(asking: &Asking, nodes: &[Node]) -> NextOrder {
    let Asking { order, goal, told, stale } = *asking;
    let (live, away): (Vec<&Node>, Vec<&Node>) =
        nodes.iter().filter(|node| node.is_live()).partition(|node| !is_away(goal, node));
    let is_told = |node: &Node| told.contains(&node.id) || is_told(order, node);
    // A refusal counts if it came after this command's order.
    let refused = live
        .iter()
        .filter(|node| told.contains(&node.id) && !stale.contains(&node.id))
        .find_map(|node| Some(NextOrder::Refused { node: node.id.clone(), why: refusal(order, node)? }));
    if let Some(refused) = refused {
        return refused;
    }
    // Nodes that run the revision and have another order get this one; it changes nothing on them.
    let strayed = |node: &&&Node| !is_told(node) && told_otherwise(&order.revision, node);
    let strayed = ids(live.iter().filter(|node| running(node) == Some(&order.revision.0)).filter(strayed));
    if !strayed.is_empty() {
        return NextOrder::Give(strayed);
    }
    let pending: Vec<&Node> = live.iter().filter(|node| !follows(&order.revision, node)).copied().collect();
    if pending.is_empty() {
        // A node that returns runs its old revision, and takes the last order.
        let others = ids(away.iter().filter(|node| !is_told(node) && !follows(&order.revision, node)));
        return if others.is_empty() { NextOrder::Done } else { NextOrder::Give(others) };
    }
    let refused_before = |node: &&&Node| !told.contains(&node.id) && refusal(order, node).is_some();
    if pending.iter().any(|node| refused_before(&node)) {
        let ordered = ids(pending.iter().filter(refused_before).filter(|node| node.tags.get(TAG_REVISION).is_some()));
        let forget = ids(pending.iter().filter(refused_before));
        return if ordered.is_empty() { NextOrder::Wait(forget) } else { NextOrder::Withdraw(ordered) };
    }
    // A starting node boots the default, and reports soon.
    let waits = |node: &&&Node| is_told(node) || node.state != "running" || running(node).is_none();
    if pending.iter().any(|node| waits(&node)) {
        return NextOrder::Wait(ids(pending.iter().filter(waits)));
    }
    if let Some(why) = unserved(&live).filter(|_| goal.force == Force::No) {
        return NextOrder::Unserved(why);
    }
    let standbys = ids(pending.iter().filter(|node| active(node) == 0));
    if !standbys.is_empty() && goal.force == Force::No {
        return NextOrder::Give(standbys);
    }
    // Active nodes one at a time, those with the fewest virtual IPs first. With --force every node may be active.
    let first = pending.iter().min_by_key(|node| (active(node), std::cmp::Reverse(node.slot)));
    NextOrder::Give(ids(first.into_iter()))
}

/// Whether the node is stopped or left out.
pub fn is_away(goal: &Goal, node: &Node) -> bool {
    !matches!(node.state.as_str(), "pending" | "running") || goal.leaves_out(node)
}

fn ids<'a, 'b: 'a>(nodes: impl Iterator<Item = &'a &'b Node>) -> Vec<String> {
    nodes.map(|node| node.id.clone()).collect()
}

/// The virtual IP that isn't active on exactly one running node, if there is one: then a standby may be about to take over.
/// Nodes of different revisions may have different numbers of virtual IPs.
fn unserved(live: &[&Node]) -> Option<String> {
    let running = live.iter().filter(|node| node.state == "running" && node.unreachable.is_none());
    let roles: Vec<Roles> =
        running.map(|node| roles(node).unwrap_or_default()).filter(|roles| !roles.0.is_empty()).collect();
    let vips = roles.iter().map(|roles| roles.0.len()).min().unwrap_or_default();
    let actives = |vip: usize| roles.iter().filter(|roles| roles.0.get(vip) == Some(&Role::Active)).count();
    (0..vips.max(1)).find_map(|vip| match actives(vip) {
        0 => Some(format!("no node reports that it is active for virtual IP {}", vip + 1)),
        1 => None,
        many => Some(format!("{many} nodes report that they are active for virtual IP {}", vip + 1)),
    })
}

#[cfg(test)]
mod tests;
