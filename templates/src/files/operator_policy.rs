//! The least policy of an operator of one balancer: init, doctor, create, update, status, handover and destroy. Resources
//! and conditions follow the Service Authorization Reference ("Actions, resources, and condition keys" of EC2, IAM, EC2 Auto
//! Scaling, Systems Manager and KMS). It doesn't name the account, so that it renders offline.

use askama::Template;

use super::policies::{bucket_arn, partition, scaling_group_arn};
use super::render;
use crate::balancer::{Balancer, Launch, RouteTables};
use crate::names::{self, TAG_BALANCER, TAG_VPC};
use crate::values::Image;

/// Calls that AWS doesn't limit to resources.
const LOOK: [&str; 21] = [
    "ec2:DescribeImages",
    "ec2:DescribeInstances",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeLaunchTemplateVersions",
    "ec2:DescribeNatGateways",
    "ec2:DescribeNetworkAcls",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeTransitGatewayAttachments",
    "ec2:DescribeTransitGatewayRouteTables",
    "ec2:DescribeTransitGatewayVpcAttachments",
    "ec2:DescribeVolumes",
    "ec2:DescribeVpcEndpoints",
    "ec2:DescribeVpcPeeringConnections",
    "ec2:DescribeVpcs",
    "ec2:DescribeVpnGateways",
    "autoscaling:DescribeAutoScalingGroups",
];

/// The same, for a balancer with an Auto Scaling group.
const LOOK_AT_GROUP: [&str; 3] = [
    "autoscaling:DescribeInstanceRefreshes",
    "autoscaling:DescribeLifecycleHooks",
    "autoscaling:DescribeScalingActivities",
];

/// The kinds that Elbow creates and tags in EC2.
const TAGGED: [&str; 5] = ["instance", "network-interface", "volume", "security-group", "launch-template"];

/// Also of a balancer with an existing instance profile: the launcher looks for a role and a profile under Elbow's names.
const READ: [&str; 3] = ["iam:GetRole", "iam:GetRolePolicy", "iam:GetInstanceProfile"];

/// Of Elbow's own role.
const KEEP_ROLE: [&str; 7] = [
    "iam:DeleteRole",
    "iam:DeleteRolePolicy",
    "iam:DetachRolePolicy",
    "iam:ListAttachedRolePolicies",
    "iam:ListRolePolicies",
    "iam:TagRole",
    "iam:UntagRole",
];

/// Of Elbow's own instance profile.
const KEEP_PROFILE: [&str; 6] = [
    "iam:AddRoleToInstanceProfile",
    "iam:CreateInstanceProfile",
    "iam:DeleteInstanceProfile",
    "iam:RemoveRoleFromInstanceProfile",
    "iam:TagInstanceProfile",
    "iam:UntagInstanceProfile",
];

#[derive(Template)]
#[template(path = "operator-policy.json", escape = "none")]
struct OperatorPolicy<'a> {
    balancer: &'a Balancer,
    region: &'a str,
    /// The prefix of EC2's ARNs.
    arn: String,
    /// The prefix of IAM's ARNs.
    iam: String,
    look: Vec<&'static str>,
    parameter: Option<String>,
    /// The ARN of Elbow's bucket, if nodes get the agent there.
    bucket: Option<String>,
    /// The prefix of the agents' keys.
    prefix: &'static str,
    /// What nodes are launched in and from, and Elbow doesn't create.
    surroundings: Vec<String>,
    tagged: [&'static str; 5],
    tables: Vec<&'a str>,
    group: Option<String>,
    key: Option<&'a str>,
    /// The ARN of Elbow's own role.
    role: String,
    kept: Vec<&'static str>,
    kept_resources: Vec<String>,
    passed: Vec<String>,
    request_tags: String,
    resource_tags: String,
}

