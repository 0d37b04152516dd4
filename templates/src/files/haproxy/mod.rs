//! HAProxy's configuration: the same on every node of a balancer with the same memory, except for the addresses of
//! nodes that share stick tables. Listeners bind `*`, so that HAProxy starts without the virtual IPs, and
//! `socket wildcard` in nftables can tell this node's connections.

mod backend;
mod frontend;
mod pattern;
mod peers;
mod quote;
mod rules;
mod sizing;

use std::net::Ipv4Addr;

use askama::Template;

use self::backend::Backend;
use self::frontend::Frontend;
use self::peers::Peers;
use self::quote::Quoted;
use self::rules::Line;
use self::sizing::Sizing;
use super::render;
use crate::balancer::{Balancer, Extra, ForwardedFor, Millis, Revision, TargetGroup};
use crate::{listener_probe, paths};

/// Ends the name of a group's second backend, which has no checks and so serves while all targets are unhealthy. An
/// agent that drains a target puts it in maintenance there.
pub const OPEN: &str = "--all";
/// Ends the name of a listener's table of clients, for its rate limit.
const RATE: &str = "--rate";
/// The name of the section of nodes that share stick tables.
pub const PEERS_SECTION: &str = "elbow";
/// Memory of a t3.small, the default instance type: for what is rendered away from a node.
const TYPICAL_MEMORY_MB: u32 = 2048;

/// What HAProxy's configuration depends on.
#[derive(Debug, Clone, Copy)]
pub struct HaproxyNode<'a> {
    /// The node's balancer.
    pub balancer: &'a Balancer,
    /// The node's memory.
    pub memory_mb: u32,
    /// This node's own address.
    pub address: Ipv4Addr,
    /// The other nodes' addresses, in any order.
    pub peers: &'a [Ipv4Addr],
}

impl<'a> HaproxyNode<'a> {
    /// A node of the default instance type that knows no other: for what is rendered away from a node.
    pub fn typical(balancer: &'a Balancer) -> HaproxyNode<'a> {
        HaproxyNode { balancer, memory_mb: TYPICAL_MEMORY_MB, address: Ipv4Addr::LOCALHOST, peers: &[] }
    }
}

#[derive(Template)]
#[template(path = "haproxy/haproxy.cfg", escape = "none")]
struct Haproxy<'a> {
    balancer: &'a Balancer,
    revision: Revision,
    sizing: Sizing,
    stats_port: u16,
    admin_socket: &'static str,
    server_state: &'static str,
    peers: Option<Peers>,
    vips: String,
    target_header: &'static str,
    probe_source: Ipv4Addr,
    frontends: Vec<Frontend<'a>>,
    backends: Vec<Backend<'a>>,
    extra: Option<&'a Extra>,
}

/// `haproxy.cfg` for a node, for HAProxy 2.6 and later.
pub fn haproxy_cfg(node: &HaproxyNode<'_>) -> String {
    let HaproxyNode { balancer, memory_mb, .. } = *node;
    let groups = balancer.groups();
    let vips: Vec<String> = balancer.virtual_ips.iter().map(ToString::to_string).collect();
    render(&Haproxy {
        balancer,
        revision: balancer.revision(),
        sizing: sizing::of(&balancer.haproxy, memory_mb),
        stats_port: paths::STATS_PORT,
        admin_socket: paths::ADMIN_SOCKET,
        server_state: paths::SERVER_STATE,
        peers: peers::of(node),
        vips: vips.join(" "),
        target_header: listener_probe::TARGET_HEADER,
        probe_source: listener_probe::SOURCE,
        frontends: balancer.listeners.iter().map(|listener| frontend::of(listener, &groups)).collect(),
        backends: groups.iter().flat_map(|group| backend::both(balancer, group)).collect(),
        extra: balancer.haproxy.extra.as_ref(),
    })
}

/// The line that defines a stick table, for as many clients as 10 MB hold.
fn stick_table(kind: &str, expire: Millis, more: &str) -> String {
    format!("stick-table type {kind} size 100k expire {expire} {more}")
}

/// Whether this group has a backend for unhealthy targets.
fn fails_open(group: &TargetGroup) -> bool {
    !group.open_targets().is_empty()
}
