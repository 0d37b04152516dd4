//! The desired Auto Scaling group of a balancer, and how an existing one differs. Pure: `create` corrects the
//! differences, `status` shows them.

use std::collections::BTreeSet;

use templates::Balancer;
use templates::balancer::Launch;

use crate::model::node::Node;
use crate::model::node_status::active;
use crate::model::observe::Observed;
use crate::resources::scaling_group::{Hook, REBALANCE, ScalingGroup, Settings};

/// The processes without which a group doesn't replace a lost node.
const NEEDED: [&str; 4] = ["Launch", "Terminate", "HealthCheck", "ReplaceUnhealthy"];

/// The processes without which a group can't replace nodes on request.
const REPLACING: [&str; 3] = ["Launch", "Terminate", "InstanceRefresh"];

/// The desired group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub settings: Settings,
    /// Its launch hook and its termination hook.
    pub hooks: [Hook; 2],
}

impl Wanted {
    /// The group of this balancer, if a group launches its nodes.
    pub fn of(balancer: &Balancer) -> Option<Wanted> {
        (balancer.launch == Launch::AutoScaling).then(|| Wanted {
            settings: Settings::of(&balancer.subnets),
            hooks: [Hook::launch(), Hook::end(balancer.failover.drain_timeout())],
        })
    }

    /// Each setting of the group that differs, as "A instead of B".
    pub fn differences(&self, group: &ScalingGroup) -> Vec<String> {
        let both = words(&group.settings).into_iter().zip(words(&self.settings));
        both.filter(|(there, wanted)| there != wanted)
            .map(|(there, wanted)| format!("{there} instead of {wanted}"))
            .collect()
    }

    /// The hooks that the group lacks or has with other settings.
    pub fn missing_hooks<'a>(&'a self, group: &'a ScalingGroup) -> impl Iterator<Item = &'a Hook> {
        self.hooks.iter().filter(|hook| !group.hooks.contains(hook))
    }

    /// A line for each problem of the group, which should launch the version `boots`.
    fn problems(&self, group: Option<&ScalingGroup>, boots: Option<(&str, i64)>) -> Vec<String> {
        let Some(group) = group else {
            return vec!["the Auto Scaling group is missing: run `launcher create` to create it again".to_owned()];
        };
        if group.deleting {
            return vec![format!("the Auto Scaling group {} is being deleted", group.name)];
        }
        let mut said = self.differences(group);
        said.extend(boots.and_then(|boots| unpinned(group, boots)));
        said.extend(self.missing_hooks(group).map(|hook| format!("a missing or changed lifecycle hook {}", hook.name)));
        if !group.suspended.contains(REBALANCE) {
            said.push(format!("{REBALANCE} active, which may end healthy nodes"));
        }
        let right = "run `launcher create` to correct it";
        let mut problems: Vec<String> =
            said.iter().map(|what| format!("the Auto Scaling group has {what}: {right}")).collect();
        problems.extend(asleep(group, &NEEDED).map(|(asleep, resume)| {
            format!("the Auto Scaling group has {asleep} suspended and doesn't replace lost nodes: run {resume}")
        }));
        problems.extend(group.active_refresh().map(|refresh| {
            format!(
                "an instance refresh of the Auto Scaling group is in progress ({}): run `launcher update` with the \
                 same file to follow it, or with --rollback to undo it",
                refresh.stands()
            )
        }));
        problems
    }
}

fn words(settings: &Settings) -> [String; 5] {
    let Settings { sizes: [min, desired, max], subnets, health, bounds, warmup } = settings;
    let subnets: Vec<&str> = subnets.iter().map(String::as_str).collect();
    let seconds = |seconds| format!("default warm-up {seconds} s");
    let percent = |(lowest, highest)| format!("{lowest} to {highest} % healthy while nodes are replaced");
    [
        format!("min {min}, desired {desired}, max {max}"),
        format!("subnets {}", subnets.join(", ")),
        format!("health check type {health}"),
        bounds.map_or("no instance maintenance policy".to_owned(), percent),
        warmup.map_or("no default warm-up".to_owned(), seconds),
    ]
}

/// The difference, if the group doesn't launch this version.
pub fn unpinned(group: &ScalingGroup, (id, number): (&str, i64)) -> Option<String> {
    let (template, version) = &group.template;
    let is_other = template != id || group.pinned() != Some(number);
    is_other.then(|| format!("launch template {template} version {version} instead of {id} version {number}"))
}