/// The operator's policy for this balancer.
pub fn operator_policy(balancer: &Balancer, region: &str) -> String {
    let partition = partition(region);
    let (arn, iam) = (format!("arn:{partition}:ec2:{region}:*"), format!("arn:{partition}:iam::*"));
    let is_grouped = balancer.launch == Launch::AutoScaling;
    let tags = |key: &str| {
        let (name, vpc) = (&balancer.name, &balancer.vpc);
        format!("\"aws:{key}/{TAG_BALANCER}\": \"{name}\", \"aws:{key}/{TAG_VPC}\": \"{vpc}\"")
    };
    let (owns_role, owns_profile) = (balancer.iam.owns_role(), balancer.iam.owns_profile());
    let own = names::global(region, &balancer.name);
    let mut kept_resources = in_iam(&iam, "role", balancer.iam.path(), &own);
    kept_resources.extend(in_iam(&iam, "instance-profile", balancer.iam.path(), &own));
    // An existing one's path isn't known.
    kept_resources.extend(balancer.iam.role.iter().flat_map(|name| anywhere(&iam, "role", name)));
    let profile = balancer.iam.instance_profile.iter();
    kept_resources.extend(profile.flat_map(|name| anywhere(&iam, "instance-profile", name)));
    let role = format!("{iam}:role{}{own}", balancer.iam.path());
    let passed = match &balancer.iam.role {
        Some(name) => anywhere(&iam, "role", name),
        None if owns_role => vec![role.clone()],
        None => vec![format!("{iam}:role/*")],
    };
    render(&OperatorPolicy {
        balancer,
        region,
        look: LOOK.into_iter().chain(LOOK_AT_GROUP.into_iter().filter(|_| is_grouped)).collect(),
        parameter: match &balancer.image {
            Image::Id(_) => None,
            // Public parameters belong to no account.
            Image::Parameter(path) => Some(format!("arn:{partition}:ssm:{region}:*:parameter{}", parameter(path))),
        },
        bucket: balancer.uses_bucket().then(|| bucket_arn(region)),
        prefix: names::AGENTS,
        surroundings: surroundings(balancer, &arn, &format!("arn:{partition}:ec2:{region}::image")),
        tagged: TAGGED,
        tables: match &balancer.route_tables {
            RouteTables::All => vec!["*"],
            RouteTables::Only(ids) => ids.iter().map(String::as_str).collect(),
        },
        group: is_grouped.then(|| scaling_group_arn(balancer, region)),
        key: balancer.volume.as_ref().and_then(|volume| volume.kms_key.as_deref()),
        role,
        kept: READ
            .into_iter()
            .chain(KEEP_ROLE.into_iter().filter(|_| owns_role))
            .chain(KEEP_PROFILE.into_iter().filter(|_| owns_profile))
            .collect(),
        kept_resources,
        passed,
        request_tags: tags("RequestTag"),
        resource_tags: tags("ResourceTag"),
        arn,
        iam,
    })
}

/// A parameter's name in its ARN, which has one `/` before it. A version or label isn't part of it.
fn parameter(path: &str) -> String {
    let name = path.split(':').next().unwrap_or_default();
    format!("/{}", name.trim_start_matches('/'))
}

/// The ARNs of what Elbow creates: with its path, and without, because AWS knows no path of what doesn't exist yet.
fn in_iam(iam: &str, kind: &str, path: &str, name: &str) -> Vec<String> {
    let mut arns = vec![format!("{iam}:{kind}{path}{name}"), format!("{iam}:{kind}/{name}")];
    arns.dedup();
    arns
}

/// The ARNs of what exists under any path.
fn anywhere(iam: &str, kind: &str, name: &str) -> Vec<String> {
    vec![format!("{iam}:{kind}/{name}"), format!("{iam}:{kind}/*/{name}")]
}

