//! Whether network ACLs let through what nodes, clients and targets send. Pure.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use templates::paths;

use super::access_lists::{AccessList, EPHEMERAL, Packets, TCP, UDP, VRRP, Verdict};
use super::case::Case;
use super::finding::{Finding, Status, or_ok, with};
use super::ids::Id;
use super::targets::ports;
use super::ways::{called, called_at_boot};
use crate::resources::gateways::Endpoint;
use crate::resources::network::Subnet;

/// The port of AWS's APIs.
const HTTPS: (u16, u16) = (443, 443);

/// Packets that pass the list of a subnet.
struct Need<'a> {
    subnet: &'a Subnet,
    packets: Packets,
}

/// Whether lists let through what nodes send each other and to AWS's services, and what clients send them.
pub fn nodes(case: &Case<'_>) -> Vec<Finding> {
    let id = Id::NetworkAcls;
    let subnets = case.subnets();
    let mut needs = opening(case, &subnets);
    let cidrs = case.place.vpc.as_ref().map(|vpc| vpc.cidrs.clone()).unwrap_or_default();
    for subnet in &subnets {
        for (client, ports) in case.balancer.admitted(&cidrs) {
            needs.extend(served(subnet, client, (ports.first, ports.last)));
        }
    }
    let seen = "the network ACLs admit nodes, their calls of AWS's services, and clients";
    with(id, &case.facts.access_lists, |lists| {
        let mut findings = judge(id, lists, &needs, Status::Problem);
        findings.extend(judge(id, lists, &booting(case, &subnets), case.at_boot()));
        or_ok(id, findings, seen)
    })
}

/// Whether lists let through what the nodes send to targets, and the answers.
pub fn targets(case: &Case<'_>) -> Vec<Finding> {
    let id = Id::TargetNetworkAcls;
    let (subnets, all) = (case.subnets(), case.vpc_subnets());
    let mut needs = Vec::new();
    for (ip, ports) in ports(case) {
        let target = all.iter().copied().find(|subnet| subnet.holds(ip));
        for (port, subnet) in ports.iter().flat_map(|port| subnets.iter().map(move |subnet| (*port, *subnet))) {
            // A network ACL guards a subnet's border only.
            if target.is_some_and(|target| target.id == subnet.id) {
                continue;
            }
            needs.extend(asks(subnet, Ipv4Net::from(ip), (port, port)));
            if let Some((target, clients)) = target.zip(subnet.cidr) {
                needs.extend(served(target, clients, (port, port)));
            }
        }
    }
    let seen = "the network ACLs admit what the nodes and their targets send each other";
    with(id, &case.facts.access_lists, |lists| or_ok(id, judge(id, lists, &needs, Status::Problem), seen))
}

/// The packets with which running nodes connect to each other and to AWS's services.
pub fn opened(case: &Case<'_>) -> BTreeSet<Packets> {
    outbound(opening(case, &case.subnets()))
}

/// Those with which only booting nodes connect.
pub fn opened_at_boot(case: &Case<'_>) -> BTreeSet<Packets> {
    outbound(booting(case, &case.subnets()))
}

fn outbound(needs: Vec<Need<'_>>) -> BTreeSet<Packets> {
    let packets = needs.into_iter().map(|need| need.packets);
    packets.filter(|packets| packets.outbound && packets.ports != Some(EPHEMERAL)).collect()
}

