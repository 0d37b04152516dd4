//! Computes the lines for `ip -batch` and `nft -f` that lead from one desired state to another. Pure.
//!
//! The path of a packet from machine A to machine B:
//!
//! ```text
//! A eth0 ── c-A [cards] u-A ── r-A [router] r-B ── u-B [cards] c-B ── eth0 B
//! ```
//!
//! In the cards' namespace, two routing tables per link forward between c-A and u-A. The router looks up the VPC's own
//! addresses first, then the route table of the sender's subnet, and drops packets without a route. Neighbour entries
//! are permanent, so that a dead machine is silent and not "unreachable".

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use super::desired::{Desired, Link, Target};
use super::namespace::{CARDS, ROUTER, behind};

/// The routing table of the VPC's own addresses.
pub(super) const LOCAL: u32 = 99;
/// A link's tables and rules have these numbers plus the link's own.
const FROM_MACHINE: u32 = 1_000;
const FROM_ROUTER: u32 = 80_000;
const BY_SUBNET: u32 = 1_000;

const ROUTER_MAC: &str = "0e:00:00:00:00:01";
const CARD_MAC: &str = "0e:00:00:00:00:02";
/// The router's address in the cards' namespace only.
const NEXT: &str = "169.254.0.1";

/// Lines for each namespace, in the order in which they are run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// For `nft -f` in the cards' namespace, if it changes.
    pub cards_firewall: Option<String>,
    /// For `nft -f` in the router, if it changes.
    pub router_firewall: Option<String>,
    /// Removals in the router.
    pub router_first: Vec<String>,
    /// Removals in the cards' namespace.
    pub cards_first: Vec<String>,
    /// In the host's namespace.
    pub host: Vec<String>,
    /// Additions in the cards' namespace.
    pub cards: Vec<String>,
    /// In each new namespace.
    pub inside: BTreeMap<String, Vec<String>>,
    /// Additions in the router.
    pub router: Vec<String>,
}

/// The script that leads from one state of the kernel to another.
pub fn difference(from: &Desired, to: &Desired) -> Script {
    let mut script = Script {
        cards_firewall: (from.cards != to.cards).then(|| to.cards.clone()),
        router_firewall: (from.router != to.router).then(|| to.router.clone()),
        ..Script::default()
    };
    for (key, link) in &from.links {
        if to.links.get(key) != Some(link) {
            remove_link(&mut script, from, key, link);
        }
    }
    drop_routes(&mut script, from, to);
    for address in from.addresses.difference(&to.addresses) {
        script.router_first.push(format!("address del {address}/32 dev lo"));
    }
    for cidr in from.cidrs.difference(&to.cidrs) {
        script.router_first.push(format!("route del blackhole {cidr} table {LOCAL}"));
    }
    for address in to.addresses.difference(&from.addresses) {
        script.router.push(format!("address add {address}/32 dev lo"));
    }
    for cidr in to.cidrs.difference(&from.cidrs) {
        script.router.push(format!("route replace blackhole {cidr} table {LOCAL}"));
    }
    for (key, link) in &to.links {
        if from.links.get(key) != Some(link) {
            add_link(&mut script, to, key, link);
        }
    }
    set_routes(&mut script, from, to);
    set_rules(&mut script, from, to);
    script
}

