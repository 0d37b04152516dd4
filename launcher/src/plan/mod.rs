//! Plans the actions that turn the observed balancer into the desired one, in the order of their dependencies. Pure.

pub mod teardown;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::Serialize;
use templates::balancer::Iam;
use templates::{Order, Slot};

use crate::model::desired::Desired;
use crate::model::group_settings::{Wanted, unpinned};
use crate::model::local_agents::LocalAgent;
use crate::model::node::Node;
use crate::model::observe::Observed;
use crate::model::operator_tags::{self, Prescribed, Retag};
use crate::model::tags::claimed;
use crate::resources::launch_template::Template;
use crate::resources::role::Role;
use crate::resources::scaling_group::{Hook, REBALANCE};
use crate::resources::security_group::Rule;

/// One change: one call to AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Create the security group, without rules.
    CreateGroup,
    /// Claim these virtual IPs.
    Claim(Vec<Ipv4Addr>),
    /// Add these rules.
    Allow(BTreeSet<Rule>),
    /// Remove these rules.
    Revoke(BTreeSet<Rule>),
    /// Create Elbow's bucket, or give it its settings.
    CreateBucket,
    /// Upload this agent to it.
    UploadAgent(LocalAgent),
    /// Create the role, without a policy.
    CreateRole,
    /// Set its permissions boundary.
    SetBoundary(String),
    /// Set its trust policy.
    SetTrust,
    /// Set its permission policy.
    SetPolicy,
    /// Create the instance profile, without the role.
    CreateProfile,
    /// Add the role to the instance profile.
    AddRole,
    /// Create the launch template.
    CreateTemplate,
    /// Add a corrected version to this template; the image stays.
    AddVersion(Box<Template>),
    /// Launch a node.
    Launch(Place),
    /// Create the Auto Scaling group.
    CreateScaling,
    /// Correct these differences of the group.
    SetScaling(Vec<String>),
    /// Pin the group to the launch template's version.
    Pin,
    /// Set this lifecycle hook of the group.
    SetHook(Hook),
    /// Suspend AZRebalance, which ends healthy nodes.
    SuspendRebalance,
    /// Set the operator's tags on a resource that lacks them.
    Retag(Retag),
    /// Start a stopped node.
    Start {
        /// The instance.
        id: String,
        slot: Slot,
    },
}

/// A node to launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub slot: Slot,
    pub subnet: String,
    /// How many instances of the balancer have ended: each end gives the next launch another idempotency token.
    pub ended: usize,
    /// Its order, if it isn't to run the default.
    pub order: Option<Order>,
    /// The instance that it replaces.
    pub replaces: Option<String>,
}

/// Actions of one stage don't depend on each other and run concurrently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The security group and its claims. If they are refused, nothing else exists yet.
    Group,
    /// New rules of the security group, and the bucket.
    Admit,
    /// The agent; the role, and its permissions boundary: a caller's policy may require it for what follows.
    Make,
    /// Policies, the instance profile, and rules to remove.
    Fill,
    /// What refers to the stages before.
    Join,
    /// The nodes, or their group.
    Launch,
    /// Settings of the Auto Scaling group, and tags.
    Settle,
}

/// Every stage, in order.
pub const STAGES: [Stage; 7] =
    [Stage::Group, Stage::Admit, Stage::Make, Stage::Fill, Stage::Join, Stage::Launch, Stage::Settle];

impl Action {
    /// The action's stage.
    pub fn stage(&self) -> Stage {
        match self {
            Action::CreateGroup | Action::Claim(_) => Stage::Group,
            Action::Allow(_) | Action::CreateBucket => Stage::Admit,
            Action::UploadAgent(_) | Action::CreateRole | Action::SetBoundary(_) => Stage::Make,
            Action::Revoke(_) | Action::SetTrust | Action::SetPolicy | Action::CreateProfile => Stage::Fill,
            Action::AddRole | Action::CreateTemplate | Action::AddVersion(_) => Stage::Join,
            Action::Launch(_) | Action::Start { .. } | Action::CreateScaling => Stage::Launch,
            Action::SetScaling(_) | Action::Pin | Action::SetHook(_) | Action::SuspendRebalance | Action::Retag(_) => {
                Stage::Settle
            }
        }
    }

    /// Whether it launches instances.
    pub fn launches(&self) -> bool {
        matches!(self, Action::Launch(_) | Action::CreateScaling)
    }

    /// The action as text and for `--output json`.
    pub fn change(&self, desired: &Desired) -> Change {
        let Desired { name, global_name, .. } = desired;
        let list = |rules: &BTreeSet<Rule>| rules.iter().map(Rule::to_string).collect::<Vec<_>>().join(", ");
        let (action, what) = match self {
            Action::CreateGroup => ("create-security-group", format!("create security group {name}")),
            Action::Claim(vips) => {
                let vips = vips.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", ");
                ("claim", format!("claim {vips} for {name}"))
            }
            Action::Allow(rules) => ("allow", format!("allow inbound to {name}: {}", list(rules))),
            Action::Revoke(rules) => ("revoke", format!("revoke inbound to {name}: {}", list(rules))),
            Action::CreateBucket => ("create-bucket", format!("create bucket {}", desired.bucket())),
            Action::UploadAgent(LocalAgent { architecture, size, .. }) => {
                let size = *size as f64 / 1e6;
                let what = format!("upload the agent for {architecture} ({size:.1} MB) to bucket {}", desired.bucket());
                ("upload-agent", what)
            }
            Action::CreateRole => ("create-role", format!("create IAM role {global_name}")),
            Action::SetBoundary(arn) => {
                ("set-permissions-boundary", format!("set the permissions boundary of IAM role {global_name} to {arn}"))
            }
            Action::SetTrust => ("set-trust", format!("correct the trust policy of IAM role {global_name}")),
            Action::SetPolicy => ("set-policy", format!("set the policy of IAM role {global_name}")),
            Action::CreateProfile => ("create-instance-profile", format!("create instance profile {global_name}")),
            Action::AddRole => {
                let role = desired.iam.role(global_name);
                ("add-role", format!("add role {role} to instance profile {global_name}"))
            }
            Action::CreateTemplate => {
                ("create-launch-template", format!("create launch template {name}, revision {}", desired.revision))
            }
            Action::AddVersion(_) => {
                ("create-launch-template-version", format!("correct launch template {name} with a new version"))
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
            Action::Pin => ("pin-version", format!("pin Auto Scaling group {name} to that version of template {name}")),
            Action::SetHook(Hook { name: hook, timeout, .. }) => (
                "set-lifecycle-hook",
                format!("set lifecycle hook {hook} of Auto Scaling group {name}, timeout {timeout} s"),
            ),
            Action::SuspendRebalance => {
                ("suspend-rebalance", format!("suspend AZRebalance of Auto Scaling group {name}"))
            }
            Action::Retag(retag) => ("set-tags", format!("set tags of {retag}")),
            Action::Start { id, slot } => ("start", format!("start node {slot}, {id}")),
        };
        Change { action, what }
    }
}

