//! The nftables rules of the second chance, and the members' names (addresses) inside its tunnels.

use std::net::Ipv4Addr;

use askama::Template;

use super::render;
use crate::paths::TUNNEL_PORT;

/// Bytes that VXLAN adds to a packet: an Ethernet, an IPv4, a UDP and its own header (RFC 7348 section 5).
pub const AROUND: u16 = 50;
/// Bytes of an IPv4 and a TCP header.
const HEADERS: u16 = 40;
/// The members' names inside the tunnels. No network routes this range (RFC 1112 section 4), so no host has one of
/// them.
pub const NAMES: &str = "240.0.0.0/4";
/// The most tunnels that a packet passes: more than a balancer has nodes.
pub const HOPS: usize = 6;

/// Packets per second, and in a burst, of one client's connections that no member knows: this node forwards so many,
/// and answers the rest itself. Packets of connections that a member knows have no limit.
const RATE: u32 = 100;
const BURST: u32 = 200;

/// How many handshakes a node with this much memory remembers. An entry takes 125 bytes (measured on Linux 6.18), so
/// from 1 GiB up all of them take less than a hundredth.
pub fn greeted(memory_kb: u64) -> u32 {
    (memory_kb / 16).clamp(65_536, 1_048_576) as u32
}

/// What the rules depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondChance {
    /// The virtual IPs.
    pub vips: Vec<Ipv4Addr>,
    /// This node's own address.
    pub address: Ipv4Addr,
    /// How many handshakes are remembered, see [`greeted`].
    pub greeted: u32,
    /// The interface's MTU, in bytes.
    pub mtu: u16,
    /// The next member of the ring, if any.
    pub next: Option<Ipv4Addr>,
    /// The number of live members, this node included.
    pub living: usize,
}

#[derive(Template)]
#[template(path = "second-chance.nft", escape = "none")]
struct Rules {
    vips: String,
    greeted: u32,
    names: &'static str,
    name: Ipv4Addr,
    port: u16,
    rate: u32,
    burst: u32,
    hops: Vec<Hop>,
    next: Option<Ipv4Addr>,
    mss: u16,
}

/// Where a packet of an unknown connection goes that came through the tunnel `from`.
struct Hop {
    from: String,
    next: Ipv4Addr,
    to: Option<String>,
}

/// The first letters of each tunnel's name.
pub const TUNNELS: &str = "elbow";

/// The `hop`th tunnel of a packet, from 1.
pub fn tunnel(hop: usize) -> String {
    format!("{TUNNELS}{hop}")
}

/// The name inside the tunnels of the member at `address`: 250.0.2.10 for 10.0.2.10.
pub fn tunnel_name(address: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(address) | 0xf000_0000)
}

/// The rules, for `nft -f`: they replace the previous ones atomically.
pub fn second_chance_nft(node: &SecondChance) -> String {
    let next = node.next.map(tunnel_name);
    // The ring ends at its first member: only its kernel may accept a connection that it doesn't remember
    // (tcp_syncookies).
    let hop = |hop: usize| Hop {
        from: tunnel(hop),
        next: next.unwrap_or(Ipv4Addr::UNSPECIFIED),
        to: (next.is_some() && hop < node.living.min(HOPS)).then(|| tunnel(hop + 1)),
    };
    render(&Rules {
        vips: node.vips.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", "),
        greeted: node.greeted,
        names: NAMES,
        name: tunnel_name(node.address),
        port: TUNNEL_PORT,
        rate: RATE,
        burst: BURST,
        hops: (1..=HOPS).map(hop).collect(),
        next,
        mss: node.mtu.saturating_sub(AROUND + HEADERS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_a_name_of_its_own_in_the_tunnels() {
        let names =
            ["10.0.2.10", "172.16.2.10", "192.168.2.10", "100.64.2.10"].map(|ip| tunnel_name(ip.parse().unwrap()));
        assert_eq!(names.map(|name| name.to_string()), ["250.0.2.10", "252.16.2.10", "240.168.2.10", "244.64.2.10"]);
    }

    #[test]
    fn what_is_remembered_fits_the_memory() {
        assert_eq!([512 << 10, 2 << 20, 4 << 20, 64 << 20].map(greeted), [65_536, 131_072, 262_144, 1_048_576]);
    }

    #[test]
    fn a_packet_passes_at_most_one_tunnel_for_each_living_member() {
        let next = Some(Ipv4Addr::new(10, 0, 2, 10));
        let rules = |living| {
            let vips = vec![Ipv4Addr::new(10, 255, 0, 10)];
            let address = Ipv4Addr::new(10, 0, 1, 10);
            second_chance_nft(&SecondChance { vips, address, greeted: 65_536, mtu: 9001, next, living })
        };
        assert!(rules(3).contains("iifname \"elbow2\" dup to 250.0.2.10 device \"elbow3\" drop"));
        assert!(rules(3).contains("iifname \"elbow3\" goto back"));
        assert!(rules(99).contains("iifname \"elbow6\" goto back"));
        assert!(rules(2).contains("maxseg size set 8911"));
    }
}
