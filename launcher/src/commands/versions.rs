//! `update --versions`: what a balancer's launch template holds, and who runs it.

use serde_json::json;
use templates::Order;
use templates::names::TAG_PREVIOUS;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::observe::Observed;
use crate::output::{self, table::columns};
use crate::resources::launch_template::{Template, Version};
use crate::update::next::running;

/// Prints the versions, the newest first.
pub fn show(
    cli: &Cli,
    name: &str,
    template: &Template,
    versions: &[Version],
    observed: &Observed,
) -> Result<(), Failure> {
    let previous = template.tags.get(TAG_PREVIOUS).and_then(|tag| tag.parse::<Order>().ok());
    let previous = previous.map(|order| order.version).filter(|version| *version != template.version);
    let nodes = |version: &Version| -> Vec<String> {
        let run = observed.live().filter(|node| running(node) == Some(&version.revision));
        run.map(|node| node.id.clone()).collect()
    };
    let said = |version: &Version| match version.number {
        number if number == template.version => "nodes boot it",
        number if Some(number) == previous => "--rollback goes to it",
        _ => "",
    };
    let mut rows = vec![["VERSION", "REVISION", "MADE", "NODES", ""].map(str::to_owned).to_vec()];
    let mut listed = Vec::new();
    let mut newest: Vec<&Version> = versions.iter().collect();
    newest.sort_by_key(|version| std::cmp::Reverse(version.number));
    for version in newest {
        let made = version.made.map(|made| format!("{made:.0}")).unwrap_or_default();
        let runs = nodes(version);
        rows.push(vec![
            version.number.to_string(),
            version.revision.clone(),
            made,
            runs.len().to_string(),
            said(version).to_owned(),
        ]);
        listed.push(json!({
            "version": version.number, "revision": version.revision, "made": version.made, "nodes": runs,
            "default": version.number == template.version, "previous": Some(version.number) == previous,
        }));
    }
    output::result(cli.output, &json!({"balancer": name, "versions": listed}), &columns(&rows))
}
