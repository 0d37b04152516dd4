//! The Auto Scaling group, which launches the nodes and replaces lost ones.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::types::builders::TagBuilder;
use aws_sdk_autoscaling::types::{
    AutoScalingGroup, Instance, InstanceMaintenancePolicy, LaunchTemplateSpecification, LifecycleHook,
    LifecycleHookSpecification, ScalingActivityStatusCode, Tag,
};
use templates::balancer::Millis;
use templates::handover::{HOOK, LAUNCH_HOOK, LAUNCH_TIMEOUT, heartbeat};

use super::instance_refresh::{self, BOUNDS, Phase, Refresh};
use crate::aws::error::{CallFailed, Named};
use crate::model::tags::Tags;

/// The process that ends healthy nodes to balance the zones. It would move a virtual IP without need.
pub const REBALANCE: &str = "AZRebalance";
/// The lifecycle transitions at which a group waits for its hooks.
const LAUNCHING: &str = "autoscaling:EC2_INSTANCE_LAUNCHING";
const ENDING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";
/// EC2's status checks: a node that can't serve yields its virtual IPs by itself, and ending it doesn't help.
const HEALTH: &str = "EC2";

/// A group's settings, as Auto Scaling names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Minimum, desired and maximum number of instances.
    pub sizes: [i32; 3],
    /// Their subnets.
    pub subnets: BTreeSet<String>,
    /// The health check type.
    pub health: String,
    /// The fewest and the most healthy instances while some are replaced, in percent.
    pub bounds: Option<(i32, i32)>,
    /// The default warm-up in seconds.
    pub warmup: Option<i32>,
}

/// A lifecycle hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub name: String,
    /// The lifecycle transition.
    pub transition: String,
    /// The heartbeat timeout in seconds.
    pub timeout: i32,
    /// The default result, `CONTINUE` or `ABANDON`.
    pub result: String,
}

/// An Auto Scaling group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalingGroup {
    /// `elbow-…`
    pub name: String,
    /// Its tags, which name its balancer.
    pub tags: Tags,
    pub settings: Settings,
    /// The launch template's id and the version that it launches: a number, or `$Default`, `$Latest`.
    pub template: (String, String),
    /// Its lifecycle hooks.
    pub hooks: Vec<Hook>,
    /// Its newest instance refresh.
    pub refresh: Option<Refresh>,
    /// Its suspended processes.
    pub suspended: BTreeSet<String>,
    /// Its instances.
    pub members: Vec<Member>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// An instance of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// `i-…`
    pub id: String,
    /// Auto Scaling's lifecycle state: `Pending`, `InService`, `Terminating:Wait`, …
    pub state: String,
    /// The version of the launch template that it was launched from.
    pub version: Option<i64>,
}

impl ScalingGroup {
    /// The refresh that is in progress.
    pub fn active_refresh(&self) -> Option<&Refresh> {
        self.refresh.as_ref().filter(|refresh| refresh.phase() != Phase::Ended)
    }

    /// The version of its launch template that the group launches, if it is set by number.
    pub fn pinned(&self) -> Option<i64> {
        self.template.1.parse().ok()
    }

    /// Whether it should have more instances in service than it has, or replaces them.
    pub fn is_launching(&self) -> bool {
        let serving = self.members.iter().filter(|member| member.state == "InService").count();
        let [_, desired, _] = self.settings.sizes;
        !self.deleting
            && (usize::try_from(desired).is_ok_and(|desired| serving < desired) || self.active_refresh().is_some())
    }
}

impl Settings {
    /// One node for each of these subnets. The maximum is twice that: AWS doesn't document whether it applies while
    /// nodes are replaced.
    pub fn of(subnets: &[String]) -> Settings {
        let nodes = subnets.len() as i32;
        Settings {
            sizes: [nodes, nodes, 2 * nodes],
            subnets: subnets.iter().cloned().collect(),
            health: HEALTH.to_owned(),
            bounds: Some(BOUNDS),
            warmup: Some(0),
        }
    }

