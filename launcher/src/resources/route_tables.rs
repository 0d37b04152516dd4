//! Route tables: those that can hold a virtual IP's route, and where such routes lead.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Route as Ec2Route, RouteOrigin, RouteState, RouteTable as Ec2Table};
use templates::balancer::RouteTables;

use crate::aws::PAGE;
use crate::aws::error::{CallFailed, Named};
use crate::model::tags::Tags;

/// A route table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// `rtb-…`
    pub id: String,
    /// Its tag `Name`, which a main table often lacks.
    pub name: Option<String>,
    /// Whether subnets without an association use it.
    pub is_main: bool,
    /// The associated subnets.
    pub subnets: Vec<String>,
    /// The associated gateways, and public IPv4 pools, which an internet gateway serves. With one, the table can't hold a
    /// route outside the VPC's CIDRs (AWS VPC user guide, "Gateway route tables").
    pub gateways: Vec<String>,
    pub tags: Tags,
    pub routes: Vec<Route>,
    /// The number of its routes that don't count for the quota of IPv4 routes: those for IPv6, and propagated ones.
    pub uncounted: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// A CIDR, or a prefix list's id.
    pub destination: String,
    /// Where it leads: an interface, or any other id.
    pub target: Option<String>,
    /// Whether its target is gone.
    pub blackhole: bool,
}

impl Table {
    /// The route to a virtual IP.
    pub fn route(&self, vip: Ipv4Addr) -> Option<&Route> {
        let destination = format!("{vip}/32");
        self.routes.iter().find(|route| route.destination == destination)
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} ({name})", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

/// The tables that hold the virtual IPs' routes. The preflight reports listed ones that don't exist.
pub fn eligible<'a>(tables: &'a [Table], wanted: &RouteTables) -> Vec<&'a Table> {
    let holds = |table: &&Table| match wanted {
        RouteTables::All => table.gateways.is_empty(),
        RouteTables::Only(ids) => ids.contains(&table.id),
    };
    tables.iter().filter(holds).collect()
}

/// The table that a subnet uses.
pub fn of_subnet<'a>(tables: &'a [Table], subnet: &str) -> Option<&'a Table> {
    let associated = tables.iter().find(|table| table.subnets.iter().any(|id| id == subnet));
    associated.or_else(|| tables.iter().find(|table| table.is_main))
}

/// The routes that a balancer leaves behind, as table and destination: `/32` routes to its own interfaces, and
/// blackholes of its virtual IPs.
pub fn left_behind(tables: &[Table], vips: &[Ipv4Addr], own: &BTreeSet<&str>) -> Vec<(String, String)> {
    let vips: BTreeSet<String> = vips.iter().map(|vip| format!("{vip}/32")).collect();
    let mut found = Vec::new();
    for table in tables {
        for route in table.routes.iter().filter(|route| route.destination.ends_with("/32")) {
            let ours = route.target.as_deref().is_some_and(|target| own.contains(target));
            if ours || (route.blackhole && vips.contains(&route.destination)) {
                found.push((table.id.clone(), route.destination.clone()));
            }
        }
    }
    found
}

/// Every table of the VPC.
pub async fn find(ec2: &Client, vpc: &str) -> Result<Vec<Table>, CallFailed> {
    let filter = Filter::builder().name("vpc-id").values(vpc).build();
    let pages = ec2.describe_route_tables().filters(filter).into_paginator().page_size(PAGE).items().send();
    let tables = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeRouteTables", vpc)?;
    let mut tables: Vec<Table> = tables.iter().map(table).collect();
    tables.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(tables)
}

fn table(table: &Ec2Table) -> Table {
    let associations = table.associations();
    let gateways = associations.iter().filter_map(|one| one.gateway_id().or(one.public_ipv4_pool()));
    let tags = Tags::from(table.tags());
    Table {
        id: table.route_table_id().unwrap_or_default().to_owned(),
        name: tags.get("Name").map(str::to_owned),
        is_main: associations.iter().any(|one| one.main() == Some(true)),
        subnets: associations.iter().filter_map(|one| one.subnet_id()).map(str::to_owned).collect(),
        gateways: gateways.map(str::to_owned).collect(),
        tags,
        routes: table.routes().iter().map(route).collect(),
        uncounted: table.routes().iter().filter(|route| !counts(route)).count(),
    }
}

/// Whether the route counts for the quota of IPv4 routes (VPC user guide, "Amazon VPC quotas").
fn counts(route: &Ec2Route) -> bool {
    route.origin() != Some(&RouteOrigin::EnableVgwRoutePropagation) && route.destination_ipv6_cidr_block().is_none()
}

