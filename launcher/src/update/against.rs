//! What stands against an update. Pure: a line each, before the first change.

use std::collections::BTreeSet;

use templates::balancer::Launch;
use templates::names::TAG_UPDATE;
use templates::{Balancer, Slot};

use super::known::Known;
use super::next::{Force, Goal};
use super::tell::called;
use crate::assess::{health, remedy};
use crate::desired::Desired;
use crate::observe::Observed;
use crate::origin;
use crate::resources::instances::Node;
use crate::resources::launch_template::Template;
use crate::scaling::{Wanted, hung_onto};
use crate::which::Which;

/// Everything that stands against it.
pub fn against(known: &Known) -> Vec<String> {
    let mut problems = unfit(&known.new, &known.desired, &known.observed);
    if known.goal.force == Force::No {
        problems.extend(origin::by_a_newer_one(&known.template));
        problems.extend(origin::by_hand(&known.template));
        problems.extend(bent(&known.new, &known.observed));
        problems.extend(hung(known));
        if known.tells() && !known.never_served() {
            problems.extend(missing(&known.old, &known.new, &known.goal, &known.observed));
        }
    }
    if (known.tells() || known.replaces()) && !known.never_served() {
        problems.extend(unreachable(&known.new, &known.goal, &known.observed));
    }
    problems
}

/// The nodes that can't be reached, unless the operator goes on without them.
fn unreachable(new: &Balancer, goal: &Goal, observed: &Observed) -> Vec<String> {
    let running: Vec<&Node> = observed.live().filter(|node| node.state == "running").collect();
    let reached = running.iter().filter(|node| goal.names(node) && node.unreachable.is_none());
    let mut problems: Vec<String> =
        reached.map(|node| format!("{} can be reached: --without is for a node that can't", called(node))).collect();
    let unconfirmed = running.iter().filter(|node| !goal.leaves_out(node)).filter_map(|node| {
        let (node, unreachable) = (health(node), node.unreachable.as_ref()?);
        let which = node.named.map_or(node.instance.clone(), |slot| slot.to_string());
        Some(format!(
            "{} is {unreachable}: go on without it by --without {which}, or {}",
            node.called(),
            remedy(new.launch)
        ))
    });
    problems.extend(unconfirmed);
    if !running.is_empty() && running.iter().all(|node| goal.leaves_out(node)) {
        problems.push("no node that can be reached is left to try the revision".to_owned());
    }
    problems
}

/// What somebody changed in the Auto Scaling group.
fn bent(new: &Balancer, observed: &Observed) -> Vec<String> {
    let (Some(wanted), Some(group)) = (Wanted::of(new), &observed.scaling) else { return Vec::new() };
    let mut group = group.clone();
    let [least, desired, most] = group.settings.sizes;
    if least == 0 && usize::try_from(desired) == Ok(group.members.len()) && was_stopped(observed) {
        group.settings.sizes = [most; 3];
    }
    let template = observed.template.as_ref().map(|template| template.id.as_str());
    let differences = if group.deleting { Vec::new() } else { wanted.differences(&group, template) };
    let said = differences.into_iter().map(|difference| {
        format!(
            "Auto Scaling group {} has {difference}: somebody changed it by hand; put it back, or go on with --force, which \
             does",
            group.name
        )
    });
    said.collect()
}

/// Whether an update was stopped while its group took nodes in or let them go: some are in no group, or its tag is left.
fn was_stopped(observed: &Observed) -> bool {
    let sign = |template: &Template| template.tags.get(TAG_UPDATE).is_some();
    observed.live().any(|node| node.group().is_none()) || observed.template.as_ref().is_some_and(sign)
}

/// What would be lost with a group that is made anew, as its nodes are replaced.
fn hung(known: &Known) -> Option<String> {
    let group = known.observed.scaling.as_ref().filter(|group| !group.deleting)?;
    let hung = hung_onto(group);
    (known.replaces() && known.new.launch == Launch::AutoScaling && !hung.is_empty()).then(|| {
        format!(
            "Auto Scaling group {} is deleted and made anew, as its nodes are replaced, and {} would go: take that off and put \
             it back afterwards, or go on without it by --force",
            group.name,
            hung.join(", ")
        )
    })
}

/// A group takes in what runs and is no other's.
fn unfit(new: &Balancer, desired: &Desired, observed: &Observed) -> Vec<String> {
    if new.launch == Launch::Instances {
        return Vec::new();
    }
    let unfit = observed.live().filter_map(|node| match node.group() {
        Some(group) if group == desired.name => None,
        Some(group) => Some(format!("{} is in Auto Scaling group {group}: detach it there first", called(node))),
        None if matches!(node.state.as_str(), "pending" | "running") => None,
        None => Some(format!(
            "{} is {}, and an Auto Scaling group takes in only what runs: start it, or terminate it",
            called(node),
            node.state
        )),
    });
    unfit.collect()
}

