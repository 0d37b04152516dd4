//! Who is told what, and when nobody is.

use templates::Slot;
use templates::names::{TAG_REFUSED_REVISION, TAG_ROLE, TAG_RUNNING};

use super::*;
use crate::model::observe::tests::{lost, node};

fn order() -> Order {
    "2:fedcba987654".parse().unwrap()
}

fn nodes() -> Vec<Node> {
    vec![node("i-0", 0, "running"), node("i-1", 1, "running"), node("i-2", 2, "running")]
}

fn tag(node: &mut Node, key: &str, value: &str) {
    node.tags.0.insert(key.to_owned(), value.to_owned());
}

fn on(nodes: &[Node]) -> Next {
    asked(nodes, &[], &[], Force::No)
}

fn asked(nodes: &[Node], told: &[&str], stale: &[&str], force: Force) -> Next {
    let [told, stale] = [told, stale].map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
    next(&Asking { order: &order(), goal: &Goal { force, ..Goal::default() }, told: &told, stale: &stale }, nodes)
}

#[test]
fn standbys_go_first_and_together_and_the_active_one_when_they_run_it() {
    let mut nodes = nodes();
    assert_eq!(on(&nodes), Next::Tell(vec!["i-1".into(), "i-2".into()]));
    for node in &mut nodes[1..] {
        tag(node, TAG_REVISION, "2:fedcba987654");
    }
    assert_eq!(on(&nodes), Next::Wait(vec!["i-1".into(), "i-2".into()]));
    tag(&mut nodes[1], TAG_RUNNING, "fedcba987654");
    assert_eq!(on(&nodes), Next::Wait(vec!["i-2".into()]));
    tag(&mut nodes[2], TAG_RUNNING, "fedcba987654");
    assert_eq!(on(&nodes), Next::Tell(vec!["i-0".into()]));
    tag(&mut nodes[0], TAG_RUNNING, "fedcba987654");
    assert_eq!(on(&nodes), Next::Done);
}

#[test]
fn nodes_that_are_all_active_go_one_at_a_time() {
    let mut nodes = nodes();
    tag(&mut nodes[0], TAG_ROLE, "active active standby");
    tag(&mut nodes[1], TAG_ROLE, "standby standby active");
    nodes.truncate(2);
    assert_eq!(on(&nodes), Next::Tell(vec!["i-1".into()]));
}

#[test]
fn a_refusal_that_came_after_the_order_ends_it_and_one_of_another_revision_does_not() {
    let mut nodes = nodes();
    tag(&mut nodes[1], TAG_REVISION, "2:fedcba987654");
    tag(&mut nodes[1], TAG_REFUSED_REVISION, "2:fedcba987654 haproxy.cfg:12: no");
    let on = |nodes: &[Node], stale: &[&str]| asked(nodes, &["i-1", "i-2"], stale, Force::No);
    assert_eq!(on(&nodes, &[]), Next::Refused { node: "i-1".into(), why: "haproxy.cfg:12: no".into() });
    let waits = Next::Wait(vec!["i-1".into(), "i-2".into()]);
    assert_eq!(on(&nodes, &["i-1"]), waits, "the API may show what was before the order");
    tag(&mut nodes[1], TAG_REFUSED_REVISION, "1:000000000000 no");
    assert_eq!(on(&nodes, &[]), waits);
}

#[test]
fn a_node_that_refused_before_it_was_told_loses_that_order_and_is_told_when_it_has_forgotten() {
    let mut nodes = nodes();
    // An order that somebody forged, or one from a command that was killed.
    tag(&mut nodes[1], TAG_REVISION, "2:fedcba987654");
    tag(&mut nodes[1], TAG_REFUSED_REVISION, "2:fedcba987654 it is older than the default");
    assert_eq!(on(&nodes), Next::Withdraw(vec!["i-1".into()]));
    nodes[1].tags.0.remove(TAG_REVISION);
    assert_eq!(on(&nodes), Next::Wait(vec!["i-1".into()]), "it hasn't heard yet");
    nodes[1].tags.0.remove(TAG_REFUSED_REVISION);
    assert_eq!(on(&nodes), Next::Tell(vec!["i-1".into(), "i-2".into()]));
}

#[test]
fn a_node_that_boots_is_waited_for_and_one_that_has_ended_is_not() {
    let mut nodes = nodes();
    nodes[1].tags.0.remove(TAG_RUNNING);
    nodes[2].state = "terminated".into();
    assert_eq!(on(&nodes), Next::Wait(vec!["i-1".into()]));
    nodes[1].state = "stopped".into();
    assert_eq!(on(&nodes), Next::Tell(vec!["i-0".into()]));
}

#[test]
fn who_was_told_a_moment_ago_is_not_told_again() {
    let waits = Next::Wait(vec!["i-1".into(), "i-2".into()]);
    assert_eq!(asked(&nodes(), &["i-1", "i-2"], &[], Force::No), waits);
}

