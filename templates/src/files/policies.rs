//! The trust policy and the permissions of a node's role. They don't name the account, so that they render offline; a
//! role only acts in its own account.

use askama::Template;

use super::render;
use crate::balancer::{Balancer, Launch, RouteTables};
use crate::names::{self, REPORTS, TAG_BALANCER, TAG_VPC};

#[derive(Template)]
#[template(path = "trust-policy.json", escape = "none")]
struct Trust;

// "ec2:Attribute" carries the attribute's name. AWS documents no spelling for this one, and some users report that the
// key is absent. So both usual spellings are allowed, and a request without the key.
#[derive(Template)]
#[template(path = "permission-policy.json", escape = "none")]
struct Permissions<'a> {
    balancer: &'a Balancer,
    arn: String,
    tables: Vec<&'a str>,
    /// The Auto Scaling group's ARN, if there is a group.
    group: Option<String>,
    tag_balancer: &'static str,
    tag_vpc: &'static str,
    reported_tags: &'static [&'static str],
}

/// The trust policy of a node's role: EC2 instances may assume it. EC2 has one name in every partition (AWS CLI's pull
/// request 8703).
pub fn trust_policy() -> String {
    render(&Trust)
}

/// The permissions of a node's role: read peers and route tables, move routes in this VPC (or in the listed tables
/// only), switch off the source/destination check of this balancer's instances, and report in their tags. With in-place
/// updates also: read launch template versions. In an Auto Scaling group also: complete lifecycle hooks and report
/// unhealthy nodes.
pub fn permission_policy(balancer: &Balancer, region: &str) -> String {
    let tables = match &balancer.route_tables {
        RouteTables::All => vec!["*"],
        RouteTables::Only(ids) => ids.iter().map(String::as_str).collect(),
    };
    let partition = partition(region);
    let group = (balancer.launch == Launch::AutoScaling).then(|| scaling_group_arn(balancer, region));
    render(&Permissions {
        balancer,
        arn: format!("arn:{partition}:ec2:{region}:*"),
        tables,
        group,
        tag_balancer: TAG_BALANCER,
        tag_vpc: TAG_VPC,
        reported_tags: &REPORTS,
    })
}

/// The ARN of the balancer's Auto Scaling group.
pub(super) fn scaling_group_arn(balancer: &Balancer, region: &str) -> String {
    let (partition, name) = (partition(region), names::regional(&balancer.name));
    format!("arn:{partition}:autoscaling:{region}:*:autoScalingGroup:*:autoScalingGroupName/{name}")
}

/// The partition of `region`, as its ARNs name it (AWS's SDKs, `partitions.json`).
pub(super) fn partition(region: &str) -> &'static str {
    let of = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("eusc-", "aws-eusc"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
    ];
    of.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_read_only_by_nodes_that_are_updated_in_place() {
        let mut balancer = Balancer::parse(include_str!("../../goldens/small/balancer.toml")).unwrap();
        let reads = |balancer: &Balancer| permission_policy(balancer, "eu-west-1").contains("LaunchTemplate");
        assert!(reads(&balancer));
        balancer.updates.in_place = false;
        assert!(!reads(&balancer));
        serde_json::from_str::<serde_json::Value>(&permission_policy(&balancer, "eu-west-1")).unwrap();
    }

    #[test]
    fn a_policy_names_its_regions_partition() {
        for (region, name) in [("eu-west-1", "aws"), ("eusc-de-east-1", "aws-eusc"), ("us-isob-east-1", "aws-iso-b")] {
            assert_eq!(partition(region), name);
        }
    }
}