    fn zones(&self) -> String {
        self.subnets.iter().map(String::as_str).collect::<Vec<_>>().join(",")
    }

    fn policy(&self) -> Option<InstanceMaintenancePolicy> {
        let (lowest, highest) = self.bounds?;
        let policy = InstanceMaintenancePolicy::builder().min_healthy_percentage(lowest);
        Some(policy.max_healthy_percentage(highest).build())
    }
}

impl Hook {
    /// The launch hook: the group ends a node that can't serve in time, and launches another.
    pub fn launch() -> Hook {
        Hook::of(LAUNCH_HOOK, LAUNCHING, LAUNCH_TIMEOUT, "ABANDON")
    }

    /// The termination hook, which waits for a node's drain.
    pub fn end(drain_timeout: Millis) -> Hook {
        Hook::of(HOOK, ENDING, heartbeat(drain_timeout), "CONTINUE")
    }

    fn of(name: &str, transition: &str, timeout: Duration, result: &str) -> Hook {
        let timeout = timeout.as_millis().div_ceil(1000) as i32;
        Hook { name: name.to_owned(), transition: transition.to_owned(), timeout, result: result.to_owned() }
    }

    fn specification(&self) -> LifecycleHookSpecification {
        LifecycleHookSpecification::builder()
            .lifecycle_hook_name(&self.name)
            .lifecycle_transition(&self.transition)
            .heartbeat_timeout(self.timeout)
            .default_result(&self.result)
            .build()
    }
}

fn specification((id, version): (&str, i64)) -> LaunchTemplateSpecification {
    LaunchTemplateSpecification::builder().launch_template_id(id).version(version.to_string()).build()
}

/// The group of this name, if it exists.
pub async fn find(client: &Client, name: &str) -> Result<Option<ScalingGroup>, CallFailed> {
    match describe(client, name).await? {
        Some(group) => complete(client, group).await,
        None => Ok(None),
    }
}

/// The first of the two rounds of [`find`]: the group without its hooks and its refresh.
pub async fn describe(client: &Client, name: &str) -> Result<Option<ScalingGroup>, CallFailed> {
    let call = client.describe_auto_scaling_groups().auto_scaling_group_names(name);
    let output = call.send().await.named("autoscaling:DescribeAutoScalingGroups", name)?;
    Ok(output.auto_scaling_groups().first().map(read))
}

/// The second: its hooks and its newest refresh. None if the group was deleted meanwhile.
pub async fn complete(client: &Client, mut group: ScalingGroup) -> Result<Option<ScalingGroup>, CallFailed> {
    if group.deleting {
        return Ok(Some(group));
    }
    let hooks = async {
        let call = client.describe_lifecycle_hooks().auto_scaling_group_name(&group.name);
        call.send().await.named("autoscaling:DescribeLifecycleHooks", &group.name)
    };
    let (hooks, refresh) = match futures::try_join!(hooks, instance_refresh::newest(client, &group.name)) {
        Err(error) if is_absent(&error) => return Ok(None),
        read => read?,
    };
    (group.hooks, group.refresh) = (hooks.lifecycle_hooks().iter().map(hook).collect(), refresh);
    Ok(Some(group))
}

fn read(group: &AutoScalingGroup) -> ScalingGroup {
    let template = group.launch_template();
    let word = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let tags = group.tags().iter();
    let sizes = [group.min_size(), group.desired_capacity(), group.max_size()];
    let subnets = group.vpc_zone_identifier().unwrap_or_default().split(',').map(str::trim);
    let policy = group.instance_maintenance_policy();
    ScalingGroup {
        name: word(group.auto_scaling_group_name()),
        tags: tags.filter_map(|tag| Some((tag.key()?, tag.value().unwrap_or_default()))).collect(),
        settings: Settings {
            sizes: sizes.map(Option::unwrap_or_default),
            subnets: subnets.filter(|subnet| !subnet.is_empty()).map(str::to_owned).collect(),
            health: word(group.health_check_type()),
            bounds: policy.and_then(|it| Some((it.min_healthy_percentage()?, it.max_healthy_percentage()?))),
            warmup: group.default_instance_warmup(),
        },
        template: (
            word(template.and_then(|template| template.launch_template_id())),
            // A group without a version launches the default.
            template.and_then(|template| template.version()).unwrap_or("$Default").to_owned(),
        ),
        hooks: Vec::new(),
        refresh: None,
        suspended: group.suspended_processes().iter().map(|process| word(process.process_name())).collect(),
        members: group.instances().iter().map(member).collect(),
        deleting: group.status().is_some(),
    }
}

