//! The versions of a balancer's launch template: `update --versions` shows them and who runs them, `--rollback` goes to the
//! one before.

use serde_json::json;
use templates::names::TAG_PREVIOUS;
use templates::{Balancer, Order, files};

use crate::cli::Cli;
use crate::failure::Failure;
use crate::observe::Observed;
use crate::output::{self, table::columns};
use crate::resources::launch_template::{Template, Version};
use crate::update::next::running;

/// The version that was the default before.
pub fn previous(name: &str, template: &Template, versions: &[Version]) -> Result<(Balancer, i64), Failure> {
    let order = template.tags.get(TAG_PREVIOUS).and_then(|tag| tag.parse::<Order>().ok());
    let order = order.filter(|order| order.version != template.version);
    let Some(order) = order else {
        return Err(Failure::bad_input(format!("{name} has no version to go back to: it was never updated")));
    };
    let version = versions.iter().find(|version| version.number == order.version);
    let config = version.and_then(|version| files::read_back(&version.contents.user_data).ok());
    match config.filter(|config| config.revision == order.revision) {
        Some(config) => Ok((config.balancer, order.version)),
        None => Err(Failure::bad_input(format!(
            "{name} can't go back: version {} of launch template {} isn't there, or doesn't hold revision {}",
            order.version, template.name, order.revision
        ))),
    }
}

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
