//! Decides what to do about a virtual IP's routes, given what this node knows. Pure, total, and without a clock: the
//! model checker in `agent/tests/ownership/` plays every fault against this function.

mod rule;

use serde::{Deserialize, Serialize};

use crate::aws::ids::{InterfaceId, TableId};
pub use rule::{decide, owed, standing_after};

/// A silent peer counts as dead after this many reads in a row without a sign of life. The reads are further apart than
/// the API's answers can be stale.
pub const QUIET_READS: u8 = 2;
/// A peer counts as silent after this many questions in a row without an answer.
pub const QUESTIONS: u8 = 2;
/// A peer is dark, and dead for a booting node, after this many short looks in a row that found nothing on any path.
pub const DARK_LOOKS: u8 = 2;

/// This node's VRRP state for the virtual IP, and how it got there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Not MASTER.
    Aside,
    /// MASTER after it was BACKUP to another MASTER. That one is gone, so this node takes the routes without a look.
    Elected,
    /// MASTER that has heard no other since boot. It may be cut off, so it looks at the routes first.
    First,
    /// MASTER since before a restart of the agent.
    Resumed,
    /// MASTER that has taken the routes, or found them leading here.
    Holding,
}

/// What this node knows about one virtual IP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// This node's interface.
    pub me: InterfaceId,
    pub standing: Standing,
    /// Its VRRP priority.
    pub priority: u8,
    /// Whether its HAProxy sees targets that are up.
    pub targets: Targets,
    /// The route tables, as last known, in the order to move them.
    pub tables: Vec<TableId>,
    /// The tables that it was elected to take, with routes that haven't led here yet (`owed`).
    pub owed: Vec<TableId>,
    /// Where the routes lead, as just read.
    pub reading: Reading,
    /// Whether it has read the list of members.
    pub membership: Membership,
    /// The live members other than itself.
    pub peers: Vec<Peer>,
}

/// Whether a node has read the list of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Membership {
    /// It has read the whole list, now or before a restart.
    Listed,
    /// It has never read the list: a member that it doesn't know may be the owner.
    Unlisted,
}

/// Whether this node's HAProxy sees targets that are up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Targets {
    /// At least one.
    Up,
    /// None.
    Down,
}

/// The result of a read of the routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Not read yet.
    Due,
    /// The API can't be read.
    Failed,
    /// Each eligible table's route.
    Routes(Vec<(TableId, Lead)>),
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lead {
    /// There is no route.
    Nowhere,
    /// To a target that is gone, or that is no interface.
    Blackhole,
    /// To an interface: this node's, a peer's, or an unidentified one.
    To(InterfaceId),
    /// To an interface that is known to belong to no node.
    Stranger(InterfaceId),
}

/// A live member, and the evidence about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub interface: InterfaceId,
    /// Its VRRP priority for this virtual IP.
    pub priority: u8,
    /// Its last answer.
    pub word: Word,
    /// The reads of the API in a row without a sign of life; 0 if unread.
    pub quiet: u8,
    /// Short looks in a row without an advertisement, an answer of its agent or kernel, or a recent sign in its tags.
    pub dark: u8,
}

/// What a peer reports about itself for a virtual IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    /// No answer to this many questions in a row.
    Silent(u8),
    /// MASTER, and past its first look at the routes.
    Owner,
    /// MASTER, and not past its first look yet.
    Waiting,
    /// Not MASTER.
    Aside,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Read where the routes lead.
    Look,
    /// Ask a peer for its health.
    Ask(InterfaceId),
    /// Point a table's route at this node.
    Point(TableId, How),
    /// Leave a table's route to this interface, and report it.
    Yield(TableId, InterfaceId),
    /// Read the signs of life of silent peers in the API, then look again.
    Wait,
    /// Nothing, until the next look is due.
    Rest,
}

/// How a route is pointed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// Whether or not there is a route.
    Replace,
    /// Only if there is no route. If the read was stale, the API refuses the call.
    Fill,
}

#[cfg(test)]
mod tests;