/// The suspended ones of these processes, and the command that resumes them.
fn asleep(group: &ScalingGroup, needed: &[&str]) -> Option<(String, String)> {
    let asleep: Vec<&str> = needed.iter().filter(|process| group.suspended.contains(**process)).copied().collect();
    let resume = format!(
        "`aws autoscaling resume-processes --auto-scaling-group-name {} --scaling-processes {}`",
        group.name,
        asleep.join(" ")
    );
    (!asleep.is_empty()).then(|| (asleep.join(", "), resume))
}

/// Why the group can't replace its nodes, if so.
pub fn cannot_replace(group: &ScalingGroup) -> Option<String> {
    let (asleep, resume) = asleep(group, &REPLACING)?;
    Some(format!("Auto Scaling group {} has {asleep} suspended and can't replace nodes: run {resume}", group.name))
}

/// A line for each problem of how the nodes are launched.
pub fn problems(balancer: &Balancer, observed: &Observed) -> Vec<String> {
    let group = observed.scaling.as_ref();
    let Some(wanted) = Wanted::of(balancer) else {
        let left = group.filter(|group| group.tags.balancer() == Some(&balancer.name));
        return left.map(stray).into_iter().collect();
    };
    let boots = observed.template.as_ref().map(|template| (template.id.as_str(), template.version));
    wanted.problems(group, boots).into_iter().chain(outside(balancer, observed)).collect()
}

/// The problem of a group beside nodes that the launcher launches.
pub fn stray(group: &ScalingGroup) -> String {
    format!(
        "launch = \"instances\", but Auto Scaling group {0} exists: delete it with `aws autoscaling \
         delete-auto-scaling-group --auto-scaling-group-name {0}`; --force-delete also terminates its nodes",
        group.name
    )
}

/// The problem of nodes that run outside their balancer's group.
pub fn outside(balancer: &Balancer, observed: &Observed) -> Option<String> {
    let outside = observed.live().filter(|node| balancer.launch == Launch::AutoScaling && node.group().is_none());
    let outside: Vec<&str> = outside.map(|node| node.id.as_str()).collect();
    (!outside.is_empty()).then(|| {
        format!(
            "launch = \"auto-scaling\", but {} run outside the Auto Scaling group, which launches its own nodes: stop \
             and terminate them, one after another",
            outside.join(", ")
        )
    })
}

/// The refusal to change `launch` of a running balancer.
pub fn other_launch(old: &Balancer, new: &Balancer) -> Option<String> {
    (old.launch != new.launch).then(|| {
        format!(
            "launch = \"{}\": {} was created with \"{}\", which can't be changed while it runs; create a second \
             balancer with another name and virtual IP and move clients to it, or run `launcher destroy {1}` and \
             create it again; no client is served meanwhile",
            String::from(new.launch),
            new.name,
            String::from(old.launch)
        )
    })
}

