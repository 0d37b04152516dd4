//! Reads a node's report and its order from its tags.

use templates::balancer::Revision;
use templates::names::{TAG_REFUSED_REVISION, TAG_REVISION, TAG_ROLE, TAG_RUNNING};
use templates::report::Refusal;
use templates::{Order, Role, Roles};

use crate::model::node::Node;

/// Whether the node has exactly this order.
pub fn is_told(order: &Order, node: &Node) -> bool {
    node.tags.get(TAG_REVISION) == Some(&order.to_string())
}

/// Whether the node runs this revision, and has no order for another.
pub fn follows(revision: &Revision, node: &Node) -> bool {
    running(node) == Some(&revision.0) && !told_otherwise(revision, node)
}

/// Whether the node has an order for another revision, or an unreadable one.
pub fn told_otherwise(revision: &Revision, node: &Node) -> bool {
    let tag = node.tags.get(TAG_REVISION).filter(|tag| !tag.is_empty());
    tag.is_some_and(|tag| tag.parse::<Order>().map(|order| order.revision).as_ref() != Ok(revision))
}

/// Why the node refuses this order, if it does.
pub fn refusal(order: &Order, node: &Node) -> Option<String> {
    let refusal: Refusal<Order> = node.tags.get(TAG_REFUSED_REVISION)?.parse().ok()?;
    (refusal.of == *order).then_some(refusal.why)
}

/// The revision that the node reports.
pub fn running(node: &Node) -> Option<&str> {
    node.tags.get(TAG_RUNNING)
}

/// For how many virtual IPs the node is active. The report of an unreachable node doesn't count.
pub fn active(node: &Node) -> usize {
    if node.unreachable.is_some() {
        return 0;
    }
    let roles = roles(node).unwrap_or_default();
    roles.0.iter().filter(|role| **role == Role::Active).count()
}

/// The node's last reported role for each virtual IP; none before its first report.
pub fn roles(node: &Node) -> Option<Roles> {
    node.tags.get(TAG_ROLE)?.parse().ok()
}

/// Whether the node reports fault for every virtual IP.
pub fn is_in_fault(node: &Node) -> bool {
    roles(node).is_some_and(|roles| roles.0.iter().all(|role| *role == Role::Fault))
}

/// Whether the node has ever reported.
pub fn has_reported(node: &Node) -> bool {
    [TAG_ROLE, TAG_RUNNING].into_iter().any(|key| node.tags.get(key).is_some())
}

/// The node's name in messages.
pub fn called(node: &Node) -> String {
    let role = match has_reported(node) {
        _ if node.unreachable.is_some() => Some("unreachable"),
        _ if active(node) > 0 => Some("active"),
        true => Some("standby"),
        false => None,
    };
    match (node.slot, role) {
        (Some(slot), Some(role)) => format!("node {slot} ({}, {role})", node.id),
        (Some(slot), None) => format!("node {slot} ({})", node.id),
        (None, Some(role)) => format!("{} ({role})", node.id),
        (None, None) => node.id.clone(),
    }
}

/// The order that the node has and doesn't run yet.
pub fn ordered(node: &Node) -> Option<String> {
    let order: Order = node.tags.get(TAG_REVISION)?.parse().ok()?;
    (node.tags.get(TAG_RUNNING) != Some(&order.revision.0)).then(|| order.to_string())
}
