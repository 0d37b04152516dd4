//! An update's plan: every step from the present balancer to the wanted one. `--dry-run` prints it, and [`super::run`] runs it.
//! Pure.
//!
//! Permissions are widened first and narrowed last. The version that nodes boot moves when every node runs it. So an update can
//! stop anywhere, and the next plan is the rest.

use std::collections::BTreeSet;

use super::in_place::plan::{Asking, NextOrder, is_away, next};
use super::replacement::forecast::replaced;
use super::replacement::plan::Service;
use super::settings::{self, Setting};
use super::snapshot::Snapshot;
use crate::model::node::Node;
use crate::model::node_status::{active, called, follows, is_told, refusal, running};
use crate::model::observe::Observed;
use crate::plan::{self, Action, Change};
use crate::resources::scaling_group::{ScalingGroup, Settings};

/// A step of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Upload the agent, and create what is missing in IAM, such as Elbow's own role after an existing one.
    Prepare(Vec<Action>),
    /// Change a setting around the nodes.
    Set(Setting),
    /// Add a version with the wanted revision to the launch template.
    AddVersion,
    /// Roll back the instance refresh that is under way. The rest is planned after that.
    Undo,
    /// Replace nodes, one slot after another.
    Replace(Vec<Change>),
    /// Set the Auto Scaling group's subnets, before its nodes are replaced.
    SetSubnets(Settings),
    /// Have the Auto Scaling group replace its nodes.
    Refresh(Change),
    /// Have every node run the version in place; these still need the order.
    Order(Vec<String>),
    /// Make the version the one that nodes boot.
    SetDefault,
    /// Launch missing nodes, or create or correct the Auto Scaling group.
    Launch(Vec<Action>),
    /// Delete a route that isn't needed any more.
    DeleteRoute {
        /// `rtb-…`
        table: String,
        /// `10.255.0.10/32`
        destination: String,
    },
}

/// Everything that is left to do, in order.
pub fn steps(snapshot: &Snapshot) -> Vec<Step> {
    if snapshot.other_refresh().is_some() {
        return vec![Step::Undo];
    }
    let wider = snapshot.wider();
    let mut missing = plan::missing_in_bucket(&snapshot.desired);
    missing.extend(plan::missing_in_iam(&snapshot.desired, &snapshot.observed));
    let mut steps: Vec<Step> = (!missing.is_empty()).then_some(Step::Prepare(missing)).into_iter().collect();
    steps.extend(wider.iter().cloned().map(Step::Set));
    steps.extend(snapshot.target().is_none().then_some(Step::AddVersion));
    let moves = || (!snapshot.boots_target()).then_some(Step::SetDefault);
    let mut there = snapshot.observed.clone();
    if let Some(group) = snapshot.group().filter(|_| snapshot.replaces() || snapshot.refresh().is_some()) {
        let subnets = new_subnets(snapshot, group);
        if let (Some(settings), Some(group)) = (&subnets, &mut there.scaling) {
            group.settings = settings.clone();
        }
        steps.extend(subnets.map(Step::SetSubnets));
        steps.push(Step::Refresh(refreshed(snapshot, group)));
        steps.extend(moves());
    } else if let Some((changes, nodes)) = exchanged(snapshot) {
        steps.push(Step::Replace(changes));
        steps.extend(moves());
        there = nodes;
    } else if snapshot.target().is_some_and(|target| target < snapshot.template.version) {
        // An agent takes an older version only if it is the default.
        steps.extend(moves());
        steps.extend(tell(snapshot));
    } else {
        steps.extend(tell(snapshot));
        steps.extend(moves());
    }
    let launches = plan::launching(&snapshot.desired, &there);
    steps.extend((!launches.is_empty()).then_some(Step::Launch(launches)));
    let exact = settings::exact(&snapshot.new, &snapshot.region, &snapshot.cidrs, &snapshot.observed).into_iter();
    steps.extend(exact.filter(|setting| !wider.contains(setting)).map(Step::Set));
    // New nodes are launched with the tags.
    let nodes = if snapshot.replaces() { Vec::new() } else { snapshot.observed.nodes.clone() };
    let retags = snapshot.retags(&snapshot.new, &Observed { nodes, ..snapshot.observed.clone() });
    steps.extend(retags.into_iter().map(|retag| Step::Set(Setting::Retag(retag))));
    let stale = snapshot.stale_routes().into_iter();
    steps.extend(stale.map(|(table, destination)| Step::DeleteRoute { table, destination }));
    steps
}

