//! Who is told to run the new revision next. Pure: looked at again and again until all run it or one refuses.

use std::collections::BTreeSet;

use templates::Order;
use templates::names::TAG_REVISION;
use templates::{Role, Roles};

use crate::model::node::Node;
use crate::model::node_status::{active, follows, is_told, refusal, roles, running, told_otherwise};
use crate::model::which::Which;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Every node runs it, and is told nothing else.
    Done,
    /// Tell these.
    Tell(Vec<String>),
    /// Take the order from these: they refused it before this command gave it, and forget that when it goes.
    Withdraw(Vec<String>),
    /// These have been told, or can't be yet.
    Wait(Vec<String>),
    /// For this: a virtual IP has no active node, or more than one.
    Unserved(String),
    /// This one won't run it.
    Refused {
        /// The instance.
        node: String,
        /// In the node's words.
        why: String,
    },
}

/// What an operator accepts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Goal {
    /// The nodes that may be unreachable.
    pub without: Vec<Which>,
    /// Whether to go on where a person should look first.
    pub force: Force,
}

/// Whether to go on where a person should look first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Force {
    /// Go on.
    Yes,
    /// Say what is to be looked at.
    #[default]
    No,
}

impl Goal {
    /// Whether the update goes on without this node.
    pub fn leaves_out(&self, node: &Node) -> bool {
        node.unreachable.is_some() && self.names(node)
    }

    /// Whether the operator named this node as one to go on without.
    pub fn names(&self, node: &Node) -> bool {
        self.without.iter().any(|which| which.is(node.named, &node.id))
    }
}

/// What is asked of the nodes, and what was done so far.
pub struct Asking<'a> {
    /// What they should run.
    pub order: &'a Order,
    /// Which of them may be unreachable, and whether to go on where it isn't sure who is active.
    pub goal: &'a Goal,
    /// The nodes that this very command told: the API may not show it yet.
    pub told: &'a BTreeSet<String>,
    /// Of these, the nodes that may still show a refusal from before.
    pub stale: &'a BTreeSet<String>,
}

/// What to do next to have `nodes` run the order. Nodes that are stopped or left out are told last and not waited for: they
/// take the order when they start or return.
pub fn next(asking: &Asking, nodes: &[Node]) -> Next {
    let Asking { order, goal, told, stale } = *asking;
    let (live, away): (Vec<&Node>, Vec<&Node>) =
        nodes.iter().filter(|node| node.is_live()).partition(|node| !is_away(goal, node));
    let is_told = |node: &Node| told.contains(&node.id) || is_told(order, node);
    // A refusal counts if it came after this command's order.
    let refused = live
        .iter()
        .filter(|node| told.contains(&node.id) && !stale.contains(&node.id))
        .find_map(|node| Some(Next::Refused { node: node.id.clone(), why: refusal(order, node)? }));
    if let Some(refused) = refused {
        return refused;
    }
    // Those that run it and were told something else have that withdrawn: it changes nothing on them.
    let strayed = |node: &&&Node| !is_told(node) && told_otherwise(&order.revision, node);
    let strayed = ids(live.iter().filter(|node| running(node) == Some(&order.revision.0)).filter(strayed));
    if !strayed.is_empty() {
        return Next::Tell(strayed);
    }
    let pending: Vec<&Node> = live.iter().filter(|node| !follows(&order.revision, node)).copied().collect();
    if pending.is_empty() {
        // A node that returns runs what it ran before, and takes what it was told last.
        let others = ids(away.iter().filter(|node| !is_told(node) && !follows(&order.revision, node)));
        return if others.is_empty() { Next::Done } else { Next::Tell(others) };
    }
    let refused_before = |node: &&&Node| !told.contains(&node.id) && refusal(order, node).is_some();
    if pending.iter().any(|node| refused_before(&node)) {
        let ordered = ids(pending.iter().filter(refused_before).filter(|node| node.tags.get(TAG_REVISION).is_some()));
        let forget = ids(pending.iter().filter(refused_before));
        return if ordered.is_empty() { Next::Wait(forget) } else { Next::Withdraw(ordered) };
    }
    // One that starts now boots the default, and says so soon.
    let waits = |node: &&&Node| is_told(node) || node.state != "running" || running(node).is_none();
    if pending.iter().any(|node| waits(&node)) {
        return Next::Wait(ids(pending.iter().filter(waits)));
    }
    if let Some(why) = unserved(&live).filter(|_| goal.force == Force::No) {
        return Next::Unserved(why);
    }
    let standbys = ids(pending.iter().filter(|node| active(node) == 0));
    if !standbys.is_empty() && goal.force == Force::No {
        return Next::Tell(standbys);
    }
    // Active ones one at a time, those with least to lose first. Who is active isn't sure where a person says to go on.
    let first = pending.iter().min_by_key(|node| (active(node), std::cmp::Reverse(node.slot)));
    Next::Tell(ids(first.into_iter()))
}

/// Whether the node is stopped or left out: told last, and not waited for.
pub fn is_away(goal: &Goal, node: &Node) -> bool {
    !matches!(node.state.as_str(), "pending" | "running") || goal.leaves_out(node)
}

fn ids<'a, 'b: 'a>(nodes: impl Iterator<Item = &'a &'b Node>) -> Vec<String> {
    nodes.map(|node| node.id.clone()).collect()
}

/// The virtual IP that isn't active on just one running node, if there is one. During a failover nobody is seen to be
/// active, and the standbys are more than standbys. Nodes of different revisions may have more of them or fewer.
fn unserved(live: &[&Node]) -> Option<String> {
    let running = live.iter().filter(|node| node.state == "running" && node.unreachable.is_none());
    let roles: Vec<Roles> =
        running.map(|node| roles(node).unwrap_or_default()).filter(|roles| !roles.0.is_empty()).collect();
    let vips = roles.iter().map(|roles| roles.0.len()).min().unwrap_or_default();
    let actives = |vip: usize| roles.iter().filter(|roles| roles.0.get(vip) == Some(&Role::Active)).count();
    (0..vips.max(1)).find_map(|vip| match actives(vip) {
        0 => Some(format!("no node says that it is active for virtual IP {}", vip + 1)),
        1 => None,
        many => Some(format!("{many} nodes say that they are active for virtual IP {}", vip + 1)),
    })
}

#[cfg(test)]
mod tests;
