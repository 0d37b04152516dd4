//! Reads a balancer's resources on AWS by its name: complete, incomplete, or another owner's of the same name.

use std::collections::BTreeSet;
use std::fmt;

use templates::balancer::NodeConfig;
use templates::{files, names};

use crate::aws::Aws;
use crate::aws::error::{CallFailed, Reason};
use crate::model::identity::Instances;
use crate::model::node::Node;
use crate::model::tags::Tags;
use crate::resources::instance_profile::{self, Profile};
use crate::resources::instances;
use crate::resources::launch_template::{self, Template};
use crate::resources::role::{self, Role};
use crate::resources::scaling_group::{self, ScalingGroup};
use crate::resources::security_group::{self, Group};

/// The resources under a balancer's names and tags.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Security groups of its name: one in each VPC at most.
    pub groups: Vec<Group>,
    pub role: Option<Role>,
    /// The instance profile.
    pub profile: Option<Profile>,
    /// The launch template.
    pub template: Option<Template>,
    /// The Auto Scaling group.
    pub scaling: Option<ScalingGroup>,
    /// Its nodes, ended ones too.
    pub nodes: Vec<Node>,
    /// Its nodes that lost its tag.
    pub untagged: Vec<Node>,
    /// Instances that only look like its nodes, a line each.
    pub asides: Vec<String>,
}

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Security groups.
    Groups,
    Role,
    /// The instance profile.
    Profile,
    /// The launch template.
    Template,
    /// The Auto Scaling group.
    Scaling,
    /// The instances.
    Nodes,
    /// The VPC's route tables.
    Tables,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Groups => "security group",
            Kind::Role => "IAM role",
            Kind::Profile => "instance profile",
            Kind::Template => "launch template",
            Kind::Scaling => "Auto Scaling group",
            Kind::Nodes => "instances",
            Kind::Tables => "route tables",
        })
    }
}

/// A kind that couldn't be read.
#[derive(Debug)]
pub struct Unread {
    pub kind: Kind,
    /// The reason.
    pub error: CallFailed,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} not read: {}", self.kind, self.error)
    }
}

/// What could be read, and what couldn't be.
#[derive(Debug, Default)]
pub struct Glance {
    /// The resources that were read; of the instances those that could be.
    pub observed: Observed,
    /// The rest.
    pub unread: Vec<Unread>,
}

impl Glance {
    /// Whether all of this kind were read.
    pub fn has_read(&self, kind: Kind) -> bool {
        self.unread.iter().all(|unread| unread.kind != kind)
    }

    /// Returns what was read; notes an error and returns the default instead.
    pub fn take<T: Default>(&mut self, kind: Kind, read: Result<T, CallFailed>) -> T {
        read.unwrap_or_else(|error| {
            self.unread.push(Unread { kind, error });
            T::default()
        })
    }

    /// A line for each kind that wasn't read.
    pub fn lines(&self) -> Vec<String> {
        self.unread.iter().map(Unread::to_string).collect()
    }
}

/// A resource with a balancer's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// Kind, name and id: `security group elbow-web (sg-1)`.
    pub what: String,
    /// The VPC, if its name is unique only there.
    pub vpc: Option<&'a str>,
    /// Its tags, which name the balancer.
    pub tags: &'a Tags,
}

/// Reads everything concurrently; fails if a part can't be read.
pub async fn observe(aws: &Aws, balancer: &str) -> Result<Observed, CallFailed> {
    let Glance { observed, unread } = glance(aws, balancer).await;
    unread.into_iter().next().map_or(Ok(observed), |unread| Err(unread.error))
}

/// Reads everything concurrently; notes the parts that can't be read.
pub async fn glance(aws: &Aws, balancer: &str) -> Glance {
    glance_and(aws, balancer, async |_: &Observed| ()).await.0
}

