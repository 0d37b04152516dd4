//! The nodes' ways out of their subnets: to the APIs of AWS and to the internet. Pure.
//!
//! A takeover calls the EC2 API from the zone that survives, so each subnet needs a way within its own zone. With a NAT
//! gateway or an interface endpoint in one zone only, losing that zone stops takeovers.

use std::collections::BTreeSet;

use templates::balancer::Launch;

use super::case::Case;
use super::facts::{Endpoint, Facts, Nat};
use super::finding::{Finding, or_ok, with};
use super::ids::Id;
use super::targets::{Admits, Nodes, admits};
use crate::aws::error::CallFailed;
use crate::resources::network::Subnet;
use crate::resources::route_tables::{Route, Table, of_subnet};

/// HTTPS, on which AWS's APIs listen.
const HTTPS: u16 = 443;

/// How a subnet reaches something.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// Through this, in the subnet's own zone or in all zones.
    Own(String),
    /// Through this, in another zone.
    OtherZone(String),
    /// Through this; whether it leads there can't be read.
    Unclear(String),
    /// Not at all, because of this.
    Nowhere(String),
}

/// Whether every subnet reaches the EC2 API, without which no node moves a route.
pub fn ec2_api(case: &Case<'_>) -> Vec<Finding> {
    api(case, Id::SubnetApi, "ec2", "the EC2 API")
}

/// Whether every subnet reaches the Auto Scaling API, if a group launches the nodes: there a node completes its lifecycle
/// hooks.
pub fn auto_scaling_api(case: &Case<'_>) -> Vec<Finding> {
    match case.balancer.launch {
        Launch::Instances => Vec::new(),
        Launch::AutoScaling => api(case, Id::AutoScalingApi, "autoscaling", "the Auto Scaling API"),
    }
}

fn api(case: &Case<'_>, id: Id, service: &str, called: &str) -> Vec<Finding> {
    let net = match Net::of(case) {
        Ok(net) => net,
        Err(error) => return vec![Finding::unread(id, error)],
    };
    let region = &case.place.region;
    let (mut findings, mut ways) = (Vec::new(), Vec::new());
    for subnet in &net.subnets {
        let Subnet { id: subnet_id, zone, .. } = subnet;
        let add =
            format!("add a NAT gateway in {zone}, or an interface endpoint for {service} in {zone} with private DNS");
        match net.to_service(subnet, region, service) {
            Way::Own(through) => ways.push(format!("{subnet_id}: {through}")),
            Way::OtherZone(through) => findings.push(Finding::warning(
                id,
                format!(
                    "{subnet_id} ({zone}) reaches {called} through {through}: if that zone fails, {zone} loses it too"
                ),
                add,
            )),
            Way::Unclear(through) => findings.push(Finding::unknown(
                id,
                format!("{subnet_id} ({zone}) may reach {called} through {through}"),
                format!("check from a machine in {subnet_id}: curl https://{service}.{region}.amazonaws.com"),
            )),
            Way::Nowhere(why) => {
                findings.push(Finding::problem(id, format!("{subnet_id} ({zone}) has no way to {called}: {why}"), add))
            }
        }
    }
    or_ok(id, findings, format!("every subnet reaches {called} in its own zone ({})", ways.join(", ")))
}

/// Whether the subnets reach the internet. A node gets packages from there unless its image has them, and maybe the agent.
pub fn internet(case: &Case<'_>) -> Vec<Finding> {
    let net = match Net::of(case) {
        Ok(net) => net,
        Err(error) => return vec![Finding::unread(Id::Internet, error)],
    };
    let without = net.subnets.iter().filter(|subnet| !matches!(net.by_route(subnet), Way::Own(_) | Way::OtherZone(_)));
    let without: Vec<&str> = without.map(|subnet| subnet.id.as_str()).collect();
    let unclear = (!without.is_empty()).then(|| {
        Finding::unknown(
            Id::Internet,
            format!("{} reach no internet that doctor can see", without.join(", ")),
            "check that nodes reach the agent's address, and packages unless the image has haproxy and keepalived",
        )
    });
    or_ok(Id::Internet, unclear.into_iter().collect(), "every subnet reaches the internet")
}

