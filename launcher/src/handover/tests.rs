//! Tests of which handovers start, and when they are done.

use templates::balancer::NodeConfig;
use templates::names::{TAG_MESSAGE, TAG_REFUSED_HANDOVER, TAG_ROLE};

use super::*;
use crate::assess::{Expected, assess};
use crate::model::desired::tests::web;
use crate::model::node::Node;
use crate::model::observe::tests::{lost, node};
use crate::resources::route_tables::{Route, Table};

const ID: &str = "65a1-3f";

fn is(nodes: &[Node], target: &str) -> Assessment {
    let route = Route { destination: "10.255.0.10/32".into(), target: Some(target.into()), blackhole: false };
    let table = Table { id: "rtb-1".into(), routes: vec![route], ..Table::default() };
    let mut expected = Expected::from(&NodeConfig::of(&web()));
    expected.subnets = nodes.iter().map(|node| node.subnet.clone()).collect();
    assess(&expected, nodes, &[table])
}

fn says(slot: u8, role: &str) -> Node {
    let mut node = node(&format!("i-{slot}"), slot, "running");
    node.tags = node.tags.with(TAG_ROLE, role);
    node
}

fn three() -> Vec<Node> {
    vec![says(0, "active"), says(1, "standby"), says(2, "standby")]
}

fn slot(to: Option<u8>) -> Option<NodeSelector> {
    to.map(|slot| NodeSelector::Slot(Slot(slot)))
}

fn planned(to: Option<u8>) -> Plan {
    plan(&is(&three(), "eni-0"), false, slot(to).as_ref()).expect("all is well")
}

#[test]
fn the_active_node_is_asked() {
    let plan = planned(None);
    assert_eq!(plan.from[0].instance, "i-0");
    assert_eq!(plan.change(), "node 0 (i-0) hands over 10.255.0.10");
    assert_eq!(planned(Some(2)).change(), "node 0 (i-0) hands over 10.255.0.10 to node 2 (i-2)");
}

#[test]
fn a_slot_names_the_first_node_of_a_subnet_and_an_instance_names_any() {
    let mut nodes = vec![says(0, "active"), says(1, "standby"), says(1, "standby")];
    nodes[2] = Node { id: "i-2".into(), named: None, ..nodes[2].clone() };
    let to = |which: NodeSelector| plan(&is(&nodes, "eni-0"), false, Some(&which)).unwrap().to.unwrap();
    assert_eq!(to(NodeSelector::Slot(Slot(1))).instance, "i-1");
    let second = Taker { instance: "i-2".into(), called: "node 1 (i-2)".into() };
    assert_eq!(to(NodeSelector::Instance("i-2".into())), second);
}

#[test]
fn a_node_that_is_active_already_gets_no_request() {
    assert_eq!(planned(Some(0)).from, []);
}

#[test]
fn a_handover_that_cannot_work_is_refused_with_its_reason() {
    let refused =
        |nodes: &[Node], preempt, to: Option<u8>| plan(&is(nodes, "eni-0"), preempt, slot(to).as_ref()).unwrap_err();
    let gone = "there is no live node 7: `launcher status` lists the nodes";
    assert_eq!(refused(&three(), false, Some(7)), [gone]);
    assert_eq!(refused(&three()[..1], false, None), ["there is no other node to hand over to"]);
    let faulty = [says(0, "active"), says(1, "fault")];
    assert_eq!(refused(&faulty, false, None), ["node 1 (i-1) is in fault: it can't serve"]);
    let missing = "node 1 (i-1) has not reported yet";
    assert_eq!(refused(&[says(0, "active"), says(1, "none yet")], false, Some(1)), [missing]);
    let unknown = plan(&is(&three(), "eni-0"), false, Some(&NodeSelector::Instance("i-9".into()))).unwrap_err();
    assert_eq!(unknown, ["i-9 is no live node: `launcher status` lists the nodes"]);
    let none = "no node reports that it is active: there is nothing to hand over";
    assert_eq!(refused(&three()[1..], false, None), [none]);
    let both = [says(0, "active"), says(1, "active"), says(2, "standby")];
    assert_eq!(refused(&both, false, None), ["10.255.0.10: 2 nodes report that they are active"]);
    assert!(refused(&three(), true, None)[0].starts_with("preempt = true"));
}

