//! What the kernel should look like for a world: the pure part, from what the API says to links, routes and rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::faults::Faults;
use crate::world::{RouteState, Subnet, World};

/// A machine that the API knows nothing of: a client, a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixture {
    /// Its name, at most 12 letters; its namespace is `elbow-lab-<name>`.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The subnet it is in, by id; it uses that subnet's route table.
    pub subnet: String,
}

/// What the router itself answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Services {
    /// IMDS. No security group and no partition comes between it and an instance.
    pub metadata: Ipv4Addr,
    /// The VPC's resolver. No security group applies to it.
    pub resolver: Ipv4Addr,
    /// Where the AWS API answers.
    pub api: BTreeSet<Ipv4Addr>,
    /// Other hosts: downloads, packages.
    pub hosts: BTreeSet<Ipv4Addr>,
}

/// Everything the network is decided from.
#[derive(Debug, Clone)]
pub struct Setting<'a> {
    /// What the API says.
    pub world: &'a World,
    /// The VPC that is built; others exist in the API alone.
    pub vpc: &'a str,
    /// What the router answers.
    pub services: &'a Services,
    /// Machines that the API knows nothing of.
    pub fixtures: &'a [Fixture],
    /// What is broken on purpose.
    pub faults: &'a Faults,
}

/// Numbers given out once and never again: a connection tracking zone, say, must not be inherited.
#[derive(Debug, Clone, Default)]
pub struct Numbers(BTreeMap<String, u16>);

impl Numbers {
    pub(super) fn of(&mut self, name: &str) -> u16 {
        let next = self.0.len() as u16 + 1;
        *self.0.entry(name.to_owned()).or_insert(next)
    }
}

/// The way from a machine to the router, through its card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// At most 12 letters that tell it from the others: what its kernel interfaces are named after.
    pub short: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its subnet's CIDR; the gateway is its first address.
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

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To a link, by its key.
    Link(String),
    /// Nowhere: packets vanish, as on AWS, and nobody is told.
    Nowhere,
}

/// A route table: its number in the kernel, and its routes but for the VPC's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The kernel's number for it.
    pub number: u32,
    /// Where each destination leads.
    pub routes: BTreeMap<Ipv4Net, Target>,
}

/// What the kernel should look like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// By interface id or fixture name.
    pub links: BTreeMap<String, Link>,
    /// Each link's number: its connection tracking zone, and its card's routing table (see [`super::script`]).
    pub numbers: BTreeMap<String, u16>,
    /// Addresses of the router's own.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// The VPC's CIDRs: what no machine has in them leads nowhere.
    pub cidrs: BTreeSet<Ipv4Net>,
    /// By route table id.
    pub tables: BTreeMap<String, Table>,
    /// Which route table each link's packets go by.
    pub rules: BTreeMap<String, String>,
    /// The firewall of the cards, for `nft -f`.
    pub cards: String,
    /// The firewall of the router, for `nft -f`.
    pub router: String,
}

/// Route tables are numbered from here in the kernel, clear of its own and of the links'.
const TABLES: u32 = 100_000;

/// What the kernel should look like, without the firewalls.
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
                // Gateways to the world lead nowhere: the lab has none.
                _ => Target::Nowhere,
            };
            routes.insert(route.destination, target);
        }
        let number = TABLES + u32::from(numbers.of(&table.id));
        tables.insert(table.id.clone(), Table { number, routes });
    }
    tables
}

/// A kernel interface's name has 15 letters at most, an interface's id more: the end of it differs most.
fn short(key: &str) -> String {
    let skip = key.chars().count().saturating_sub(12);
    key.chars().skip(skip).collect()
}

/// A locally administered MAC address, from an address.
fn mac_of(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("06:0f:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

impl Desired {
    /// The same without one link and what depends on it, as if its machine had never been.
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