fn forced(nodes: &[Node]) -> Next {
    asked(nodes, &[], &[], Force::Yes)
}

#[test]
fn going_back_withdraws_what_a_node_was_told_and_has_not_taken() {
    let mut nodes = nodes();
    for node in &mut nodes {
        tag(node, TAG_RUNNING, "fedcba987654");
    }
    assert_eq!(on(&nodes), Next::Done);
    tag(&mut nodes[1], TAG_REVISION, "3:0123456789ab");
    tag(&mut nodes[0], TAG_REVISION, "newest");
    assert!(!follows(&order().revision, &nodes[1]));
    assert_eq!(on(&nodes), Next::Tell(vec!["i-0".into(), "i-1".into()]));
    let waits = Next::Wait(vec!["i-0".into(), "i-1".into()]);
    assert_eq!(asked(&nodes, &["i-0", "i-1"], &[], Force::No), waits, "the API doesn't show it yet");
    tag(&mut nodes[0], TAG_REVISION, "2:fedcba987654");
    // The same revision in another version is no other order.
    tag(&mut nodes[1], TAG_REVISION, "1:fedcba987654");
    assert_eq!(on(&nodes), Next::Done);
}

#[test]
fn one_that_is_stopped_does_not_start_into_what_was_abandoned() {
    let mut nodes = nodes();
    for node in &mut nodes {
        tag(node, TAG_RUNNING, "fedcba987654");
    }
    nodes[2].state = "stopped".into();
    assert_eq!(on(&nodes), Next::Done);
    tag(&mut nodes[2], TAG_REVISION, "3:0123456789ab");
    assert_eq!(on(&nodes), Next::Tell(vec!["i-2".into()]));
}

#[test]
fn nobody_is_told_while_it_is_not_sure_who_is_active_and_with_force_one_at_a_time() {
    let mut nodes = nodes();
    tag(&mut nodes[0], TAG_ROLE, "standby");
    assert_eq!(on(&nodes), Next::Unserved("no node says that it is active for virtual IP 1".into()));
    assert_eq!(forced(&nodes), Next::Tell(vec!["i-2".into()]));
    tag(&mut nodes[0], TAG_ROLE, "active active");
    tag(&mut nodes[1], TAG_ROLE, "standby active");
    tag(&mut nodes[2], TAG_ROLE, "standby standby");
    assert_eq!(on(&nodes), Next::Unserved("2 nodes say that they are active for virtual IP 2".into()));
    // One of another revision has one virtual IP fewer.
    tag(&mut nodes[2], TAG_ROLE, "standby");
    assert_eq!(on(&nodes), Next::Tell(vec!["i-2".into()]));
    nodes[0].state = "stopping".into();
    assert_eq!(on(&nodes), Next::Unserved("no node says that it is active for virtual IP 1".into()));
}

#[test]
fn a_dead_node_that_is_left_out_is_told_last_and_its_old_word_does_not_count() {
    let goal = Goal { without: vec![Which::Slot(Slot(0))], ..Goal::default() };
    let (told, stale) = (BTreeSet::new(), BTreeSet::new());
    let on = |nodes: &[Node]| next(&Asking { order: &order(), goal: &goal, told: &told, stale: &stale }, nodes);
    // The dead node's tag still says that it is active.
    let mut nodes = vec![lost(node("i-0", 0, "running"), "i-1"), node("i-1", 1, "running"), node("i-2", 2, "running")];
    tag(&mut nodes[1], TAG_ROLE, "active");
    assert_eq!(on(&nodes), Next::Tell(vec!["i-2".into()]));
    tag(&mut nodes[2], TAG_RUNNING, "fedcba987654");
    assert_eq!(on(&nodes), Next::Tell(vec!["i-1".into()]));
    tag(&mut nodes[1], TAG_RUNNING, "fedcba987654");
    assert_eq!(on(&nodes), Next::Tell(vec!["i-0".into()]), "it takes the order when it returns");
    tag(&mut nodes[0], TAG_REVISION, "2:fedcba987654");
    assert_eq!(on(&nodes), Next::Done);
    nodes[0].unreachable = None;
    assert_eq!(on(&nodes), Next::Wait(vec!["i-0".into()]), "it is back");
}

#[test]
fn a_dead_node_that_is_not_left_out_is_waited_for() {
    let mut nodes = nodes();
    tag(&mut nodes[1], TAG_REVISION, "2:fedcba987654");
    nodes[1] = lost(nodes[1].clone(), "i-0");
    assert_eq!(on(&nodes), Next::Wait(vec!["i-1".into()]));
}

#[test]
fn one_that_is_stopped_is_told_when_the_others_run_it() {
    let mut nodes = nodes();
    nodes[2].state = "stopped".into();
    for node in &mut nodes[..2] {
        tag(node, TAG_RUNNING, "fedcba987654");
    }
    assert_eq!(on(&nodes), Next::Tell(vec!["i-2".into()]));
}
