//! Reads what `init` chooses from. What only makes a better choice, the transit gateways' routes, may be unreadable.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{self, Filter, VpcPeeringConnectionVpcInfo};
use ipnet::Ipv4Net;
use templates::names::TAG_BALANCER;

use super::seen::{Claim, Peering, Place, Region, TransitRoutes, Vpc};
use crate::aws::error::{CallFailed, Named};
use crate::aws::{Aws, PAGE};
use crate::model::tags::{Tags, claimed};
use crate::resources::{gateways, instance_type, network, route_tables, security_group};

/// The nodes' instance type, if the file names no other.
const INSTANCE_TYPE: &str = "t3.small";

/// The VPC's transit gateways, and those gateways' route tables, each with its gateway.
type TransitTables = (BTreeSet<String>, Vec<(String, String)>);

/// The VPCs, subnets and balancers of the Region.
pub async fn region(aws: &Aws) -> Result<Region, CallFailed> {
    let (caller, vpcs, subnets, groups) = futures::try_join!(
        network::caller(&aws.sts),
        vpcs(&aws.ec2),
        network::all_subnets(&aws.ec2),
        security_group::tagged(&aws.ec2, TAG_BALANCER),
    )?;
    let mut region = Region { name: aws.region.clone(), account: caller.account, vpcs, subnets, ..Region::default() };
    for group in groups {
        let Some(balancer) = group.tags.balancer() else { continue };
        region.balancers.insert(balancer.to_owned());
        let claim = |address| Claim { address, balancer: balancer.to_owned(), vpc: group.vpc.clone() };
        region.claims.extend(claimed(&group.tags).into_iter().map(claim));
    }
    Ok(region)
}

/// The surroundings of a VPC.
pub async fn place(aws: &Aws, vpc: &str) -> Result<Place, CallFailed> {
    let (tables, nats, endpoints, peerings, kind, transit) = futures::try_join!(
        route_tables::find(&aws.ec2, vpc),
        gateways::nats(&aws.ec2, vpc),
        gateways::endpoints(&aws.ec2, vpc),
        peerings(&aws.ec2, vpc),
        instance_type::find(&aws.ec2, INSTANCE_TYPE),
        async { Ok(transit(&aws.ec2, vpc).await) },
    )?;
    Ok(Place { tables, nats, endpoints, peerings, transit, zones: kind.map(|kind| kind.zones) })
}

