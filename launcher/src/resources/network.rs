//! Reads VPCs and subnets, and the caller.

use std::fmt;
use std::net::Ipv4Addr;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{self, Filter, VpcCidrBlockStateCode};
use ipnet::Ipv4Net;

use crate::aws::PAGE;
use crate::aws::error::{CallFailed, Named};
use crate::model::tags::Tags;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vpc {
    /// `vpc-…`
    pub id: String,
    /// All of its IPv4 ranges.
    pub cidrs: Vec<Ipv4Net>,
    /// The account that owns it.
    pub owner: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subnet {
    /// `subnet-…`
    pub id: String,
    /// Its tag `Name`.
    pub name: Option<String>,
    pub vpc: String,
    /// Its availability zone's name.
    pub zone: String,
    /// None if it has IPv6 addresses only.
    pub cidr: Option<Ipv4Net>,
    /// The number of free addresses.
    pub free: i32,
    /// Whether its instances get public addresses.
    pub public: bool,
    /// The account that owns it.
    pub owner: Option<String>,
    pub is_on_an_outpost: bool,
}

impl Subnet {
    /// Whether the address lies inside.
    pub fn holds(&self, address: Ipv4Addr) -> bool {
        self.cidr.is_some_and(|cidr| cidr.contains(&address))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} ({name}) in {}", self.id, self.zone),
            None => write!(f, "{} in {}", self.id, self.zone),
        }
    }
}

/// The identity that makes the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub account: String,
    /// The ARN of the credentials' user or session.
    pub arn: String,
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

/// The subnets of all VPCs.
pub async fn all_subnets(ec2: &Client) -> Result<Vec<Subnet>, CallFailed> {
    described(ec2, None, "all subnets".to_owned()).await
}

/// The subnets of a VPC, and those of these ids that exist in other VPCs.
pub async fn subnets(ec2: &Client, vpc: &str, ids: &[String]) -> Result<Vec<Subnet>, CallFailed> {
    let by = |name: &str, values: Vec<String>| Filter::builder().name(name).set_values(Some(values)).build();
    let mut found = described(ec2, Some(by("vpc-id", vec![vpc.to_owned()])), vpc.to_owned()).await?;
    let is_missing = |id: &&String| !found.iter().any(|subnet| subnet.id == **id);
    let others: Vec<String> = ids.iter().filter(is_missing).cloned().collect();
    if !others.is_empty() {
        let object = others.join(" ");
        found.extend(described(ec2, Some(by("subnet-id", others)), object).await?);
    }
    Ok(found)
}

/// The subnets, in the order of their ids.
async fn described(ec2: &Client, filter: Option<Filter>, object: String) -> Result<Vec<Subnet>, CallFailed> {
    let call = ec2.describe_subnets().set_filters(filter.map(|filter| vec![filter]));
    let pages = call.into_paginator().page_size(PAGE).items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeSubnets", object)?;
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let subnet = |subnet: &types::Subnet| Subnet {
        id: text(subnet.subnet_id()),
        name: Tags::from(subnet.tags()).get("Name").map(str::to_owned),
        vpc: text(subnet.vpc_id()),
        zone: text(subnet.availability_zone()),
        cidr: subnet.cidr_block().and_then(|cidr| cidr.parse().ok()),
        free: subnet.available_ip_address_count().unwrap_or_default(),
        public: subnet.map_public_ip_on_launch() == Some(true),
        owner: subnet.owner_id().map(str::to_owned),
        is_on_an_outpost: subnet.outpost_arn().is_some(),
    };
    let mut subnets: Vec<Subnet> = found.iter().map(subnet).collect();
    subnets.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(subnets)
}

/// The owner of the credentials.
pub async fn caller(sts: &aws_sdk_sts::Client) -> Result<Caller, CallFailed> {
    let output = sts.get_caller_identity().send().await.named("sts:GetCallerIdentity", "these credentials")?;
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    Ok(Caller { account: text(output.account()), arn: text(output.arn()) })
}