#[test]
fn a_handover_is_done_when_another_node_is_active_and_has_the_routes() {
    let under = |nodes: &[Node], target| match progress(&planned(None), ID, &is(nodes, target)) {
        Progress::Under(left) => left.join("; "),
        other => format!("{other:?}"),
    };
    assert_eq!(under(&three(), "eni-0"), "10.255.0.10: node 0 (i-0) is still active");
    let mut nodes = vec![says(0, "standby"), says(1, "active"), says(2, "standby")];
    assert_eq!(under(&nodes, "eni-0"), "10.255.0.10: 0 of 1 routes lead to node 1 (i-1)");
    assert_eq!(under(&nodes, "eni-1"), "Done");
    nodes[0] = says(0, "active");
    assert_eq!(under(&nodes, "eni-1"), "10.255.0.10: 2 nodes report that they are active");
}

#[test]
fn a_route_that_was_wrong_before_is_not_waited_for() {
    let plan = plan(&is(&three(), "eni-9"), false, None).unwrap();
    let nodes = [says(0, "standby"), says(1, "active"), says(2, "standby")];
    assert_eq!(progress(&plan, ID, &is(&nodes, "eni-9")), Progress::Done);
}

#[test]
fn a_handover_to_another_node_than_the_wanted_one_is_not_done() {
    let nodes = [says(0, "standby"), says(1, "active"), says(2, "standby")];
    let left = vec!["10.255.0.10: node 1 (i-1) is active instead".to_owned()];
    assert_eq!(progress(&planned(Some(2)), ID, &is(&nodes, "eni-1")), Progress::Under(left));
    assert_eq!(progress(&planned(Some(1)), ID, &is(&nodes, "eni-1")), Progress::Done);
}

#[test]
fn a_refusal_of_this_request_is_reported_with_the_nodes_reason() {
    let on = |refused: &str| {
        let mut nodes = three();
        nodes[0].tags =
            nodes[0].tags.clone().with(TAG_REFUSED_HANDOVER, refused).with(TAG_MESSAGE, "routes are denied");
        progress(&planned(None), ID, &is(&nodes, "eni-0"))
    };
    let said = "node 0 (i-0) keeps serving: 10.0.2.10 doesn't answer".to_owned();
    assert_eq!(on("65a1-3f 10.0.2.10 doesn't answer"), Progress::Refused(said));
    assert!(matches!(on("0000-00 10.0.2.10 doesn't answer"), Progress::Under(_)), "that was an earlier request");
}

#[test]
fn other_problems_are_reported_and_do_not_prevent_a_handover() {
    let sick = |slot: u8, role, message: &str| {
        let mut node = says(slot, role);
        node.tags = node.tags.with(TAG_MESSAGE, message);
        node
    };
    // One node always reports its old kernel, one is in fault and one is missing.
    let nodes = [sick(0, "active", "kernel 5.10 is too old"), says(1, "fault"), says(2, "standby")];
    let mut is = is(&nodes, "eni-0");
    is.problems.push("node 3 is missing".to_owned());
    assert_eq!(plan(&is, false, None).unwrap().from[0].instance, "i-0");
    assert_eq!(plan(&is, false, slot(Some(2)).as_ref()).unwrap().from[0].instance, "i-0");
    assert_eq!(plan(&is, false, slot(Some(1)).as_ref()).unwrap_err(), ["node 1 (i-1) is in fault: it can't serve"]);
    let said: Vec<&str> = amiss(&is).map(String::as_str).collect();
    let expected =
        ["node 1 (i-1) is in fault: it can't serve", "node 3 is missing", "node 0 (i-0): kernel 5.10 is too old"];
    assert_eq!(said, expected);
}

#[test]
fn a_dead_node_gets_no_request_and_no_virtual_ip_and_is_named() {
    let dead = "node 0 (i-0) is unreachable since 14:03:12Z (reported by i-1)";
    let nodes = [lost(says(0, "active"), "i-1"), says(1, "active"), says(2, "standby")];
    let on = |nodes: &[Node], to: Option<u8>| plan(&is(nodes, "eni-1"), false, slot(to).as_ref());
    assert_eq!(on(&nodes, Some(0)).unwrap_err(), [dead, "node 1 (i-1) is active already"]);
    assert_eq!(on(&nodes, None).unwrap().change(), "node 1 (i-1) hands over 10.255.0.10");
    assert_eq!(on(&nodes, Some(1)).unwrap().from, [], "the survivor is active already");
    assert_eq!(on(&nodes[..2], None).unwrap_err(), [dead, "node 1 (i-1) is active already"]);
    assert_eq!(amiss(&is(&nodes, "eni-1")).count(), 1, "the dead node is mentioned");
}

#[test]
fn an_unreachable_owner_gets_no_request() {
    let nodes = [lost(says(0, "active"), "i-1"), says(1, "standby")];
    let said = "node 0 (i-0) is unreachable since 14:03:12Z (reported by i-1): it can't receive a request to hand over";
    assert_eq!(plan(&is(&nodes, "eni-0"), false, None).unwrap_err(), [said]);
}
