//! Whether the nodes' security groups let them connect to each other, to AWS's services and to targets. Pure.
//!
//! A new group allows all outbound packets, and `create` leaves that rule alone; another program or a person may replace
//! it. Rules of several groups add up, and answers need no rule (AWS VPC user guide, "Security group rules").

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::access_lists::{Packets, TCP};
use super::case::Case;
use super::finding::{Finding, Status, or_ok};
use super::ids::Id;
use super::network_acls::{opened, opened_at_boot};
use super::targets::{Admits, is_about, ports};
use crate::resources::security_group::{Rule, Source};

/// The outbound rules of Elbow's group and of the further ones.
pub fn rules(case: &Case<'_>) -> Vec<Finding> {
    let id = Id::OutboundRules;
    let Some(own) = case.observed.group(&case.balancer.vpc) else {
        return vec![Finding::ok(id, "the security group that `create` makes allows all outbound packets")];
    };
    let groups = [own].into_iter().chain(&case.place.existing.groups);
    let rules: Vec<&Rule> = groups.flat_map(|group| &group.outbound).collect();
    let to = |(ip, port): (Ipv4Addr, u16)| Packets {
        outbound: true,
        protocol: TCP,
        ports: Some((port, port)),
        net: Ipv4Net::from(ip),
    };
    let targets = ports(case).into_iter().flat_map(|(ip, ports)| ports.into_iter().map(move |port| (ip, port)));
    let mut findings = dropped(&own.id, &rules, &opened(case), Status::Problem);
    findings.extend(dropped(&own.id, &rules, &opened_at_boot(case), case.at_boot()));
    // Of a closed target `create` only warns, too.
    findings.extend(dropped(&own.id, &rules, &targets.map(to).collect(), Status::Warning));
    or_ok(id, findings, "the nodes' security groups allow what the nodes send")
}

/// A finding with this status about the packets that no rule allows, and one about those that a rule may allow.
fn dropped(group: &str, rules: &[&Rule], packets: &BTreeSet<Packets>, status: Status) -> Vec<Finding> {
    let finding = |status: Status, answer: Admits, says: &str| {
        let these = packets.iter().filter(|packets| allows(rules, packets) == answer);
        let these: Vec<String> = these.map(Packets::to_string).collect();
        (!these.is_empty()).then(|| Finding {
            id: Id::OutboundRules,
            status,
            seen: format!("the outbound rules of {group} {says} {}", these.join(", ")),
            remedy: format!("add outbound rules for it to {group}, or one that allows everything to 0.0.0.0/0"),
        })
    };
    let closed = finding(status, Admits::No, "don't allow");
    closed.into_iter().chain(finding(Status::Unknown, Admits::Unclear, "may not allow")).collect()
}

/// Whether one of the rules allows the packets. Of groups and prefix lists the addresses aren't read.
fn allows(rules: &[&Rule], packets: &Packets) -> Admits {
    let port = packets.ports.map(|(port, _)| port);
    let about: Vec<&Source> =
        rules.iter().filter(|rule| is_about(rule, packets.protocol, port)).map(|rule| &rule.source).collect();
    let nets: Vec<Ipv4Net> = about
        .iter()
        .filter_map(|source| match source {
            Source::Cidr(cidr) => cidr.parse().ok(),
            _ => None,
        })
        .collect();
    let is_unread = |source: &&Source| matches!(source, Source::Members | Source::Group(_) | Source::PrefixList(_));
    if nets.iter().any(|net| net.contains(&packets.net)) {
        Admits::Yes
    } else if nets.iter().any(|net| packets.net.contains(net)) || about.iter().any(is_unread) {
        Admits::Unclear
    } else {
        Admits::No
    }
}
