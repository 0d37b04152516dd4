//! There and back, from whatever was reached: no group launches or ends a node on the way.

use super::*;
use crate::desired::tests::{auto_scaling, desired, desired_of};
use crate::observe::tests::{node, whole};
use crate::scaling::tests::group;

fn grouped() -> Desired {
    desired_of(&auto_scaling())
}

/// The example in a group that launched its nodes.
fn in_a_group() -> Observed {
    let mut nodes = vec![node("i-0", 0, "running"), node("i-1", 1, "running")];
    nodes.iter_mut().for_each(|node| node.tags = node.tags.clone().with("Name", "elbow-web"));
    let mut group = group();
    group.members = ["i-0", "i-1"].map(|id| Member { id: id.to_owned(), state: "InService".to_owned() }).to_vec();
    Observed { scaling: Some(group), nodes, ..whole() }
}

fn kinds(actions: &[Action]) -> Vec<&'static str> {
    actions.iter().map(|action| action.change(&desired()).action).collect()
}

/// Everything there is on the way, the beginning first.
fn way(desired: &Desired, from: Observed) -> Vec<Observed> {
    let mut way = vec![from];
    while let Step::Do(action) = step(desired, way.last().expect("one at least")) {
        let mut next = way.last().expect("one at least").clone();
        foresee(desired, &mut next, &action);
        way.push(next);
    }
    way
}

#[test]
fn running_nodes_are_taken_in_before_the_group_may_launch() {
    let taken = Action::TakeIn(vec!["i-0".into(), "i-1".into()]);
    let (actions, _) = foreseen(step, &grouped(), &whole());
    assert_eq!(actions[..3], [Action::CreateScaling(Filling::TakenIn), Action::SuspendRebalance, taken]);
    assert_eq!(actions.len(), 4);
    assert_eq!(
        actions[3].change(&grouped()).what,
        "correct Auto Scaling group elbow-web: min 0, desired 2, max 2 instead of 2 each"
    );
}

#[test]
fn a_group_lets_all_go_before_it_is_deleted_and_the_nodes_get_names() {
    let (actions, _) = foreseen(step, &desired(), &in_a_group());
    let freed = Action::TakeOut(vec!["i-0".into(), "i-1".into()]);
    let numbers = [("i-0", 0), ("i-1", 1)].map(|(id, slot)| Action::Name { id: id.into(), slot: Slot(slot) });
    assert_eq!(actions[..3], [Action::AllowNone, freed, Action::DeleteScaling]);
    assert_eq!(actions[3..], numbers);
}

#[test]
fn wherever_it_is_stopped_it_goes_on_or_back_and_no_group_launches_or_ends_a_node() {
    for (there, back, from) in [(grouped(), desired(), whole()), (desired(), grouped(), in_a_group())] {
        for stopped in way(&there, from) {
            for target in [&there, &back] {
                let way = way(target, stopped.clone());
                for observed in &way {
                    let Some(group) = &observed.scaling else { continue };
                    let [least, wanted, most] = group.settings.sizes;
                    assert!(least <= wanted && wanted <= most, "{group:?}");
                    assert_eq!(wanted as usize, group.members.len(), "{group:?}");
                }
                let end = way.last().unwrap();
                assert_eq!(step(target, end), Step::Done);
                assert_eq!(end.scaling.is_some(), target.scaling.is_some());
                assert_eq!(end.nodes.len(), 2, "{:?}", end.nodes);
            }
        }
    }
}

#[test]
fn a_groups_nodes_are_let_go_to_be_replaced_and_none_is_launched_for_it() {
    let mut observed = in_a_group();
    observed.scaling.as_mut().unwrap().members.pop();
    observed.scaling.as_mut().unwrap().settings.sizes[1] = 1;
    observed.nodes.pop();
    let (actions, alone) = foreseen(release, &grouped(), &observed);
    let number = Action::Name { id: "i-0".into(), slot: Slot(0) };
    assert_eq!(actions, [Action::AllowNone, Action::TakeOut(vec!["i-0".into()]), Action::DeleteScaling, number]);
    assert_eq!(kinds(&foreseen(step, &grouped(), &alone).0)[0], "create-auto-scaling-group", "and taken in again");
}

#[test]
fn a_missing_node_is_the_groups_to_launch_or_the_launchers_where_nobody_is() {
    let mut observed = whole();
    observed.nodes.remove(1);
    assert_eq!(kinds(&foreseen(step, &grouped(), &observed).0).last(), Some(&"set-auto-scaling-group"));
    let mut observed = in_a_group();
    observed.scaling.as_mut().unwrap().members.remove(1);
    observed.scaling.as_mut().unwrap().settings.sizes[1] = 1;
    observed.nodes.remove(1);
    let last = foreseen(step, &desired(), &observed).0.pop().unwrap();
    assert_eq!(
        last,
        Action::Launch(Place {
            slot: Slot(1),
            subnet: desired().subnets[1].clone(),
            ended: 0,
            order: None,
            replaces: None
        })
    );
}

#[test]
fn what_comes_or_goes_is_waited_for() {
    let mut observed = whole();
    observed.scaling = Some(group());
    observed.scaling.as_mut().unwrap().settings.sizes = [0, 0, 2];
    observed.nodes[1].state = "pending".into();
    assert_eq!(step(&grouped(), &observed), Step::Wait("waiting for i-1, which is pending, to run".into()));
    let mut observed = in_a_group();
    let group = observed.scaling.as_mut().unwrap();
    group.settings.sizes[0] = 0;
    group.members[0].state = "Terminating:Wait".into();
    assert_eq!(step(&desired(), &observed), Step::Do(Action::TakeOut(vec!["i-1".into()])));
    observed.scaling.as_mut().unwrap().members.pop();
    assert_eq!(step(&desired(), &observed), Step::Wait("i-0 is Terminating:Wait".into()));
    observed.nodes[0].state = "terminated".into();
    assert_eq!(step(&desired(), &observed), Step::Do(Action::Forget("i-0".into())), "nobody else would");
    observed.scaling.as_mut().unwrap().deleting = true;
    for desired in [desired(), grouped()] {
        assert!(matches!(step(&desired, &observed), Step::Wait(_)));
    }
}

#[test]
fn a_node_beside_a_full_group_stays_there() {
    let mut observed = in_a_group();
    observed.nodes.push(node("i-2", 2, "running"));
    assert_eq!(step(&grouped(), &observed), Step::Done);
}
