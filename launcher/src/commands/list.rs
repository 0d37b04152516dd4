//! `list`: the balancers in the Region, including those that are only partly created or removed.

use std::collections::BTreeMap;

use serde::Serialize;
use templates::names;
use templates::names::TAG_BALANCER;

use crate::aws::error::CallFailed;
use crate::aws::{self, Aws};
use crate::cli::Cli;
use crate::model::identity::{self, Signs, Standing};
use crate::model::node::Node;
use crate::model::tags::Tags;
use crate::output::failure::{Failure, looking};
use crate::output::{self, table::columns};
use crate::resources::{instances, launch_template, security_group};

/// A balancer, found by its tag.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its VPC, if a tag or a node names it.
    pub vpc: Option<String>,
    /// The number of its live nodes.
    pub nodes: usize,
}

pub async fn run(cli: &Cli) -> Result<(), Failure> {
    let aws = aws::connect(&cli.account()).await?;
    let (balancers, unread) = find(&aws).await;
    if let Some(error) = unread.into_iter().next() {
        return Err(looking(error));
    }
    let document = serde_json::json!({"region": aws.region, "balancers": balancers.iter().map(|(name, listed)| {
        serde_json::json!({"name": name, "vpc": listed.vpc, "nodes": listed.nodes})
    }).collect::<Vec<_>>()});
    output::result(cli.output, &document, &text(&aws.region, &balancers))
}

/// Every balancer with a security group, a launch template or a node, by name; and the calls that failed. Warns of resources
/// of others with a balancer's tag.
pub async fn find(aws: &Aws) -> (BTreeMap<String, Listed>, Vec<CallFailed>) {
    let (groups, templates, nodes) = futures::join!(
        security_group::tagged(&aws.ec2, TAG_BALANCER),
        launch_template::tagged(&aws.ec2, TAG_BALANCER),
        instances::tagged(&aws.ec2, TAG_BALANCER),
    );
    let mut unread = Vec::new();
    let (groups, templates) = (taken(groups, &mut unread), taken(templates, &mut unread));
    let nodes = taken(nodes, &mut unread);
    let groups = groups.into_iter().map(|group| Tagged { id: group.id, name: group.name, tags: group.tags });
    let templates = templates.into_iter().map(|(id, name, tags)| Tagged { id, name, tags });
    let (balancers, asides) = listed(&aws.region, groups.chain(templates), nodes);
    asides.iter().for_each(|line| output::warn(line));
    (balancers, unread)
}

/// A security group or a launch template with a balancer's tag.
struct Tagged {
    id: String,
    name: String,
    tags: Tags,
}

/// The balancers, and the resources of others with a balancer's tag, a line each.
fn listed(
    region: &str,
    parts: impl Iterator<Item = Tagged>,
    nodes: Vec<Node>,
) -> (BTreeMap<String, Listed>, Vec<String>) {
    let (mut balancers, mut asides) = (BTreeMap::<String, Listed>::new(), Vec::new());
    let mut templates = BTreeMap::new();
    for Tagged { id, name, tags } in parts {
        let Some(balancer) = tags.balancer() else { continue };
        if name != names::regional(balancer) {
            asides.push(format!(
                "{name} ({id}) carries {TAG_BALANCER}={balancer} and isn't named {}; left alone: remove the tag",
                names::regional(balancer)
            ));
            continue;
        }
        balancers.entry(balancer.to_owned()).or_default().vpc = tags.vpc().map(str::to_owned);
        if id.starts_with("lt-") {
            templates.insert(balancer.to_owned(), id);
        }
    }
    for node in nodes.iter().filter(|node| node.is_live()) {
        let Some(balancer) = node.tags.balancer() else { continue };
        let signs = Signs { template: templates.get(balancer).cloned(), ..Signs::of(region, balancer) };
        if signs.standing(balancer, node) == Standing::Stranger {
            asides.push(identity::stranger(balancer, node));
            continue;
        }
        let listed = balancers.entry(balancer.to_owned()).or_default();
        listed.nodes += 1;
        listed.vpc.get_or_insert_with(|| node.vpc.clone());
    }
    (balancers, asides)
}

fn taken<T: Default>(read: Result<T, CallFailed>, unread: &mut Vec<CallFailed>) -> T {
    read.unwrap_or_else(|error| {
        unread.push(error);
        T::default()
    })
}

fn text(region: &str, balancers: &BTreeMap<String, Listed>) -> String {
    if balancers.is_empty() {
        return format!("no balancers in {region}");
    }
    let mut rows = vec![["NAME", "VPC", "NODES"].map(str::to_owned).to_vec()];
    for (name, listed) in balancers {
        rows.push(vec![name.clone(), listed.vpc.clone().unwrap_or_default(), listed.nodes.to_string()]);
    }
    columns(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_alone_makes_neither_a_balancer_nor_a_node() {
        let part = |id: &str, name: &str| Tagged { id: id.into(), name: name.into(), tags: Tags::of("web", "vpc-1") };
        let node = |id: &str, template: &str| Node {
            id: id.into(),
            tags: Tags::of("web", "vpc-1").with(identity::TAG_TEMPLATE, template),
            ..Node::default()
        };
        let nodes = || vec![node("i-1", "lt-1"), node("i-2", "lt-2")];
        let (balancers, asides) =
            listed("eu-west-1", [part("lt-1", "elbow-web"), part("sg-1", "default")].into_iter(), nodes());
        assert_eq!(balancers, BTreeMap::from([("web".into(), Listed { vpc: Some("vpc-1".into()), nodes: 1 })]));
        assert_eq!(asides.len(), 2, "{asides:?}");
        let (balancers, asides) = listed("eu-west-1", [part("sg-1", "default")].into_iter(), nodes());
        assert_eq!((balancers.len(), asides.len()), (0, 3));
    }
}