impl Step {
    /// The step in words and for `--output json`.
    pub fn changes(&self, snapshot: &Snapshot) -> Vec<Change> {
        let (desired, template) = (&snapshot.desired, &snapshot.template);
        let one = |action, what| vec![Change { action, what }];
        match self {
            Step::Set(setting) => vec![setting.change(desired)],
            Step::AddVersion => {
                let (now, then, revision) = (&desired.image, &template.contents.image, &desired.revision);
                let image = if now == then { String::new() } else { format!(", image {now} instead of {then}") };
                let what = format!("add a version of revision {revision} to launch template {}{image}", template.name);
                one("create-launch-template-version", what)
            }
            Step::Undo => {
                let what = format!("roll back the instance refresh of {}, then plan the rest", desired.name);
                one("roll-back-instance-refresh", what)
            }
            Step::SetSubnets(settings) => {
                let subnets = settings.subnets.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                let what = format!("have Auto Scaling group {} launch nodes in {subnets}", desired.name);
                one("set-auto-scaling-group", what)
            }
            Step::Refresh(change) => vec![change.clone()],
            Step::Prepare(actions) | Step::Launch(actions) => {
                actions.iter().map(|action| action.change(desired)).collect()
            }
            Step::Replace(changes) => changes.clone(),
            Step::Order(nodes) => nodes
                .iter()
                .map(|node| Change {
                    action: "tell",
                    what: format!("tell {node} to run revision {}", desired.revision),
                })
                .collect(),
            Step::SetDefault => one("set-default", "make that version the default for new nodes".to_owned()),
            Step::DeleteRoute { table, destination } => {
                one("delete-route", format!("delete route {destination} in {table}"))
            }
        }
    }
}

/// The replacement, if nodes are replaced; and the forecast balancer after it.
fn exchanged(snapshot: &Snapshot) -> Option<(Vec<Change>, Observed)> {
    if !snapshot.replaces() || snapshot.desired.scaling.is_some() {
        return None;
    }
    let service = if snapshot.never_served() { Service::Never } else { Service::Whole };
    let (changes, nodes) = replaced(&snapshot.aim(), &snapshot.new.subnets, &snapshot.observed.nodes, service);
    (!changes.is_empty()).then_some((changes, Observed { nodes, ..snapshot.observed.clone() }))
}

/// The group's settings with the new subnets. Its size follows after the replacement.
fn new_subnets(snapshot: &Snapshot, group: &ScalingGroup) -> Option<Settings> {
    let subnets = snapshot.new.subnets.iter().cloned().collect();
    let moves = group.settings.subnets != subnets && snapshot.refresh().is_none();
    moves.then(|| Settings { subnets, ..group.settings.clone() })
}

/// The refresh in words.
fn refreshed(snapshot: &Snapshot, group: &ScalingGroup) -> Change {
    let name = &group.name;
    if let Some(refresh) = snapshot.refresh() {
        let what = format!("follow instance refresh {} of {name}", refresh.id);
        return Change { action: "follow-instance-refresh", what };
    }
    let nodes: Vec<String> = snapshot.refreshed().map(called).collect();
    let what = format!(
        "have Auto Scaling group {name} replace {} by an instance refresh: new nodes serve before old ones hand over and are \
         terminated",
        nodes.join(", ")
    );
    Change { action: "start-instance-refresh", what }
}

/// The order for the nodes that need it, and the wait for the others: standbys first, stopped and left-out nodes last.
fn tell(snapshot: &Snapshot) -> Option<Step> {
    let (order, none) = (snapshot.order(), BTreeSet::new());
    let asking = Asking { order: &order, goal: &snapshot.goal, told: &none, stale: &none };
    if next(&asking, &snapshot.observed.nodes) == NextOrder::Done {
        return None;
    }
    let is_told = |node: &Node| is_told(&order, node) && refusal(&order, node).is_none();
    let is_untold = |node: &&Node| running(node).is_some() && !follows(&order.revision, node) && !is_told(node);
    let mut untold: Vec<&Node> = snapshot.observed.live().filter(is_untold).collect();
    untold.sort_by_key(|node| (is_away(&snapshot.goal, node), active(node)));
    Some(Step::Order(untold.into_iter().map(called).collect()))
}

#[cfg(test)]
pub(super) mod tests;
