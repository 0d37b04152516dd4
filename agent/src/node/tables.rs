//! Selects the route tables that get the virtual IPs' routes, and the order in which they are moved.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use aws_sdk_ec2::types::{Route as AwsRoute, RouteState, RouteTable, RouteTableAssociation};
use serde::{Deserialize, Serialize};
use templates::balancer::RouteTables;

use crate::aws::ids::{InterfaceId, TableId};
use crate::ownership::decide::Lead;
use crate::takeover::{Call, Route};

/// A route table that can hold the routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub id: TableId,
    /// Which subnets use it; tables in use sort first.
    pub serves: Serves,
    /// The virtual IPs it has a route for, and where that leads.
    pub routes: BTreeMap<Ipv4Addr, Lead>,
}

/// The users of a route table, the most certain first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Serves {
    /// Subnets that are associated with it.
    Subnets,
    /// Every subnet without an association: it is the VPC's main table.
    Rest,
    /// No subnet yet.
    NoSubnet,
}

/// The tables of the VPC that get the routes, those with users first. A table that a gateway is associated with can't
/// hold a route outside the VPC's CIDRs (AWS: "Gateway route tables").
pub fn eligible(tables: &[RouteTable], wanted: &RouteTables, vips: &[Ipv4Addr]) -> Vec<Table> {
    let mut found: Vec<Table> = tables
        .iter()
        .filter(|table| !table.associations().iter().any(is_gateways))
        .filter_map(|table| read(table, vips))
        .filter(|table| match wanted {
            RouteTables::All => true,
            RouteTables::Only(ids) => ids.contains(&table.id.0),
        })
        .collect();
    found.sort_by(|a, b| (a.serves, &a.id).cmp(&(b.serves, &b.id)));
    found
}

/// Whether it is the association of a gateway, or of a public IPv4 pool, which an internet gateway serves.
fn is_gateways(association: &RouteTableAssociation) -> bool {
    association.gateway_id().is_some() || association.public_ipv4_pool().is_some()
}

fn read(table: &RouteTable, vips: &[Ipv4Addr]) -> Option<Table> {
    let destinations: BTreeMap<String, Ipv4Addr> = vips.iter().map(|vip| (format!("{vip}/32"), *vip)).collect();
    let routes = (table.routes().iter())
        .filter_map(|route| Some((*destinations.get(route.destination_cidr_block()?)?, lead(route))));
    let associations = table.associations();
    let serves = if associations.iter().any(|association| association.subnet_id().is_some()) {
        Serves::Subnets
    } else if associations.iter().any(|association| association.main() == Some(true)) {
        Serves::Rest
    } else {
        Serves::NoSubnet
    };
    Some(Table { id: TableId(table.route_table_id()?.to_owned()), serves, routes: routes.collect() })
}

fn lead(route: &AwsRoute) -> Lead {
    match route.network_interface_id() {
        Some(interface) if route.state() != Some(&RouteState::Blackhole) => Lead::To(InterfaceId(interface.to_owned())),
        _ => Lead::Blackhole,
    }
}

/// Where the route of `vip` leads in every table.
pub fn leads(tables: &[Table], vip: Ipv4Addr) -> Vec<(TableId, Lead)> {
    let lead = |table: &Table| table.routes.get(&vip).cloned().unwrap_or(Lead::Nowhere);
    tables.iter().map(|table| (table.id.clone(), lead(table))).collect()
}

/// The interfaces that routes lead to, other than those that are `known`.
pub fn unknown(tables: &[Table], known: impl Fn(&InterfaceId) -> bool) -> Vec<InterfaceId> {
    let leads = tables.iter().flat_map(|table| table.routes.values());
    let unknown = leads.filter_map(|lead| if let Lead::To(to) = lead { Some(to) } else { None });
    let unknown: BTreeSet<&InterfaceId> = unknown.filter(|interface| !known(interface)).collect();
    unknown.into_iter().cloned().collect()
}

/// Marks the routes that lead to `strangers`.
pub fn mark(tables: &mut [Table], strangers: &BTreeSet<InterfaceId>) {
    for lead in tables.iter_mut().flat_map(|table| table.routes.values_mut()) {
        if let Lead::To(to) = lead
            && strangers.contains(to)
        {
            *lead = Lead::Stranger(to.clone());
        }
    }
}

