//! Whether the security groups of targets admit the nodes. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::access_lists::{TCP, UDP};
use super::case::Case;
use super::facts::Interface;
use super::finding::{Finding, or_ok, with};
use super::ids::Id;
use crate::resources::security_group::{Group, Rule, Source};

/// From where the nodes connect.
pub struct Nodes<'a> {
    /// Their security group, if it exists.
    group: Option<&'a str>,
    /// Their subnets' networks.
    nets: Vec<Ipv4Net>,
}

impl<'a> Nodes<'a> {
    pub fn of(case: &Case<'a>) -> Nodes<'a> {
        let group = case.observed.group(&case.balancer.vpc).map(|group| group.id.as_str());
        Nodes { group, nets: case.subnets().iter().filter_map(|subnet| subnet.cidr).collect() }
    }

    /// The source of a rule that admits them.
    pub fn called(&self) -> String {
        let nets: Vec<String> = self.nets.iter().map(Ipv4Net::to_string).collect();
        self.group.map_or_else(|| nets.join(" and "), str::to_owned)
    }
}

/// Whether security groups admit the nodes on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admits {
    Yes,
    No,
    /// Some of the nodes, or by a prefix list.
    Unclear,
}

/// Rules of several groups add up, and none denies (AWS VPC user guide, "Security group rules").
pub fn admits(groups: &[&Group], port: u16, nodes: &Nodes<'_>) -> Admits {
    let rules = groups.iter().flat_map(|group| &group.rules).filter(|rule| is_about(rule, TCP, Some(port)));
    let rules: Vec<&Rule> = rules.collect();
    let by_group = rules.iter().any(|rule| match &rule.source {
        Source::Group(id) => Some(id.as_str()) == nodes.group,
        _ => false,
    });
    // A target in the nodes' own group.
    let members = groups.iter().any(|group| Some(group.id.as_str()) == nodes.group);
    let by_members = members && rules.iter().any(|rule| rule.source == Source::Members);
    let nets = rules.iter().filter_map(|rule| match &rule.source {
        Source::Cidr(cidr) => cidr.parse::<Ipv4Net>().ok(),
        _ => None,
    });
    let nets: Vec<Ipv4Net> = nets.collect();
    let admitted = |node: &Ipv4Net| nets.iter().any(|net| net.contains(node));
    if by_group || by_members || (!nodes.nets.is_empty() && nodes.nets.iter().all(admitted)) {
        return Admits::Yes;
    }
    let partly = |node: &Ipv4Net| nets.iter().any(|net| net.contains(node) || node.contains(net));
    let listed = rules.iter().any(|rule| matches!(rule.source, Source::PrefixList(_)));
    match listed || nodes.nets.iter().any(partly) {
        true => Admits::Unclear,
        false => Admits::No,
    }
}

/// Whether the rule is about packets of this protocol to this port; none for protocols without ports.
pub fn is_about(rule: &Rule, protocol: u8, port: Option<u16>) -> bool {
    let of_rule = match rule.protocol.as_str() {
        "-1" => return true,
        "tcp" => Some(TCP),
        "udp" => Some(UDP),
        number => number.parse().ok(),
    };
    let is_port = match (rule.ports, port) {
        (Some((first, last)), Some(port)) => (first..=last).contains(&i32::from(port)),
        _ => true,
    };
    of_rule == Some(protocol) && is_port
}

/// Each target's address and the ports on which nodes connect to it: its own, and that of its health check.
pub fn ports(case: &Case<'_>) -> BTreeMap<Ipv4Addr, BTreeSet<u16>> {
    let mut ports: BTreeMap<Ipv4Addr, BTreeSet<u16>> = BTreeMap::new();
    for group in case.balancer.groups() {
        for target in &group.targets {
            let of = ports.entry(target.address.ip).or_default();
            of.extend(target.address.port.into_iter().chain(group.health_check.port));
        }
    }
    ports
}

/// Whether each target's security groups admit the nodes on its ports.
pub fn security_groups(case: &Case<'_>) -> Vec<Finding> {
    let id = Id::TargetSecurityGroups;
    let ports = ports(case);
    if ports.is_empty() {
        return Vec::new();
    }
    with(id, &case.facts.interfaces, |interfaces| {
        with(id, &case.facts.groups, |groups| {
            let nodes = Nodes::of(case);
            let mut findings = closed(interfaces, groups, &ports, &nodes);
            let is_seen = |ip: &Ipv4Addr| interfaces.iter().any(|interface| interface.addresses.contains(ip));
            let unseen: Vec<String> = ports.keys().filter(|ip| !is_seen(ip)).map(Ipv4Addr::to_string).collect();
            if !unseen.is_empty() {
                findings.push(Finding::unknown(
                    id,
                    format!("no network interface in {} has {}", case.balancer.vpc, unseen.join(", ")),
                    format!("check that these targets admit {}", nodes.called()),
                ));
            }
            or_ok(id, findings, "the targets' security groups admit the nodes")
        })
    })
}

/// A finding for each set of security groups and each port on which it doesn't admit the nodes.
fn closed(
    interfaces: &[Interface],
    groups: &[Group],
    ports: &BTreeMap<Ipv4Addr, BTreeSet<u16>>,
    nodes: &Nodes<'_>,
) -> Vec<Finding> {
    let mut found: BTreeMap<(Vec<String>, u16), (Admits, Vec<String>)> = BTreeMap::new();
    for interface in interfaces {
        let own: Vec<&Group> = groups.iter().filter(|group| interface.groups.contains(&group.id)).collect();
        let targets = interface.addresses.iter().filter_map(|ip| Some((ip, ports.get(ip)?)));
        for (ip, port) in targets.flat_map(|(ip, ports)| ports.iter().map(move |port| (ip, *port))) {
            let admits = admits(&own, port, nodes);
            if admits != Admits::Yes {
                let targets = found.entry((interface.groups.clone(), port)).or_insert((admits, Vec::new()));
                targets.1.push(ip.to_string());
            }
        }
    }
    let finding = |((groups, port), (admits, targets)): ((Vec<String>, u16), (Admits, Vec<String>))| {
        let add = format!("allow tcp {port} from {} in {}", nodes.called(), groups.join(" or "));
        let targets = targets.join(", ");
        match admits {
            Admits::No if nodes.group.is_some() => Finding::problem(
                Id::TargetSecurityGroups,
                format!("the security groups of {targets} don't admit the nodes on tcp {port}"),
                add,
            ),
            // Only `create` makes the group that the targets may be meant to admit.
            Admits::No => Finding::warning(
                Id::TargetSecurityGroups,
                format!("the security groups of {targets} don't admit the nodes' subnets on tcp {port}"),
                format!("{add}, or from the nodes' security group once `launcher create` has created it"),
            ),
            Admits::Yes | Admits::Unclear => Finding::unknown(
                Id::TargetSecurityGroups,
                format!("the security groups of {targets} may not admit all nodes on tcp {port}"),
                add,
            ),
        }
    };
    found.into_iter().map(finding).collect()
}
