//! The versions of a balancer's launch template. `update --versions` lists them with the nodes that run them, and
//! `--rollback` returns to the one before.

use serde_json::json;
use templates::balancer::Revision;
use templates::names::TAG_REVISION;
use templates::{Order, files};

use crate::cli::Cli;
use crate::model::node::Node;
use crate::model::node_status::{follows, running};
use crate::model::observe::Observed;
use crate::output::failure::Failure;
use crate::output::{self, table::columns};
use crate::resources::launch_template::{Template, Version};
use crate::update::snapshot::{Fetched, Image, Intent};

/// The version that `--rollback` returns to: the default before this one. While a node runs another version than the default,
/// or has an order to, it is the default.
pub fn previous(name: &str, found: &Fetched) -> Result<Intent, Failure> {
    let Fetched { template, versions, observed } = found;
    let to = |version, new, note| Intent { new, image: Image::Of(version), note };
    let default = files::read_back(&template.contents.user_data).ok();
    if let Some(default) = default.filter(|default| is_unfinished(&default.revision, template, observed)) {
        let note = format!(
            "an update is unfinished: not all nodes run version {}, which nodes boot; the rollback returns them to it",
            template.version
        );
        return Ok(to(template.version, default.balancer, Some(note)));
    }
    let Some(order) = before(template) else {
        return Err(Failure::bad_input(format!("{name} has no version to go back to: it was never updated")));
    };
    let version = versions.iter().find(|version| version.number == order.version);
    let config = version.and_then(|version| files::read_back(&version.contents.user_data).ok());
    match config.filter(|config| config.revision == order.revision) {
        Some(config) => Ok(to(order.version, config.balancer, None)),
        None => Err(Failure::bad_input(format!(
            "{name} can't be rolled back: version {} of launch template {} doesn't exist or doesn't hold revision {}; run `launcher update` with the previous file",
            order.version, template.name, order.revision
        ))),
    }
}

fn before(template: &Template) -> Option<Order> {
    template.defaults().before(template.version).cloned()
}

/// Whether a node runs another version than Elbow's default, or has an order to. Nodes that boot haven't reported yet.
fn is_unfinished(default: &Revision, template: &Template, observed: &Observed) -> bool {
    if template.defaults().overruled(template.version).is_some() {
        return false;
    }
    // A node that was launched for a version that isn't the default yet may differ only in its image.
    let told = |node: &Node| node.tags.get(TAG_REVISION).and_then(|tag| tag.parse::<Order>().ok());
    let ahead = |node: &Node| told(node).is_some_and(|order| order.version > template.version);
    let newer = |node: &Node| ahead(node) && !node.image.is_empty() && node.image != template.contents.image;
    // Nodes that a group is launching may not have reported yet.
    let refresh = observed.scaling.as_ref().and_then(|group| group.active_refresh());
    let leaves = refresh.is_some_and(|refresh| refresh.to.as_ref().is_none_or(|(_, to)| *to != template.version));
    leaves || observed.live().any(|node| (running(node).is_some() && !follows(default, node)) || newer(node))
}

/// Prints the versions, the newest first.
pub fn show(cli: &Cli, name: &str, found: &Fetched) -> Result<(), Failure> {
    let Fetched { template, versions, observed } = found;
    let unfinished = is_unfinished(&Revision(template.revision.clone()), template, observed);
    let previous = if unfinished { Some(template.version) } else { before(template).map(|order| order.version) };
    let nodes = |version: &Version| -> Vec<String> {
        let run = observed.live().filter(|node| running(node) == Some(&version.revision));
        run.map(|node| node.id.clone()).collect()
    };
    let said = |version: &Version| match version.number {
        number if number == template.version && unfinished => "nodes boot it, --rollback goes to it",
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
