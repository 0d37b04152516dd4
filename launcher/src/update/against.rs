//! What stands against an update. Pure: a line each, before the first change.

use std::collections::BTreeSet;

use templates::balancer::Launch;
use templates::{Balancer, Slot};

use super::known::Known;
use super::tell::called;
use crate::desired::Desired;
use crate::observe::Observed;
use crate::resources::launch_template::Template;
use crate::scaling::Wanted;

/// Whether to go on where a person should look first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Go on.
    Yes,
    /// Say what is to be looked at.
    No,
}

/// Everything that stands against it.
pub fn against(known: &Known, force: Force) -> Vec<String> {
    let mut problems = unfit(&known.new, &known.desired, &known.observed);
    if force == Force::No {
        problems.extend(by_hand(&known.template, &known.old, &known.desired, &known.observed));
        problems.extend(bent(&known.new, &known.observed));
        if known.tells() {
            problems.extend(missing(&known.old, &known.new, &known.observed));
        }
    }
    problems
}

/// What somebody changed in the launch template.
fn by_hand(template: &Template, old: &Balancer, desired: &Desired, observed: &Observed) -> Vec<String> {
    let called = format!("version {} of launch template {}, which nodes boot,", template.version, template.name);
    let undo = "set the version that Elbow made as the default, or go on with --force";
    let mut problems = Vec::new();
    if template.revision != old.revision().0 {
        problems.push(format!(
            "{called} is described as {:?} and holds revision {}: somebody changed it by hand; {undo}",
            template.revision,
            old.revision()
        ));
    }
    let group = observed.group(&desired.vpc).map(|group| group.id.clone()).unwrap_or_default();
    let wanted = desired.contents(&group, Some(&template.contents.image));
    let there = &template.contents;
    let differing = [
        ("instance type", there.instance_type != old.instance_type),
        ("security groups", there.groups != wanted.groups),
        ("instance profile", there.profile != wanted.profile),
        ("metadata options", there.metadata != wanted.metadata),
    ];
    let differing: Vec<&str> = differing.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what).collect();
    if !differing.is_empty() {
        problems.push(format!("{called} has other {} than Elbow gave it; {undo}", differing.join(", ")));
    }
    problems
}

/// What somebody changed in the Auto Scaling group.
fn bent(new: &Balancer, observed: &Observed) -> Vec<String> {
    let (Some(wanted), Some(group)) = (Wanted::of(new), &observed.scaling) else { return Vec::new() };
    let mut group = group.clone();
    let [least, desired, most] = group.settings.sizes;
    // Nodes are being taken in, if an update was stopped there.
    if least == 0 && usize::try_from(desired) == Ok(group.members.len()) {
        group.settings.sizes = [most; 3];
    }
    let template = observed.template.as_ref().map(|template| template.id.as_str());
    let differences = if group.deleting { Vec::new() } else { wanted.differences(&group, template) };
    let said = differences.into_iter().map(|difference| {
        format!(
            "Auto Scaling group {} has {difference}: somebody changed it by hand; put it back, or go on with --force, which \
             does",
            group.name
        )
    });
    said.collect()
}

/// A group takes in what runs and is no other's.
fn unfit(new: &Balancer, desired: &Desired, observed: &Observed) -> Vec<String> {
    if new.launch == Launch::Instances {
        return Vec::new();
    }
    let unfit = observed.live().filter_map(|node| match node.group() {
        Some(group) if group == desired.name => None,
        Some(group) => Some(format!("{} is in Auto Scaling group {group}: detach it there first", called(node))),
        None if matches!(node.state.as_str(), "pending" | "running") => None,
        None => Some(format!(
            "{} is {}, and an Auto Scaling group takes in only what runs: start it, or terminate it",
            called(node),
            node.state
        )),
    });
    unfit.collect()
}

/// Without a standby there is nobody to try a revision on.
fn missing(old: &Balancer, new: &Balancer, observed: &Observed) -> Vec<String> {
    let nodes = old.subnets.len();
    if old.launch == Launch::AutoScaling {
        let running = observed.live().filter(|node| node.state == "running").count();
        let problem = format!("{running} of {nodes} nodes run: wait for the group, or go on with --force");
        return if running < nodes { vec![problem] } else { Vec::new() };
    }
    let slots = old.subnets.len().min(new.subnets.len());
    let missing = empty(new, observed).into_iter().filter(|slot| usize::from(slot.0) < slots);
    missing
        .map(|slot| {
            format!("node {slot} doesn't run: `launcher create` with the file that it has now, or go on with --force")
        })
        .collect()
}

/// Slots without a node that runs.
pub fn empty(balancer: &Balancer, observed: &Observed) -> Vec<Slot> {
    let running = observed.live().filter(|node| node.state == "running");
    let running: BTreeSet<_> = running.filter_map(|node| node.slot()).collect();
    let slots = (0..balancer.subnets.len()).map(|slot| Slot(slot as u8));
    slots.filter(|slot| !running.contains(slot)).collect()
}
