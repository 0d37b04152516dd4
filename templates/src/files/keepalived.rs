//! keepalived's configuration of one node: a unicast VRRPv3 instance for each virtual IP. It moves a token address on
//! `lo`, not the virtual IP, which every node has.

use std::net::Ipv4Addr;

use askama::Template;

use super::render;
use crate::balancer::{Balancer, Millis, Revision};
use crate::node::Slot;
use crate::{names, paths};

/// The peer of a node that has none yet: with an empty list keepalived uses multicast. Advertisements to loopback don't
/// leave the node.
const NO_PEER: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Seconds from a node's return to its preemption. By then it has checked each target twice at the default interval,
/// and has heard the MASTER.
const PREEMPT_DELAY: u8 = 5;

/// What keepalived's configuration depends on.
#[derive(Debug, Clone, Copy)]
pub struct KeepalivedNode<'a> {
    /// The node's balancer.
    pub balancer: &'a Balancer,
    /// This node's slot, which determines its priorities.
    pub slot: Slot,
    /// This node's own address.
    pub address: Ipv4Addr,
    /// The other nodes' addresses, in any order.
    pub peers: &'a [Ipv4Addr],
    /// The interface that has `address`.
    pub interface: &'a str,
}

#[derive(Template)]
#[template(path = "keepalived.conf", escape = "none")]
struct Keepalived<'a> {
    node: &'a KeepalivedNode<'a>,
    revision: Revision,
    router_id: String,
    advert_int: String,
    preempt_delay: u8,
    peers: Vec<Ipv4Addr>,
    vips: Vec<Vip>,
    agent: &'static str,
    fifo: &'static str,
    haproxy_track: &'static str,
    api_track: &'static str,
}

struct Vip {
    address: Ipv4Addr,
    instance: String,
    router: usize,
    priority: u8,
    token: Ipv4Addr,
    yield_track: String,
    preference_track: String,
}

/// `keepalived.conf`, for keepalived 2.2 and later.
pub fn keepalived_conf(node: &KeepalivedNode<'_>) -> String {
    let vips = node.balancer.virtual_ips.iter().enumerate().map(|(vip, &address)| Vip {
        address,
        instance: instance(vip),
        router: vip + 1,
        priority: node.slot.priority(vip),
        token: token(vip),
        yield_track: format!("{}/{}", paths::RUN, paths::yield_track(address)),
        preference_track: format!("{}/{}", paths::RUN, paths::preference_track(address)),
    });
    render(&Keepalived {
        node,
        revision: node.balancer.revision(),
        router_id: format!("{}-{}", names::regional(&node.balancer.name), node.slot),
        advert_int: seconds(node.balancer.failover.advertisement_interval),
        preempt_delay: PREEMPT_DELAY,
        peers: peers(node),
        vips: vips.collect(),
        agent: paths::AGENT,
        fifo: paths::FIFO,
        haproxy_track: paths::HAPROXY_TRACK,
        api_track: paths::API_TRACK,
    })
}

/// The name of the VRRP instance of the virtual IP at this position, as the FIFO names it: `v0`, `v1`, …
pub fn instance(vip: usize) -> String {
    format!("v{vip}")
}

/// The address that is on `lo` exactly while keepalived is MASTER for the virtual IP at this position.
pub fn token(vip: usize) -> Ipv4Addr {
    Ipv4Addr::new(169, 254, 100, vip as u8 + 1)
}

fn peers(node: &KeepalivedNode<'_>) -> Vec<Ipv4Addr> {
    let mut peers: Vec<Ipv4Addr> = node.peers.iter().copied().filter(|&peer| peer != node.address).collect();
    peers.sort_unstable();
    peers.dedup();
    if peers.is_empty() {
        peers.push(NO_PEER);
    }
    peers
}

/// Seconds with the two decimals that VRRPv3 can carry (RFC 5798 section 5.2.7).
fn seconds(time: Millis) -> String {
    format!("{}.{:02}", time.0 / 1000, time.0 % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_written_in_seconds() {
        assert_eq!(seconds(Millis(200)), "0.20");
        assert_eq!(seconds(Millis(10)), "0.01");
        assert_eq!(seconds(Millis(40_950)), "40.95");
    }

    #[test]
    fn each_virtual_ip_has_a_token_of_its_own() {
        assert_eq!(token(0).to_string(), "169.254.100.1");
        assert_eq!(token(15).to_string(), "169.254.100.16");
    }
}
