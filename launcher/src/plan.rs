//! What to do to make what is there what should be there. Pure; the order is the order in which things need each other.

use std::collections::BTreeSet;

use serde::Serialize;
use templates::Slot;

use crate::desired::Desired;
use crate::observe::Observed;
use crate::resources::launch_template::Contents;
use crate::resources::security_group::Rule;

/// One change: one call to AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the security group, empty.
    CreateGroup,
    /// Let these in.
    Allow(BTreeSet<Rule>),
    /// Let these in no more.
    Revoke(BTreeSet<Rule>),
    /// Make the role, without a policy.
    CreateRole,
    /// Say who may take it.
    SetTrust,
    /// Say what it may do.
    SetPolicy,
    /// Make the instance profile, empty.
    CreateProfile,
    /// Put the role in.
    AddRole,
    /// Make the launch template.
    CreateTemplate,
    /// Add a version to it that holds what it should; the image stays.
    AddVersion {
        /// The image that was pinned.
        image: String,
    },
    /// Launch a node.
    Launch(Place),
    /// Start a node that was stopped.
    Start {
        /// The instance.
        id: String,
        /// Its slot.
        slot: Slot,
    },
}

/// Where a node goes, and which of the slot's nodes it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The slot.
    pub slot: Slot,
    /// Its subnet.
    pub subnet: String,
    /// How many instances of that slot have ended: the same launch twice is one, the next one is another.
    pub ended: usize,
}

/// Actions of one stage don't need each other, and go at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Containers.
    Make,
    /// What goes into them.
    Fill,
    /// What refers to them.
    Join,
    /// The nodes.
    Launch,
}

/// Every stage, in order.
pub const STAGES: [Stage; 4] = [Stage::Make, Stage::Fill, Stage::Join, Stage::Launch];

impl Action {
    /// When it can be done.
    pub fn stage(&self) -> Stage {
        match self {
            Action::CreateGroup | Action::CreateRole => Stage::Make,
            Action::Allow(_) | Action::Revoke(_) | Action::SetTrust | Action::SetPolicy | Action::CreateProfile => {
                Stage::Fill
            }
            Action::AddRole | Action::CreateTemplate | Action::AddVersion { .. } => Stage::Join,
            Action::Launch(_) | Action::Start { .. } => Stage::Launch,
        }
    }

    /// What it does, for people and for `--output json`.
    pub fn change(&self, desired: &Desired) -> Change {
        let Desired { name, global_name, .. } = desired;
        let list = |rules: &BTreeSet<Rule>| rules.iter().map(Rule::to_string).collect::<Vec<_>>().join(", ");
        let (action, what) = match self {
            Action::CreateGroup => ("create-security-group", format!("create security group {name}")),
            Action::Allow(rules) => ("allow", format!("let into {name}: {}", list(rules))),
            Action::Revoke(rules) => ("revoke", format!("let no more into {name}: {}", list(rules))),
            Action::CreateRole => ("create-role", format!("create IAM role {global_name}")),
            Action::SetTrust => ("set-trust", format!("correct who may take IAM role {global_name}")),
            Action::SetPolicy => ("set-policy", format!("set the policy of IAM role {global_name}")),
            Action::CreateProfile => ("create-instance-profile", format!("create instance profile {global_name}")),
            Action::AddRole => ("add-role", format!("put the role into instance profile {global_name}")),
            Action::CreateTemplate => {
                ("create-launch-template", format!("create launch template {name}, revision {}", desired.revision))
            }
            Action::AddVersion { .. } => {
                ("create-launch-template-version", format!("correct launch template {name} by a new version"))
            }
            Action::Launch(place) => ("launch", format!("launch node {} in {}", place.slot, place.subnet)),
            Action::Start { id, slot } => ("start", format!("start node {slot}, {id}")),
        };
        Change { action, what }
    }
}

/// A change, for people and for `--output json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What kind.
    pub action: &'static str,
    /// All of it, in words.
    pub what: String,
}

/// Everything that is missing or isn't as it should be.
pub fn plan(desired: &Desired, observed: &Observed) -> Vec<Action> {
    let mut actions = Vec::new();
    group(desired, observed, &mut actions);
    iam(desired, observed, &mut actions);
    template(desired, observed, &mut actions);
    nodes(desired, observed, &mut actions);
    actions.sort_by_key(Action::stage);
    actions
}

fn group(desired: &Desired, observed: &Observed, actions: &mut Vec<Action>) {
    let group = observed.group(&desired.vpc);
    if group.is_none() {
        actions.push(Action::CreateGroup);
    }
    let there = group.map(|group| group.rules.clone()).unwrap_or_default();
    let missing: BTreeSet<Rule> = desired.rules.difference(&there).cloned().collect();
    let extra: BTreeSet<Rule> = there.difference(&desired.rules).cloned().collect();
    if !missing.is_empty() {
        actions.push(Action::Allow(missing));
    }
    if !extra.is_empty() {
        actions.push(Action::Revoke(extra));
    }
}

fn iam(desired: &Desired, observed: &Observed, actions: &mut Vec<Action>) {
    let document = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("templates render JSON");
    match &observed.role {
        None => actions.extend([Action::CreateRole, Action::SetPolicy]),
        Some(role) => {
            if role.trust != document(&desired.trust) {
                actions.push(Action::SetTrust);
            }
            if role.policy != Some(document(&desired.policy)) {
                actions.push(Action::SetPolicy);
            }
        }
    }
    if observed.profile.is_none() {
        actions.push(Action::CreateProfile);
    }
    if observed.profile.as_ref().and_then(|profile| profile.role.as_ref()) != Some(&desired.global_name) {
        actions.push(Action::AddRole);
    }
}

fn template(desired: &Desired, observed: &Observed, actions: &mut Vec<Action>) {
    let Some(template) = &observed.template else {
        actions.push(Action::CreateTemplate);
        return;
    };
    let there: &Contents = &template.contents;
    let group = observed.group(&desired.vpc).map(|group| desired.contents(&group.id, Some(&there.image)));
    if group.as_ref() != Some(there) {
        actions.push(Action::AddVersion { image: there.image.clone() });
    }
}

fn nodes(desired: &Desired, observed: &Observed, actions: &mut Vec<Action>) {
    for (slot, subnet) in desired.slots() {
        let of_slot = || observed.nodes.iter().filter(|node| node.slot() == Some(slot));
        let mut live = of_slot().filter(|node| node.is_live()).peekable();
        if live.peek().is_none() {
            let ended = of_slot().count();
            actions.push(Action::Launch(Place { slot, subnet: subnet.to_owned(), ended }));
        } else if live.clone().all(|node| node.state == "stopped") {
            actions.extend(live.next().map(|node| Action::Start { id: node.id.clone(), slot }));
        }
    }
}

#[cfg(test)]
mod tests;
