//! What a node says of itself in its tags, and what it was ordered. Everything that reads these tags asks here.

use templates::balancer::Revision;
use templates::names::{TAG_REFUSED_REVISION, TAG_REVISION, TAG_ROLE, TAG_RUNNING};
use templates::report::Refusal;
use templates::{Order, Role, Roles};

use crate::model::node::Node;

/// Whether the node's tag orders just this.
pub fn is_told(order: &Order, node: &Node) -> bool {
    node.tags.get(TAG_REVISION) == Some(&order.to_string())
}

/// Whether the node runs this revision, and isn't told to run another.
pub fn follows(revision: &Revision, node: &Node) -> bool {
    running(node) == Some(&revision.0) && !told_otherwise(revision, node)
}

/// Whether the node's tag says something else than to run this revision.
pub fn told_otherwise(revision: &Revision, node: &Node) -> bool {
    let tag = node.tags.get(TAG_REVISION).filter(|tag| !tag.is_empty());
    tag.is_some_and(|tag| tag.parse::<Order>().map(|order| order.revision).as_ref() != Ok(revision))
}

/// What the node says about why it won't run this, if it says so.
pub fn refusal(order: &Order, node: &Node) -> Option<String> {
    let refusal: Refusal<Order> = node.tags.get(TAG_REFUSED_REVISION)?.parse().ok()?;
    (refusal.of == *order).then_some(refusal.why)
}

/// The revision that the node says it runs.
pub fn running(node: &Node) -> Option<&str> {
    node.tags.get(TAG_RUNNING)
}

/// For how many virtual IPs the node is active. One that can't be reached may say so still.
pub fn active(node: &Node) -> usize {
    if node.unreachable.is_some() {
        return 0;
    }
    let roles = roles(node).unwrap_or_default();
    roles.0.iter().filter(|role| **role == Role::Active).count()
}

/// The node's role for each virtual IP, as it reported them last; none before it reports.
pub fn roles(node: &Node) -> Option<Roles> {
    node.tags.get(TAG_ROLE)?.parse().ok()
}

/// Whether the node says that it can serve none of its virtual IPs.
pub fn is_in_fault(node: &Node) -> bool {
    roles(node).is_some_and(|roles| roles.0.iter().all(|role| *role == Role::Fault))
}

/// Whether the node ever said anything of itself.
pub fn has_reported(node: &Node) -> bool {
    [TAG_ROLE, TAG_RUNNING].into_iter().any(|key| node.tags.get(key).is_some())
}

/// A node, for people.
pub fn called(node: &Node) -> String {
    let role = match has_reported(node) {
        _ if node.unreachable.is_some() => Some("unreachable"),
        _ if active(node) > 0 => Some("active"),
        true => Some("standby"),
        // Nothing is known of it.
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
