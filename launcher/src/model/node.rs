//! A node of a balancer, as EC2 describes its instance.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use templates::Slot;

use crate::model::tags::Tags;

/// An instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// `i-…`
    pub id: String,
    /// `pending`, `running`, `shutting-down`, `terminated`, `stopping`, `stopped`
    pub state: String,
    /// AWS's reason for the last change of state.
    pub reason: Option<String>,
    /// `ami-…`
    pub image: String,
    pub vpc: String,
    /// Its availability zone.
    pub zone: String,
    /// Its subnet; empty once it has ended.
    pub subnet: String,
    /// Its number in the RunInstances call that launched it.
    pub launch_index: i32,
    /// The index of its subnet in the balancer's list, if known: see [`number`](crate::resources::instances::number).
    pub slot: Option<Slot>,
    /// The slot that names this node; none if another node of the subnet comes first.
    pub named: Option<Slot>,
    /// Its own address.
    pub address: Option<String>,
    /// `eni-…`, in EC2's order.
    pub interfaces: Vec<String>,
    /// `vol-…`
    pub volumes: Vec<String>,
    /// Its interfaces' security groups, by name.
    pub groups: Vec<String>,
    /// Its instance profile's name.
    pub profile: Option<String>,
    /// Its tags: the launcher's order and its own report.
    pub tags: Tags,
    /// When it was last started.
    pub launched: Option<Timestamp>,
    /// Since when it is unreachable.
    pub unreachable: Option<Unreachable>,
}

impl Node {
    /// Whether it runs or may run again. EC2 shows ended instances for an hour.
    pub fn is_live(&self) -> bool {
        !matches!(self.state.as_str(), "shutting-down" | "terminated")
    }

    /// Its Auto Scaling group (Auto Scaling User Guide, "Tag lifecycle").
    pub fn group(&self) -> Option<&str> {
        self.tags.get("aws:autoscaling:groupName")
    }
}

/// Since when a node is unreachable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreachable {
    /// By the earliest report.
    pub since: Timestamp,
    /// The instances that report it; none if the node's own sign of life is too old.
    pub from: Vec<String>,
    /// The time as text, in UTC.
    #[serde(skip)]
    pub clock: String,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from.is_empty() {
            true => write!(f, "unreachable since {} (its last sign of life)", self.clock),
            false => write!(f, "unreachable since {} (reported by {})", self.clock, self.from.join(", ")),
        }
    }
}

impl Unreachable {
    pub fn of(since: Timestamp, from: Vec<String>, now: Timestamp) -> Unreachable {
        Unreachable { since, from, clock: clock(since, now) }
    }
}

/// The time as text, in UTC; with the date if it isn't that of `now`.
pub fn clock(since: Timestamp, now: Timestamp) -> String {
    let today = since.strftime("%F").to_string() == now.strftime("%F").to_string();
    since.strftime(if today { "%H:%M:%SZ" } else { "%F %H:%M:%SZ" }).to_string()
}
