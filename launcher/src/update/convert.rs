//! From instances that the launcher launched to an Auto Scaling group and back. Pure: what is next, by what is there, so
//! that it can stop anywhere. The nodes run on: a group is made without any and takes them in before it may launch; and it
//! lets all of them go before it is deleted, so that it never ends one. So, too, where a group's nodes are replaced: it
//! lets them go, and a new group takes the new ones in.

use std::collections::BTreeSet;

use templates::Slot;

use crate::desired::Desired;
use crate::observe::Observed;
use crate::plan::{Action, Filling, Place, nodes};
use crate::resources::instances::Node;
use crate::resources::scaling_group::{Member, REBALANCE, ScalingGroup};
use crate::scaling::Wanted;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nodes come to be as they should.
    Done,
    /// For this.
    Wait(String),
    /// This, and look again.
    Do(Action),
}

/// Where nodes are to be: says what to do next to have them there.
pub type Aim = fn(&Desired, &Observed) -> Step;

/// What to do next to have nodes come to be as `desired` says.
pub fn step(desired: &Desired, observed: &Observed) -> Step {
    match (&desired.scaling, &observed.scaling) {
        (Some(wanted), Some(group)) if !group.deleting => into(wanted, group, observed),
        (Some(_), None) => Step::Do(Action::CreateScaling(Filling::TakenIn)),
        _ => match release(desired, observed) {
            Step::Done => missing(desired, observed),
            step => step,
        },
    }
}

/// What to do next to have all nodes that are there be no group's.
pub fn release(desired: &Desired, observed: &Observed) -> Step {
    match &observed.scaling {
        Some(group) if group.deleting => Step::Wait("waiting for it to be deleted".to_owned()),
        Some(group) => out_of(group, &observed.nodes),
        None => match unnamed(desired, &observed.nodes) {
            Some((id, slot)) => Step::Do(Action::Name { id, slot }),
            None => Step::Done,
        },
    }
}

fn into(wanted: &Wanted, group: &ScalingGroup, observed: &Observed) -> Step {
    if !group.suspended.contains(REBALANCE) {
        return Step::Do(Action::SuspendRebalance);
    }
    let outside = wanted.outside(Some(group), &observed.nodes);
    if let Some(node) = outside.iter().find(|node| node.state != "running") {
        return Step::Wait(format!("waiting for {}, which is {}, to run", node.id, node.state));
    }
    if !outside.is_empty() {
        return Step::Do(Action::TakeIn(outside.iter().map(|node| node.id.clone()).collect()));
    }
    let template = observed.template.as_ref().map(|template| template.id.as_str());
    match wanted.differences(group, template) {
        differences if differences.is_empty() => Step::Done,
        differences => Step::Do(Action::SetScaling(differences)),
    }
}

/// A group may let go what is in service, and nothing that comes or goes. One that has ended has nobody any more who would
/// say that the group may go on.
fn out_of(group: &ScalingGroup, nodes: &[Node]) -> Step {
    let [least, ..] = group.settings.sizes;
    if least > 0 {
        return Step::Do(Action::AllowNone);
    }
    let free = group.members.iter().filter(|member| matches!(member.state.as_str(), "InService" | "Standby"));
    let free: Vec<String> = free.map(|member| member.id.clone()).collect();
    if !free.is_empty() {
        return Step::Do(Action::TakeOut(free));
    }
    let lives = |id: &str| nodes.iter().any(|node| node.id == id && node.is_live());
    let ended = group.members.iter().find(|member| member.state == "Terminating:Wait" && !lives(&member.id));
    match (ended, group.members.first()) {
        (Some(member), _) => Step::Do(Action::Forget(member.id.clone())),
        (None, Some(member)) => Step::Wait(format!("{} is {}", member.id, member.state)),
        (None, None) => Step::Do(Action::DeleteScaling),
    }
}

/// Nodes that are missing are launched as `create` would.
fn missing(desired: &Desired, observed: &Observed) -> Step {
    let launch = nodes(desired, observed).into_iter().find(|action| matches!(action, Action::Launch(_)));
    launch.map_or(Step::Done, Step::Do)
}

/// A node that has its group's name, and its slot.
fn unnamed(desired: &Desired, nodes: &[Node]) -> Option<(String, Slot)> {
    let mut grouped = nodes.iter().filter(|node| node.is_live() && node.tags.get("Name") == Some(&desired.name));
    grouped.find_map(|node| Some((node.id.clone(), node.slot?)))
}

/// Everything that is next to get to `aim`, one after another, and what is there then, as far as it can be foreseen.
pub fn foreseen(aim: Aim, desired: &Desired, observed: &Observed) -> (Vec<Action>, Observed) {
    let (mut observed, mut actions) = (observed.clone(), Vec::new());
    while let Step::Do(action) = aim(desired, &observed) {
        foresee(desired, &mut observed, &action);
        actions.push(action);
    }
    (actions, observed)
}

/// What is there when that is done.
fn foresee(desired: &Desired, observed: &mut Observed, action: &Action) {
    let template = observed.template.as_ref().map(|template| template.id.clone()).unwrap_or_default();
    match (action, &mut observed.scaling, &desired.scaling) {
        (Action::CreateScaling(_), there, Some(wanted)) => {
            let mut settings = wanted.settings(&template);
            settings.sizes[..2].fill(0);
            let (name, tags, hook) = (desired.name.clone(), desired.tags.clone(), Some(wanted.hook.clone()));
            let (other_hooks, suspended, members) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
            *there =
                Some(ScalingGroup { name, tags, settings, hook, other_hooks, suspended, members, deleting: false });
        }
        (Action::SuspendRebalance, Some(group), _) => drop(group.suspended.insert(REBALANCE.to_owned())),
        (Action::SetScaling(_), Some(group), Some(wanted)) => group.settings = wanted.settings(&template),
        (Action::TakeIn(ids), Some(group), _) => {
            group.settings.sizes[1] += ids.len() as i32;
            group.members.extend(ids.iter().map(|id| Member { id: id.clone(), state: "InService".to_owned() }));
        }
        (Action::AllowNone, Some(group), _) => group.settings.sizes[0] = 0,
        (Action::TakeOut(ids), Some(group), _) => {
            group.settings.sizes[1] -= ids.len() as i32;
            group.members.retain(|member| !ids.contains(&member.id));
        }
        (Action::Forget(id), Some(group), _) => group.members.retain(|member| member.id != *id),
        (Action::DeleteScaling, there, _) => *there = None,
        (Action::Name { id, slot }, ..) => {
            for node in observed.nodes.iter_mut().filter(|node| node.id == *id) {
                node.tags.0.insert("Name".to_owned(), format!("{}-{slot}", desired.name));
            }
        }
        (Action::Launch(Place { slot, subnet, .. }), ..) => observed.nodes.push(Node {
            state: "pending".to_owned(),
            subnet: subnet.clone(),
            slot: Some(*slot),
            named: Some(*slot),
            ..Node::default()
        }),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
