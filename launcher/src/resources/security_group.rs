//! The nodes' security group: it admits clients on the listeners' ports, and the nodes among themselves.

use std::collections::BTreeSet;
use std::fmt;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, Ipv6Range, PrefixListId, ResourceType, SecurityGroup, UserIdGroupPair,
};

use crate::aws::PAGE;
use crate::aws::error::{CallFailed, Named, found};
use crate::model::tags::Tags;

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `sg-…`
    pub id: String,
    /// Unique in its VPC only.
    pub name: String,
    pub vpc: String,
    /// Its tags, which name its balancer.
    pub tags: Tags,
    /// Its inbound rules.
    pub rules: BTreeSet<Rule>,
    /// Its outbound rules, which Elbow leaves alone.
    pub outbound: BTreeSet<Rule>,
}

/// A rule with one source, or one destination of an outbound rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// `tcp`, or a number; `-1` is all.
    pub protocol: String,
    /// First and last port; none where the protocol has no ports.
    pub ports: Option<(i32, i32)>,
    pub source: Source,
}

/// The source of an inbound rule, or the destination of an outbound one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// IPv4 addresses.
    Cidr(String),
    /// IPv6 addresses.
    Cidr6(String),
    /// Members of the group itself.
    Members,
    /// Members of another group.
    Group(String),
    PrefixList(String),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.protocol.as_str(), self.ports) {
            ("112", _) => write!(f, "VRRP")?,
            ("-1", _) => write!(f, "everything")?,
            (protocol, None) => write!(f, "protocol {protocol}")?,
            (protocol, Some((from, to))) if from == to => write!(f, "{protocol} {from}")?,
            (protocol, Some((from, to))) => write!(f, "{protocol} {from}-{to}")?,
        }
        match &self.source {
            Source::Cidr(source) | Source::Cidr6(source) | Source::Group(source) | Source::PrefixList(source) => {
                write!(f, " from {source}")
            }
            Source::Members => write!(f, " among the nodes"),
        }
    }
}

/// Every group of this name, in all VPCs and of all owners.
pub async fn find(ec2: &Client, name: &str) -> Result<Vec<Group>, CallFailed> {
    filtered(ec2, Filter::builder().name("group-name").values(name).build(), name).await
}

/// The existing ones of these groups.
pub async fn listed(ec2: &Client, ids: &[String]) -> Result<Vec<Group>, CallFailed> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let filter = Filter::builder().name("group-id").set_values(Some(ids.to_vec())).build();
    filtered(ec2, filter, &ids.join(" ")).await
}

/// Every group that has a tag with this key.
pub async fn tagged(ec2: &Client, key: &str) -> Result<Vec<Group>, CallFailed> {
    filtered(ec2, Filter::builder().name("tag-key").values(key).build(), key).await
}

async fn filtered(ec2: &Client, filter: Filter, object: &str) -> Result<Vec<Group>, CallFailed> {
    let pages = ec2.describe_security_groups().filters(filter).into_paginator().page_size(PAGE).items().send();
    let groups = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeSecurityGroups", object)?;
    Ok(groups.iter().map(group).collect())
}

fn group(group: &SecurityGroup) -> Group {
    let id = group.group_id().unwrap_or_default();
    Group {
        id: id.to_owned(),
        name: group.group_name().unwrap_or_default().to_owned(),
        vpc: group.vpc_id().unwrap_or_default().to_owned(),
        tags: Tags::from(group.tags()),
        rules: group.ip_permissions().iter().flat_map(|permission| rules(id, permission)).collect(),
        outbound: group.ip_permissions_egress().iter().flat_map(|permission| rules(id, permission)).collect(),
    }
}

fn rules(own: &str, permission: &IpPermission) -> Vec<Rule> {
    let protocol = permission.ip_protocol().unwrap_or("-1").to_owned();
    let ports = match protocol.as_str() {
        "tcp" | "udp" | "icmp" | "icmpv6" => permission.from_port().zip(permission.to_port()),
        _ => None,
    };
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let cidrs = permission.ip_ranges().iter().map(|range| Source::Cidr(text(range.cidr_ip())));
    let cidrs6 = permission.ipv6_ranges().iter().map(|range| Source::Cidr6(text(range.cidr_ipv6())));
    let lists = permission.prefix_list_ids().iter().map(|list| Source::PrefixList(text(list.prefix_list_id())));
    let groups = permission.user_id_group_pairs().iter().map(|pair| match pair.group_id() {
        Some(id) if id == own => Source::Members,
        id => Source::Group(text(id)),
    });
    cidrs
        .chain(cidrs6)
        .chain(lists)
        .chain(groups)
        .map(|source| Rule { protocol: protocol.clone(), ports, source })
        .collect()
}

