//! The preflight checks of an update: every reason to refuse it, a line each, before the first change. Pure.

use std::collections::BTreeSet;

use templates::balancer::Launch;
use templates::{Balancer, Slot};

use super::in_place::plan::{Force, Goal};
use super::snapshot::Snapshot;
use crate::assess::{health, remedy};
use crate::model::group_settings::{Wanted, cannot_replace, other_launch, outside, unpinned};
use crate::model::node::Node;
use crate::model::node_selector::NodeSelector;
use crate::model::node_status::called;
use crate::model::observe::Observed;
use crate::preflight::account::unchangeable;
use crate::preflight::changed_by_hand;

/// Every reason to refuse the update.
pub fn refusals(snapshot: &Snapshot) -> Vec<String> {
    if let Some(other) = other_launch(&snapshot.old, &snapshot.new) {
        return vec![other];
    }
    if let Some(other) = unchangeable(&snapshot.old, &snapshot.new) {
        return vec![other];
    }
    let mut problems = group(snapshot);
    if snapshot.goal.force == Force::No {
        problems.extend(changed_by_hand::by_a_newer_one(&snapshot.template));
        problems.extend(changed_by_hand::by_hand(&snapshot.template));
        problems.extend(bent(snapshot));
        if snapshot.tells() && !snapshot.never_served() {
            problems.extend(missing(&snapshot.old, &snapshot.new, &snapshot.goal, &snapshot.observed));
        }
    }
    if (snapshot.tells() || snapshot.replaces()) && !snapshot.never_served() {
        problems.extend(unreachable(&snapshot.new, &snapshot.goal, &snapshot.observed));
    }
    problems
}

/// The unreachable nodes that `--without` doesn't name, and the reachable ones that it names.
fn unreachable(new: &Balancer, goal: &Goal, observed: &Observed) -> Vec<String> {
    let running: Vec<&Node> = observed.live().filter(|node| node.state == "running").collect();
    let reached = running.iter().filter(|node| goal.names(node) && node.unreachable.is_none());
    let mut problems: Vec<String> =
        reached.map(|node| format!("{} can be reached: --without is for a node that can't", called(node))).collect();
    let unconfirmed = running.iter().filter(|node| !goal.leaves_out(node)).filter_map(|node| {
        let (node, unreachable) = (health(node), node.unreachable.as_ref()?);
        let which = node.named.map_or(node.instance.clone(), |slot| slot.to_string());
        Some(format!(
            "{} is {unreachable}: use --without {which} to continue without it, or {}",
            node.called(),
            remedy(new.launch)
        ))
    });
    problems.extend(unconfirmed);
    if !running.is_empty() && running.iter().all(|node| goal.leaves_out(node)) {
        problems.push("--without leaves out every running node: no node is left to try the revision".to_owned());
    }
    problems
}

/// What prevents the Auto Scaling group from replacing its nodes.
fn group(snapshot: &Snapshot) -> Vec<String> {
    let outside = outside(&snapshot.new, &snapshot.observed);
    let Some(group) = snapshot.group() else { return outside.into_iter().collect() };
    let by_hand =
        snapshot.refresh().filter(|refresh| refresh.to.as_ref().is_none_or(|(id, _)| *id != snapshot.template.id));
    let by_hand = by_hand.map(|refresh| {
        format!(
            "instance refresh {} of Auto Scaling group {} isn't Elbow's ({}): wait until it ends, or cancel it with `aws \
             autoscaling cancel-instance-refresh --auto-scaling-group-name {}`",
            refresh.id,
            group.name,
            refresh.stands(),
            group.name
        )
    });
    let replaces = snapshot.replaces() || snapshot.refresh().is_some();
    let asleep = cannot_replace(group).filter(|_| replaces);
    outside.into_iter().chain(by_hand).chain(asleep).collect()
}

