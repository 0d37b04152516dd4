//! Decides which instances are a balancer's nodes. Pure. Any principal that may tag can set Elbow's tags, so a tag
//! counts only together with a sign that tagging can't set.

use std::collections::BTreeSet;

use templates::names;
use templates::names::TAG_BALANCER;

use crate::model::node::Node;

/// EC2 sets this tag on instances of a launch template, and rejects it from users (EC2 User Guide, "Launch
/// instances using a launch template"; "Tag restrictions").
pub const TAG_TEMPLATE: &str = "aws:ec2launchtemplate:id";

/// The signs of a balancer's nodes that tagging can't set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signs {
    /// The security group's name.
    pub group: String,
    /// The name of Elbow's own instance profile. An existing one, which other instances may have, is no sign.
    pub profile: String,
    /// The launch template's id, if the template exists.
    pub template: Option<String>,
}

/// An instance's relation to a balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Node,
    /// One of its nodes that lost the balancer's tag.
    Untagged,
    /// Not a node, although it carries the balancer's tag.
    Stranger,
    /// Not a node, although it is in the balancer's security group.
    Guest,
    /// Unrelated.
    Other,
}

impl Signs {
    /// A balancer's signs by its name; the template's id isn't known by name.
    pub fn of(region: &str, balancer: &str) -> Signs {
        Signs { group: names::regional(balancer), profile: names::global(region, balancer), template: None }
    }

    fn is_in_group(&self, node: &Node) -> bool {
        node.groups.contains(&self.group)
    }

    fn count(&self, node: &Node) -> usize {
        let template = node.tags.get(TAG_TEMPLATE);
        let signs = [
            self.is_in_group(node),
            node.profile.as_ref() == Some(&self.profile),
            template.is_some() && template == self.template.as_deref(),
        ];
        signs.into_iter().filter(|sign| *sign).count()
    }

    /// The instance's relation to this balancer. Other instances may have one sign (a bastion in the nodes' security
    /// group), so an untagged node needs two. EC2 removes the signs of an ended instance.
    pub fn standing(&self, balancer: &str, node: &Node) -> Standing {
        match (node.tags.balancer() == Some(balancer), self.count(node)) {
            (true, 1..) => Standing::Node,
            (true, 0) if !node.is_live() => Standing::Node,
            (true, 0) => Standing::Stranger,
            (false, 2..) if node.state != "terminated" => Standing::Untagged,
            (false, _) if self.is_in_group(node) && node.is_live() => Standing::Guest,
            (false, _) => Standing::Other,
        }
    }
}

/// A balancer's instances by their relation to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instances {
    /// Its nodes, ended ones too.
    pub nodes: Vec<Node>,
    /// Its nodes that lost its tag.
    pub untagged: Vec<Node>,
    /// A line for each instance that Elbow leaves alone and an operator should check.
    pub asides: Vec<String>,
}

/// Sorts the instances, each once.
pub fn sort_out(balancer: &str, signs: &Signs, found: Vec<Node>) -> Instances {
    let mut instances = Instances::default();
    let mut seen = BTreeSet::new();
    for node in found {
        if !seen.insert(node.id.clone()) {
            continue;
        }
        match signs.standing(balancer, &node) {
            Standing::Node => instances.nodes.push(node),
            Standing::Untagged => instances.untagged.push(node),
            Standing::Stranger => instances.asides.push(stranger(balancer, &node)),
            Standing::Guest => instances.asides.push(guest(balancer, signs, &node)),
            Standing::Other => {}
        }
    }
    instances
}

/// The line about an instance that has a balancer's tag alone.
pub fn stranger(balancer: &str, node: &Node) -> String {
    format!(
        "{} carries {TAG_BALANCER}={balancer} but neither its security group, its instance profile nor its launch template; \
         left alone: remove the tag",
        node.id
    )
}

fn guest(balancer: &str, signs: &Signs, node: &Node) -> String {
    format!(
        "{} is in security group {} but isn't a node of {balancer}; left alone: remove it, or AWS can't delete the \
         group",
        node.id, signs.group
    )
}