/// The problem of nodes that are all in one zone. A group launches them there while other zones lack capacity, and
/// leaves them there, as AZRebalance is suspended (Auto Scaling user guide, "Balanced best effort").
pub fn in_one_zone(balancer: &Balancer, observed: &Observed) -> Option<String> {
    let live: Vec<&Node> = observed.live().collect();
    let zones: BTreeSet<&str> = live.iter().map(|node| node.zone.as_str()).collect();
    let (true, 2.., [zone]) = (Wanted::of(balancer).is_some(), live.len(), &Vec::from_iter(zones)[..]) else {
        return None;
    };
    let standby = live.iter().min_by_key(|node| active(node)).map_or("INSTANCE", |node| node.id.as_str());
    Some(format!(
        "all nodes are in {zone}: when another zone has capacity, let the group launch a node there: `aws autoscaling \
         terminate-instance-in-auto-scaling-group --instance-id {standby} --no-should-decrement-desired-capacity`"
    ))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::desired::tests::{auto_scaling, desired, web};
    use crate::model::observe::tests::whole;
    use crate::resources::instance_refresh::tests::refresh;

    /// The group of the example, as it should be.
    pub(crate) fn group() -> ScalingGroup {
        let desired = desired();
        let Wanted { settings, hooks } = Wanted::of(&auto_scaling()).expect("it has a group");
        ScalingGroup {
            name: desired.name,
            tags: desired.tags,
            settings,
            template: ("lt-1".to_owned(), "1".to_owned()),
            hooks: hooks.into(),
            refresh: None,
            suspended: [REBALANCE.to_owned()].into(),
            members: Vec::new(),
            deleting: false,
        }
    }

    fn problems(group: Option<&ScalingGroup>) -> Vec<String> {
        Wanted::of(&auto_scaling()).expect("it has a group").problems(group, Some(("lt-1", 1)))
    }

    #[test]
    fn a_group_as_it_should_be_has_no_problem_and_its_hooks_last_long_enough() {
        assert_eq!(problems(Some(&group())), [] as [&str; 0]);
        assert_eq!(group().settings.sizes, [2, 2, 4]);
        let hooks: Vec<(i32, String)> = group().hooks.into_iter().map(|hook| (hook.timeout, hook.result)).collect();
        assert_eq!(hooks, [(1800, "ABANDON".to_owned()), (120, "CONTINUE".to_owned())]);
        let mut slow = auto_scaling();
        slow.failover.drain_timeout = Some("90s".parse().unwrap());
        let slow = Wanted::of(&slow).expect("it has a group");
        assert_eq!(slow.missing_hooks(&group()).map(|hook| hook.timeout).collect::<Vec<_>>(), [150]);
    }

    #[test]
    fn nodes_of_a_group_that_are_all_in_one_zone_are_a_problem_and_a_standby_is_to_go() {
        let mut observed = whole();
        let said = in_one_zone(&auto_scaling(), &observed).expect("both are in eu-west-1a");
        assert!(said.starts_with("all nodes are in eu-west-1a: "), "{said}");
        assert!(said.contains("--instance-id i-1 --no-should-decrement-desired-capacity"), "{said}");
        assert_eq!(in_one_zone(&web(), &observed), None);
        observed.nodes[1].zone = "eu-west-1b".to_owned();
        assert_eq!(in_one_zone(&auto_scaling(), &observed), None);
        observed.nodes[1].state = "terminated".to_owned();
        assert_eq!(in_one_zone(&auto_scaling(), &observed), None, "one node is another problem");
    }

    #[test]
    fn instances_that_the_launcher_launches_have_no_group() {
        assert_eq!(Wanted::of(&web()), None);
        let observed = Observed { scaling: Some(group()), ..whole() };
        assert!(super::problems(&web(), &observed)[0].contains("delete-auto-scaling-group"));
        assert_eq!(outside(&web(), &observed), None);
        assert!(outside(&auto_scaling(), &observed).is_some_and(|said| said.contains("but i-0, i-1 run outside")));
    }

    #[test]
    fn another_way_of_launching_is_refused_with_what_to_do_instead() {
        assert_eq!(other_launch(&web(), &web()), None);
        let said = other_launch(&web(), &auto_scaling()).expect("it is another");
        assert!(said.contains("launch = \"auto-scaling\": web was created with \"instances\""), "{said}");
        assert!(said.contains("`launcher destroy web`") && said.contains("a second balancer"), "{said}");
    }

    #[test]
    fn each_change_of_the_group_is_shown_with_its_remedy() {
        let mut bent = group();
        bent.settings.sizes = [1, 1, 2];
        bent.settings.bounds = None;
        bent.template.1 = "$Default".to_owned();
        bent.hooks.remove(1);
        bent.suspended = ["Launch".to_owned()].into();
        bent.refresh = Some(refresh("InProgress", 2));
        let right = |what: &str| format!("the Auto Scaling group has {what}: run `launcher create` to correct it");
        assert_eq!(
            problems(Some(&bent)),
            [
                right("min 1, desired 1, max 2 instead of min 2, desired 2, max 4"),
                right("no instance maintenance policy instead of 100 to 200 % healthy while nodes are replaced"),
                right("launch template lt-1 version $Default instead of lt-1 version 1"),
                right("a missing or changed lifecycle hook handover"),
                right("AZRebalance active, which may end healthy nodes"),
                "the Auto Scaling group has Launch suspended and doesn't replace lost nodes: run `aws autoscaling \
                 resume-processes --auto-scaling-group-name elbow-web --scaling-processes Launch`"
                    .to_owned(),
                "an instance refresh of the Auto Scaling group is in progress (InProgress, 50 %): run `launcher \
                 update` with the same file to follow it, or with --rollback to undo it"
                    .to_owned(),
            ]
        );
        assert_eq!(problems(None).len(), 1);
        bent.refresh = Some(refresh("Successful", 2));
        assert!(!problems(Some(&bent)).iter().any(|line| line.contains("refresh")));
        assert!(cannot_replace(&bent).is_some_and(|said| said.contains("has Launch suspended")));
        assert_eq!(cannot_replace(&group()), None);
    }
}
