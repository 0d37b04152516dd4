//! Where the probes run: a VPC made for the run, or a given one with two subnets.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{AttributeBooleanValue, Filter, InstanceType, LocationType, ResourceType, RouteTable, Subnet};
use ipnet::Ipv4Net;
use launcher::aws::error::{CallFailed, Named};
use launcher::aws::retry::pause;

use crate::names::Run;

const CIDR: &str = "10.213.0.0/16";
const SUBNETS: [&str; 2] = ["10.213.1.0/24", "10.213.2.0/24"];
/// EC2 shows a new resource after a while ("eventual consistency").
const NEW: Duration = Duration::from_secs(30);

/// A VPC with two subnets.
#[derive(Debug, Clone)]
pub struct Site {
    pub vpc: String,
    /// The VPC's CIDR blocks.
    pub cidrs: Vec<String>,
    /// One in each of two zones.
    pub subnets: [String; 2],
    /// The route table of the first subnet, which the prober's packets follow.
    pub table: String,
}

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// Repeats a call about a new resource while EC2 doesn't know it.
pub async fn once_known<T>(call: impl AsyncFn() -> Result<T, CallFailed>) -> Result<T, CallFailed> {
    let deadline = Instant::now() + NEW;
    loop {
        match call().await {
            Err(error) if error.is_absent() && Instant::now() < deadline => pause(Duration::from_secs(1)).await,
            outcome => return outcome,
        }
    }
}

/// Reads a VPC and its subnets. The run's virtual IPs must be outside of it.
pub async fn read(ec2: &Client, run: &Run, vpc: &str, subnets: &[String]) -> Result<Site> {
    let [first, second] = subnets else { anyhow::bail!("--subnets: name two subnets, not {}", subnets.len()) };
    let vpcs =
        once_known(async || ec2.describe_vpcs().vpc_ids(vpc).send().await.named("ec2:DescribeVpcs", vpc)).await?;
    let found = vpcs.vpcs().first().with_context(|| format!("{vpc}: no such VPC"))?;
    let blocks = found.cidr_block_association_set().iter().filter_map(|block| block.cidr_block());
    let cidrs: Vec<String> = blocks.map(str::to_owned).collect();
    for address in [run.virtual_ip(), run.balancer_ip()] {
        let inside = cidrs.iter().find(|cidr| cidr.parse::<Ipv4Net>().is_ok_and(|cidr| cidr.contains(&address)));
        ensure!(
            inside.is_none(),
            "{vpc}: its CIDR block {} contains {address}; use another VPC",
            inside.expect("it is")
        );
    }
    let subnets = once_known(async || {
        let call = ec2.describe_subnets().subnet_ids(first).subnet_ids(second);
        call.send().await.named("ec2:DescribeSubnets", format!("{first} {second}"))
    })
    .await?;
    check(vpc, subnets.subnets())?;
    let table = table(ec2, vpc, first).await?;
    Ok(Site { vpc: vpc.to_owned(), cidrs, subnets: [first.clone(), second.clone()], table })
}

/// The subnet's route table. EC2 shows that of a new VPC after a while.
async fn table(ec2: &Client, vpc: &str, subnet: &str) -> Result<String> {
    let deadline = Instant::now() + NEW;
    loop {
        let tables = ec2.describe_route_tables().filters(filter("vpc-id", vpc)).into_paginator().items().send();
        let tables = tables.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeRouteTables", vpc)?;
        if let Some(table) = table_of(&tables, subnet) {
            return Ok(table);
        }
        ensure!(Instant::now() < deadline, "{subnet}: no route table");
        pause(Duration::from_secs(1)).await;
    }
}

fn check(vpc: &str, subnets: &[Subnet]) -> Result<()> {
    for subnet in subnets {
        let (id, of) = (subnet.subnet_id().unwrap_or_default(), subnet.vpc_id().unwrap_or_default());
        ensure!(of == vpc, "{id}: a subnet of {of}, not of {vpc}");
    }
    let zones: Vec<_> = subnets.iter().map(|subnet| subnet.availability_zone()).collect();
    ensure!(zones.len() == 2 && zones[0] != zones[1], "--subnets: name subnets in two availability zones");
    Ok(())
}

/// The subnet's own table, or the VPC's main one.
fn table_of(tables: &[RouteTable], subnet: &str) -> Option<String> {
    let with = |matches: &dyn Fn(&aws_sdk_ec2::types::RouteTableAssociation) -> bool| {
        let found = tables.iter().find(|table| table.associations().iter().any(matches));
        found.and_then(|table| table.route_table_id()).map(str::to_owned)
    };
    with(&|association| association.subnet_id() == Some(subnet)).or_else(|| with(&|a| a.main() == Some(true)))
}