fn permission(own: &str, rule: &Rule) -> IpPermission {
    let permission = IpPermission::builder()
        .ip_protocol(&rule.protocol)
        .set_from_port(rule.ports.map(|ports| ports.0))
        .set_to_port(rule.ports.map(|ports| ports.1));
    let pair = |id: &str| UserIdGroupPair::builder().group_id(id).build();
    match &rule.source {
        Source::Cidr(cidr) => permission.ip_ranges(IpRange::builder().cidr_ip(cidr).build()),
        Source::Cidr6(cidr) => permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(cidr).build()),
        Source::Members => permission.user_id_group_pairs(pair(own)),
        Source::Group(id) => permission.user_id_group_pairs(pair(id)),
        Source::PrefixList(id) => permission.prefix_list_ids(PrefixListId::builder().prefix_list_id(id).build()),
    }
    .build()
}

/// Creates the group, with its tags in the same call, and returns its id.
pub async fn create(ec2: &Client, name: &str, description: &str, vpc: &str, tags: &Tags) -> Result<String, CallFailed> {
    let made = ec2
        .create_security_group()
        .group_name(name)
        .description(description)
        .vpc_id(vpc)
        .tag_specifications(tags.specification(ResourceType::SecurityGroup))
        .send()
        .await
        .named("ec2:CreateSecurityGroup", name)?;
    Ok(made.group_id().unwrap_or_default().to_owned())
}

/// Adds rules.
pub async fn allow(ec2: &Client, id: &str, rules: &BTreeSet<Rule>) -> Result<(), CallFailed> {
    let permissions = rules.iter().map(|rule| permission(id, rule)).collect();
    let call = ec2.authorize_security_group_ingress().group_id(id).set_ip_permissions(Some(permissions));
    call.send().await.named("ec2:AuthorizeSecurityGroupIngress", format!("{} rules for {id}", rules.len())).map(drop)
}

/// Removes rules.
pub async fn revoke(ec2: &Client, id: &str, rules: &BTreeSet<Rule>) -> Result<(), CallFailed> {
    let permissions = rules.iter().map(|rule| permission(id, rule)).collect();
    let call = ec2.revoke_security_group_ingress().group_id(id).set_ip_permissions(Some(permissions));
    call.send().await.named("ec2:RevokeSecurityGroupIngress", id).map(drop)
}

/// Deletes the group. AWS refuses while an interface uses it (`DependencyViolation`).
pub async fn delete(ec2: &Client, id: &str) -> Result<(), CallFailed> {
    let call = ec2.delete_security_group().group_id(id);
    found(call.send().await.named("ec2:DeleteSecurityGroup", id)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_back_as_it_was_written() {
        for rule in [
            Rule { protocol: "tcp".into(), ports: Some((80, 80)), source: Source::Cidr("10.0.0.0/16".into()) },
            Rule { protocol: "112".into(), ports: None, source: Source::Members },
            Rule { protocol: "udp".into(), ports: Some((1, 9)), source: Source::Group("sg-2".into()) },
            Rule { protocol: "-1".into(), ports: None, source: Source::PrefixList("pl-1".into()) },
        ] {
            assert_eq!(rules("sg-1", &permission("sg-1", &rule)), [rule]);
        }
    }

    #[test]
    fn ports_of_a_protocol_without_ports_are_ignored() {
        let odd = IpPermission::builder().ip_protocol("112").from_port(-1).to_port(-1);
        let odd = odd.user_id_group_pairs(UserIdGroupPair::builder().group_id("sg-1").build()).build();
        assert_eq!(rules("sg-1", &odd), [Rule { protocol: "112".into(), ports: None, source: Source::Members }]);
    }
}
