//! What to do to make what is there what should be there. Pure; the order is the order in which things need each other.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::Serialize;
use templates::{Order, Slot};

use crate::claims::claimed;
use crate::desired::Desired;
use crate::observe::Observed;
use crate::resources::instances::Node;
use crate::resources::launch_template::Template;
use crate::resources::scaling_group::REBALANCE;
use crate::resources::security_group::Rule;
use crate::scaling::Wanted;

/// One change: one call to AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the security group, empty.
    CreateGroup,
    /// Say that these virtual IPs are this balancer's.
    Claim(Vec<Ipv4Addr>),
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
    /// Add a version to this one that holds what it should; the image stays.
    AddVersion(Box<Template>),
    /// Launch a node.
    Launch(Place),
    /// Make the Auto Scaling group.
    CreateScaling(Filling),
    /// Make the group do what it should: in which it differs, in words.
    SetScaling(Vec<String>),
    /// Make the group wait for nodes that it ends.
    SetHook,
    /// Keep the group from ending healthy nodes.
    SuspendRebalance,
    /// Take running nodes into the group.
    TakeIn(Vec<String>),
    /// Let the group have no nodes.
    AllowNone,
    /// Take nodes out of the group, which run on.
    TakeOut(Vec<String>),
    /// Have the group not wait for this node, which has ended.
    Forget(String),
    /// Delete the group, which has no nodes.
    DeleteScaling,
    /// Give a node that a group launched the name that the launcher would have given it.
    Name {
        /// The instance.
        id: String,
        /// Its slot.
        slot: Slot,
    },
    /// Start a node that was stopped.
    Start {
        /// The instance.
        id: String,
        /// Its slot.
        slot: Slot,
    },
}

/// Where a new group's nodes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filling {
    /// It launches them.
    Launched,
    /// They run already, and are taken in.
    TakenIn,
}

/// Where a node goes, and which launch it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The slot.
    pub slot: Slot,
    /// Its subnet.
    pub subnet: String,
    /// How many instances of the balancer have ended: the same launch twice is one, the next one is another.
    pub ended: usize,
    /// What it is to run, where that isn't what nodes boot by default.
    pub order: Option<Order>,
    /// The instance in whose place it is launched.
    pub replaces: Option<String>,
}

/// Actions of one stage don't need each other, and go at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The security group, whose tags and rules may be refused: nothing else is there then.
    Group,
    /// What it lets in.
    Admit,
    /// Containers.
    Make,
    /// What goes into them.
    Fill,
    /// What refers to them.
    Join,
    /// The nodes.
    Launch,
    /// What only there is then.
    Settle,
}

/// Every stage, in order.
pub const STAGES: [Stage; 7] =
    [Stage::Group, Stage::Admit, Stage::Make, Stage::Fill, Stage::Join, Stage::Launch, Stage::Settle];

impl Action {
    /// When it can be done.
    pub fn stage(&self) -> Stage {
        match self {
            Action::CreateGroup | Action::Claim(_) => Stage::Group,
            Action::Allow(_) => Stage::Admit,
            Action::CreateRole => Stage::Make,
            Action::Revoke(_) | Action::SetTrust | Action::SetPolicy | Action::CreateProfile => Stage::Fill,
            Action::AddRole | Action::CreateTemplate | Action::AddVersion(_) => Stage::Join,
            Action::Launch(_) | Action::Start { .. } | Action::CreateScaling(_) => Stage::Launch,
            Action::SetScaling(_) | Action::SetHook | Action::SuspendRebalance => Stage::Settle,
            Action::TakeIn(_) | Action::AllowNone | Action::TakeOut(_) | Action::Forget(_) => Stage::Settle,
            Action::DeleteScaling | Action::Name { .. } => Stage::Settle,
        }
    }

