//! Reads the VPC's DNS attributes and network ACLs, the targets' interfaces, and connections to other networks.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{self, AttributeBooleanValue, Filter, RuleAction, VpcAttributeName, VpnState};

use crate::aws::PAGE;
use crate::aws::error::Named;
use crate::doctor::access_lists::{AccessList, Rule};
use crate::doctor::facts::{Dns, Interface, Read};

/// AWS takes this many values for a filter (EC2 user guide, "Filter resources").
const VALUES: usize = 200;

fn by(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

fn text(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

pub async fn dns(ec2: &Client, vpc: &str) -> Read<Dns> {
    // A call returns one attribute.
    let of = |name: VpcAttributeName| {
        let call = ec2.describe_vpc_attribute().vpc_id(vpc).attribute(name);
        async move { call.send().await.named("ec2:DescribeVpcAttribute", vpc) }
    };
    let (support, hostnames) =
        futures::try_join!(of(VpcAttributeName::EnableDnsSupport), of(VpcAttributeName::EnableDnsHostnames))?;
    let is_on = |value: Option<&AttributeBooleanValue>| value.and_then(|value| value.value()) == Some(true);
    Ok(Dns { support: is_on(support.enable_dns_support()), hostnames: is_on(hostnames.enable_dns_hostnames()) })
}

pub async fn access_lists(ec2: &Client, vpc: &str) -> Read<Vec<AccessList>> {
    let pages = ec2.describe_network_acls().filters(by("vpc-id", vpc)).into_paginator().page_size(PAGE).items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeNetworkAcls", vpc)?;
    let list = |list: &types::NetworkAcl| AccessList {
        id: text(list.network_acl_id()),
        subnets: list.associations().iter().filter_map(|one| one.subnet_id()).map(str::to_owned).collect(),
        rules: list.entries().iter().filter_map(rule).collect(),
    };
    Ok(found.iter().map(list).collect())
}

/// An IPv4 rule.
fn rule(entry: &types::NetworkAclEntry) -> Option<Rule> {
    let port = |port: Option<i32>| u16::try_from(port?).ok();
    Some(Rule {
        number: entry.rule_number()?,
        outbound: entry.egress()?,
        allows: entry.rule_action() == Some(&RuleAction::Allow),
        protocol: entry.protocol().and_then(|protocol| protocol.parse().ok()),
        ports: entry.port_range().and_then(|range| port(range.from()).zip(port(range.to()))),
        net: entry.cidr_block()?.parse().ok()?,
    })
}

/// The network interfaces with these addresses.
pub async fn interfaces(ec2: &Client, vpc: &str, addresses: Vec<String>) -> Read<Vec<Interface>> {
    let of = |addresses: &[String]| {
        let filter = Filter::builder().name("addresses.private-ip-address").set_values(Some(addresses.to_vec()));
        let call = ec2.describe_network_interfaces().filters(by("vpc-id", vpc)).filters(filter.build());
        let pages = call.into_paginator().page_size(PAGE).items().send();
        async move { pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeNetworkInterfaces", vpc) }
    };
    let found = futures::future::try_join_all(addresses.chunks(VALUES).map(of)).await?;
    let interface = |interface: &types::NetworkInterface| Interface {
        addresses: interface
            .private_ip_addresses()
            .iter()
            .filter_map(|address| address.private_ip_address()?.parse().ok())
            .collect(),
        groups: interface.groups().iter().filter_map(|group| group.group_id()).map(str::to_owned).collect(),
    };
    Ok(found.iter().flatten().map(interface).collect())
}

pub async fn transit_gateways(ec2: &Client, vpc: &str) -> Read<Vec<String>> {
    let call =
        ec2.describe_transit_gateway_vpc_attachments().filters(by("vpc-id", vpc)).filters(by("state", "available"));
    let pages = call.into_paginator().page_size(PAGE).items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeTransitGatewayVpcAttachments", vpc)?;
    Ok(found.iter().filter_map(|attachment| attachment.transit_gateway_id()).map(str::to_owned).collect())
}

pub async fn peerings(ec2: &Client, vpc: &str) -> Read<Vec<String>> {
    let of = |side: &str| {
        let call = ec2.describe_vpc_peering_connections().filters(by(side, vpc)).filters(by("status-code", "active"));
        let pages = call.into_paginator().page_size(PAGE).items().send();
        async move { pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeVpcPeeringConnections", vpc) }
    };
    let (asked, accepted) = futures::try_join!(of("requester-vpc-info.vpc-id"), of("accepter-vpc-info.vpc-id"))?;
    let both = asked.iter().chain(&accepted);
    Ok(both.filter_map(|peering| peering.vpc_peering_connection_id()).map(str::to_owned).collect())
}

pub async fn private_gateways(ec2: &Client, vpc: &str) -> Read<Vec<String>> {
    let call =
        ec2.describe_vpn_gateways().filters(by("attachment.vpc-id", vpc)).filters(by("attachment.state", "attached"));
    let found = call.send().await.named("ec2:DescribeVpnGateways", vpc)?;
    let live = found.vpn_gateways().iter().filter(|gateway| gateway.state() == Some(&VpnState::Available));
    Ok(live.filter_map(|gateway| gateway.vpn_gateway_id()).map(str::to_owned).collect())
}
