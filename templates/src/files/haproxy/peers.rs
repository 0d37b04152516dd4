//! The nodes that share stick tables by HAProxy's peers protocol. A node that becomes active knows each client's
//! target. At a reload the old process teaches the new one, even on a lone node.

use std::net::Ipv4Addr;

use super::{HaproxyNode, PEERS_SECTION};
use crate::paths::PEERS_PORT;

/// The `peers` section.
pub struct Peers {
    pub section: &'static str,
    /// This node.
    pub local: Ipv4Addr,
    /// All nodes, this one included. A node's name is its address: peers must know each other's names.
    pub all: Vec<Ipv4Addr>,
    pub port: u16,
}

/// None: no group has a stick table.
pub fn of(node: &HaproxyNode<'_>) -> Option<Peers> {
    let mut all: Vec<Ipv4Addr> = node.peers.iter().copied().chain([node.address]).collect();
    all.sort_unstable();
    all.dedup();
    let peers = Peers { section: PEERS_SECTION, local: node.address, all, port: PEERS_PORT };
    node.balancer.shares_tables().then_some(peers)
}