fn member(instance: &Instance) -> Member {
    let state = instance.lifecycle_state().map(|state| state.as_str()).unwrap_or_default();
    let version = instance.launch_template().and_then(|template| template.version()?.parse().ok());
    Member { id: instance.instance_id().unwrap_or_default().to_owned(), state: state.to_owned(), version }
}

fn hook(hook: &LifecycleHook) -> Hook {
    Hook {
        name: hook.lifecycle_hook_name().unwrap_or_default().to_owned(),
        transition: hook.lifecycle_transition().unwrap_or_default().to_owned(),
        timeout: hook.heartbeat_timeout().unwrap_or_default(),
        result: hook.default_result().unwrap_or_default().to_owned(),
    }
}

/// Creates the group, which launches this version of the launch template. Its hooks are in the same call, so that they
/// hold for the first node. The group and its instances get `tags`.
pub async fn create(
    client: &Client,
    name: &str,
    template: (&str, i64),
    settings: &Settings,
    hooks: &[Hook],
    tags: &Tags,
) -> Result<(), CallFailed> {
    let [min, desired, max] = settings.sizes;
    let tag = |(key, value)| Tag::builder().key(key).value(value).propagate_at_launch(true).build();
    let call = client
        .create_auto_scaling_group()
        .auto_scaling_group_name(name)
        .launch_template(specification(template))
        .min_size(min)
        .desired_capacity(desired)
        .max_size(max)
        .vpc_zone_identifier(settings.zones())
        .health_check_type(&settings.health)
        .set_instance_maintenance_policy(settings.policy())
        .set_default_instance_warmup(settings.warmup)
        .set_lifecycle_hook_specification_list(Some(hooks.iter().map(Hook::specification).collect()))
        .set_tags(Some(tags.0.iter().map(tag).collect()));
    call.send().await.named("autoscaling:CreateAutoScalingGroup", name).map(drop)
}

/// Sets the group's settings.
pub async fn set(client: &Client, name: &str, settings: &Settings) -> Result<(), CallFailed> {
    let [min, desired, max] = settings.sizes;
    let call = client
        .update_auto_scaling_group()
        .auto_scaling_group_name(name)
        .min_size(min)
        .desired_capacity(desired)
        .max_size(max)
        .vpc_zone_identifier(settings.zones())
        .health_check_type(&settings.health)
        .set_instance_maintenance_policy(settings.policy())
        .set_default_instance_warmup(settings.warmup);
    call.send().await.named("autoscaling:UpdateAutoScalingGroup", name).map(drop)
}

/// Pins the group to this version of this launch template.
pub async fn pin(client: &Client, name: &str, template: (&str, i64)) -> Result<(), CallFailed> {
    let call = client.update_auto_scaling_group().auto_scaling_group_name(name);
    let call = call.launch_template(specification(template));
    call.send().await.named("autoscaling:UpdateAutoScalingGroup", name).map(drop)
}

/// Sets a lifecycle hook.
pub async fn set_hook(client: &Client, name: &str, hook: &Hook) -> Result<(), CallFailed> {
    let call = client
        .put_lifecycle_hook()
        .auto_scaling_group_name(name)
        .lifecycle_hook_name(&hook.name)
        .lifecycle_transition(&hook.transition)
        .heartbeat_timeout(hook.timeout)
        .default_result(&hook.result);
    call.send().await.named("autoscaling:PutLifecycleHook", name).map(drop)
}

pub async fn suspend_rebalance(client: &Client, name: &str) -> Result<(), CallFailed> {
    let call = client.suspend_processes().auto_scaling_group_name(name).scaling_processes(REBALANCE);
    call.send().await.named("autoscaling:SuspendProcesses", name).map(drop)
}