fn text(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

async fn vpcs(ec2: &Client) -> Result<Vec<Vpc>, CallFailed> {
    let pages = ec2.describe_vpcs().into_paginator().page_size(PAGE).items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeVpcs", "all VPCs")?;
    let vpc = |vpc: &types::Vpc| Vpc {
        id: text(vpc.vpc_id()),
        name: Tags::from(vpc.tags()).get("Name").map(str::to_owned),
        cidrs: network::cidrs(vpc),
        owner: text(vpc.owner_id()),
        is_default: vpc.is_default() == Some(true),
    };
    Ok(found.iter().map(vpc).collect())
}

async fn peerings(ec2: &Client, vpc: &str) -> Result<Vec<Peering>, CallFailed> {
    let pages = ec2.describe_vpc_peering_connections().into_paginator().page_size(PAGE).items().send();
    let object = format!("the peerings of {vpc}");
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeVpcPeeringConnections", object)?;
    let mut peerings = Vec::new();
    for peering in &found {
        let code = peering.status().and_then(|status| status.code()).map_or("", |code| code.as_str());
        if ["deleted", "deleting", "expired", "failed", "rejected"].contains(&code) {
            continue;
        }
        let (Some(one), Some(other)) = (peering.requester_vpc_info(), peering.accepter_vpc_info()) else { continue };
        let peer = match (one.vpc_id() == Some(vpc), other.vpc_id() == Some(vpc)) {
            (true, _) => other,
            (_, true) => one,
            _ => continue,
        };
        peerings.push(Peering { id: text(peering.vpc_peering_connection_id()), cidrs: ranges(peer) });
    }
    Ok(peerings)
}

/// The IPv4 ranges of a peering's side; AWS names them once both sides are known.
fn ranges(side: &VpcPeeringConnectionVpcInfo) -> Vec<Ipv4Net> {
    let all = side.cidr_block_set().iter().filter_map(|block| block.cidr_block()).chain(side.cidr_block());
    let mut ranges: Vec<Ipv4Net> = all.filter_map(|text| text.parse().ok()).collect();
    ranges.sort();
    ranges.dedup();
    ranges
}

/// The routes of the VPC's transit gateways, as far as this account may read them.
async fn transit(ec2: &Client, vpc: &str) -> TransitRoutes {
    let mut seen = TransitRoutes::default();
    let (gateways, tables) = match transit_tables(ec2, vpc).await {
        Ok(found) => found,
        Err(error) => {
            seen.unread.push(error.to_string());
            return seen;
        }
    };
    let with_tables: BTreeSet<&str> = tables.iter().map(|(_, gateway)| gateway.as_str()).collect();
    let others = gateways.iter().filter(|gateway| !with_tables.contains(gateway.as_str()));
    seen.unread.extend(others.map(|gateway| format!("the routes of {gateway}, which another account shares")));
    for (table, gateway) in &tables {
        match transit_routes(ec2, table).await {
            Ok((routes, is_all)) => {
                seen.routes.extend(routes.into_iter().map(|net| (net, format!("{table} of {gateway}"))));
                if !is_all {
                    seen.unread.push(format!("the routes of {table} beyond the first 1000"));
                }
            }
            Err(error) => seen.unread.push(error.to_string()),
        }
    }
    seen
}

/// Reads the transit gateways and their route tables.
async fn transit_tables(ec2: &Client, vpc: &str) -> Result<TransitTables, CallFailed> {
    let filter = Filter::builder().name("resource-id").values(vpc).build();
    let call = ec2.describe_transit_gateway_attachments().filters(filter);
    let pages = call.into_paginator().page_size(PAGE).items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeTransitGatewayAttachments", vpc)?;
    let gateways = found.iter().filter_map(|attachment| attachment.transit_gateway_id());
    let gateways: BTreeSet<String> = gateways.map(str::to_owned).collect();
    if gateways.is_empty() {
        return Ok((gateways, Vec::new()));
    }
    let ids: Vec<String> = gateways.iter().cloned().collect();
    let object = ids.join(" ");
    let filter = Filter::builder().name("transit-gateway-id").set_values(Some(ids)).build();
    let call = ec2.describe_transit_gateway_route_tables().filters(filter);
    let pages = call.into_paginator().page_size(PAGE).items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeTransitGatewayRouteTables", object)?;
    let table = |table: &types::TransitGatewayRouteTable| {
        (text(table.transit_gateway_route_table_id()), text(table.transit_gateway_id()))
    };
    Ok((gateways, found.iter().map(table).collect()))
}

/// The destinations of a transit gateway's route table, and whether these are all.
async fn transit_routes(ec2: &Client, table: &str) -> Result<(Vec<Ipv4Net>, bool), CallFailed> {
    let filter = Filter::builder().name("type").values("static").values("propagated").build();
    let call = ec2.search_transit_gateway_routes().transit_gateway_route_table_id(table).filters(filter);
    let found = call.send().await.named("ec2:SearchTransitGatewayRoutes", table)?;
    let routes = found.routes().iter().filter_map(|route| route.destination_cidr_block()?.parse().ok());
    Ok((routes.collect(), found.additional_routes_available() != Some(true)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::mock::{ec2, ec2_error};

    #[tokio::test]
    async fn transit_gateways_that_cant_be_read_are_named_with_the_permission() {
        let denied = aws_smithy_mocks::mock!(Client::describe_transit_gateway_attachments)
            .then_http_response(|| ec2_error(403, "UnauthorizedOperation", "no"));
        let seen = transit(&ec2(&[&denied]), "vpc-1").await;
        let line = "not allowed to call ec2:DescribeTransitGatewayAttachments for vpc-1";
        assert!(seen.routes.is_empty() && seen.unread.len() == 1 && seen.unread[0].starts_with(line), "{seen:?}");
    }

    #[test]
    fn the_default_instance_type_is_the_files() {
        let text = include_str!("../../../templates/goldens/small/balancer.toml");
        let lines = text.lines().filter(|line| !line.starts_with("instance_type"));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        assert_eq!(templates::Balancer::parse(&text).unwrap().instance_type, INSTANCE_TYPE);
    }
}
