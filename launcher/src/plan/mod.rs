//! What to do to make what is there what should be there. Pure; the order is the order in which things need each other.

pub mod teardown;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::Serialize;
use templates::{Order, Slot};

use crate::model::desired::Desired;
use crate::model::node::Node;
use crate::model::observe::Observed;
use crate::model::scaling::{Wanted, unpinned};
use crate::model::tags::claimed;
use crate::resources::launch_template::Template;
use crate::resources::scaling_group::{Hook, REBALANCE};
use crate::resources::security_group::Rule;

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
    CreateScaling,
    /// Make the group do what it should: in which it differs, in words.
    SetScaling(Vec<String>),
    /// Have the group launch the launch template's version.
    Pin,
    /// Make the group wait for nodes at this hook.
    SetHook(Hook),
    /// Keep the group from ending healthy nodes.
    SuspendRebalance,
    /// Start a node that was stopped.
    Start {
        /// The instance.
        id: String,
        /// Its slot.
        slot: Slot,
    },
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
            Action::Launch(_) | Action::Start { .. } | Action::CreateScaling => Stage::Launch,
            Action::SetScaling(_) | Action::Pin | Action::SetHook(_) | Action::SuspendRebalance => Stage::Settle,
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
            Action::CreateScaling => {
                let what = format!("create Auto Scaling group {name} of {} nodes", desired.subnets.len());
                ("create-auto-scaling-group", what)
            }
            Action::SetScaling(differences) => {
                let differences = differences.join("; ");
                ("set-auto-scaling-group", format!("correct Auto Scaling group {name}: {differences}"))
            }
            Action::Pin => ("pin-version", format!("have {name} launch that version of launch template {name}")),
            Action::SetHook(Hook { name: hook, timeout, .. }) => (
                "set-lifecycle-hook",
                format!("have {name} wait for nodes at the hook {hook}, for {timeout} s at most"),
            ),
            Action::SuspendRebalance => ("suspend-rebalance", format!("keep {name} from ending healthy nodes")),
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
    actions.extend(pin(observed, &actions));
    actions.extend(launching(desired, observed));
    actions.sort_by_key(Action::stage);
    actions
}

/// What has nodes come to be: the group, as it should be, or the nodes themselves.
pub fn launching(desired: &Desired, observed: &Observed) -> Vec<Action> {
    match &desired.scaling {
        None => nodes(desired, observed),
        Some(wanted) => scaling(wanted, observed),
    }
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

/// A group that is there launches the template's version, also one that is added by `actions`.
fn pin(observed: &Observed, actions: &[Action]) -> Option<Action> {
    let group = observed.scaling.as_ref().filter(|group| !group.deleting)?;
    let is_new = actions.iter().any(|action| matches!(action, Action::CreateTemplate | Action::AddVersion(_)));
    let boots = observed.template.as_ref().map(|template| (template.id.as_str(), template.version));
    (is_new || boots.is_some_and(|boots| unpinned(group, boots).is_some())).then_some(Action::Pin)
}

/// A group that is being deleted is to be made again, once it is gone.
fn scaling(wanted: &Wanted, observed: &Observed) -> Vec<Action> {
    let Some(group) = observed.scaling.as_ref().filter(|group| !group.deleting) else {
        return vec![Action::CreateScaling, Action::SuspendRebalance];
    };
    let differences = Some(wanted.differences(group)).filter(|differences| !differences.is_empty());
    let hooks = wanted.missing_hooks(group).cloned().map(Action::SetHook);
    let evens_out = (!group.suspended.contains(REBALANCE)).then_some(Action::SuspendRebalance);
    differences.map(Action::SetScaling).into_iter().chain(hooks).chain(evens_out).collect()
}

/// What brings the launcher's nodes back: each subnet gets one.
fn nodes(desired: &Desired, observed: &Observed) -> Vec<Action> {
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