/// The line about a node that lost its balancer's tag.
pub fn untagged(balancer: &str, node: &Node) -> String {
    format!(
        "{} is a node of {balancer} by its security group, instance profile or launch template and lacks the tag \
         {TAG_BALANCER}={balancer}, so its peers don't see it: set the tag, or terminate the instance",
        node.id
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tags::Tags;

    fn signs() -> Signs {
        Signs { template: Some("lt-1".into()), ..Signs::of("eu-west-1", "web") }
    }

    fn instance(tag: Option<&str>, group: &str, profile: &str, template: &str) -> Node {
        let mut tags = tag.map(|name| Tags::of(name, "vpc-1")).unwrap_or_default();
        if !template.is_empty() {
            tags = tags.with(TAG_TEMPLATE, template);
        }
        Node {
            id: "i-1".into(),
            state: "running".into(),
            groups: vec![group.to_owned()],
            profile: Some(profile.to_owned()).filter(|profile| !profile.is_empty()),
            tags,
            ..Node::default()
        }
    }

    #[test]
    fn a_tag_counts_only_with_a_sign_that_tagging_cannot_set() {
        let standing = |node: &Node| signs().standing("web", node);
        for (group, profile, template) in
            [("elbow-web", "", ""), ("x", "elbow-eu-west-1-web", ""), ("x", "other", "lt-1")]
        {
            assert_eq!(standing(&instance(Some("web"), group, profile, template)), Standing::Node);
        }
        let mut stranger = instance(Some("web"), "default", "elbow-eu-west-1-api", "lt-2");
        assert_eq!(standing(&stranger), Standing::Stranger);
        stranger.state = "terminated".into();
        assert_eq!(standing(&stranger), Standing::Node, "ended: its signs are gone");
        let deleted = Signs { template: None, ..signs() };
        let template = instance(Some("web"), "x", "", "lt-1");
        assert_eq!(deleted.standing("web", &template), Standing::Stranger);
        assert_eq!(deleted.standing("web", &instance(Some("web"), "x", "", "")), Standing::Stranger);
    }

    #[test]
    fn without_the_tag_one_sign_is_a_guests_and_two_are_a_nodes() {
        let standing = |node: &Node| signs().standing("web", node);
        assert_eq!(standing(&instance(None, "elbow-web", "elbow-eu-west-1-web", "")), Standing::Untagged);
        assert_eq!(standing(&instance(Some("api"), "elbow-web", "", "lt-1")), Standing::Untagged);
        assert_eq!(standing(&instance(None, "elbow-web", "own", "lt-7")), Standing::Guest);
        assert_eq!(standing(&instance(None, "x", "elbow-eu-west-1-web", "")), Standing::Other);
    }

    #[test]
    fn an_existing_profile_and_further_groups_prove_nothing() {
        let mut other = instance(Some("web"), "shared", "nodes", "");
        other.groups.push("database".into());
        assert_eq!(
            signs().standing("web", &other),
            Standing::Stranger,
            "the balancer's tag, a further group and profile"
        );
        let node = instance(Some("web"), "elbow-web", "nodes", "lt-1");
        assert_eq!(signs().standing("web", &node), Standing::Node);
        let untagged = instance(None, "elbow-web", "nodes", "lt-1");
        assert_eq!(signs().standing("web", &untagged), Standing::Untagged, "group and template are two signs");
    }

    #[test]
    fn each_instance_is_named_once_with_what_it_lacks() {
        let found = vec![instance(Some("web"), "x", "", ""), instance(Some("web"), "x", "", "")];
        let instances = sort_out("web", &signs(), found);
        assert_eq!(instances.nodes, []);
        assert_eq!(
            instances.asides,
            [
                "i-1 carries elbow:balancer=web but neither its security group, its instance profile nor its launch template; \
              left alone: remove the tag"
            ]
        );
    }
}
