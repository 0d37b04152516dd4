//! Reads a balancer's VPC and subnets, and the caller's account.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{self, Filter, VpcCidrBlockStateCode};
use ipnet::Ipv4Net;

use crate::aws::PAGE;
use crate::aws::error::{CallFailed, Named};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vpc {
    /// `vpc-…`
    pub id: String,
    /// All of its IPv4 ranges.
    pub cidrs: Vec<Ipv4Net>,
    /// The account that owns it.
    pub owner: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// `subnet-…`
    pub id: String,
    pub vpc: String,
    /// Its availability zone's name.
    pub zone: String,
    /// The account that owns it.
    pub owner: Option<String>,
}

/// The VPC of this id, if it exists.
pub async fn vpc(ec2: &Client, id: &str) -> Result<Option<Vpc>, CallFailed> {
    // By filter: absence is then an empty answer, not one of several errors.
    let filter = Filter::builder().name("vpc-id").values(id).build();
    let pages = ec2.describe_vpcs().filters(filter).into_paginator().page_size(PAGE).items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeVpcs", id)?;
    Ok(found.first().map(|vpc| Vpc { id: id.to_owned(), cidrs: cidrs(vpc), owner: vpc.owner_id().map(str::to_owned) }))
}

/// All IPv4 ranges of a VPC.
pub fn cidrs(vpc: &types::Vpc) -> Vec<Ipv4Net> {
    let live = vpc.cidr_block_association_set().iter().filter(|block| {
        let state = block.cidr_block_state().and_then(|state| state.state());
        state
            .is_none_or(|state| matches!(state, VpcCidrBlockStateCode::Associated | VpcCidrBlockStateCode::Associating))
    });
    let texts = live.filter_map(|block| block.cidr_block()).chain(vpc.cidr_block());
    let mut cidrs: Vec<Ipv4Net> = texts.filter_map(|text| text.parse().ok()).collect();
    cidrs.sort();
    cidrs.dedup();
    cidrs
}

/// The existing ones of these subnets.
pub async fn subnets(ec2: &Client, ids: &[String]) -> Result<Vec<Subnet>, CallFailed> {
    let filter = Filter::builder().name("subnet-id").set_values(Some(ids.to_vec())).build();
    let pages = ec2.describe_subnets().filters(filter).into_paginator().page_size(PAGE).items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeSubnets", ids.join(" "))?;
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let subnet = |subnet: &types::Subnet| Subnet {
        id: text(subnet.subnet_id()),
        vpc: text(subnet.vpc_id()),
        zone: text(subnet.availability_zone()),
        owner: subnet.owner_id().map(str::to_owned),
    };
    Ok(found.iter().map(subnet).collect())
}

/// The account that the credentials belong to.
pub async fn account(sts: &aws_sdk_sts::Client) -> Result<String, CallFailed> {
    let output = sts.get_caller_identity().send().await.named("sts:GetCallerIdentity", "these credentials")?;
    Ok(output.account().unwrap_or_default().to_owned())
}
