//! The nftables rules of the path watch: a standby's probes of a virtual IP leave it although it has that address itself.

use std::net::Ipv4Addr;

use askama::Template;

use super::render;
use crate::paths::HEALTH_PORT;

#[derive(Template)]
#[template(path = "path-watch.nft", escape = "none")]
struct Rules<'a> {
    interface: &'a str,
    port: u16,
    vips: Vec<(Ipv4Addr, Ipv4Addr)>,
}

/// The address that stands for the virtual IP at `position`. RFC 5737 reserves 192.0.2.0/24 for
/// documentation. The range lies outside the names in the tunnels.
pub fn stand_in(position: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(192, 0, 2, 1)) + position as u32)
}

/// The rules, for `nft -f`: they replace the previous ones atomically.
pub fn path_watch_nft(interface: &str, vips: &[Ipv4Addr]) -> String {
    let vips = vips.iter().enumerate().map(|(position, vip)| (*vip, stand_in(position))).collect();
    render(&Rules { interface, port: HEALTH_PORT, vips })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_virtual_ip_has_a_stand_in_of_its_own_on_the_interface_only() {
        let rules = path_watch_nft("ens5", &[[10, 255, 0, 10].into(), [10, 254, 0, 7].into()]);
        for line in [
            "oifname \"ens5\" ip daddr 192.0.2.1 tcp dport 9110 ip daddr set 10.255.0.10",
            "oifname \"ens5\" ip daddr 192.0.2.2 tcp dport 9110 ip daddr set 10.254.0.7",
            "iifname \"ens5\" ip saddr 10.255.0.10 tcp sport 9110 ip saddr set 192.0.2.1",
            "iifname \"ens5\" ip saddr 10.254.0.7 tcp sport 9110 ip saddr set 192.0.2.2",
        ] {
            assert!(rules.contains(line), "{rules}");
        }
    }
}
