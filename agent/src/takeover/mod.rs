//! Takeover: points the virtual IPs' routes at this node, in all tables at once.

mod manual;
mod move_routes;
mod next_call;
mod queue;
mod rate_limiter;

use std::net::Ipv4Addr;

use crate::aws::ids::TableId;
pub use manual::command;
pub use move_routes::{Caller, take_over};
pub use next_call::{Call, NextCall, Pause};

/// A route to be pointed at this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub table: TableId,
    /// Its destination.
    pub vip: Ipv4Addr,
    /// The first call to try.
    pub first: Call,
}

/// How the attempt on one route ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It points at this node.
    Moved,
    /// Its table no longer exists.
    TableGone,
    /// Another node or program created it in the meantime, and it stays.
    LeftToOther,
}