/// The calls that point the route of `vip` here, in order. The first call is a replacement even where the last read saw
/// no route: the previous active node may have created it since.
pub fn moves(tables: &[Table], vip: Ipv4Addr) -> Vec<Route> {
    tables.iter().map(|table| Route { table: table.id.clone(), vip, first: Call::Replace }).collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::builders::RouteTableBuilder;

    use super::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 10);

    fn table(id: &str) -> RouteTableBuilder {
        RouteTable::builder().route_table_id(id)
    }

    fn subnet(id: &str) -> RouteTableAssociation {
        RouteTableAssociation::builder().subnet_id(id).main(false).build()
    }

    fn route(destination: &str) -> AwsRoute {
        AwsRoute::builder().destination_cidr_block(destination).build()
    }

    fn ids(tables: &[Table]) -> Vec<&str> {
        tables.iter().map(|table| table.id.0.as_str()).collect()
    }

    #[test]
    fn tables_with_subnets_go_first_then_main_then_unused() {
        let main = RouteTableAssociation::builder().main(true).build();
        let tables = [
            table("rtb-1").build(),
            table("rtb-2").associations(main).build(),
            table("rtb-3").associations(subnet("subnet-a")).build(),
        ];
        assert_eq!(ids(&eligible(&tables, &RouteTables::All, &[VIP])), ["rtb-3", "rtb-2", "rtb-1"]);
    }

    #[test]
    fn a_gateways_table_is_left_alone_even_if_listed() {
        let gateway = RouteTableAssociation::builder().gateway_id("igw-1").build();
        let pool = RouteTableAssociation::builder().public_ipv4_pool("ipv4pool-ec2-1").build();
        for association in [gateway, pool] {
            let tables = [table("rtb-1").associations(association).build()];
            assert!(eligible(&tables, &RouteTables::All, &[VIP]).is_empty());
            assert!(eligible(&tables, &RouteTables::Only(vec!["rtb-1".into()]), &[VIP]).is_empty());
        }
    }

    #[test]
    fn only_listed_tables_are_moved() {
        let tables = [table("rtb-1").build(), table("rtb-2").build()];
        assert_eq!(ids(&eligible(&tables, &RouteTables::Only(vec!["rtb-2".into()]), &[VIP])), ["rtb-2"]);
    }

    #[test]
    fn only_a_route_to_exactly_the_virtual_ip_counts_as_there() {
        let tables = [
            table("rtb-1").routes(route("10.255.0.10/32")).routes(route("0.0.0.0/0")).build(),
            table("rtb-2").routes(route("10.255.0.1/32")).build(),
        ];
        let tables = eligible(&tables, &RouteTables::All, &[VIP]);
        assert!(moves(&tables, VIP).iter().all(|route| route.first == Call::Replace));
        assert_eq!(moves(&tables, VIP).len(), 2);
        assert_eq!(leads(&tables, VIP), [("rtb-1".into(), Lead::Blackhole), ("rtb-2".into(), Lead::Nowhere)]);
    }

    #[test]
    fn a_route_to_an_interface_that_is_gone_is_a_blackhole() {
        let to = |state| {
            let route = AwsRoute::builder().destination_cidr_block("10.255.0.10/32").network_interface_id("eni-1");
            let read = [table("rtb-1").routes(route.state(state).build()).build()];
            leads(&eligible(&read, &RouteTables::All, &[VIP]), VIP)[0].1.clone()
        };
        assert_eq!(to(RouteState::Active), Lead::To("eni-1".into()));
        assert_eq!(to(RouteState::Blackhole), Lead::Blackhole);
    }

    #[test]
    fn unknown_interfaces_are_found_and_strangers_marked() {
        let to = |interface: &str| Lead::To(interface.into());
        let table = |id: &str, lead| Table { id: id.into(), serves: Serves::Rest, routes: [(VIP, lead)].into() };
        let mut tables = [
            table("rtb-1", to("eni-1")),
            table("rtb-2", to("eni-9")),
            table("rtb-3", to("eni-9")),
            table("rtb-4", to("eni-8")),
        ];
        let unknown = unknown(&tables, |interface| *interface == "eni-1".into());
        assert_eq!(unknown, ["eni-8".into(), "eni-9".into()]);
        mark(&mut tables, &["eni-9".into()].into());
        let leads: Vec<Lead> = leads(&tables, VIP).into_iter().map(|(_, lead)| lead).collect();
        let stranger = || Lead::Stranger("eni-9".into());
        assert_eq!(leads, [to("eni-1"), stranger(), stranger(), to("eni-8")]);
    }
}