fn add_link(script: &mut Script, to: &Desired, key: &str, link: &Link) {
    let (inside, number) = (behind(key), u32::from(to.numbers[key]));
    let (card, uplink, port, address) = (link.card(), link.uplink(), link.port(), link.address);
    let (out, back) = (FROM_MACHINE + number, FROM_ROUTER + number);
    script.host.extend([
        format!("netns add {inside}"),
        format!(
            "link add {card} netns {CARDS} address {CARD_MAC} type veth peer name eth0 netns {inside} address {}",
            link.mac
        ),
        format!(
            "link add {uplink} netns {CARDS} address {CARD_MAC} type veth peer name {port} netns {ROUTER} address {ROUTER_MAC}"
        ),
    ]);
    script.cards.extend([
        format!("link set {card} up"),
        format!("link set {uplink} up"),
        // By default, the kernel delays a proxy ARP answer by up to 0.8 s.
        format!("ntable change name arp_cache dev {card} proxy_delay 0"),
        format!("neighbour replace {address} lladdr {} dev {card} nud permanent", link.mac),
        format!("neighbour replace {NEXT} lladdr {ROUTER_MAC} dev {uplink} nud permanent"),
        // Without this route, proxy ARP would answer for the machine's own address.
        format!("route replace {address}/32 dev {card} table {out}"),
        format!("route replace default via {NEXT} dev {uplink} onlink table {out}"),
        format!("route replace default via {address} dev {card} onlink table {back}"),
        format!("rule add pref {out} iif {card} lookup {out}"),
        format!("rule add pref {back} iif {uplink} lookup {back}"),
    ]);
    script.inside.insert(
        inside,
        vec![
            "link set lo up".into(),
            "link set eth0 up".into(),
            format!("address add {address}/{} broadcast + dev eth0", link.subnet.prefix_len()),
            format!("route add default via {} dev eth0", link.gateway()),
        ],
    );
    script.router.extend([
        format!("link set {port} up"),
        format!("neighbour replace {address} lladdr {CARD_MAC} dev {port} nud permanent"),
        format!("route replace {address}/32 dev {port} table {LOCAL}"),
    ]);
}

/// The kernel removes the routes of a removed link.
fn remove_link(script: &mut Script, from: &Desired, key: &str, link: &Link) {
    let number = u32::from(from.numbers[key]);
    script.cards_first.extend([
        format!("rule del pref {}", FROM_MACHINE + number),
        format!("rule del pref {}", FROM_ROUTER + number),
        format!("link del {}", link.card()),
        format!("link del {}", link.uplink()),
    ]);
    if from.rules.contains_key(key) {
        script.router_first.push(format!("rule del pref {}", BY_SUBNET + number));
    }
    script.host.push(format!("netns del {}", behind(key)));
}

fn drop_routes(script: &mut Script, from: &Desired, to: &Desired) {
    for (id, table) in &from.tables {
        let kept = to.tables.get(id).filter(|t| t.number == table.number);
        for destination in table.routes.keys() {
            if !kept.is_some_and(|t| t.routes.contains_key(destination)) {
                script.router_first.push(format!("route del {destination} table {}", table.number));
            }
        }
    }
}

fn set_routes(script: &mut Script, from: &Desired, to: &Desired) {
    // A recreated link has lost its routes.
    let renewed = |target: &Target| match target {
        Target::Link(key) => from.links.get(key) != to.links.get(key),
        Target::Nowhere => false,
    };
    for (id, table) in &to.tables {
        let had = from.tables.get(id).filter(|t| t.number == table.number);
        for (destination, target) in &table.routes {
            if had.and_then(|t| t.routes.get(destination)) != Some(target) || renewed(target) {
                script.router.push(route(to, table.number, destination, target));
            }
        }
    }
}

fn route(to: &Desired, table: u32, destination: &Ipv4Net, target: &Target) -> String {
    match target {
        Target::Link(key) => {
            let link = &to.links[key];
            format!("route replace {destination} via {} dev {} onlink table {table}", link.address, link.port())
        }
        Target::Nowhere => format!("route replace blackhole {destination} table {table}"),
    }
}

fn set_rules(script: &mut Script, from: &Desired, to: &Desired) {
    for (key, link) in &to.links {
        let number = BY_SUBNET + u32::from(to.numbers[key]);
        let table_number = |side: &Desired| side.rules.get(key).and_then(|id| side.tables.get(id)).map(|t| t.number);
        let same_link = from.links.get(key) == Some(link);
        let (had, wants) = (table_number(from).filter(|_| same_link), table_number(to));
        if had == wants {
            continue;
        }
        // The new rule is added first, so that each packet matches one.
        if let Some(table) = wants {
            script.router.push(format!("rule add pref {number} iif {} lookup {table}", link.port()));
        }
        if let Some(table) = had {
            script.router.push(format!("rule del pref {number} iif {} lookup {table}", link.port()));
        }
    }
}

impl Script {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Script::default()
    }
}