/// Drift of the Auto Scaling group: settings that are neither the old ones nor the new ones.
fn bent(snapshot: &Snapshot) -> Vec<String> {
    let (Some(group), Some(old), Some(new)) = (snapshot.group(), Wanted::of(&snapshot.old), Wanted::of(&snapshot.new))
    else {
        return Vec::new();
    };
    let there = |wanted: &Wanted| -> BTreeSet<String> {
        let all = wanted.differences(group).into_iter();
        all.filter_map(|said| Some(said.split_once(" instead of ")?.0.to_owned())).collect()
    };
    let bent = there(&new);
    let said = old.differences(group).into_iter().filter(|said| bent.iter().any(|there| said.starts_with(there)));
    let boots = (snapshot.template.id.as_str(), snapshot.template.version);
    let said = said.chain(unpinned(group, boots)).map(|difference| {
        format!(
            "Auto Scaling group {} has {difference}: it was changed outside of Elbow; change it back, or use --force to \
             change it back",
            group.name
        )
    });
    said.collect()
}

/// The nodes that don't run: a revision is tried on a standby first.
fn missing(old: &Balancer, new: &Balancer, goal: &Goal, observed: &Observed) -> Vec<String> {
    let nodes = old.subnets.len();
    if old.launch == Launch::AutoScaling {
        let running = observed.live().filter(|node| node.state == "running" && !goal.leaves_out(node)).count();
        let running = running + goal.without.len();
        let problem = || format!("{running} of {nodes} nodes run; {}, or use --force", unfilled(nodes, observed));
        return (running < nodes).then(problem).into_iter().collect();
    }
    let missing =
        empty(new, observed).into_iter().filter(|slot| old.subnets.contains(&new.subnets[usize::from(slot.0)]));
    let missing = missing.filter(|slot| !goal.without.contains(&NodeSelector::Slot(*slot)));
    missing
        .map(|slot| format!("node {slot} isn't running: run `launcher create` with the previous file to launch it, or use --force to update the others"))
        .collect()
}

/// Why a group has fewer nodes than it should, and what to do.
fn unfilled(nodes: usize, observed: &Observed) -> String {
    let Some(group) = &observed.scaling else {
        return "there is no Auto Scaling group: run `launcher create` with the previous file".to_owned();
    };
    let [least, desired, most] = group.settings.sizes;
    if usize::try_from(desired).is_ok_and(|desired| desired < nodes) {
        let name = &group.name;
        return format!(
            "Auto Scaling group {name} has min {least}, desired {desired}, max {most}: set min and desired to {nodes}"
        );
    }
    format!("Auto Scaling group {} launches the others: wait", group.name)
}

