//! What a balancer's Auto Scaling group should be like, and in what one differs. Pure: `create` puts it right, `status`
//! says so.

use std::collections::BTreeSet;

use templates::Balancer;
use templates::balancer::Launch;
use templates::handover::heartbeat;
use templates::names::{TAG_BALANCER, TAG_VPC};

use crate::update::next::active;

use crate::observe::Observed;
use crate::resources::instances::Node;
use crate::resources::scaling_group::{Hook, REBALANCE, ScalingGroup, Settings};

/// What a group is for, without which a lost node isn't replaced.
const NEEDED: [&str; 4] = ["Launch", "Terminate", "HealthCheck", "ReplaceUnhealthy"];

/// An update was stopped on its way from instances to a group, or back.
const FINISH: &str = "`launcher update` with its file goes on";

/// What a group should be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// One node for each.
    pub subnets: Vec<String>,
    /// At which it waits for a node that it ends.
    pub hook: Hook,
}

impl Wanted {
    /// The group of this balancer, if it is to have one.
    pub fn of(balancer: &Balancer) -> Option<Wanted> {
        (balancer.launch == Launch::AutoScaling).then(|| Wanted {
            subnets: balancer.subnets.clone(),
            hook: Hook::of(heartbeat(balancer.failover.drain_timeout())),
        })
    }

    /// What it does, launching from this template.
    pub fn settings(&self, template: &str) -> Settings {
        Settings::of(&self.subnets, template)
    }

    /// In what the group's settings differ from those it should have, each as "A instead of B".
    pub fn differences(&self, group: &ScalingGroup, template: Option<&str>) -> Vec<String> {
        let there = &group.settings;
        let wanted = self.settings(template.unwrap_or(&there.template.0));
        let mut said = Vec::new();
        if there.sizes != wanted.sizes {
            let [min, desired, max] = there.sizes;
            said.push(format!("min {min}, desired {desired}, max {max} instead of {} each", wanted.sizes[0]));
        }
        if there.subnets != wanted.subnets {
            said.push(format!("subnets {} instead of {}", list(&there.subnets), list(&wanted.subnets)));
        }
        if there.template != wanted.template {
            let text = |(id, version): &(String, String)| format!("launch template {id} version {version}");
            said.push(format!("{} instead of {}", text(&there.template), text(&wanted.template)));
        }
        if there.health != wanted.health {
            said.push(format!("health check type {} instead of {}", there.health, wanted.health));
        }
        said
    }

    /// The nodes that are to be taken into the group: as many of those that are no group's as it still has room for.
    pub fn outside<'a>(&self, group: Option<&ScalingGroup>, nodes: &'a [Node]) -> Vec<&'a Node> {
        let has = |node: &&Node| group.is_some_and(|group| group.members.iter().any(|member| member.id == node.id));
        let runs = |node: &&Node| matches!(node.state.as_str(), "pending" | "running");
        let free = nodes.iter().filter(runs).filter(|node| !has(node) && node.group().is_none());
        let wants = group.map_or(0, |group| group.settings.sizes[1].try_into().unwrap_or_default());
        free.take(self.subnets.len().saturating_sub(wants)).collect()
    }

    /// What is wrong with the group, a line each.
    pub fn problems(&self, group: Option<&ScalingGroup>, template: Option<&str>) -> Vec<String> {
        let Some(group) = group else {
            return vec!["its Auto Scaling group is missing: `launcher create` makes it again".to_owned()];
        };
        if group.deleting {
            return vec![format!("its Auto Scaling group {} is being deleted", group.name)];
        }
        let mut said = self.differences(group, template);
        if group.hook.as_ref() != Some(&self.hook) {
            said.push("another lifecycle hook than Elbow's, or none".to_owned());
        }
        if !group.suspended.contains(REBALANCE) {
            said.push(format!("{REBALANCE} on, which may end healthy nodes"));
        }
        let right = "`launcher create` puts it right";
        let mut problems: Vec<String> =
            said.iter().map(|what| format!("its Auto Scaling group has {what}: {right}")).collect();
        let asleep: Vec<&str> = NEEDED.into_iter().filter(|process| group.suspended.contains(*process)).collect();
        if !asleep.is_empty() {
            problems.push(format!(
                "its Auto Scaling group has {} suspended, so that lost nodes aren't replaced: `aws autoscaling \
                 resume-processes` ends that",
                asleep.join(", ")
            ));
        }
        problems
    }
}

/// What is wrong with how the nodes come to be, a line each.
pub fn problems(balancer: &Balancer, observed: &Observed) -> Vec<String> {
    let group = observed.scaling.as_ref();
    let Some(wanted) = Wanted::of(balancer) else {
        let left = group.filter(|group| group.tags.balancer() == Some(&balancer.name));
        let said = left.map(|group| format!("its Auto Scaling group {} is still there: {FINISH}", group.name));
        return said.into_iter().collect();
    };
    match &wanted.outside(group, &observed.nodes)[..] {
        [] => wanted.problems(group, observed.template.as_ref().map(|template| template.id.as_str())),
        outside => {
            outside.iter().map(|node| format!("{} isn't in its Auto Scaling group: {FINISH}", node.id)).collect()
        }
    }
}

