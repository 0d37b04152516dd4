//! The trust policy and the permissions of a node's role. They don't name the account, so that they render offline; a
//! role only acts in its own account.

use std::collections::BTreeSet;

use askama::Template;

use super::render;
use crate::balancer::{AgentPlace, Balancer, Launch, RouteTables};
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
    /// The ARNs of the agents in Elbow's bucket.
    agents: BTreeSet<String>,
    /// The ARNs of the agents in other buckets.
    objects: BTreeSet<String>,
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
/// updates also: read launch template versions. If the agent is in S3 also: read it. In an Auto Scaling group also: complete
/// lifecycle hooks and report unhealthy nodes.
pub fn permission_policy(balancer: &Balancer, region: &str) -> String {
    permission_policy_of_both(balancer, balancer, region)
}

/// The permissions of `balancer`, for nodes that may also get the agent of `other`.
pub fn permission_policy_of_both(balancer: &Balancer, other: &Balancer, region: &str) -> String {
    let tables = match &balancer.route_tables {
        RouteTables::All => vec!["*"],
        RouteTables::Only(ids) => ids.iter().map(String::as_str).collect(),
    };
    let partition = partition(region);
    let group = (balancer.launch == Launch::AutoScaling).then(|| scaling_group_arn(balancer, region));
    let (mut agents, mut objects) = (BTreeSet::new(), BTreeSet::new());
    for place in [balancer.agent_place(), other.agent_place()] {
        match place {
            AgentPlace::Bucket(digests) => {
                let bucket = bucket_arn(region);
                agents.extend(digests.values().map(|digest| format!("{bucket}/{}", names::agent_key(digest))));
            }
            AgentPlace::Object { bucket, key } => drop(objects.insert(format!("arn:{partition}:s3:::{bucket}/{key}"))),
            AgentPlace::Url(_) | AgentPlace::Path(_) => {}
        }
    }
    render(&Permissions {
        balancer,
        arn: format!("arn:{partition}:ec2:{region}:*"),
        tables,
        agents,
        objects,
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

/// The ARN of Elbow's bucket. IAM fills in the caller's account (IAM User Guide, "Policy elements: variables and tags").
pub(super) fn bucket_arn(region: &str) -> String {
    format!("arn:{}:s3:::{}", partition(region), names::bucket("${aws:PrincipalAccount}", region))
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
    use serde_json::{Value, json};

    use super::*;
    use crate::balancer::{AgentSource, Agents, Architecture};

    #[test]
    fn nodes_read_their_agent_and_no_other_object() {
        let url = Balancer::parse(include_str!("../../goldens/small/balancer.toml")).unwrap();
        let source = AgentSource { source: "s3://artifacts/elbow/agent".to_owned(), sha256: "1".repeat(64) };
        let elsewhere = Balancer { agent: Some(source), ..url.clone() };
        let managed = |digest: &str| {
            let agents = Agents::from([(Architecture::X86_64, digest.to_owned())]);
            Balancer { agent: None, agents, ..url.clone() }
        };
        let fetches = |policy: String| -> Vec<Value> {
            let policy: Value = serde_json::from_str(&policy).unwrap();
            let statements = policy["Statement"].as_array().unwrap().iter();
            statements.filter(|one| one["Action"] == "s3:GetObject").cloned().collect()
        };
        assert_eq!(fetches(permission_policy(&url, "eu-west-1")), [] as [Value; 0]);
        let of_bucket = fetches(permission_policy_of_both(&managed("b"), &managed("a"), "cn-north-1"));
        assert_eq!(of_bucket.len(), 1);
        let of_bucket = &of_bucket[0];
        let arn = |digest: &str| format!("arn:aws-cn:s3:::elbow-${{aws:PrincipalAccount}}-cn-north-1/agent/{digest}");
        assert_eq!(of_bucket["Resource"], json!([arn("a"), arn("b")]));
        assert_eq!(of_bucket["Condition"]["StringEquals"]["s3:ResourceAccount"], "${aws:PrincipalAccount}");
        let both = fetches(permission_policy_of_both(&elsewhere, &managed("a"), "eu-west-1"));
        assert_eq!(both.len(), 2);
        assert_eq!(both[1]["Resource"], json!(["arn:aws:s3:::artifacts/elbow/agent"]));
    }

    #[test]
    fn templates_are_read_only_by_nodes_that_are_updated_in_place() {
        let mut balancer = Balancer::parse(include_str!("../../goldens/small/balancer.toml")).unwrap();
        let reads = |balancer: &Balancer| permission_policy(balancer, "eu-west-1").contains("LaunchTemplate");
        assert!(reads(&balancer));
        balancer.updates.in_place = false;
        assert!(!reads(&balancer));
        serde_json::from_str::<Value>(&permission_policy(&balancer, "eu-west-1")).unwrap();
    }

    #[test]
    fn a_policy_names_its_regions_partition() {
        for (region, name) in [("eu-west-1", "aws"), ("eusc-de-east-1", "aws-eusc"), ("us-isob-east-1", "aws-iso-b")] {
            assert_eq!(partition(region), name);
        }
    }
}