/// Sets tags of the group, which new instances get, too.
pub async fn tag(client: &Client, name: &str, tags: &Tags) -> Result<(), CallFailed> {
    let tags = tags.0.iter().map(|(key, value)| of_group(name, key).value(value).propagate_at_launch(true).build());
    let call = client.create_or_update_tags().set_tags(Some(tags.collect()));
    call.send().await.named("autoscaling:CreateOrUpdateTags", name).map(drop)
}

/// Removes the tags with these keys from the group.
pub async fn untag(client: &Client, name: &str, keys: &[String]) -> Result<(), CallFailed> {
    let tags = keys.iter().map(|key| of_group(name, key).build());
    let call = client.delete_tags().set_tags(Some(tags.collect()));
    call.send().await.named("autoscaling:DeleteTags", name).map(drop)
}

fn of_group(name: &str, key: &str) -> TagBuilder {
    Tag::builder().resource_type("auto-scaling-group").resource_id(name).key(key)
}

/// Deletes the group and ends its instances without waiting at hooks: no node is left to take over.
pub async fn delete(client: &Client, name: &str) -> Result<(), CallFailed> {
    let call = client.delete_auto_scaling_group().auto_scaling_group_name(name).force_delete(true);
    match call.send().await.named("autoscaling:DeleteAutoScalingGroup", name) {
        Err(error) if is_absent(&error) || is_pending_delete(&error) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// A line about the group's last launch, if it failed.
pub async fn failure(client: &Client, name: &str) -> Result<Option<String>, CallFailed> {
    let call = client.describe_scaling_activities().auto_scaling_group_name(name).max_records(20);
    let output = call.send().await.named("autoscaling:DescribeScalingActivities", name)?;
    let launched = |description: &str| description.starts_with("Launching");
    let last = output.activities().iter().find(|activity| activity.description().is_some_and(launched));
    let failed = last.filter(|activity| {
        matches!(activity.status_code(), Some(ScalingActivityStatusCode::Failed | ScalingActivityStatusCode::Cancelled))
    });
    Ok(failed.map(|activity| {
        let why = activity.status_message().unwrap_or("AWS gives no reason");
        format!("Auto Scaling group {name} couldn't launch: {why}")
    }))
}

/// Whether the group doesn't exist. Auto Scaling has one code for all invalid requests, so the message decides
/// (observed, not documented).
pub fn is_absent(error: &CallFailed) -> bool {
    error.is("ValidationError") && error.to_string().contains("not found")
}

/// Whether the group is being deleted.
pub fn is_pending_delete(error: &CallFailed) -> bool {
    error.to_string().contains("pending delete")
}

/// Whether the group has changed since it was read, or is busy: read it again. For a refresh the message decides, as in
/// [`is_absent`].
pub fn has_changed(error: &CallFailed) -> bool {
    const CODES: [&str; 3] = ["ResourceInUse", "ScalingActivityInProgress", "InstanceRefreshInProgress"];
    let refreshes = error.to_string().contains("active instance refresh with a desired configuration");
    is_absent(error) || refreshes || CODES.iter().any(|code| error.is(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::group_settings::tests::group;
    use crate::resources::instance_refresh::tests::refresh;

    #[test]
    fn a_group_launches_while_instances_are_missing_or_replaced() {
        let member = |state: &str| Member { id: "i-0".to_owned(), state: state.to_owned(), version: Some(1) };
        let of =
            |members: &[&str]| ScalingGroup { members: members.iter().map(|state| member(state)).collect(), ..group() };
        assert!(of(&["InService", "Pending"]).is_launching());
        assert!(!of(&["InService", "InService"]).is_launching());
        let refreshed = ScalingGroup { refresh: Some(refresh("InProgress", 2)), ..of(&["InService", "InService"]) };
        assert!(refreshed.is_launching());
        assert!(!ScalingGroup { deleting: true, ..of(&[]) }.is_launching());
    }
}