/// What somebody hung onto the group: it goes where the group is made anew. Elbow's own are its tags, its hook, and no
/// evening out of zones.
pub fn hung_onto(group: &ScalingGroup) -> Vec<String> {
    let own = [TAG_BALANCER, TAG_VPC, "Name"];
    let hooks = group.other_hooks.iter().map(|hook| format!("lifecycle hook {hook}"));
    let tags = group.tags.0.keys().filter(|key| !own.contains(&key.as_str()) && !key.starts_with("aws:"));
    let tags = tags.map(|key| format!("tag {key}"));
    let asleep = group.suspended.iter().filter(|process| *process != REBALANCE);
    hooks.chain(tags).chain(asleep.map(|process| format!("suspended process {process}"))).collect()
}

/// All nodes where one outage takes them all: a group that launched them while the other zones had no room leaves them
/// there (Auto Scaling user guide, "Balanced best effort"), as it isn't to end healthy nodes.
pub fn in_one_zone(balancer: &Balancer, observed: &Observed) -> Option<String> {
    let live: Vec<&Node> = observed.live().collect();
    let zones: BTreeSet<&str> = live.iter().map(|node| node.zone.as_str()).collect();
    let (true, 2.., [zone]) = (Wanted::of(balancer).is_some(), live.len(), &Vec::from_iter(zones)[..]) else {
        return None;
    };
    let standby = live.iter().min_by_key(|node| active(node)).map_or("INSTANCE", |node| node.id.as_str());
    Some(format!(
        "all nodes are in {zone}: when the other zones have room, `aws autoscaling terminate-instance-in-auto-scaling-group \
         --instance-id {standby} --no-should-decrement-desired-capacity` has the group launch one there"
    ))
}

fn list(subnets: &BTreeSet<String>) -> String {
    subnets.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::desired::tests::{auto_scaling, desired};

    /// The group of the example, as it should be.
    pub(crate) fn group() -> ScalingGroup {
        let desired = desired();
        let wanted = Wanted::of(&auto_scaling()).expect("it has a group");
        ScalingGroup {
            name: desired.name,
            tags: desired.tags,
            settings: wanted.settings("lt-1"),
            hook: Some(wanted.hook),
            other_hooks: BTreeSet::new(),
            suspended: [REBALANCE.to_owned()].into(),
            members: Vec::new(),
            deleting: false,
        }
    }

    fn problems(group: Option<&ScalingGroup>) -> Vec<String> {
        Wanted::of(&auto_scaling()).expect("it has a group").problems(group, Some("lt-1"))
    }

    #[test]
    fn a_group_as_it_should_be_has_no_problem_and_its_hook_outlasts_the_drain_time() {
        assert_eq!(problems(Some(&group())), [] as [&str; 0]);
        assert_eq!(group().settings.sizes, [2; 3]);
        assert_eq!(group().hook.map(|hook| hook.timeout), Some(120));
    }

    #[test]
    fn what_somebody_hung_onto_a_group_is_named_and_its_own_is_not() {
        let mut group = group();
        group.tags = group.tags.with("Name", "elbow-web").with("aws:cloudformation:stack-name", "x");
        assert_eq!(hung_onto(&group), [] as [&str; 0]);
        group.tags = group.tags.with("team", "edge");
        group.other_hooks.insert("warm-up".to_owned());
        group.suspended.insert("AlarmNotification".to_owned());
        assert_eq!(hung_onto(&group), ["lifecycle hook warm-up", "tag team", "suspended process AlarmNotification"]);
    }

    #[test]
    fn nodes_of_a_group_that_are_all_in_one_zone_are_a_problem_and_a_standby_is_to_go() {
        let mut observed = crate::observe::tests::whole();
        let said = in_one_zone(&auto_scaling(), &observed).expect("both are in eu-west-1a");
        assert!(said.starts_with("all nodes are in eu-west-1a: "), "{said}");
        assert!(said.contains("--instance-id i-1 --no-should-decrement-desired-capacity"), "{said}");
        assert_eq!(in_one_zone(&crate::desired::tests::web(), &observed), None);
        observed.nodes[1].zone = "eu-west-1b".to_owned();
        assert_eq!(in_one_zone(&auto_scaling(), &observed), None);
        observed.nodes[1].state = "terminated".to_owned();
        assert_eq!(in_one_zone(&auto_scaling(), &observed), None, "one node is another problem");
    }

    #[test]
    fn instances_that_the_launcher_launches_have_no_group() {
        assert_eq!(Wanted::of(&crate::desired::tests::web()), None);
    }

    #[test]
    fn what_somebody_changed_in_the_group_is_said_with_what_puts_it_right() {
        let mut bent = group();
        bent.settings.sizes = [1, 1, 2];
        bent.settings.template.1 = "7".to_owned();
        bent.hook = None;
        bent.suspended = ["Launch".to_owned()].into();
        assert_eq!(
            problems(Some(&bent)),
            [
                "its Auto Scaling group has min 1, desired 1, max 2 instead of 2 each: `launcher create` puts it right",
                "its Auto Scaling group has launch template lt-1 version 7 instead of launch template lt-1 version \
                 $Default: `launcher create` puts it right",
                "its Auto Scaling group has another lifecycle hook than Elbow's, or none: `launcher create` puts it right",
                "its Auto Scaling group has AZRebalance on, which may end healthy nodes: `launcher create` puts it right",
                "its Auto Scaling group has Launch suspended, so that lost nodes aren't replaced: `aws autoscaling \
                 resume-processes` ends that",
            ]
        );
        assert_eq!(problems(None).len(), 1);
    }
}
