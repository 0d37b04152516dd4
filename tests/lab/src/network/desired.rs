//! Computes the kernel's desired links, routes and rules from the world. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::faults::Faults;
use crate::world::{RouteState, Subnet, World};

/// A machine that isn't in the API: the client or a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixture {
    /// Its name, at most 12 characters; its namespace is `elbow-lab-<name>`.
    pub name: String,
    pub address: Ipv4Addr,
    /// The ID of its subnet. It uses that subnet's route table.
    pub subnet: String,
}

/// The services' addresses at the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Services {
    /// IMDS. Security groups and `all` partitions don't apply to it.
    pub metadata: Ipv4Addr,
    /// The VPC's resolver. Security groups don't apply to it.
    pub resolver: Ipv4Addr,
    /// The AWS API.
    pub api: BTreeSet<Ipv4Addr>,
    /// Other hosts: downloads, packages.
    pub hosts: BTreeSet<Ipv4Addr>,
}

/// The inputs of the desired network.
#[derive(Debug, Clone)]
pub struct Setting<'a> {
    /// The API's state.
    pub world: &'a World,
    /// The VPC that the kernel has; others exist in the API only.
    pub vpc: &'a str,
    /// The services at the router.
    pub services: &'a Services,
    /// Machines that aren't in the API.
    pub fixtures: &'a [Fixture],
    /// The faults that are set.
    pub faults: &'a Faults,
}

/// Assigns numbers that are never reused, because a new link must not inherit a connection tracking zone.
#[derive(Debug, Clone, Default)]
pub struct Numbers(BTreeMap<String, u16>);

impl Numbers {
    pub(super) fn of(&mut self, name: &str) -> u16 {
        let next = self.0.len() as u16 + 1;
        *self.0.entry(name.to_owned()).or_insert(next)
    }
}

/// The link between a machine and the router, through the machine's card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// A unique name of at most 12 characters, used in its kernel interfaces' names.
    pub short: String,
    pub address: Ipv4Addr,
    /// Its subnet's CIDR block; the gateway is its first address.
    pub subnet: Ipv4Net,
    /// Its MAC address.
    pub mac: String,
}

impl Link {
    /// The end towards the machine, in the cards' namespace.
    pub fn card(&self) -> String {
        format!("c-{}", self.short)
    }

    /// The end towards the router, in the cards' namespace.
    pub fn uplink(&self) -> String {
        format!("u-{}", self.short)
    }

    /// The end at the router.
    pub fn port(&self) -> String {
        format!("r-{}", self.short)
    }

    /// The address of the VPC's router in its subnet.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet.network()) + 1)
    }
}

/// The target of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A link, by its key.
    Link(String),
    /// None: packets are dropped without an ICMP error, as on AWS.
    Nowhere,
}

/// A route table without its local routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its number in the kernel.
    pub number: u32,
    /// The target of each destination.
    pub routes: BTreeMap<Ipv4Net, Target>,
}

/// The desired state of the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// The links, by interface ID or fixture name.
    pub links: BTreeMap<String, Link>,
    /// Each link's number, for its connection tracking zone and its routing tables (see [`super::script`]).
    pub numbers: BTreeMap<String, u16>,
    /// The router's addresses.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// The VPC's CIDR blocks. Packets to unused addresses in them are dropped.
    pub cidrs: BTreeSet<Ipv4Net>,
    /// The route tables, by ID.
    pub tables: BTreeMap<String, Table>,
    /// The route table of each link.
    pub rules: BTreeMap<String, String>,
    /// The firewall of the cards, for `nft -f`.
    pub cards: String,
    /// The firewall of the router, for `nft -f`.
    pub router: String,
}

/// Route tables are numbered from here, above the kernel's own tables and the links' tables.
const TABLES: u32 = 100_000;

/// The desired state without the firewalls.
pub(super) fn links_and_routes(setting: &Setting, numbers: &mut Numbers) -> Desired {
    let mut wanted = Desired { cidrs: cidrs(setting), addresses: addresses(setting), ..Desired::default() };
    let subnets = setting.world.subnets.iter().filter(|s| s.vpc == setting.vpc);
    let subnets: BTreeMap<&str, &Subnet> = subnets.map(|s| (s.id.as_str(), s)).collect();
    let mut add = |key: &str, subnet: &str, address: Ipv4Addr, mac: String| {
        let Some(subnet) = subnets.get(subnet) else { return };
        wanted.links.insert(key.to_owned(), Link { short: short(key), address, subnet: subnet.cidr, mac });
        wanted.numbers.insert(key.to_owned(), numbers.of(key));
        if let Some(table) = setting.world.table_of(subnet) {
            wanted.rules.insert(key.to_owned(), table.id.clone());
        }
    };
    for interface in setting.world.interfaces.iter().filter(|i| i.instance.is_some() && i.vpc == setting.vpc) {
        add(&interface.id, &interface.subnet, interface.address, interface.mac.clone());
    }
    for fixture in setting.fixtures {
        add(&fixture.name, &fixture.subnet, fixture.address, mac_of(fixture.address));
    }
    wanted.tables = tables(setting, &wanted.links, numbers);
    wanted
}

fn cidrs(setting: &Setting) -> BTreeSet<Ipv4Net> {
    setting.world.vpc(setting.vpc).map(|vpc| vpc.cidrs.iter().copied().collect()).unwrap_or_default()
}

/// The services' addresses, and each subnet's gateway.
fn addresses(setting: &Setting) -> BTreeSet<Ipv4Addr> {
    let services = setting.services;
    let subnets = setting.world.subnets.iter().filter(|s| s.vpc == setting.vpc);
    let gateways = subnets.map(|s| Ipv4Addr::from(u32::from(s.cidr.network()) + 1));
    let own = [services.metadata, services.resolver].into_iter().chain(services.api.iter().copied());
    own.chain(services.hosts.iter().copied()).chain(gateways).collect()
}

fn tables(setting: &Setting, links: &BTreeMap<String, Link>, numbers: &mut Numbers) -> BTreeMap<String, Table> {
    let mut tables = BTreeMap::new();
    for table in setting.world.route_tables.iter().filter(|t| t.vpc == setting.vpc) {
        let mut routes = BTreeMap::new();
        for route in table.routes.iter().filter(|r| r.gateway.as_deref() != Some("local")) {
            let target = match &route.interface {
                Some(id) if route.state == RouteState::Active && links.contains_key(id) => Target::Link(id.clone()),
                // The lab has no internet gateway.
                _ => Target::Nowhere,
            };
            routes.insert(route.destination, target);
        }
        let number = TABLES + u32::from(numbers.of(&table.id));
        tables.insert(table.id.clone(), Table { number, routes });
    }
    tables
}

/// The last 12 characters: a kernel interface's name has at most 15, and IDs differ most at their end.
fn short(key: &str) -> String {
    let skip = key.chars().count().saturating_sub(12);
    key.chars().skip(skip).collect()
}

/// A locally administered MAC address for an IPv4 address.
fn mac_of(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("06:0f:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

impl Desired {
    /// The same without one link and its routes and rules.
    pub(super) fn without(&self, key: &str) -> Desired {
        let mut rest = self.clone();
        rest.links.remove(key);
        rest.numbers.remove(key);
        rest.rules.remove(key);
        for table in rest.tables.values_mut() {
            table.routes.retain(|_, target| *target != Target::Link(key.to_owned()));
        }
        rest
    }
}
