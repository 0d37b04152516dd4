//! Security groups, the source/destination check and partitions as nftables rules.
//!
//! A packet passes the cards' namespace when it leaves a machine and again when it reaches one, so that egress and
//! ingress rules both apply. Connections are tracked per link, in zones: a flow that one node knows is unknown to the
//! next, as on AWS. Rules apply to every packet of an unknown flow, not only to the first one. Rejected packets are
//! dropped.

use std::fmt::{self, Write};

use ipnet::Ipv4Net;

use super::desired::{Desired, Setting};
use crate::world::{Interface, Permission, SecurityGroup};

/// The firewall of the cards' namespace, for `nft -f`.
pub(super) fn cards(setting: &Setting, wanted: &Desired) -> String {
    let mut text = String::new();
    write_cards(&mut text, setting, wanted).expect("writing to a string succeeds");
    text
}

/// The firewall of the router, with the partitions, for `nft -f`.
pub(super) fn router(setting: &Setting, wanted: &Desired) -> String {
    let mut text = String::new();
    write_router(&mut text, setting, wanted).expect("writing to a string succeeds");
    text
}

fn write_cards(out: &mut String, setting: &Setting, wanted: &Desired) -> fmt::Result {
    let links = &wanted.links;
    let interfaces = || setting.world.interfaces.iter().filter(|i| links.contains_key(&i.id));
    let dark = setting.faults.dark().filter_map(|key| links.get(key)).flat_map(|l| [l.card(), l.uplink()]);
    let unchecked = interfaces().filter(|i| !i.source_dest_check).map(|i| links[&i.id].card());

    writeln!(out, "table ip vpc\ndelete table ip vpc\ntable ip vpc {{")?;
    set(out, "dark", "ifname", dark.map(|l| quoted(&l)))?;
    set(out, "unchecked", "ifname", unchecked.map(|l| quoted(&l)))?;
    set(out, "own", "ifname . ipv4_addr", links.values().map(|l| format!("\"{}\" . {}", l.card(), l.address)))?;

    writeln!(out, "\tchain zones {{\n\t\ttype filter hook prerouting priority raw; policy accept")?;
    writeln!(out, "\t\tiifname @dark drop")?;
    let zones: Vec<String> = links
        .iter()
        .flat_map(|(key, l)| [l.card(), l.uplink()].map(|name| format!("\"{name}\" : {}", wanted.numbers[key])))
        .collect();
    if !zones.is_empty() {
        writeln!(out, "\t\tct zone set iifname map {{ {} }}", zones.join(", "))?;
    }
    writeln!(out, "\t}}")?;

    let services = setting.services;
    let free = format!("{{ {}, {} }}", services.metadata, services.resolver);
    writeln!(out, "\tchain cards {{\n\t\ttype filter hook forward priority filter; policy drop")?;
    writeln!(out, "\t\toifname @dark drop")?;
    writeln!(out, "\t\tiifname \"c-*\" iifname != @unchecked iifname . ip saddr != @own drop")?;
    writeln!(out, "\t\toifname \"c-*\" oifname != @unchecked oifname . ip daddr != @own drop")?;
    writeln!(out, "\t\tip daddr {free} accept\n\t\tip saddr {free} accept")?;
    writeln!(out, "\t\tct state established,related accept\n\t\tiifname vmap @links\n\t}}")?;

    for group in setting.world.security_groups.iter().filter(|g| g.vpc == setting.vpc) {
        write_group(out, group, wanted, setting)?;
    }
    write_links(out, setting, wanted)?;
    writeln!(out, "}}")?;
    write_silence(out)
}

/// Writes the security groups that apply to each link.
fn write_links(out: &mut String, setting: &Setting, wanted: &Desired) -> fmt::Result {
    let mut verdicts = Vec::new();
    for (key, link) in &wanted.links {
        let Some(interface) = setting.world.interface(key) else {
            // A fixture accepts and sends everything.
            verdicts.extend([format!("\"{}\" : accept", link.card()), format!("\"{}\" : accept", link.uplink())]);
            continue;
        };
        let groups: Vec<&SecurityGroup> = groups_of(interface, setting).collect();
        for (end, way) in [(link.card(), "out"), (link.uplink(), "in")] {
            writeln!(out, "\tchain {way}-{} {{", link.short)?;
            for group in &groups {
                writeln!(out, "\t\tjump {}-{way}", group.id)?;
            }
            writeln!(out, "\t}}")?;
            verdicts.push(format!("\"{end}\" : jump {way}-{}", link.short));
        }
    }
    writeln!(out, "\tmap links {{\n\t\ttype ifname : verdict")?;
    if !verdicts.is_empty() {
        writeln!(out, "\t\telements = {{ {} }}", verdicts.join(", "))?;
    }
    writeln!(out, "\t}}")
}

fn groups_of<'a>(interface: &'a Interface, setting: &'a Setting) -> impl Iterator<Item = &'a SecurityGroup> {
    interface.groups.iter().filter_map(|id| setting.world.security_group(id)).filter(|g| g.vpc == setting.vpc)
}

fn write_group(out: &mut String, group: &SecurityGroup, wanted: &Desired, setting: &Setting) -> fmt::Result {
    for (way, peer, permissions) in [("in", "saddr", &group.ingress), ("out", "daddr", &group.egress)] {
        writeln!(out, "\tchain {}-{way} {{", group.id)?;
        for permission in permissions {
            let what = what(permission);
            for cidr in peers(permission, wanted, setting) {
                writeln!(out, "\t\tip {peer} {cidr} {what}accept")?;
            }
        }
        writeln!(out, "\t}}")?;
    }
    Ok(())
}

