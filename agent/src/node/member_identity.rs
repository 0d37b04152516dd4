//! Decides which instances are members of this balancer. The proof is Elbow's security group, the instance profile, or
//! the launch template's id, which AWS writes. `elbow:*` tags prove nothing, and a lost one costs no membership.

use aws_sdk_ec2::types::{GroupIdentifier, Instance};
use templates::{Balancer, names};

use crate::aws::imds::Facts;

/// Tag that AWS writes on an instance: the launch template's id. Keys that begin with `aws:` can't be set by hand (EC2
/// User Guide, "Tag restrictions").
const TAG_TEMPLATE: &str = "aws:ec2launchtemplate:id";

/// What the members of this node's balancer have in common.
#[derive(Debug, Clone)]
pub struct MemberIdentity {
    vpc: String,
    groups: Vec<String>,
    group_name: String,
    profile: String,
    template: Option<String>,
}

impl MemberIdentity {
    /// For the members of `balancer`; `facts` describe this node, which is one of them.
    pub fn of(balancer: &Balancer, facts: &Facts) -> MemberIdentity {
        MemberIdentity {
            vpc: facts.vpc.clone(),
            groups: own_groups(&facts.groups, &balancer.node.security_groups),
            group_name: names::regional(&balancer.name),
            profile: names::global(&facts.region, &balancer.name),
            template: facts.tags.get(TAG_TEMPLATE).cloned(),
        }
    }

    /// The security groups of this node, without those that the file adds: other nodes have at least one of them.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The VPC of all nodes.
    pub fn vpc(&self) -> &str {
        &self.vpc
    }

    /// Whether `instance` is a member of this balancer.
    pub fn has(&self, instance: &Instance) -> bool {
        let profile = instance.iam_instance_profile().and_then(|profile| profile.arn());
        let name = profile.and_then(|arn| arn.rsplit('/').next());
        let template = instance.tags().iter().find(|tag| tag.key() == Some(TAG_TEMPLATE)).and_then(|tag| tag.value());
        instance.vpc_id() == Some(&self.vpc)
            && (self.has_group(instance.security_groups())
                || name == Some(&self.profile)
                || template.is_some() && template == self.template.as_deref())
    }

    /// Whether the balancer's security group is among `groups`: this node has it, too, and AWS lets no group be
    /// renamed.
    pub fn has_group(&self, groups: &[GroupIdentifier]) -> bool {
        let own = |id: &str| self.groups.iter().any(|own| own == id);
        groups.iter().any(|group| group.group_id().is_some_and(own) && group.group_name() == Some(&self.group_name))
    }
}

/// The node's groups without those that the file adds, which many other instances may have. All, if no other is left: then
/// the node lost Elbow's.
fn own_groups(groups: &[String], added: &[String]) -> Vec<String> {
    let own: Vec<String> = groups.iter().filter(|id| !added.contains(id)).cloned().collect();
    if own.is_empty() { groups.to_vec() } else { own }
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_sdk_ec2::types::builders::InstanceBuilder;
    use aws_sdk_ec2::types::{IamInstanceProfile, Tag};

    use super::*;

    /// Of the balancer `web` in `vpc-1`.
    pub(crate) fn identity() -> MemberIdentity {
        MemberIdentity {
            vpc: "vpc-1".into(),
            groups: vec!["sg-1".into(), "sg-shared".into()],
            group_name: "elbow-web".into(),
            profile: "elbow-eu-west-1-web".into(),
            template: Some("lt-1".into()),
        }
    }

    pub(crate) fn group(id: &str, name: &str) -> GroupIdentifier {
        GroupIdentifier::builder().group_id(id).group_name(name).build()
    }

    fn in_vpc() -> InstanceBuilder {
        Instance::builder().vpc_id("vpc-1")
    }

    fn tagged(key: &str, value: &str) -> Tag {
        Tag::builder().key(key).value(value).build()
    }

    fn with_profile(name: &str) -> InstanceBuilder {
        let arn = format!("arn:aws:iam::123456789012:instance-profile/{name}");
        in_vpc().iam_instance_profile(IamInstanceProfile::builder().arn(arn).build())
    }

    #[test]
    fn group_profile_or_launch_template_make_a_node() {
        for node in [
            in_vpc().security_groups(group("sg-1", "elbow-web")),
            with_profile("elbow-eu-west-1-web"),
            in_vpc().tags(tagged("aws:ec2launchtemplate:id", "lt-1")),
        ] {
            assert!(identity().has(&node.build()));
        }
    }

    #[test]
    fn members_are_not_looked_for_in_groups_that_the_file_adds() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(own_groups(&ids(&["sg-1", "sg-7"]), &ids(&["sg-7"])), ids(&["sg-1"]));
        assert_eq!(own_groups(&ids(&["sg-7"]), &ids(&["sg-7"])), ids(&["sg-7"]), "it lost Elbow's group");
        assert_eq!(own_groups(&ids(&["sg-1"]), &[]), ids(&["sg-1"]));
    }

    #[test]
    fn tags_a_shared_group_and_things_of_another_balancer_do_not() {
        let elbows = ["elbow:balancer", "elbow:vpc", "elbow:role"].map(|key| tagged(key, "web")).to_vec();
        for other in [
            in_vpc().set_tags(Some(elbows)),
            in_vpc().security_groups(group("sg-shared", "common")),
            in_vpc().security_groups(group("sg-9", "elbow-web")),
            with_profile("elbow-eu-west-1-db"),
            with_profile("elbow-eu-west-1-web").vpc_id("vpc-2"),
            in_vpc().tags(tagged("aws:ec2launchtemplate:id", "lt-2")),
        ] {
            assert!(!identity().has(&other.build()));
        }
        let bare = MemberIdentity { template: None, ..identity() };
        assert!(!bare.has(&in_vpc().build()), "two instances without a template have none in common");
    }
}
