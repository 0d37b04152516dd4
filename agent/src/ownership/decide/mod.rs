//! Who owns the route: what to do about a virtual IP's routes, given what this node knows. Pure, total, and without a
//! clock: `agent/tests/ownership.rs` lets a model checker play every fault against this very function.

mod rule;

use serde::{Deserialize, Serialize};

use crate::aws::ids::{InterfaceId, TableId};
pub use rule::{decide, owed, standing_after};

/// Reads in a row, spaced wider than the API's answers can be old, that must show no sign of life before a silent peer
/// is taken for dead.
pub const QUIET_READS: u8 = 2;
/// Questions in a row that a peer must leave without an answer before it counts as silent.
pub const QUESTIONS: u8 = 2;
/// Short looks in a row during which nothing on any path may come from a peer before a node that boots takes it for dead.
pub const DARK_LOOKS: u8 = 2;

/// What this node is in the eyes of its keepalived, and how it came to be it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Not MASTER: the routes are somebody else's.
    Aside,
    /// MASTER, after having been BACKUP to another MASTER: that one is gone, so no time is lost with looking.
    Elected,
    /// MASTER without having heard another one since boot: it may just not hear, so it looks before it leaps.
    First,
    /// MASTER since before the agent was started again.
    Resumed,
    /// MASTER that has made or found the routes its own.
    Holding,
}

/// What this node knows about one virtual IP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// This node's interface.
    pub me: InterfaceId,
    /// What it is.
    pub standing: Standing,
    /// Its VRRP priority.
    pub priority: u8,
    /// Whether it could serve.
    pub targets: Targets,
    /// The route tables, as last known, in the order to move them.
    pub tables: Vec<TableId>,
    /// Those of them that it set out to take and hasn't had since (`owed`).
    pub owed: Vec<TableId>,
    /// Where the routes lead, as just read.
    pub reading: Reading,
    /// Whether it knows who the members are.
    pub membership: Membership,
    /// The live members other than itself.
    pub peers: Vec<Peer>,
}

/// Whether a node knows who the members are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Membership {
    /// It has read the whole list, now or before a restart.
    Listed,
    /// It never has: an owner that it doesn't know may serve.
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

/// What a look at the routes brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Nobody looked yet.
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
    /// There is none.
    Nowhere,
    /// To something that is no more, or no interface.
    Blackhole,
    /// To an interface: this node's, a peer's, or one that this node couldn't identify.
    To(InterfaceId),
    /// To an interface that is known to be no node's.
    Stranger(InterfaceId),
}

/// A live member, by what it was heard to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its interface.
    pub interface: InterfaceId,
    /// Its VRRP priority for this virtual IP.
    pub priority: u8,
    /// Its answer to how it is.
    pub word: Word,
    /// For how many reads of the API in a row it has given no sign of life there; unread is none.
    pub quiet: u8,
    /// For how many short looks in a row nothing has come from it: no advertisement, no answer of its agent or its kernel,
    /// no recent sign of life in its tags.
    pub dark: u8,
}

/// What a peer says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    /// So many questions in a row without an answer.
    Silent(u8),
    /// MASTER, and past its first look: the routes are its own, or it knows whose they are.
    Owner,
    /// MASTER, and not sure yet.
    Waiting,
    /// Not MASTER.
    Aside,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Read where the routes lead.
    Look,
    /// Ask a peer how it is.
    Ask(InterfaceId),
    /// Point a table's route at this node.
    Point(TableId, How),
    /// Leave a table's route to a peer, and say so.
    Yield(TableId, InterfaceId),
    /// Read whether silent peers give signs of life through the API, then look again.
    Wait,
    /// Nothing, until the next look is due.
    Rest,
}

/// How a route is pointed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// Whatever is there.
    Replace,
    /// Only if nothing is there: the API settles it if the look was out of date.
    Fill,
}

#[cfg(test)]
mod tests;
