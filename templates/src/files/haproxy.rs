//! HAProxy's configuration: the same on every node of a balancer. Listeners bind `*`, so that HAProxy starts without
//! the virtual IPs, and `socket wildcard` in nftables can tell this node's connections.

use askama::Template;

use super::render;
use crate::balancer::{Balancer, Mode, Revision};
use crate::paths;

/// Connections of all listeners together. At 32 kB of buffers each that is 640 MB, which a t3.small has.
const MAXCONN: usize = 20_000;
/// More connections, for the probe and the stats page.
const MAXCONN_PROBE: usize = 100;

#[derive(Template)]
#[template(path = "haproxy.cfg", escape = "none")]
struct Haproxy<'a> {
    balancer: &'a Balancer,
    revision: Revision,
    maxconn_total: usize,
    maxconn_each: usize,
    maxconn_probe: usize,
    stats_port: u16,
}

/// `haproxy.cfg`, for HAProxy 2.6 and later.
pub fn haproxy_cfg(balancer: &Balancer) -> String {
    render(&Haproxy {
        balancer,
        revision: balancer.revision(),
        maxconn_total: MAXCONN + MAXCONN_PROBE,
        maxconn_each: MAXCONN / balancer.listeners.len().max(1),
        maxconn_probe: MAXCONN_PROBE,
        stats_port: paths::STATS_PORT,
    })
}
