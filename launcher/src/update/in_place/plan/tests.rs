//! Tests of which nodes get the order, and when.

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

fn on(nodes: &[Node]) -> NextOrder {
    asked(nodes, &[], &[], Force::No)
}

fn asked(nodes: &[Node], told: &[&str], stale: &[&str], force: Force) -> NextOrder {
    let [told, stale] = [told, stale].map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
    next(&Asking { order: &order(), goal: &Goal { force, ..Goal::default() }, told: &told, stale: &stale }, nodes)
}

#[test]
fn standbys_go_first_together_and_the_active_node_when_they_run_it() {
    let mut nodes = nodes();
    assert_eq!(on(&nodes), NextOrder::Give(vec!["i-1".into(), "i-2".into()]));
    for node in &mut nodes[1..] {
        tag(node, TAG_REVISION, "2:fedcba987654");
    }
    assert_eq!(on(&nodes), NextOrder::Wait(vec!["i-1".into(), "i-2".into()]));
    tag(&mut nodes[1], TAG_RUNNING, "fedcba987654");
    assert_eq!(on(&nodes), NextOrder::Wait(vec!["i-2".into()]));
    tag(&mut nodes[2], TAG_RUNNING, "fedcba987654");
    assert_eq!(on(&nodes), NextOrder::Give(vec!["i-0".into()]));
    tag(&mut nodes[0], TAG_RUNNING, "fedcba987654");
    assert_eq!(on(&nodes), NextOrder::Done);
}

#[test]
fn nodes_that_are_all_active_go_one_at_a_time() {
    let mut nodes = nodes();
    tag(&mut nodes[0], TAG_ROLE, "active active standby");
    tag(&mut nodes[1], TAG_ROLE, "standby standby active");
    nodes.truncate(2);
    assert_eq!(on(&nodes), NextOrder::Give(vec!["i-1".into()]));
}

#[test]
fn a_refusal_counts_after_the_order_and_one_of_another_revision_does_not() {
    let mut nodes = nodes();
    tag(&mut nodes[1], TAG_REVISION, "2:fedcba987654");
    tag(&mut nodes[1], TAG_REFUSED_REVISION, "2:fedcba987654 haproxy.cfg:12: no");
    let on = |nodes: &[Node], stale: &[&str]| asked(nodes, &["i-1", "i-2"], stale, Force::No);
    assert_eq!(on(&nodes, &[]), NextOrder::Refused { node: "i-1".into(), why: "haproxy.cfg:12: no".into() });
    let waits = NextOrder::Wait(vec!["i-1".into(), "i-2".into()]);
    assert_eq!(on(&nodes, &["i-1"]), waits, "the API may not show the order yet");
    tag(&mut nodes[1], TAG_REFUSED_REVISION, "1:000000000000 no");
    assert_eq!(on(&nodes, &[]), waits);
}

#[test]
fn an_order_that_a_node_refused_before_is_withdrawn_and_given_again() {
    let mut nodes = nodes();
    // A forged order, or that of a killed command.
    tag(&mut nodes[1], TAG_REVISION, "2:fedcba987654");
    tag(&mut nodes[1], TAG_REFUSED_REVISION, "2:fedcba987654 it is older than the default");
    assert_eq!(on(&nodes), NextOrder::Withdraw(vec!["i-1".into()]));
    nodes[1].tags.0.remove(TAG_REVISION);
    assert_eq!(on(&nodes), NextOrder::Wait(vec!["i-1".into()]), "it still shows the refusal");
    nodes[1].tags.0.remove(TAG_REFUSED_REVISION);
    assert_eq!(on(&nodes), NextOrder::Give(vec!["i-1".into(), "i-2".into()]));
}

#[test]
fn a_booting_node_is_waited_for_and_a_terminated_one_is_not() {
    let mut nodes = nodes();
    nodes[1].tags.0.remove(TAG_RUNNING);
    nodes[2].state = "terminated".into();
    assert_eq!(on(&nodes), NextOrder::Wait(vec!["i-1".into()]));
    nodes[1].state = "stopped".into();
    assert_eq!(on(&nodes), NextOrder::Give(vec!["i-0".into()]));
}

#[test]
fn a_node_that_just_got_the_order_does_not_get_it_again() {
    let waits = NextOrder::Wait(vec!["i-1".into(), "i-2".into()]);
    assert_eq!(asked(&nodes(), &["i-1", "i-2"], &[], Force::No), waits);
}

fn forced(nodes: &[Node]) -> NextOrder {
    asked(nodes, &[], &[], Force::Yes)
}

