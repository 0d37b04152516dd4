//! What AWS has, as far as `init` chooses from it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::resources::gateways::{Endpoint, Nat};
use crate::resources::network::Subnet;
use crate::resources::route_tables::{self, Table};

/// A Region of an account.
#[derive(Debug, Clone, Default)]
pub struct Region {
    pub name: String,
    /// The caller's account.
    pub account: String,
    pub vpcs: Vec<Vpc>,
    /// The subnets of all VPCs.
    pub subnets: Vec<Subnet>,
    /// The names of all balancers.
    pub balancers: BTreeSet<String>,
    pub claims: Vec<Claim>,
}

/// A virtual IP of a balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub address: Ipv4Addr,
    pub balancer: String,
    pub vpc: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vpc {
    /// `vpc-…`
    pub id: String,
    /// Its tag `Name`.
    pub name: Option<String>,
    /// All of its IPv4 ranges.
    pub cidrs: Vec<Ipv4Net>,
    /// The account that owns it.
    pub owner: String,
    /// Whether AWS made it.
    pub is_default: bool,
}

impl Vpc {
    /// Whether the address lies inside.
    pub fn holds(&self, address: Ipv4Addr) -> bool {
        self.cidrs.iter().any(|cidr| cidr.contains(&address))
    }
}

impl fmt::Display for Vpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_ref().map(|name| format!("{name}, ")).unwrap_or_default();
        let cidrs: Vec<String> = self.cidrs.iter().map(Ipv4Net::to_string).collect();
        write!(f, "{} ({name}{})", self.id, cidrs.join(" "))
    }
}

/// A peering of the VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peering {
    /// `pcx-…`
    pub id: String,
    /// The other VPC's IPv4 ranges.
    pub cidrs: Vec<Ipv4Net>,
}

/// The routes of the VPC's transit gateways.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransitRoutes {
    /// Each destination, with its route table.
    pub routes: Vec<(Ipv4Net, String)>,
    /// What couldn't be read, a line each.
    pub unread: Vec<String>,
}

/// A VPC's surroundings.
#[derive(Debug, Clone, Default)]
pub struct Place {
    pub tables: Vec<Table>,
    pub nats: Vec<Nat>,
    pub endpoints: Vec<Endpoint>,
    pub peerings: Vec<Peering>,
    pub transit: TransitRoutes,
    /// The zones that have the nodes' instance type; none if unknown.
    pub zones: Option<BTreeSet<String>>,
}

impl Place {
    /// The route table that a subnet uses.
    pub fn table(&self, subnet: &str) -> Option<&Table> {
        route_tables::of_subnet(&self.tables, subnet)
    }
}