fn surroundings(balancer: &Balancer, arn: &str, image: &str) -> Vec<String> {
    let subnets = balancer.subnets.iter().map(|id| format!("{arn}:subnet/{id}"));
    let groups = balancer.node.security_groups.iter().map(|id| format!("{arn}:security-group/{id}"));
    let image = match &balancer.image {
        Image::Id(id) => format!("{image}/{id}"),
        // A later version of the parameter names another image.
        Image::Parameter(_) => format!("{image}/*"),
    };
    subnets.chain(groups).chain([image]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn small() -> Balancer {
        Balancer::parse(include_str!("../../goldens/small/balancer.toml")).unwrap()
    }

    fn statements(balancer: &Balancer) -> Vec<Value> {
        let policy: Value = serde_json::from_str(&operator_policy(balancer, "eu-west-1")).unwrap();
        policy["Statement"].as_array().unwrap().clone()
    }

    fn of<'a>(statements: &'a [Value], sid: &str) -> Option<&'a Value> {
        statements.iter().find(|statement| statement["Sid"] == sid)
    }

    #[test]
    fn every_statement_has_its_own_sid_and_only_looking_has_no_resource() {
        let statements = statements(&small());
        let sids: BTreeSet<&str> = statements.iter().map(|statement| statement["Sid"].as_str().unwrap()).collect();
        assert_eq!(sids.len(), statements.len());
        let everywhere = statements.iter().filter(|statement| statement["Resource"] == "*");
        assert_eq!(everywhere.map(|statement| statement["Sid"].clone()).collect::<Vec<_>>(), ["Look"]);
    }

    #[test]
    fn a_role_with_a_boundary_gets_rights_only_with_it() {
        let mut balancer = small();
        assert!(of(&statements(&balancer), "GiveRights").unwrap()["Condition"].is_null());
        balancer.iam.permissions_boundary = Some("arn:aws:iam::1:policy/B".into());
        let statements = statements(&balancer);
        let rights = of(&statements, "GiveRights").unwrap();
        assert_eq!(rights["Condition"]["StringEquals"]["iam:PermissionsBoundary"], "arn:aws:iam::1:policy/B");
        assert!(rights["Action"].as_array().unwrap().contains(&"iam:PutRolePermissionsBoundary".into()));
    }

    #[test]
    fn an_existing_role_or_profile_is_only_read_and_passed() {
        let mut balancer = small();
        balancer.iam.instance_profile = Some("nodes".into());
        let all = statements(&balancer);
        assert!(of(&all, "GiveRights").is_none() && of(&all, "TryOwnRights").is_none());
        assert_eq!(of(&all, "KeepRole").unwrap()["Action"], serde_json::json!(READ));
        assert_eq!(of(&all, "PassRole").unwrap()["Resource"], serde_json::json!(["arn:aws:iam::*:role/*"]));
        balancer.iam.role = Some("nodes".into());
        let all = statements(&balancer);
        let passed = &of(&all, "PassRole").unwrap()["Resource"];
        assert_eq!(*passed, serde_json::json!(["arn:aws:iam::*:role/nodes", "arn:aws:iam::*:role/*/nodes"]));
    }

    #[test]
    fn the_bucket_is_the_operators_only_if_nodes_get_the_agent_there() {
        assert!(of(&statements(&small()), "KeepBucket").is_none());
        let managed = Balancer { agent: None, ..small() };
        let all = statements(&managed);
        let bucket = "arn:aws:s3:::elbow-${aws:PrincipalAccount}-eu-west-1";
        let resources = serde_json::json!([bucket, format!("{bucket}/agent/*")]);
        assert_eq!(of(&all, "KeepBucket").unwrap()["Resource"], resources);
        let tags = |all: &[Value]| of(all, "KeepBucket").unwrap()["Action"].to_string().contains("Tagging");
        assert!(!tags(&all));
        let tagged = Balancer { tags: [("Team".to_owned(), "web".to_owned())].into(), ..managed };
        assert!(tags(&statements(&tagged)));
    }

    #[test]
    fn a_parameter_has_one_slash_before_its_name_and_no_version() {
        for (path, name) in [("/aws/service/a", "/aws/service/a"), ("own", "/own"), ("/own:3", "/own")] {
            assert_eq!(parameter(path), name);
        }
    }

    /// IAM User Guide, "IAM and AWS STS quotas": 6,144 characters in a managed policy, white space not counted.
    #[test]
    fn the_policy_of_a_usual_balancer_fits_a_managed_policy() {
        let grouped = Balancer { launch: Launch::AutoScaling, agent: None, ..small() };
        let size = operator_policy(&grouped, "ap-southeast-2").chars().filter(|c| !c.is_whitespace()).count();
        assert!(size < 6_144, "{size}");
    }
}
