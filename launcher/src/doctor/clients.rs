//! Which clients outside the VPC reach the virtual IPs. Pure.
//!
//! A transit gateway carries packets to an address outside the VPC's CIDRs if its route table has a static route.
//! Peering connections and virtual private gateways carry none (AWS VPC peering guide, "VPC peering basics"; VPC user
//! guide, "Gateway route tables").

use std::net::Ipv4Addr;

use templates::balancer::RouteTables;

use super::case::Case;
use super::facts::Read;
use super::finding::Finding;
use super::ids::Id;

/// Tables of gateways can't hold the virtual IPs' routes. The preflight refuses listed ones.
pub fn edge_tables(case: &Case<'_>) -> Vec<Finding> {
    let edges = case.place.tables.iter().filter(|table| !table.gateways.is_empty());
    let edges: Vec<String> = edges.map(|table| format!("{} of {}", table.id, table.gateways.join(", "))).collect();
    let seen = match (&edges[..], &case.balancer.route_tables) {
        ([], _) => "no route table belongs to a gateway".to_owned(),
        (_, RouteTables::Only(_)) => "the listed route tables belong to no gateway".to_owned(),
        (edges, RouteTables::All) => format!("{} can't hold the routes and are left out", edges.join(", ")),
    };
    vec![Finding::ok(Id::EdgeTables, seen)]
}

/// The VPC's connections to other networks.
pub fn connections(case: &Case<'_>) -> Vec<Finding> {
    let vips: Vec<String> = case.balancer.virtual_ips.iter().map(Ipv4Addr::to_string).collect();
    let vips = vips.join(", ");
    let vpc = &case.balancer.vpc;
    let routes: Vec<String> = case.balancer.virtual_ips.iter().map(|vip| format!("{vip}/32")).collect();
    let only = "it carries the VPC's own addresses only";
    let move_them = "let these clients come through a transit gateway, or run a balancer in their VPC".to_owned();
    [
        connection(Id::TransitGateways, &case.facts.transit_gateways, |ids| {
            (
                format!("clients behind {ids} reach {vips} only by a static route"),
                format!("add a static route for {} to the attachment of {vpc} in its route tables", routes.join(", ")),
            )
        }),
        connection(Id::Peerings, &case.facts.peerings, |ids| {
            (format!("clients behind {ids} can't reach {vips}: {only}"), move_them.clone())
        }),
        connection(Id::PrivateGateways, &case.facts.private_gateways, |ids| {
            (format!("clients behind {ids} (VPN, Direct Connect) can't reach {vips}: {only}"), move_them.clone())
        }),
    ]
    .into()
}

/// A warning with what is seen and what to do, if there are connections of this kind.
fn connection(id: Id, read: &Read<Vec<String>>, says: impl FnOnce(String) -> (String, String)) -> Finding {
    match read {
        Err(error) => Finding::unread(id, error),
        Ok(ids) if ids.is_empty() => Finding::ok(id, "the VPC has none"),
        Ok(ids) => {
            let (seen, remedy) = says(ids.join(", "));
            Finding::warning(id, seen, remedy)
        }
    }
}