fn route(route: &Ec2Route) -> Route {
    let destination = route.destination_cidr_block().or(route.destination_ipv6_cidr_block());
    let target = route
        .network_interface_id()
        .or(route.gateway_id())
        .or(route.nat_gateway_id())
        .or(route.transit_gateway_id())
        .or(route.vpc_peering_connection_id())
        .or(route.local_gateway_id())
        .or(route.carrier_gateway_id())
        .or(route.instance_id());
    Route {
        destination: destination.or(route.destination_prefix_list_id()).unwrap_or_default().to_owned(),
        target: target.map(str::to_owned),
        blackhole: route.state() == Some(&RouteState::Blackhole),
    }
}

/// Deletes a route. An absent route is no error.
pub async fn delete_route(ec2: &Client, table: &str, destination: &str) -> Result<(), CallFailed> {
    let call = ec2.delete_route().route_table_id(table).destination_cidr_block(destination);
    crate::aws::error::found(call.send().await.named("ec2:DeleteRoute", format!("{destination} in {table}"))).map(drop)
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::RouteTableAssociation;

    use super::*;
    use crate::aws::mock::{ec2, ec2_error};

    fn with_route(id: &str, target: &str, blackhole: bool) -> Table {
        let route = Route { destination: "10.255.0.10/32".to_owned(), target: Some(target.to_owned()), blackhole };
        Table { id: id.to_owned(), routes: vec![route], ..Table::default() }
    }

    #[tokio::test]
    async fn deleting_an_absent_route_is_no_error() {
        let answers = |status, code: &'static str| {
            aws_smithy_mocks::mock!(Client::delete_route).then_http_response(move || ec2_error(status, code, "no"))
        };
        let gone = answers(400, "InvalidRoute.NotFound");
        assert!(delete_route(&ec2(&[&gone]), "rtb-1", "10.255.0.10/32").await.is_ok());
        let denied = answers(403, "UnauthorizedOperation");
        let error = delete_route(&ec2(&[&denied]), "rtb-1", "10.255.0.10/32").await.unwrap_err();
        let line = "not allowed to call ec2:DeleteRoute for 10.255.0.10/32 in rtb-1";
        assert!(error.to_string().starts_with(line), "{error}");
    }

    #[test]
    fn tables_of_a_gateway_are_left_out_unless_listed() {
        let plain = Table { id: "rtb-1".into(), ..Table::default() };
        let edge = Table { gateways: vec!["igw-1".into()], id: "rtb-2".into(), ..plain.clone() };
        let tables = [plain.clone(), edge.clone()];
        assert_eq!(eligible(&tables, &RouteTables::All), [&plain]);
        assert_eq!(eligible(&tables, &RouteTables::Only(vec!["rtb-2".into()])), [&edge]);
    }

    #[test]
    fn a_table_of_a_gateway_or_of_a_public_ipv4_pool_is_a_gateways() {
        let is_gateways =
            |association| !table(&Ec2Table::builder().associations(association).build()).gateways.is_empty();
        let association = RouteTableAssociation::builder;
        assert!(is_gateways(association().gateway_id("igw-1").build()));
        assert!(is_gateways(association().public_ipv4_pool("ipv4pool-ec2-1").build()));
        assert!(!is_gateways(association().subnet_id("subnet-a").build()));
    }

    #[test]
    fn propagated_routes_and_those_for_ipv6_do_not_count_for_the_quota() {
        let plain = Ec2Route::builder().destination_cidr_block("10.0.0.0/16").build();
        let ipv6 = Ec2Route::builder().destination_ipv6_cidr_block("::/0").build();
        let propagated = Ec2Route::builder()
            .destination_cidr_block("10.9.0.0/16")
            .origin(RouteOrigin::EnableVgwRoutePropagation)
            .build();
        let found = table(&Ec2Table::builder().routes(plain).routes(ipv6).routes(propagated).build());
        assert_eq!((found.routes.len(), found.uncounted), (3, 2));
    }

    #[test]
    fn only_own_and_dead_routes_are_left_behind() {
        let tables = [
            with_route("rtb-1", "eni-own", false),
            with_route("rtb-2", "eni-other", false),
            with_route("rtb-3", "eni-gone", true),
        ];
        let own = BTreeSet::from(["eni-own"]);
        let here: Vec<String> =
            left_behind(&tables, &[Ipv4Addr::new(10, 255, 0, 10)], &own).into_iter().map(|(table, _)| table).collect();
        assert_eq!(here, ["rtb-1", "rtb-3"]);
        let elsewhere = left_behind(&tables, &[Ipv4Addr::new(10, 255, 0, 99)], &own);
        assert_eq!(elsewhere, [("rtb-1".to_owned(), "10.255.0.10/32".to_owned())]);
    }
}