/// [`glance`] makes two rounds of concurrent calls. `also` gets what the first found, and runs beside the second.
pub async fn glance_and<T>(aws: &Aws, balancer: &str, also: impl AsyncFnOnce(&Observed) -> T) -> (Glance, T) {
    let name = names::regional(balancer);
    let global = names::global(&aws.region, balancer);
    let (groups, role, profile, template, scaling, instances) = futures::join!(
        security_group::find(&aws.ec2, &name),
        role::find(&aws.iam, &global),
        instance_profile::find(&aws.iam, &global),
        launch_template::find(&aws.ec2, &name),
        scaling_group::describe(&aws.auto_scaling, &name),
        instances::look(&aws.ec2, balancer),
    );
    let mut glance = Glance::default();
    let Instances { nodes, untagged, asides } = match instances {
        // The call fails as a whole while a zone is disrupted (EC2 API reference, DescribeInstances).
        Err(error) if !matches!(error.reason, Reason::Denied(_) | Reason::NoCredentials(_)) => {
            let known = instances::find_by_interfaces(&aws.ec2, balancer).await;
            glance.take::<()>(Kind::Nodes, Err(error));
            known
        }
        instances => glance.take(Kind::Nodes, instances),
    };
    let mut observed = Observed {
        groups: glance.take(Kind::Groups, groups),
        role: glance.take(Kind::Role, role),
        profile: glance.take(Kind::Profile, profile),
        template: glance.take(Kind::Template, template),
        scaling: glance.take(Kind::Scaling, scaling),
        nodes,
        untagged,
        asides,
    };
    let scaling = async {
        match observed.scaling.clone() {
            Some(group) => scaling_group::complete(&aws.auto_scaling, group).await,
            None => Ok(None),
        }
    };
    let boots = async {
        match observed.pinned_elsewhere().zip(observed.template.as_ref()) {
            Some((number, template)) => Some(launch_template::version(&aws.ec2, &template.id, number).await),
            None => None,
        }
    };
    let (scaling, boots, also) = futures::join!(scaling, boots, also(&observed));
    observed.scaling = glance.take(Kind::Scaling, scaling);
    if let (Some(version), Some(template)) = (boots, &mut observed.template) {
        template.boot(glance.take(Kind::Template, version));
    }
    if let Some(config) = observed.config() {
        observed.number(&config.balancer.subnets);
    }
    glance.observed = observed;
    (glance, also)
}

impl Observed {
    /// Sets the nodes' slots by these subnets.
    pub fn number(&mut self, subnets: &[String]) {
        [&mut self.nodes, &mut self.untagged].into_iter().for_each(|nodes| instances::number(nodes, subnets));
    }

    /// The version that the Auto Scaling group launches, if it isn't the launch template's default: moving the default
    /// doesn't affect the group.
    pub fn pinned_elsewhere(&self) -> Option<i64> {
        let (group, template) = self.scaling.as_ref().zip(self.template.as_ref())?;
        let is_ours = group.tags.balancer() == template.tags.balancer() && group.template.0 == template.id;
        group.pinned().filter(|pinned| is_ours && !group.deleting && *pinned != template.version)
    }