/// Makes a VPC with two subnets, where each instance has a public address and reaches the internet.
pub async fn make(ec2: &Client, run: &Run, region: &str) -> Result<Site> {
    let zones = zones(ec2, region).await?;
    let tags = |kind| run.tags().specification(kind);
    let made = ec2.create_vpc().cidr_block(CIDR).tag_specifications(tags(ResourceType::Vpc));
    let made = made.send().await.named("ec2:CreateVpc", CIDR)?;
    let vpc = made.vpc().and_then(|vpc| vpc.vpc_id()).context("CreateVpc: an answer without an id")?.to_owned();
    let made = ec2.create_internet_gateway().tag_specifications(tags(ResourceType::InternetGateway));
    let made = made.send().await.named("ec2:CreateInternetGateway", &run.id)?;
    let gateway = made.internet_gateway().and_then(|gateway| gateway.internet_gateway_id());
    let gateway = gateway.context("CreateInternetGateway: an answer without an id")?.to_owned();
    once_known(async || {
        let call = ec2.attach_internet_gateway().internet_gateway_id(&gateway).vpc_id(&vpc);
        call.send().await.named("ec2:AttachInternetGateway", &gateway)
    })
    .await?;
    let mut subnets = Vec::new();
    for (zone, cidr) in zones.iter().zip(SUBNETS) {
        subnets.push(subnet(ec2, run, &vpc, zone, cidr).await?);
    }
    let site = read(ec2, run, &vpc, &subnets).await?;
    let call = ec2.create_route().route_table_id(&site.table).destination_cidr_block("0.0.0.0/0").gateway_id(&gateway);
    call.send().await.named("ec2:CreateRoute", &site.table)?;
    Ok(site)
}

async fn subnet(ec2: &Client, run: &Run, vpc: &str, zone: &str, cidr: &str) -> Result<String> {
    let made = once_known(async || {
        let call = ec2.create_subnet().vpc_id(vpc).availability_zone(zone).cidr_block(cidr);
        call.tag_specifications(run.tags().specification(ResourceType::Subnet))
            .send()
            .await
            .named("ec2:CreateSubnet", zone)
    })
    .await?;
    let id = made.subnet().and_then(|subnet| subnet.subnet_id()).context("CreateSubnet: an answer without an id")?;
    let public = AttributeBooleanValue::builder().value(true).build();
    once_known(async || {
        let call = ec2.modify_subnet_attribute().subnet_id(id).map_public_ip_on_launch(public.clone());
        call.send().await.named("ec2:ModifySubnetAttribute", id)
    })
    .await?;
    Ok(id.to_owned())
}

/// Two zones of the Region that offer the nodes' instance type.
async fn zones(ec2: &Client, region: &str) -> Result<Vec<String>> {
    let kind = InstanceType::T3Small;
    let call = ec2.describe_instance_type_offerings().location_type(LocationType::AvailabilityZone);
    let pages = call.filters(filter("instance-type", kind.as_str())).into_paginator().items().send();
    let offers = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeInstanceTypeOfferings", region)?;
    let zones = two(region, offers.iter().filter_map(|offer| offer.location()));
    ensure!(zones.len() == 2, "{region}: fewer than two availability zones offer {kind}; use another Region");
    Ok(zones)
}

/// The first two availability zones. Local zones have longer names.
fn two<'a>(region: &str, locations: impl Iterator<Item = &'a str>) -> Vec<String> {
    let is_zone = |name: &&str| name.strip_prefix(region).is_some_and(|rest| rest.len() == 1);
    let mut zones: Vec<String> = locations.filter(is_zone).map(str::to_owned).collect();
    zones.sort();
    zones.truncate(2);
    zones
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::RouteTableAssociation;

    use super::*;

    #[test]
    fn local_zones_are_left_out() {
        let offers = ["us-east-1c", "us-east-1-bos-1a", "us-east-1a", "us-east-1b"];
        assert_eq!(two("us-east-1", offers.into_iter()), ["us-east-1a", "us-east-1b"]);
    }

    #[test]
    fn a_subnet_without_a_table_of_its_own_follows_the_main_one() {
        let table = |id: &str, association: RouteTableAssociation| {
            RouteTable::builder().route_table_id(id).associations(association).build()
        };
        let tables = [
            table("rtb-main", RouteTableAssociation::builder().main(true).build()),
            table("rtb-a", RouteTableAssociation::builder().main(false).subnet_id("subnet-a").build()),
        ];
        assert_eq!(table_of(&tables, "subnet-a").unwrap(), "rtb-a");
        assert_eq!(table_of(&tables, "subnet-b").unwrap(), "rtb-main");
        assert_eq!(table_of(&tables[1..], "subnet-b"), None);
    }

    #[test]
    fn subnets_must_be_the_vpcs_own_and_in_two_zones() {
        let subnet = |id: &str, vpc: &str, zone: &str| {
            Subnet::builder().subnet_id(id).vpc_id(vpc).availability_zone(zone).build()
        };
        let a = subnet("subnet-a", "vpc-1", "zone-a");
        assert!(check("vpc-1", &[a.clone(), subnet("subnet-b", "vpc-1", "zone-b")]).is_ok());
        for (other, why) in
            [(subnet("s", "vpc-2", "zone-b"), "a subnet of vpc-2"), (a.clone(), "two availability zones")]
        {
            assert!(check("vpc-1", &[a.clone(), other]).unwrap_err().to_string().contains(why));
        }
    }
}