#[test]
fn a_rollback_replaces_an_order_that_a_node_has_not_taken() {
    let mut nodes = nodes();
    for node in &mut nodes {
        tag(node, TAG_RUNNING, "fedcba987654");
    }
    assert_eq!(on(&nodes), NextOrder::Done);
    tag(&mut nodes[1], TAG_REVISION, "3:0123456789ab");
    tag(&mut nodes[0], TAG_REVISION, "newest");
    assert!(!follows(&order().revision, &nodes[1]));
    assert_eq!(on(&nodes), NextOrder::Give(vec!["i-0".into(), "i-1".into()]));
    let waits = NextOrder::Wait(vec!["i-0".into(), "i-1".into()]);
    assert_eq!(asked(&nodes, &["i-0", "i-1"], &[], Force::No), waits, "the API doesn't show it yet");
    tag(&mut nodes[0], TAG_REVISION, "2:fedcba987654");
    // The same revision in another version isn't another order.
    tag(&mut nodes[1], TAG_REVISION, "1:fedcba987654");
    assert_eq!(on(&nodes), NextOrder::Done);
}

#[test]
fn a_stopped_node_does_not_start_with_an_abandoned_order() {
    let mut nodes = nodes();
    for node in &mut nodes {
        tag(node, TAG_RUNNING, "fedcba987654");
    }
    nodes[2].state = "stopped".into();
    assert_eq!(on(&nodes), NextOrder::Done);
    tag(&mut nodes[2], TAG_REVISION, "3:0123456789ab");
    assert_eq!(on(&nodes), NextOrder::Give(vec!["i-2".into()]));
}

#[test]
fn no_node_gets_the_order_while_the_active_node_is_unknown_and_with_force_one_at_a_time() {
    let mut nodes = nodes();
    tag(&mut nodes[0], TAG_ROLE, "standby");
    assert_eq!(on(&nodes), NextOrder::Unserved("no node reports that it is active for virtual IP 1".into()));
    assert_eq!(forced(&nodes), NextOrder::Give(vec!["i-2".into()]));
    tag(&mut nodes[0], TAG_ROLE, "active active");
    tag(&mut nodes[1], TAG_ROLE, "standby active");
    tag(&mut nodes[2], TAG_ROLE, "standby standby");
    assert_eq!(on(&nodes), NextOrder::Unserved("2 nodes report that they are active for virtual IP 2".into()));
    // A node of another revision has one virtual IP fewer.
    tag(&mut nodes[2], TAG_ROLE, "standby");
    assert_eq!(on(&nodes), NextOrder::Give(vec!["i-2".into()]));
    nodes[0].state = "stopping".into();
    assert_eq!(on(&nodes), NextOrder::Unserved("no node reports that it is active for virtual IP 1".into()));
}

#[test]
fn a_left_out_node_gets_the_order_last_and_its_old_role_does_not_count() {
    let goal = Goal { without: vec![NodeSelector::Slot(Slot(0))], ..Goal::default() };
    let (told, stale) = (BTreeSet::new(), BTreeSet::new());
    let on = |nodes: &[Node]| next(&Asking { order: &order(), goal: &goal, told: &told, stale: &stale }, nodes);
    // The dead node's tag still names it active.
    let mut nodes = vec![lost(node("i-0", 0, "running"), "i-1"), node("i-1", 1, "running"), node("i-2", 2, "running")];
    tag(&mut nodes[1], TAG_ROLE, "active");
    assert_eq!(on(&nodes), NextOrder::Give(vec!["i-2".into()]));
    tag(&mut nodes[2], TAG_RUNNING, "fedcba987654");
    assert_eq!(on(&nodes), NextOrder::Give(vec!["i-1".into()]));
    tag(&mut nodes[1], TAG_RUNNING, "fedcba987654");
    assert_eq!(on(&nodes), NextOrder::Give(vec!["i-0".into()]), "it takes the order when it returns");
    tag(&mut nodes[0], TAG_REVISION, "2:fedcba987654");
    assert_eq!(on(&nodes), NextOrder::Done);
    nodes[0].unreachable = None;
    assert_eq!(on(&nodes), NextOrder::Wait(vec!["i-0".into()]), "it is back");
}

#[test]
fn a_dead_node_that_is_not_left_out_is_waited_for() {
    let mut nodes = nodes();
    tag(&mut nodes[1], TAG_REVISION, "2:fedcba987654");
    nodes[1] = lost(nodes[1].clone(), "i-0");
    assert_eq!(on(&nodes), NextOrder::Wait(vec!["i-1".into()]));
}

#[test]
fn a_stopped_node_gets_the_order_when_the_others_run_it() {
    let mut nodes = nodes();
    nodes[2].state = "stopped".into();
    for node in &mut nodes[..2] {
        tag(node, TAG_RUNNING, "fedcba987654");
    }
    assert_eq!(on(&nodes), NextOrder::Give(vec!["i-2".into()]));
}
