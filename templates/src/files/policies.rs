//! What IAM is told about a node's role: who may take it, and what it allows. The account isn't named, so that both can
//! be rendered offline; a role only ever acts in its own account.

use askama::Template;

use super::render;
use crate::balancer::{Balancer, Launch, RouteTables};
use crate::names::{self, TAG_BALANCER, TAG_CLAIM, TAG_MESSAGE, TAG_ROLE, TAG_RUNNING, TAG_VPC};

/// The tags a node writes about itself.
const REPORTED_TAGS: [&str; 4] = [TAG_CLAIM, TAG_ROLE, TAG_RUNNING, TAG_MESSAGE];

#[derive(Template)]
#[template(path = "trust-policy.json", escape = "none")]
struct Trust {
    service: &'static str,
}

// "ec2:Attribute" carries the attribute's name: AWS documents no spelling for this one, and some report that it is absent.
// So both usual spellings are allowed, and a request without the key is.
#[derive(Template)]
#[template(path = "permission-policy.json", escape = "none")]
struct Permissions<'a> {
    balancer: &'a Balancer,
    arn: String,
    tables: Vec<&'a str>,
    /// The Auto Scaling group's ARN, if it has one.
    group: Option<String>,
    tag_balancer: &'static str,
    tag_vpc: &'static str,
    reported_tags: [&'static str; 4],
}

/// The trust policy of a node's role in this Region: EC2 instances may take it.
pub fn trust_policy(region: &str) -> String {
    render(&Trust { service: Partition::of(region).ec2 })
}

/// What a node's role allows: to find its peers and the route tables, to move routes in this VPC (or in the listed
/// tables only), to read the launch template's versions if it is updated in place, to switch off the source/destination
/// check of this balancer's instances, and to report in their tags; in an Auto Scaling group also to complete its
/// lifecycle hooks.
pub fn permission_policy(balancer: &Balancer, region: &str) -> String {
    let tables = match &balancer.route_tables {
        RouteTables::All => vec!["*"],
        RouteTables::Only(ids) => ids.iter().map(String::as_str).collect(),
    };
    let partition = Partition::of(region).name;
    let group = (balancer.launch == Launch::AutoScaling).then(|| {
        let name = names::regional(&balancer.name);
        format!("arn:{partition}:autoscaling:{region}:*:autoScalingGroup:*:autoScalingGroupName/{name}")
    });
    render(&Permissions {
        balancer,
        arn: format!("arn:{partition}:ec2:{region}:*"),
        tables,
        group,
        tag_balancer: TAG_BALANCER,
        tag_vpc: TAG_VPC,
        reported_tags: REPORTED_TAGS,
    })
}

/// A group of Regions with its own ARNs and service principals (AWS General Reference, ARN format).
struct Partition {
    name: &'static str,
    ec2: &'static str,
}

impl Partition {
    fn of(region: &str) -> Partition {
        let starts = |prefix| region.starts_with(prefix);
        match region {
            _ if starts("cn-") => Partition { name: "aws-cn", ec2: "ec2.amazonaws.com.cn" },
            _ if starts("us-gov-") => Partition { name: "aws-us-gov", ec2: "ec2.amazonaws.com" },
            _ if starts("us-iso-") => Partition { name: "aws-iso", ec2: "ec2.c2s.ic.gov" },
            _ if starts("us-isob-") => Partition { name: "aws-iso-b", ec2: "ec2.sc2s.sgov.gov" },
            _ => Partition { name: "aws", ec2: "ec2.amazonaws.com" },
        }
    }
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
    fn a_policy_speaks_of_its_regions_partition() {
        assert!(trust_policy("cn-north-1").contains("\"ec2.amazonaws.com.cn\""));
        assert!(trust_policy("eu-west-1").contains("\"ec2.amazonaws.com\""));
        assert_eq!(Partition::of("us-gov-west-1").name, "aws-us-gov");
        assert_eq!(Partition::of("us-gov-west-1").ec2, "ec2.amazonaws.com");
    }
}