/// Slots without a running node.
pub fn empty(balancer: &Balancer, observed: &Observed) -> Vec<Slot> {
    let running = observed.live().filter(|node| node.state == "running");
    let running: BTreeSet<_> = running.filter_map(|node| node.slot).collect();
    let slots = (0..balancer.subnets.len()).map(|slot| Slot(slot as u8));
    slots.filter(|slot| !running.contains(slot)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::desired::tests::{auto_scaling, web};
    use crate::model::group_settings::tests::group;
    use crate::model::observe::tests::{lost, whole};
    use crate::resources::instance_refresh::Refresh;
    use crate::resources::instance_refresh::tests::refresh;
    use crate::resources::scaling_group::Member;
    use crate::update::plan::tests::{World, other_agent};

    /// The example in a group of these sizes, with this many of its nodes as members.
    fn sized(sizes: [i32; 3], members: usize) -> Observed {
        let mut observed = whole();
        let mut group = group();
        group.settings.sizes = sizes;
        for node in &mut observed.nodes[..members] {
            node.tags.0.insert("aws:autoscaling:groupName".to_owned(), group.name.clone());
            group.members.push(Member { id: node.id.clone(), state: "InService".to_owned(), version: Some(1) });
        }
        Observed { scaling: Some(group), ..observed }
    }

    #[test]
    fn a_change_of_the_group_outside_of_elbow_is_refused_and_a_change_by_the_update_is_not() {
        let mut world = World::grouped(&other_agent());
        let said = |world: &World| refusals(&world.snapshot(&other_agent())).join("; ");
        assert_eq!(said(&world), "");
        world.group().settings.sizes = [1, 2, 2];
        world.group().template.1 = "$Latest".to_owned();
        let bent = said(&world);
        assert!(bent.contains("min 1, desired 2, max 2 instead of min 2, desired 2, max 4: it was changed"), "{bent}");
        assert!(
            bent.contains("launch template lt-1 version $Latest instead of lt-1 version 1: it was changed"),
            "{bent}"
        );
    }

    #[test]
    fn a_group_that_cannot_replace_nodes_or_runs_a_foreign_refresh_is_refused() {
        let mut world = World::grouped(&other_agent());
        let said = |world: &World| refusals(&world.snapshot(&other_agent())).join("; ");
        world.group().suspended.insert("InstanceRefresh".to_owned());
        assert!(said(&world).contains("has InstanceRefresh suspended and can't replace nodes"), "{}", said(&world));
        assert_eq!(refusals(&world.snapshot(&auto_scaling())), [] as [&str; 0], "nothing is to be replaced");
        world.group().suspended.remove("InstanceRefresh");
        world.group().refresh = Some(refresh("InProgress", 2));
        assert_eq!(said(&world), "", "it is the refresh of this update");
        world.group().refresh = Some(Refresh { to: None, ..refresh("InProgress", 2) });
        assert!(said(&world).contains("instance refresh r-1 of Auto Scaling group elbow-web isn't Elbow's"));
        let other = refusals(&world.snapshot(&web()));
        assert!(other.len() == 1 && other[0].contains("web was created with"), "{other:?}");
    }

    #[test]
    fn an_unreachable_node_is_refused_unless_it_is_left_out() {
        let mut observed = whole();
        observed.nodes[0] = lost(observed.nodes[0].clone(), "i-1");
        let said = |observed: &Observed, without: &[u8]| {
            let goal = Goal {
                without: without.iter().map(|slot| NodeSelector::Slot(Slot(*slot))).collect(),
                ..Goal::default()
            };
            unreachable(&web(), &goal, observed)
        };
        let dead = "node 0 (i-0) is unreachable since 14:03:12Z (reported by i-1): use --without 0 to continue without it, or \
                    reboot it, or terminate it and run `launcher create` with the balancer's file";
        assert_eq!(said(&observed, &[]), [dead]);
        assert_eq!(said(&observed, &[0]), [] as [&str; 0]);
        let reached = "node 1 (i-1, standby) can be reached: --without is for a node that can't";
        assert_eq!(said(&observed, &[0, 1]), [reached]);
        observed.nodes[1] = lost(observed.nodes[1].clone(), "i-0");
        assert_eq!(
            said(&observed, &[0, 1]),
            ["--without leaves out every running node: no node is left to try the revision"]
        );
        assert_eq!(said(&whole(), &[]), [] as [&str; 0]);
    }

    #[test]
    fn nodes_that_a_group_will_never_launch_are_not_waited_for() {
        let short = |sizes| {
            let mut observed = sized(sizes, 1);
            observed.nodes.truncate(1);
            missing(&auto_scaling(), &auto_scaling(), &Goal::default(), &observed).join("; ")
        };
        assert_eq!(
            short([0, 1, 2]),
            "1 of 2 nodes run; Auto Scaling group elbow-web has min 0, desired 1, max 2: set min and desired to 2, or use \
             --force"
        );
        assert!(short([2; 3]).contains("launches the others: wait"), "{}", short([2; 3]));
        let alone = Observed { scaling: None, nodes: Vec::new(), ..whole() };
        assert!(
            missing(&auto_scaling(), &auto_scaling(), &Goal::default(), &alone)[0]
                .contains("there is no Auto Scaling group")
        );
    }
}
