//! A subnet's ways out: to the APIs of AWS and to the internet. Pure.

use std::collections::BTreeSet;

use crate::resources::gateways::{Endpoint, Nat};
use crate::resources::network::Subnet;
use crate::resources::route_tables::{Route, Table, of_subnet};

/// How a subnet reaches something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Through this, in the subnet's own zone or in all zones.
    Own(String),
    /// Through this, in another zone.
    OtherZone(String),
    /// Through this; whether it leads there can't be read.
    Unclear(String),
    /// Not at all, because of this.
    Nowhere(String),
}

/// What decides about the ways out of a VPC's subnets.
#[derive(Debug, Clone, Copy)]
pub struct Net<'a> {
    pub region: &'a str,
    /// At least all subnets of the VPC.
    pub subnets: &'a [Subnet],
    /// All route tables of the VPC.
    pub tables: &'a [Table],
    /// The VPC's NAT gateways that are available.
    pub nats: &'a [Nat],
    /// The VPC's endpoints that are available.
    pub endpoints: &'a [Endpoint],
}

impl<'a> Net<'a> {
    /// The interface endpoints for a service.
    pub fn endpoints(&self, service: &str) -> Vec<&'a Endpoint> {
        self.all_endpoints(service).filter(|endpoint| endpoint.interface).collect()
    }

    fn all_endpoints(&self, service: &str) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints.iter().filter(move |endpoint| endpoint.serves(self.region, service))
    }

    /// An interface endpoint with private DNS takes all calls of the VPC. Otherwise the subnet's routes decide.
    pub fn to_service(&self, subnet: &Subnet, service: &str) -> Way {
        let zones = |endpoint: &Endpoint| -> BTreeSet<&str> {
            let within = self.subnets.iter().filter(|subnet| endpoint.subnets.contains(&subnet.id));
            within.map(|subnet| subnet.zone.as_str()).collect()
        };
        let endpoints = self.endpoints(service);
        let mut named = endpoints.iter().filter(|endpoint| endpoint.private_dns);
        if let Some(own) = named.clone().find(|endpoint| zones(endpoint).contains(subnet.zone.as_str())) {
            return Way::Own(own.id.clone());
        }
        if let Some(other) = named.next() {
            let zones: Vec<&str> = zones(other).into_iter().collect();
            return Way::OtherZone(format!("{} in {}", other.id, zones.join(", ")));
        }
        match (self.to_public(subnet, service), endpoints.first()) {
            (Way::Nowhere(_), Some(nameless)) => {
                Way::Unclear(format!("{}, with no private DNS that serves this VPC", nameless.id))
            }
            (way, _) => way,
        }
    }

    /// The way to the service's public addresses, which a gateway endpoint leads to, too.
    pub fn to_public(&self, subnet: &Subnet, service: &str) -> Way {
        let table = of_subnet(self.tables, &subnet.id);
        let is_here = |endpoint: &&Endpoint| table.is_some_and(|table| endpoint.tables.contains(&table.id));
        match self.all_endpoints(service).find(is_here) {
            Some(gateway) => Way::Own(gateway.id.clone()),
            None => self.by_route(subnet),
        }
    }

    /// The way to public addresses by the subnet's table.
    pub fn by_route(&self, subnet: &Subnet) -> Way {
        let Some(table) = of_subnet(self.tables, &subnet.id) else {
            return Way::Unclear("a route table that isn't visible".to_owned());
        };
        let leads = |route: &&Route| !route.blackhole && route.target.as_deref().is_some_and(leads_out);
        let default = table.routes.iter().find(|route| route.destination == "0.0.0.0/0");
        match default {
            Some(route) if route.blackhole => Way::Nowhere(format!("the default route of {} is a blackhole", table.id)),
            Some(route) => self.through(subnet, table, route.target.as_deref().unwrap_or_default()),
            // Routes to parts of the internet, such as a prefix list.
            None => match table.routes.iter().find(|route| leads(route) && !route.destination.ends_with("/32")) {
                Some(Route { destination, .. }) => Way::Unclear(format!("the route to {destination} of {}", table.id)),
                None => Way::Nowhere(format!("{} has no default route", table.id)),
            },
        }
    }

    fn through(&self, subnet: &Subnet, table: &Table, target: &str) -> Way {
        if target.starts_with("igw-") {
            return match subnet.public {
                true => Way::Own(target.to_owned()),
                false => Way::Nowhere(format!(
                    "{} leads to {target}, and instances in {} get no public address",
                    table.id, subnet.id
                )),
            };
        }
        // A peering passes only traffic for the other VPC (VPC peering guide, "VPC peering limitations").
        if target.starts_with("pcx-") {
            return Way::Nowhere(format!(
                "{} leads to {target}, which carries traffic for its other VPC only",
                table.id
            ));
        }
        if !target.starts_with("nat-") {
            return Way::Unclear(format!("{target} (route of {})", table.id));
        }
        let Some(nat) = self.nats.iter().find(|nat| nat.id == target) else {
            return Way::Nowhere(format!("{} leads to {target}, which isn't available", table.id));
        };
        let zone = nat.subnet.as_ref().and_then(|id| self.subnets.iter().find(|subnet| subnet.id == *id));
        match zone.map(|subnet| subnet.zone.as_str()) {
            _ if !nat.public => Way::Unclear(format!("{target}, a private NAT gateway")),
            Some(zone) if zone != subnet.zone => Way::OtherZone(format!("{target} in {zone}")),
            _ => Way::Own(target.to_owned()),
        }
    }
}

/// Whether a route's target may lead out of the VPC. Gateway endpoints lead to one service only.
fn leads_out(target: &str) -> bool {
    ["nat-", "igw-", "tgw-", "vgw-", "lgw-", "cagw-", "i-"].iter().any(|kind| target.starts_with(kind))
}