/// A change as text and for `--output json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its kind.
    pub action: &'static str,
    /// The change in words.
    pub what: String,
}

/// The actions for everything that is missing or differs.
pub fn plan(desired: &Desired, observed: &Observed) -> Vec<Action> {
    let mut actions = Vec::new();
    group(desired, observed, &mut actions);
    actions.extend(missing_in_bucket(desired));
    iam(desired, observed, &mut actions);
    template(desired, observed, &mut actions);
    actions.extend(pin(observed, &actions));
    actions.extend(launching(desired, observed));
    let prescribed = Prescribed { tags: &desired.operator_tags, iam: &desired.iam, vpc: &desired.vpc };
    let retags = operator_tags::missing(prescribed, &BTreeSet::new(), observed);
    actions.extend(retags.into_iter().map(Action::Retag));
    actions.sort_by_key(Action::stage);
    actions
}

/// The actions that launch nodes: those of the Auto Scaling group, or of the nodes themselves.
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

/// The actions that put the nodes' agent into Elbow's bucket.
pub fn missing_in_bucket(desired: &Desired) -> Vec<Action> {
    let Some(store) = &desired.store else { return Vec::new() };
    let upload = store.file().filter(|_| !store.has_wanted()).cloned().map(Action::UploadAgent);
    store.is_new().then_some(Action::CreateBucket).into_iter().chain(upload).collect()
}

/// The actions that create what is missing in IAM.
pub fn missing_in_iam(desired: &Desired, observed: &Observed) -> Vec<Action> {
    let mut actions = Vec::new();
    if observed.role.is_none() && desired.iam.owns_role() {
        actions.extend([Action::CreateRole, Action::SetPolicy]);
    }
    if !desired.iam.owns_profile() {
        return actions;
    }
    if observed.profile.is_none() {
        actions.push(Action::CreateProfile);
    }
    let role = observed.profile.as_ref().and_then(|profile| profile.role.as_deref());
    if role != Some(desired.iam.role(&desired.global_name)) {
        actions.push(Action::AddRole);
    }
    actions
}

/// Leaves alone what isn't Elbow's.
fn iam(desired: &Desired, observed: &Observed, actions: &mut Vec<Action>) {
    let document = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("templates render JSON");
    if let Some(role) = observed.role.as_ref().filter(|_| desired.iam.owns_role()) {
        actions.extend(other_boundary(&desired.iam, role).map(Action::SetBoundary));
        if role.trust != document(&desired.trust) {
            actions.push(Action::SetTrust);
        }
        if role.policy != Some(document(&desired.policy)) {
            actions.push(Action::SetPolicy);
        }
    }
    actions.extend(missing_in_iam(desired, observed));
}

/// The permissions boundary to set, if the role has another one. Without the key in the file, the boundary isn't Elbow's.
pub fn other_boundary(iam: &Iam, role: &Role) -> Option<String> {
    iam.permissions_boundary.clone().filter(|arn| role.boundary.as_ref() != Some(arn))
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

/// An existing group must launch the template's version, also one that `actions` add.
fn pin(observed: &Observed, actions: &[Action]) -> Option<Action> {
    let group = observed.scaling.as_ref().filter(|group| !group.deleting)?;
    let is_new = actions.iter().any(|action| matches!(action, Action::CreateTemplate | Action::AddVersion(_)));
    let boots = observed.template.as_ref().map(|template| (template.id.as_str(), template.version));
    (is_new || boots.is_some_and(|boots| unpinned(group, boots).is_some())).then_some(Action::Pin)
}

/// A group that is being deleted is created again once it is gone.
fn scaling(wanted: &Wanted, observed: &Observed) -> Vec<Action> {
    let Some(group) = observed.scaling.as_ref().filter(|group| !group.deleting) else {
        return vec![Action::CreateScaling, Action::SuspendRebalance];
    };
    let differences = Some(wanted.differences(group)).filter(|differences| !differences.is_empty());
    let hooks = wanted.missing_hooks(group).cloned().map(Action::SetHook);
    let evens_out = (!group.suspended.contains(REBALANCE)).then_some(Action::SuspendRebalance);
    differences.map(Action::SetScaling).into_iter().chain(hooks).chain(evens_out).collect()
}

/// Each subnet gets a node.
fn nodes(desired: &Desired, observed: &Observed) -> Vec<Action> {
    // EC2 doesn't report the subnet of an ended instance.
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
