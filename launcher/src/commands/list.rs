//! `list`: the balancers in the Region, half-made and half-removed ones too.

use std::collections::BTreeMap;

use serde::Serialize;
use templates::names::TAG_BALANCER;

use crate::aws::error::CallFailed;
use crate::aws::{self, Aws};
use crate::cli::Cli;
use crate::failure::{Failure, looking};
use crate::output::{self, table::columns};
use crate::resources::{instances, launch_template, security_group};

/// A balancer by what carries its tag.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its VPC, if anything says so.
    pub vpc: Option<String>,
    /// How many live nodes it has.
    pub nodes: usize,
}

/// Prints the list.
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

/// Every balancer of which anything but IAM's part is left, by name; and what couldn't be read.
pub async fn find(aws: &Aws) -> (BTreeMap<String, Listed>, Vec<CallFailed>) {
    let (groups, templates, nodes) = futures::join!(
        security_group::tagged(&aws.ec2, TAG_BALANCER),
        launch_template::tagged(&aws.ec2, TAG_BALANCER),
        instances::tagged(&aws.ec2, TAG_BALANCER),
    );
    let mut unread = Vec::new();
    let (groups, templates) = (taken(groups, &mut unread), taken(templates, &mut unread));
    let nodes = taken(nodes, &mut unread);
    let mut balancers: BTreeMap<String, Listed> = BTreeMap::new();
    for tags in groups.iter().map(|group| &group.tags).chain(templates.iter().map(|template| &template.1)) {
        if let Some(name) = tags.balancer() {
            balancers.entry(name.to_owned()).or_default().vpc = tags.vpc().map(str::to_owned);
        }
    }
    for node in nodes.iter().filter(|node| node.is_live()) {
        if let Some(name) = node.tags.balancer() {
            let listed = balancers.entry(name.to_owned()).or_default();
            listed.nodes += 1;
            listed.vpc.get_or_insert_with(|| node.vpc.clone());
        }
    }
    (balancers, unread)
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