    pub fn group(&self, vpc: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.vpc == vpc)
    }

    /// The instances that haven't ended.
    pub fn live(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_live())
    }

    /// The instances that haven't ended and lost the balancer's tag.
    pub fn live_untagged(&self) -> impl Iterator<Item = &Node> {
        self.untagged.iter().filter(|node| node.is_live())
    }

    /// The interfaces of all live instances, untagged ones too.
    pub fn interfaces(&self) -> BTreeSet<&str> {
        self.live().chain(self.live_untagged()).flat_map(|node| &node.interfaces).map(String::as_str).collect()
    }

    /// The configuration of a node that is launched now.
    pub fn config(&self) -> Option<NodeConfig> {
        files::read_back(&self.template.as_ref()?.contents.user_data).ok()
    }

    /// The balancer's VPC, by its resources' tags or by its instances.
    pub fn vpc(&self) -> Option<&str> {
        let tagged =
            self.parts().into_iter().filter(|part| part.tags.balancer().is_some()).find_map(|part| part.tags.vpc());
        tagged.or_else(|| self.live().chain(self.live_untagged()).map(|node| node.vpc.as_str()).next())
    }

    /// Everything but the instances.
    pub fn parts(&self) -> Vec<Part<'_>> {
        let groups = self.groups.iter().map(|group| Part {
            what: format!("security group {} ({})", group.name, group.id),
            vpc: Some(&group.vpc),
            tags: &group.tags,
        });
        let template = self.template.iter().map(|template| Part {
            what: format!("launch template {} ({})", template.name, template.id),
            vpc: None,
            tags: &template.tags,
        });
        let scaling = self.scaling.iter().map(|scaling| Part {
            what: format!("Auto Scaling group {}", scaling.name),
            vpc: None,
            tags: &scaling.tags,
        });
        let role = self.role.iter();
        let role = role.map(|role| Part { what: format!("IAM role {}", role.name), vpc: None, tags: &role.tags });
        let profile = self.profile.iter().map(|profile| Part {
            what: format!("instance profile {}", profile.name),
            vpc: None,
            tags: &profile.tags,
        });
        groups.chain(template).chain(scaling).chain(role).chain(profile).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use templates::Slot;
    use templates::names::{TAG_DEFAULT, TAG_ROLE, TAG_RUNNING};

    use super::*;
    use crate::model::desired::tests::desired;
    use crate::model::node::Unreachable;
    use crate::resources::security_group::{Rule, Source};

    pub(crate) fn node(id: &str, slot: u8, state: &str) -> Node {
        let desired = desired();
        Node {
            id: id.to_owned(),
            state: state.to_owned(),
            reason: None,
            image: desired.image.clone(),
            vpc: desired.vpc.clone(),
            zone: "eu-west-1a".to_owned(),
            subnet: desired.subnets.get(usize::from(slot)).cloned().unwrap_or_default(),
            launch_index: 0,
            slot: Some(Slot(slot)),
            named: Some(Slot(slot)),
            address: Some(format!("10.0.{slot}.10")),
            interfaces: vec![format!("eni-{slot}")],
            volumes: Vec::new(),
            groups: Vec::new(),
            profile: Some(desired.global_name.clone()),
            tags: desired
                .tags
                .with(TAG_RUNNING, desired.revision.0.clone())
                .with(TAG_ROLE, if slot == 0 { "active" } else { "standby" }),
            launched: None,
            unreachable: None,
        }
    }

    /// The node, unreachable since 14:03:12 as `from` reports.
    pub(crate) fn lost(node: Node, from: &str) -> Node {
        let since = "2026-11-29T14:03:12Z".parse().unwrap();
        let unreachable = Unreachable { since, from: vec![from.to_owned()], clock: "14:03:12Z".to_owned() };
        Node { unreachable: Some(unreachable), ..node }
    }

    /// The complete example balancer.
    pub(crate) fn whole() -> Observed {
        let desired = desired();
        let group = Group {
            id: "sg-1".to_owned(),
            name: desired.name.clone(),
            vpc: desired.vpc.clone(),
            tags: desired.group_tags(),
            rules: desired.rules.clone(),
            // AWS's default.
            outbound: [Rule { protocol: "-1".into(), ports: None, source: Source::Cidr("0.0.0.0/0".into()) }].into(),
        };
        Observed {
            groups: vec![group],
            role: Some(Role {
                name: desired.global_name.clone(),
                tags: desired.tags.clone(),
                trust: serde_json::from_str(&desired.trust).unwrap(),
                policy: serde_json::from_str(&desired.policy).ok(),
                boundary: None,
            }),
            profile: Some(Profile {
                name: desired.global_name.clone(),
                tags: desired.tags.clone(),
                role: Some(desired.global_name.clone()),
            }),
            template: Some(Template {
                id: "lt-1".to_owned(),
                name: desired.name.clone(),
                tags: desired.tags.clone().with(TAG_DEFAULT, format!("1:{}", desired.revision)),
                default: 1,
                version: 1,
                revision: desired.revision.0.clone(),
                contents: desired.contents("sg-1", None),
            }),
            scaling: None,
            nodes: vec![node("i-0", 0, "running"), node("i-1", 1, "running")],
            untagged: Vec::new(),
            asides: Vec::new(),
        }
    }

    #[test]
    fn the_configuration_is_read_back_from_the_template() {
        assert_eq!(whole().config().expect("it is in the user-data").revision, desired().revision);
        assert_eq!(whole().vpc(), Some("vpc-0a1b2c3d"));
    }
}