    /// What it does, for people and for `--output json`.
    pub fn change(&self, desired: &Desired) -> Change {
        let Desired { name, global_name, .. } = desired;
        let list = |rules: &BTreeSet<Rule>| rules.iter().map(Rule::to_string).collect::<Vec<_>>().join(", ");
        let (action, what) = match self {
            Action::CreateGroup => ("create-security-group", format!("create security group {name}")),
            Action::Claim(vips) => {
                let vips = vips.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", ");
                ("claim", format!("claim {vips} for {name}"))
            }
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
            Action::AddVersion(_) => {
                ("create-launch-template-version", format!("correct launch template {name} by a new version"))
            }
            Action::Launch(place) => ("launch", format!("launch node {} in {}", place.slot, place.subnet)),
            Action::CreateScaling(filling) => {
                let nodes = match filling {
                    Filling::Launched => format!("of {} nodes", desired.subnets.len()),
                    Filling::TakenIn => "without nodes yet".to_owned(),
                };
                ("create-auto-scaling-group", format!("create Auto Scaling group {name} {nodes}"))
            }
            Action::SetScaling(differences) => {
                let differences = differences.join("; ");
                ("set-auto-scaling-group", format!("correct Auto Scaling group {name}: {differences}"))
            }
            Action::SetHook => ("set-lifecycle-hook", format!("have {name} wait for nodes that it ends")),
            Action::SuspendRebalance => ("suspend-rebalance", format!("keep {name} from ending healthy nodes")),
            Action::TakeIn(ids) => {
                ("attach-instances", format!("take {} into Auto Scaling group {name}", ids.join(", ")))
            }
            Action::AllowNone => ("set-auto-scaling-group", format!("let Auto Scaling group {name} have no nodes")),
            Action::TakeOut(ids) => {
                let ids = ids.join(", ");
                ("detach-instances", format!("take {ids} out of Auto Scaling group {name}, to run on without it"))
            }
            Action::Forget(id) => {
                ("complete-lifecycle-action", format!("have {name} not wait for {id}, which has ended"))
            }
            Action::DeleteScaling => {
                ("delete-auto-scaling-group", format!("delete Auto Scaling group {name}, which has no nodes"))
            }
            Action::Name { id, slot } => ("set-name", format!("name {id} {name}-{slot}")),
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
    match &desired.scaling {
        None => actions.extend(nodes(desired, observed)),
        Some(wanted) => scaling(wanted, observed, &mut actions),
    }
    actions.sort_by_key(Action::stage);
    actions
}

fn group(desired: &Desired, observed: &Observed, actions: &mut Vec<Action>) {
    let group = observed.group(&desired.vpc);
    if group.is_none() {
        actions.push(Action::CreateGroup);
    }
    if let Some(group) = group {
        let claimed = claimed(&group.tags);
        let new: Vec<Ipv4Addr> = desired.virtual_ips.iter().filter(|vip| !claimed.contains(vip)).copied().collect();
        actions.extend(Some(Action::Claim(new)).filter(|action| *action != Action::Claim(Vec::new())));
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
    let image = &template.contents.image;
    let wanted = observed.group(&desired.vpc).map(|group| desired.contents(&group.id, Some(image)));
    if wanted.as_ref() != Some(&template.contents) {
        actions.push(Action::AddVersion(Box::new(template.clone())));
    }
}

/// A group that is being deleted is to be made again, once it is gone.
fn scaling(wanted: &Wanted, observed: &Observed, actions: &mut Vec<Action>) {
    let Some(group) = observed.scaling.as_ref().filter(|group| !group.deleting) else {
        actions.extend([Action::CreateScaling(Filling::Launched), Action::SuspendRebalance]);
        return;
    };
    // A template that is to be made has no id yet: the group is looked at again then.
    let template = observed.template.as_ref().map(|template| template.id.as_str());
    let differences = match template {
        Some(id) => wanted.differences(group, Some(id)),
        None => vec!["the launch template is another".to_owned()],
    };
    if !differences.is_empty() {
        actions.push(Action::SetScaling(differences));
    }
    if group.hook.as_ref() != Some(&wanted.hook) {
        actions.push(Action::SetHook);
    }
    if !group.suspended.contains(REBALANCE) {
        actions.push(Action::SuspendRebalance);
    }
}

/// What brings the launcher's nodes back: each subnet gets one.
pub fn nodes(desired: &Desired, observed: &Observed) -> Vec<Action> {
    // AWS forgets in which subnet an instance was that has ended.
    let ended = observed.nodes.iter().filter(|node| !node.is_live()).count();
    let action = |(slot, subnet): (Slot, &str)| {
        let live: Vec<&Node> = observed.live().filter(|node| node.subnet == subnet).collect();
        match live.first() {
            None => Some(Action::Launch(Place { slot, subnet: subnet.to_owned(), ended, order: None, replaces: None })),
            Some(node) if live.iter().all(|node| node.state == "stopped") => {
                Some(Action::Start { id: node.id.clone(), slot })
            }
            Some(_) => None,
        }
    };
    desired.slots().filter_map(action).collect()
}

#[cfg(test)]
mod tests;