/// The networks that a permission allows: its CIDR blocks, and the primary addresses of its groups' interfaces.
fn peers(permission: &Permission, wanted: &Desired, setting: &Setting) -> Vec<Ipv4Net> {
    let members = setting.world.interfaces.iter().filter(|i| wanted.links.contains_key(&i.id));
    let members = members.filter(|i| i.groups.iter().any(|group| permission.groups.contains(group)));
    permission.cidrs.iter().copied().chain(members.map(|i| Ipv4Net::from(i.address))).collect()
}

/// The nftables match for a permission's protocol and ports.
fn what(permission: &Permission) -> String {
    let any = |port: Option<i32>| port.is_none_or(|p| p < 0);
    match permission.protocol.as_str() {
        "-1" => String::new(),
        protocol @ ("tcp" | "udp") if any(permission.from) => format!("meta l4proto {protocol} "),
        protocol @ ("tcp" | "udp") => {
            let from = permission.from.unwrap_or(0);
            format!("{protocol} dport {from}-{} ", permission.to.unwrap_or(from))
        }
        "icmp" if any(permission.from) => "meta l4proto icmp ".to_owned(),
        "icmp" if any(permission.to) => format!("icmp type {} ", permission.from.unwrap_or(0)),
        "icmp" => format!("icmp type {} icmp code {} ", permission.from.unwrap_or(0), permission.to.unwrap_or(0)),
        protocol => format!("meta l4proto {protocol} "),
    }
}

fn write_router(out: &mut String, setting: &Setting, wanted: &Desired) -> fmt::Result {
    let port = |key: &str| wanted.links.get(key).map(|link| quoted(&link.port()));
    let apart = setting.faults.apart().filter_map(|(a, b)| Some((port(a)?, port(b)?)));
    let apart = apart.flat_map(|(a, b)| [format!("{a} . {b}"), format!("{b} . {a}")]);
    writeln!(out, "table ip vpc\ndelete table ip vpc\ntable ip vpc {{")?;
    set(out, "apart", "ifname . ifname", apart)?;
    set(out, "alone", "ifname", setting.faults.alone().filter_map(port))?;
    set(out, "without_api", "ifname", setting.faults.without_api().filter_map(port))?;
    set(out, "without_metadata", "ifname", setting.faults.without_metadata().filter_map(port))?;
    set(out, "api", "ipv4_addr", setting.services.api.iter().map(ToString::to_string))?;
    set(out, "lost_api", "ipv4_addr", setting.faults.lost_api().map(|address| address.to_string()))?;
    let metadata = setting.services.metadata;
    writeln!(out, "\tchain forward {{\n\t\ttype filter hook forward priority filter; policy accept")?;
    writeln!(out, "\t\tiifname . oifname @apart drop\n\t\tiifname @alone drop\n\t\toifname @alone drop\n\t}}")?;
    writeln!(out, "\tchain input {{\n\t\ttype filter hook input priority filter; policy accept")?;
    writeln!(out, "\t\tiifname @alone ip daddr != {metadata} drop\n\t\tiifname @without_api ip daddr @api drop")?;
    writeln!(out, "\t\tiifname @without_metadata ip daddr {metadata} drop\n\t\tip daddr @lost_api drop\n\t}}")?;
    // Answers that are already on their way are dropped too.
    writeln!(out, "\tchain output {{\n\t\ttype filter hook output priority filter; policy accept")?;
    writeln!(out, "\t\toifname @alone ip saddr != {metadata} drop\n\t\toifname @without_api ip saddr @api drop")?;
    writeln!(out, "\t\toifname @without_metadata ip saddr {metadata} drop\n\t\tip saddr @lost_api drop\n\t}}")?;
    writeln!(out, "}}")?;
    write_silence(out)
}

/// A VPC sends no ICMP errors for undeliverable packets.
fn write_silence(out: &mut String) -> fmt::Result {
    writeln!(out, "table ip silence\ndelete table ip silence\ntable ip silence {{\n\tchain output {{")?;
    writeln!(out, "\t\ttype filter hook output priority filter; policy accept")?;
    writeln!(out, "\t\ticmp type {{ destination-unreachable, redirect, time-exceeded }} drop\n\t}}\n}}")
}

fn set(out: &mut String, name: &str, kind: &str, elements: impl Iterator<Item = String>) -> fmt::Result {
    writeln!(out, "\tset {name} {{\n\t\ttype {kind}")?;
    let elements: Vec<String> = elements.collect();
    if !elements.is_empty() {
        writeln!(out, "\t\telements = {{ {} }}", elements.join(", "))?;
    }
    writeln!(out, "\t}}")
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(protocol: &str, from: Option<i32>, to: Option<i32>) -> Permission {
        Permission { protocol: protocol.into(), from, to, cidrs: vec![], groups: vec![] }
    }

    #[test]
    fn permissions_become_nftables_matches() {
        assert_eq!(what(&permission("-1", None, None)), "");
        assert_eq!(what(&permission("tcp", Some(80), Some(80))), "tcp dport 80-80 ");
        assert_eq!(what(&permission("udp", Some(4789), None)), "udp dport 4789-4789 ");
        assert_eq!(what(&permission("tcp", None, None)), "meta l4proto tcp ");
        assert_eq!(what(&permission("112", None, None)), "meta l4proto 112 ");
        assert_eq!(what(&permission("icmp", Some(-1), Some(-1))), "meta l4proto icmp ");
        assert_eq!(what(&permission("icmp", Some(8), Some(-1))), "icmp type 8 ");
        assert_eq!(what(&permission("icmp", Some(3), Some(4))), "icmp type 3 icmp code 4 ");
    }
}