/// Without a standby there is nobody to try a revision on.
fn missing(old: &Balancer, new: &Balancer, goal: &Goal, observed: &Observed) -> Vec<String> {
    let nodes = old.subnets.len();
    if old.launch == Launch::AutoScaling {
        let running = observed.live().filter(|node| node.state == "running" && !goal.leaves_out(node)).count();
        let running = running + goal.without.len();
        let problem =
            || format!("{running} of {nodes} nodes run, {}, or go on with --force", unfilled(nodes, observed));
        return (running < nodes).then(problem).into_iter().collect();
    }
    let missing =
        empty(new, observed).into_iter().filter(|slot| old.subnets.contains(&new.subnets[usize::from(slot.0)]));
    let missing = missing.filter(|slot| !goal.without.contains(&Which::Slot(*slot)));
    missing
        .map(|slot| {
            format!("node {slot} doesn't run: `launcher create` with the file that it has now, or go on with --force")
        })
        .collect()
}

/// Why a group has fewer nodes than it should, and what to do.
fn unfilled(nodes: usize, observed: &Observed) -> String {
    let Some(group) = &observed.scaling else {
        return "and there is no Auto Scaling group: `launcher create` with the file that it has now".to_owned();
    };
    let [least, desired, most] = group.settings.sizes;
    if usize::try_from(desired).is_ok_and(|desired| desired < nodes) {
        let name = &group.name;
        return format!(
            "as Auto Scaling group {name} has min {least}, desired {desired}, max {most}: set them to {nodes} each"
        );
    }
    format!("and Auto Scaling group {} is to launch the rest: wait for it", group.name)
}

/// Slots without a node that runs.
pub fn empty(balancer: &Balancer, observed: &Observed) -> Vec<Slot> {
    let running = observed.live().filter(|node| node.state == "running");
    let running: BTreeSet<_> = running.filter_map(|node| node.slot).collect();
    let slots = (0..balancer.subnets.len()).map(|slot| Slot(slot as u8));
    slots.filter(|slot| !running.contains(slot)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::tests::{auto_scaling, web};
    use crate::observe::tests::{lost, whole};
    use crate::resources::scaling_group::Member;
    use crate::scaling::tests::group;

    /// The example in a group of these sizes, which has this many of its nodes.
    fn sized(sizes: [i32; 3], members: usize) -> Observed {
        let mut observed = whole();
        let mut group = group();
        group.settings.sizes = sizes;
        for node in &mut observed.nodes[..members] {
            node.tags.0.insert("aws:autoscaling:groupName".to_owned(), group.name.clone());
            group.members.push(Member { id: node.id.clone(), state: "InService".to_owned() });
        }
        Observed { scaling: Some(group), ..observed }
    }

    #[test]
    fn sizes_that_somebody_changed_are_said_and_those_on_the_way_into_a_group_are_not() {
        let new = auto_scaling();
        assert_eq!(bent(&new, &sized([2; 3], 2)), [] as [&str; 0]);
        let said = bent(&new, &sized([0, 2, 2], 2));
        assert!(said[0].contains("min 0, desired 2, max 2 instead of 2 each: somebody changed it by hand"), "{said:?}");
        assert_eq!(bent(&new, &sized([0, 1, 2], 1)), [] as [&str; 0], "one is to be taken in yet");
        let mut ended = sized([0, 1, 2], 1);
        ended.nodes.truncate(1);
        assert_eq!(bent(&new, &ended).len(), 1);
        let mut stopped = sized([0, 2, 2], 2);
        let template = stopped.template.as_mut().expect("the example has one");
        template.tags = template.tags.clone().with(TAG_UPDATE, "alice@laptop:12 then now");
        assert_eq!(bent(&new, &stopped), [] as [&str; 0], "an update that was killed goes on");
    }

    #[test]
    fn a_node_that_cannot_be_reached_is_said_until_the_operator_goes_on_without_it() {
        let mut observed = whole();
        observed.nodes[0] = lost(observed.nodes[0].clone(), "i-1");
        let said = |observed: &Observed, without: &[u8]| {
            let goal =
                Goal { without: without.iter().map(|slot| Which::Slot(Slot(*slot))).collect(), ..Goal::default() };
            unreachable(&web(), &goal, observed)
        };
        let dead = "node 0 (i-0) is unreachable since 14:03:12Z (reported by i-1): go on without it by --without 0, or reboot \
                    it, or terminate it and run `launcher create` with the balancer's file";
        assert_eq!(said(&observed, &[]), [dead]);
        assert_eq!(said(&observed, &[0]), [] as [&str; 0]);
        let reached = "node 1 (i-1, standby) can be reached: --without is for a node that can't";
        assert_eq!(said(&observed, &[0, 1]), [reached]);
        observed.nodes[1] = lost(observed.nodes[1].clone(), "i-0");
        assert_eq!(said(&observed, &[0, 1]), ["no node that can be reached is left to try the revision"]);
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
            "1 of 2 nodes run, as Auto Scaling group elbow-web has min 0, desired 1, max 2: set them to 2 each, or go on \
             with --force"
        );
        assert!(short([2; 3]).contains("is to launch the rest: wait for it"), "{}", short([2; 3]));
        let alone = Observed { scaling: None, nodes: Vec::new(), ..whole() };
        assert!(
            missing(&auto_scaling(), &auto_scaling(), &Goal::default(), &alone)[0]
                .contains("there is no Auto Scaling group")
        );
    }
}