/// Whether the interface endpoints that the nodes use admit them.
pub fn endpoint_groups(case: &Case<'_>) -> Vec<Finding> {
    let net = match Net::of(case) {
        Ok(net) => net,
        Err(error) => return vec![Finding::unread(Id::EndpointGroups, error)],
    };
    let services: &[&str] = match case.balancer.launch {
        Launch::Instances => &["ec2"],
        Launch::AutoScaling => &["ec2", "autoscaling"],
    };
    let used = services.iter().flat_map(|service| net.endpoints(&case.place.region, service));
    let used: Vec<&Endpoint> = used.filter(|endpoint| endpoint.private_dns && !endpoint.groups.is_empty()).collect();
    if used.is_empty() {
        return Vec::new();
    }
    with(Id::EndpointGroups, &case.facts.groups, |groups| {
        let nodes = Nodes::of(case);
        let closed = used.iter().filter_map(|endpoint| {
            let own = groups.iter().filter(|group| endpoint.groups.contains(&group.id)).collect::<Vec<_>>();
            let Endpoint { id, service, .. } = endpoint;
            let add = format!("allow tcp {HTTPS} from {} in {}", nodes.called(), endpoint.groups.join(" or "));
            match admits(&own, HTTPS, &nodes) {
                Admits::Yes => None,
                Admits::No => Some(Finding::problem(
                    Id::EndpointGroups,
                    format!("{id} ({service}) doesn't admit the nodes: its security group has no rule for tcp {HTTPS}"),
                    add,
                )),
                Admits::Unclear => Some(Finding::unknown(
                    Id::EndpointGroups,
                    format!("{id} ({service}) may not admit all nodes on tcp {HTTPS}"),
                    add,
                )),
            }
        });
        or_ok(Id::EndpointGroups, closed.collect(), "the interface endpoints admit the nodes")
    })
}

/// What decides about ways out, all of it read.
struct Net<'a> {
    subnets: Vec<&'a Subnet>,
    all: &'a [Subnet],
    tables: &'a [Table],
    nats: &'a [Nat],
    endpoints: &'a [Endpoint],
}

impl<'a> Net<'a> {
    fn of(case: &Case<'a>) -> Result<Net<'a>, &'a CallFailed> {
        let Facts { nats, endpoints, .. } = case.facts;
        Ok(Net {
            subnets: case.subnets(),
            all: &case.place.subnets,
            tables: &case.place.tables,
            nats: nats.as_ref()?,
            endpoints: endpoints.as_ref()?,
        })
    }

    /// The interface endpoints for a service.
    fn endpoints(&self, region: &str, service: &str) -> Vec<&'a Endpoint> {
        self.endpoints.iter().filter(|endpoint| endpoint.serves(region, service)).collect()
    }

    /// An endpoint with private DNS takes all calls of the VPC. Otherwise the subnet's routes decide.
    fn to_service(&self, subnet: &Subnet, region: &str, service: &str) -> Way {
        let zones = |endpoint: &Endpoint| -> BTreeSet<&str> {
            let within = self.all.iter().filter(|subnet| endpoint.subnets.contains(&subnet.id));
            within.map(|subnet| subnet.zone.as_str()).collect()
        };
        let endpoints = self.endpoints(region, service);
        let mut named = endpoints.iter().filter(|endpoint| endpoint.private_dns);
        if let Some(own) = named.clone().find(|endpoint| zones(endpoint).contains(subnet.zone.as_str())) {
            return Way::Own(own.id.clone());
        }
        if let Some(other) = named.next() {
            let zones: Vec<&str> = zones(other).into_iter().collect();
            return Way::OtherZone(format!("{} in {}", other.id, zones.join(", ")));
        }
        match (self.by_route(subnet), endpoints.first()) {
            (Way::Nowhere(_), Some(nameless)) => Way::Unclear(format!("{}, which has no private DNS", nameless.id)),
            (way, _) => way,
        }
    }

    /// The way to public addresses by the subnet's table.
    fn by_route(&self, subnet: &Subnet) -> Way {
        let Some(table) = of_subnet(self.tables, &subnet.id) else {
            return Way::Unclear("a route table that doctor can't see".to_owned());
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
        if !target.starts_with("nat-") {
            return Way::Unclear(format!("{target} (route of {})", table.id));
        }
        let Some(nat) = self.nats.iter().find(|nat| nat.id == target) else {
            return Way::Nowhere(format!("{} leads to {target}, which isn't available", table.id));
        };
        let zone = nat.subnet.as_ref().and_then(|id| self.all.iter().find(|subnet| subnet.id == *id));
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
