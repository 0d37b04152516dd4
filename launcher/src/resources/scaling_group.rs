//! The Auto Scaling group: launches the nodes, and replaces those that are lost.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::types::{
    AutoScalingGroup, Instance, LaunchTemplateSpecification, LifecycleHook, LifecycleHookSpecification, Tag,
};
use templates::handover::HOOK;

use crate::aws::error::{CallFailed, Named};
use crate::tags::Tags;

/// Ends healthy nodes in order to even out the zones. Nodes are not capacity: that would move a virtual IP for nothing.
pub const REBALANCE: &str = "AZRebalance";
/// What a group waits for before it ends a node.
const ENDING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";
/// The version of the launch template that a group launches: whichever is proven by then.
const VERSION: &str = "$Default";
/// By EC2: a node that can't serve gives the virtual IPs up by itself, and isn't made better by being ended.
const HEALTH: &str = "EC2";

/// What a group does, in Auto Scaling's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The fewest instances, the wanted number, and the most.
    pub sizes: [i32; 3],
    /// Where they are.
    pub subnets: BTreeSet<String>,
    /// The launch template's id and the version.
    pub template: (String, String),
    /// Who says whether an instance is healthy.
    pub health: String,
}

/// How long a group waits at the hook, and what it does then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Of an instance's life.
    pub transition: String,
    /// In seconds.
    pub timeout: i32,
    /// `CONTINUE` or `ABANDON`
    pub result: String,
}

/// A group as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalingGroup {
    /// `elbow-…`
    pub name: String,
    /// Whose it is.
    pub tags: Tags,
    /// What it does.
    pub settings: Settings,
    /// The hook at which it waits for a node that it ends.
    pub hook: Option<Hook>,
    /// The names of other hooks.
    pub other_hooks: BTreeSet<String>,
    /// What it doesn't do.
    pub suspended: BTreeSet<String>,
    /// The instances that it knows of.
    pub members: Vec<Member>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// An instance of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// `i-…`
    pub id: String,
    /// In Auto Scaling's words: `Pending`, `InService`, `Terminating:Wait`, `Detaching`, …
    pub state: String,
}

impl Settings {
    /// For so many nodes in these subnets, from that launch template.
    pub fn of(subnets: &[String], template: &str) -> Settings {
        Settings {
            sizes: [subnets.len() as i32; 3],
            subnets: subnets.iter().cloned().collect(),
            template: (template.to_owned(), VERSION.to_owned()),
            health: HEALTH.to_owned(),
        }
    }

    fn template(&self) -> LaunchTemplateSpecification {
        let (id, version) = &self.template;
        LaunchTemplateSpecification::builder().launch_template_id(id).version(version).build()
    }

    fn zones(&self) -> String {
        self.subnets.iter().map(String::as_str).collect::<Vec<_>>().join(",")
    }
}

impl Hook {
    /// Waits so long, and goes on.
    pub fn of(timeout: Duration) -> Hook {
        let timeout = timeout.as_millis().div_ceil(1000) as i32;
        Hook { transition: ENDING.to_owned(), timeout, result: "CONTINUE".to_owned() }
    }
}

/// The group of this name, if there is one.
pub async fn find(client: &Client, name: &str) -> Result<Option<ScalingGroup>, CallFailed> {
    let call = client.describe_auto_scaling_groups().auto_scaling_group_names(name);
    let output = call.send().await.named("autoscaling:DescribeAutoScalingGroups", name)?;
    let Some(there) = output.auto_scaling_groups().first() else { return Ok(None) };
    let mut group = read(there);
    if !group.deleting {
        let call = client.describe_lifecycle_hooks().auto_scaling_group_name(name);
        let hooks = match call.send().await.named("autoscaling:DescribeLifecycleHooks", name) {
            Err(error) if is_absent(&error) => return Ok(None),
            hooks => hooks?,
        };
        let (own, others): (Vec<_>, Vec<_>) =
            hooks.lifecycle_hooks().iter().partition(|hook| hook.lifecycle_hook_name() == Some(HOOK));
        group.hook = own.first().copied().map(hook);
        group.other_hooks = others.iter().filter_map(|hook| hook.lifecycle_hook_name()).map(str::to_owned).collect();
    }
    Ok(Some(group))
}

fn read(group: &AutoScalingGroup) -> ScalingGroup {
    let template = group.launch_template();
    let word = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let tags = group.tags().iter();
    let sizes = [group.min_size(), group.desired_capacity(), group.max_size()];
    let subnets = group.vpc_zone_identifier().unwrap_or_default().split(',').map(str::trim);
    ScalingGroup {
        name: word(group.auto_scaling_group_name()),
        tags: tags.filter_map(|tag| Some((tag.key()?, tag.value().unwrap_or_default()))).collect(),
        settings: Settings {
            sizes: sizes.map(Option::unwrap_or_default),
            subnets: subnets.filter(|subnet| !subnet.is_empty()).map(str::to_owned).collect(),
            template: (
                word(template.and_then(|template| template.launch_template_id())),
                // A group without a version means the default one.
                template.and_then(|template| template.version()).unwrap_or(VERSION).to_owned(),
            ),
            health: word(group.health_check_type()),
        },
        hook: None,
        other_hooks: BTreeSet::new(),
        suspended: group.suspended_processes().iter().map(|process| word(process.process_name())).collect(),
        members: group.instances().iter().map(member).collect(),
        deleting: group.status().is_some(),
    }
}

