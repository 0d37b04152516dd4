//! The operator's tags on what exists: which resources lack one, or carry one that the file doesn't have any more. Pure.
//!
//! New resources get the tags as they are created. A node's interfaces and volumes are tagged together with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use templates::Balancer;
use templates::balancer::Iam;

use crate::model::observe::Observed;
use crate::model::tags::Tags;

/// Tags to set on a resource, and keys of tags to remove from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retag {
    pub resource: Resource,
    pub set: Tags,
    pub remove: Vec<String>,
}

/// What is tagged by one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// Resources of EC2: what they are, and their ids.
    Ec2(&'static str, Vec<String>),
    /// The role's name.
    Role(String),
    /// The instance profile's name.
    Profile(String),
    /// The Auto Scaling group's name.
    Scaling(String),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Ec2(kind, ids) => write!(f, "{kind} {}", ids.first().map_or("", String::as_str)),
            Resource::Role(name) => write!(f, "IAM role {name}"),
            Resource::Profile(name) => write!(f, "instance profile {name}"),
            Resource::Scaling(name) => write!(f, "Auto Scaling group {name}"),
        }
    }
}

impl fmt::Display for Retag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.set.0.iter().map(|(key, value)| format!("{key}={value}"));
        let removed = self.remove.iter().map(|key| format!("no {key}"));
        write!(f, "{}: {}", self.resource, set.chain(removed).collect::<Vec<_>>().join(", "))
    }
}

/// What a balancer's file says of tags.
#[derive(Debug, Clone, Copy)]
pub struct Prescribed<'a> {
    pub tags: &'a BTreeMap<String, String>,
    /// A role or profile that an update left behind keeps its tags.
    pub iam: &'a Iam,
    pub vpc: &'a str,
}

impl Prescribed<'_> {
    pub fn by(balancer: &Balancer) -> Prescribed<'_> {
        Prescribed { tags: &balancer.tags, iam: &balancer.iam, vpc: &balancer.vpc }
    }
}

/// What gives everything of a balancer just the prescribed tags. `earlier` are the keys of the operator's tags in all known
/// versions: other tags aren't Elbow's to remove.
pub fn missing(prescribed: Prescribed<'_>, earlier: &BTreeSet<String>, observed: &Observed) -> Vec<Retag> {
    let Prescribed { tags: wanted, iam, vpc } = prescribed;
    let group = observed.group(vpc).map(|it| (Resource::Ec2("security group", vec![it.id.clone()]), &it.tags));
    let template = observed.template.as_ref();
    let template = template.map(|it| (Resource::Ec2("launch template", vec![it.id.clone()]), &it.tags));
    let role = observed.role.as_ref().filter(|_| iam.owns_role()).map(|it| (Resource::Role(it.name.clone()), &it.tags));
    let profile = observed
        .profile
        .as_ref()
        .filter(|_| iam.owns_profile())
        .map(|it| (Resource::Profile(it.name.clone()), &it.tags));
    let scaling = observed.scaling.as_ref().filter(|it| !it.deleting);
    let scaling = scaling.map(|it| (Resource::Scaling(it.name.clone()), &it.tags));
    let nodes = observed.live().map(|it| {
        let ids = [&it.id].into_iter().chain(&it.interfaces).chain(&it.volumes).cloned().collect();
        (Resource::Ec2("instance", ids), &it.tags)
    });
    let all = [group, template, role, profile, scaling].into_iter().flatten().chain(nodes);
    let retags = all.map(|(resource, tags)| {
        let set = wanted.iter().filter(|(key, value)| tags.get(key) != Some(value.as_str()));
        let stale = earlier.iter().filter(|key| !wanted.contains_key(*key) && tags.get(key).is_some());
        Retag { resource, set: set.collect(), remove: stale.cloned().collect() }
    });
    retags.filter(|retag| !retag.set.0.is_empty() || !retag.remove.is_empty()).collect()
}

/// A line for each resource that lacks an operator's tag.
pub fn problems(balancer: &Balancer, observed: &Observed) -> Vec<String> {
    let lacking = missing(Prescribed::by(balancer), &BTreeSet::new(), observed);
    lacking
        .iter()
        .map(|retag| format!("tags are missing or changed ({retag}): run `launcher create` to set them"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::desired::tests::web;
    use crate::model::group_settings::tests::group;
    use crate::model::observe::tests::whole;

    fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_resource_gets_the_tags_that_it_lacks_and_loses_those_of_earlier_versions_only() {
        let mut observed = whole();
        observed.scaling = Some(group());
        observed.nodes[0].volumes = vec!["vol-0".to_owned()];
        for (key, value) in [("Team", "web"), ("CostCenter", "1"), ("patch-group", "a")] {
            observed.groups[0].tags.0.insert(key.to_owned(), value.to_owned());
        }
        assert_eq!(missing(Prescribed::by(&web()), &BTreeSet::new(), &observed), []);
        let balancer = Balancer { tags: tags(&[("Team", "web")]), ..web() };
        let earlier = BTreeSet::from(["CostCenter".to_owned(), "Team".to_owned()]);
        let missing = |balancer: &Balancer| missing(Prescribed::by(balancer), &earlier, &observed);
        let said: Vec<String> = missing(&balancer).iter().map(Retag::to_string).collect();
        assert_eq!(
            said,
            [
                "security group sg-1: no CostCenter",
                "launch template lt-1: Team=web",
                "IAM role elbow-eu-west-1-web: Team=web",
                "instance profile elbow-eu-west-1-web: Team=web",
                "Auto Scaling group elbow-web: Team=web",
                "instance i-0: Team=web",
                "instance i-1: Team=web",
            ]
        );
        let node = &missing(&balancer)[5];
        assert_eq!(node.resource, Resource::Ec2("instance", ["i-0", "eni-0", "vol-0"].map(str::to_owned).into()));
        let existing = Iam { instance_profile: Some("nodes".to_owned()), ..Iam::default() };
        let left = missing(&Balancer { iam: existing, ..balancer });
        assert!(left.len() == 5 && !left.iter().any(|retag| retag.to_string().contains("eu-west-1")), "{left:?}");
    }

    #[test]
    fn a_tag_that_another_program_removed_is_a_problem_with_its_remedy() {
        let tagged = Balancer { tags: tags(&[("Team", "web")]), ..web() };
        let mut observed = whole();
        assert_eq!(problems(&web(), &observed), [] as [&str; 0]);
        observed.groups[0].tags.0.insert("Team".to_owned(), "other".to_owned());
        assert_eq!(
            problems(&tagged, &observed)[0],
            "tags are missing or changed (security group sg-1: Team=web): run `launcher create` to set them"
        );
    }
}