/// What running nodes send each other and to AWS's services, and the answers.
fn opening<'a>(case: &Case<'a>, subnets: &[&'a Subnet]) -> Vec<Need<'a>> {
    let services = called(case).into_iter().flat_map(|service| to_service(case, subnets, service));
    among(case, subnets).into_iter().chain(services).collect()
}

/// What running nodes don't need.
fn booting<'a>(case: &Case<'a>, subnets: &[&'a Subnet]) -> Vec<Need<'a>> {
    let running = opening(case, subnets);
    let same = |one: &Need<'_>, other: &Need<'_>| one.subnet.id == other.subnet.id && one.packets == other.packets;
    let needs = called_at_boot(case).map(|service| to_service(case, subnets, service)).unwrap_or_default();
    needs.into_iter().filter(|need| !running.iter().any(|other| same(need, other))).collect()
}

/// What nodes in different subnets send each other.
fn among<'a>(case: &Case<'_>, subnets: &[&'a Subnet]) -> Vec<Need<'a>> {
    let port = |port: u16| Some((port, port));
    let mut kinds = vec![(VRRP, None), (UDP, port(paths::TUNNEL_PORT)), (TCP, port(paths::HEALTH_PORT))];
    if case.balancer.shares_tables() {
        kinds.push((TCP, port(paths::PEERS_PORT)));
    }
    kinds.push((TCP, Some(EPHEMERAL)));
    let pairs = subnets.iter().flat_map(|own| subnets.iter().map(move |other| (*own, *other)));
    let pairs = pairs.filter(|(own, other)| own.id != other.id);
    let pairs = pairs.filter_map(|(own, other)| Some((own, other.cidr?)));
    pairs
        .flat_map(|(own, net)| {
            let both = move |(protocol, ports): (u8, Option<(u16, u16)>)| {
                [true, false].map(|outbound| Need { subnet: own, packets: Packets { outbound, protocol, ports, net } })
            };
            kinds.clone().into_iter().flat_map(both)
        })
        .collect()
}

/// What nodes send to a service, and its answers: at endpoints with private DNS, or at public addresses, which a gateway
/// endpoint leads to, too.
fn to_service<'a>(case: &Case<'a>, subnets: &[&'a Subnet], service: &str) -> Vec<Need<'a>> {
    let Ok(endpoints) = &case.facts.endpoints else { return Vec::new() };
    let named = |endpoint: &&Endpoint| endpoint.private_dns && endpoint.serves(&case.place.region, service);
    let hosts: Vec<&String> = endpoints.iter().filter(named).flat_map(|endpoint| &endpoint.subnets).collect();
    if hosts.is_empty() {
        return subnets.iter().flat_map(|subnet| asks(subnet, Ipv4Net::default(), HTTPS)).collect();
    }
    let hosts = case.vpc_subnets().into_iter().filter(|subnet| hosts.contains(&&subnet.id));
    let pairs = hosts.flat_map(|host| subnets.iter().map(move |subnet| (*subnet, host)));
    let pairs = pairs.filter(|(subnet, host)| subnet.id != host.id);
    let pairs = pairs.filter_map(|(subnet, host)| Some(((subnet, subnet.cidr?), (host, host.cidr?))));
    pairs
        .flat_map(|((subnet, clients), (host, servers))| {
            asks(subnet, servers, HTTPS).into_iter().chain(served(host, clients, HTTPS))
        })
        .collect()
}

/// The packets of a subnet that others connect to.
fn served(subnet: &Subnet, clients: Ipv4Net, ports: (u16, u16)) -> [Need<'_>; 2] {
    let packets = |outbound, ports| Packets { outbound, protocol: TCP, ports: Some(ports), net: clients };
    [Need { subnet, packets: packets(false, ports) }, Need { subnet, packets: packets(true, EPHEMERAL) }]
}

/// The packets of a subnet that connects to others.
fn asks(subnet: &Subnet, servers: Ipv4Net, ports: (u16, u16)) -> [Need<'_>; 2] {
    let packets = |outbound, ports| Packets { outbound, protocol: TCP, ports: Some(ports), net: servers };
    [Need { subnet, packets: packets(true, ports) }, Need { subnet, packets: packets(false, EPHEMERAL) }]
}

/// A finding for each list and packets that it drops.
fn judge(id: Id, lists: &[AccessList], needs: &[Need<'_>], status: Status) -> Vec<Finding> {
    let guards = |need: &Need<'_>| lists.iter().find(|list| list.subnets.contains(&need.subnet.id));
    let asked: BTreeSet<(&str, &Packets)> =
        needs.iter().filter_map(|need| Some((guards(need)?.id.as_str(), &need.packets))).collect();
    let finding = |(list, packets): (&str, &Packets)| {
        let list = lists.iter().find(|one| one.id == list)?;
        let direction = if packets.outbound { "outbound" } else { "inbound" };
        let (of, add) = (list.subnets.join(", "), format!("add an {direction} rule to {}: allow {packets}", list.id));
        match list.verdict(packets) {
            Verdict::Passes => None,
            Verdict::Drops => {
                let seen = format!("{} of {of} drops {packets}", list.id);
                Some(Finding { id, status, seen, remedy: add })
            }
            Verdict::Partly => {
                Some(Finding::unknown(id, format!("{} of {of} drops a part of {packets}", list.id), add))
            }
        }
    };
    asked.into_iter().filter_map(finding).collect()
}