fn member(instance: &Instance) -> Member {
    let state = instance.lifecycle_state().map(|state| state.as_str()).unwrap_or_default();
    Member { id: instance.instance_id().unwrap_or_default().to_owned(), state: state.to_owned() }
}

fn hook(hook: &LifecycleHook) -> Hook {
    Hook {
        transition: hook.lifecycle_transition().unwrap_or_default().to_owned(),
        timeout: hook.heartbeat_timeout().unwrap_or_default(),
        result: hook.default_result().unwrap_or_default().to_owned(),
    }
}

/// Makes the group with its hook, so that no node of it is ever ended without one. Its instances get `tags`, too.
pub async fn create(
    client: &Client,
    name: &str,
    settings: &Settings,
    hook: &Hook,
    tags: &Tags,
) -> Result<(), CallFailed> {
    let [min, desired, max] = settings.sizes;
    let specified = LifecycleHookSpecification::builder()
        .lifecycle_hook_name(HOOK)
        .lifecycle_transition(&hook.transition)
        .heartbeat_timeout(hook.timeout)
        .default_result(&hook.result)
        .build();
    let tag = |(key, value)| Tag::builder().key(key).value(value).propagate_at_launch(true).build();
    let call = client
        .create_auto_scaling_group()
        .auto_scaling_group_name(name)
        .launch_template(settings.template())
        .min_size(min)
        .desired_capacity(desired)
        .max_size(max)
        .vpc_zone_identifier(settings.zones())
        .health_check_type(&settings.health)
        .lifecycle_hook_specification_list(specified)
        .set_tags(Some(tags.0.iter().map(tag).collect()));
    call.send().await.named("autoscaling:CreateAutoScalingGroup", name).map(drop)
}

/// Makes the group do what it should.
pub async fn set(client: &Client, name: &str, settings: &Settings) -> Result<(), CallFailed> {
    let [min, desired, max] = settings.sizes;
    let call = client
        .update_auto_scaling_group()
        .auto_scaling_group_name(name)
        .launch_template(settings.template())
        .min_size(min)
        .desired_capacity(desired)
        .max_size(max)
        .vpc_zone_identifier(settings.zones())
        .health_check_type(&settings.health);
    call.send().await.named("autoscaling:UpdateAutoScalingGroup", name).map(drop)
}

/// Makes the group wait for nodes that it ends.
pub async fn set_hook(client: &Client, name: &str, hook: &Hook) -> Result<(), CallFailed> {
    let call = client
        .put_lifecycle_hook()
        .auto_scaling_group_name(name)
        .lifecycle_hook_name(HOOK)
        .lifecycle_transition(&hook.transition)
        .heartbeat_timeout(hook.timeout)
        .default_result(&hook.result);
    call.send().await.named("autoscaling:PutLifecycleHook", name).map(drop)
}

/// Keeps the group from ending healthy nodes.
pub async fn suspend_rebalance(client: &Client, name: &str) -> Result<(), CallFailed> {
    let call = client.suspend_processes().auto_scaling_group_name(name).scaling_processes(REBALANCE);
    call.send().await.named("autoscaling:SuspendProcesses", name).map(drop)
}

/// Deletes the group and ends its instances, without waiting at hooks: there is nobody left to hand over to.
pub async fn delete(client: &Client, name: &str) -> Result<(), CallFailed> {
    let call = client.delete_auto_scaling_group().auto_scaling_group_name(name).force_delete(true);
    match call.send().await.named("autoscaling:DeleteAutoScalingGroup", name) {
        Err(error) if is_absent(&error) || is_pending_delete(&error) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Why the group's last launch failed, if it did and none has succeeded since.
pub async fn failure(client: &Client, name: &str) -> Result<Option<String>, CallFailed> {
    let call = client.describe_scaling_activities().auto_scaling_group_name(name).max_records(20);
    let output = call.send().await.named("autoscaling:DescribeScalingActivities", name)?;
    let launched = |description: &str| description.starts_with("Launching");
    let last = output.activities().iter().find(|activity| activity.description().is_some_and(launched));
    Ok(last.and_then(|activity| activity.status_message()).filter(|says| !says.is_empty()).map(str::to_owned))
}

/// Whether there is no such group. Auto Scaling has one code for whatever isn't valid; the words tell (seen in answers, not
/// documented).
pub fn is_absent(error: &CallFailed) -> bool {
    error.is("ValidationError") && error.to_string().contains("not found")
}

/// Whether the group is on its way out.
pub fn is_pending_delete(error: &CallFailed) -> bool {
    error.to_string().contains("pending delete")
}
