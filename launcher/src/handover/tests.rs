//! Which handovers are begun, and when they are done.

use templates::balancer::NodeConfig;
use templates::names::{TAG_MESSAGE, TAG_ROLE};

use super::*;
use crate::assess::{Expected, assess};
use crate::desired::tests::web;
use crate::observe::tests::node;
use crate::resources::instances::Node;
use crate::resources::route_tables::{Route, Table};

fn is(nodes: &[Node], target: &str) -> Assessment {
    let route = Route { destination: "10.255.0.10/32".into(), target: Some(target.into()), blackhole: false };
    let table = Table { id: "rtb-1".into(), name: None, gateway: false, routes: vec![route] };
    let mut expected = Expected::from(&NodeConfig::of(&web()));
    expected.nodes = nodes.len();
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

fn planned(to: Option<u8>) -> Plan {
    plan(&is(&three(), "eni-0"), false, to.map(Slot)).expect("all is well")
}

#[test]
fn the_active_node_is_asked() {
    let plan = planned(None);
    assert_eq!(plan.from[0].instance, "i-0");
    assert_eq!(plan.change(), "node 0 (i-0) hands over 10.255.0.10");
    assert_eq!(planned(Some(2)).change(), "node 0 (i-0) hands over 10.255.0.10 to node 2");
}

#[test]
fn a_node_that_is_active_already_is_asked_for_nothing() {
    assert_eq!(planned(Some(0)).from, []);
}

#[test]
fn what_stands_against_it_is_said_and_nothing_is_asked() {
    let refused =
        |nodes: &[Node], preempt, to: Option<u8>| plan(&is(nodes, "eni-0"), preempt, to.map(Slot)).unwrap_err();
    let gone = "there is no live node 7: `launcher status` shows which there are";
    assert_eq!(refused(&three(), false, Some(7)), [gone]);
    assert_eq!(refused(&three()[..1], false, None), ["there is no other node to hand over to"]);
    let faulty = [says(0, "active"), says(1, "fault")];
    assert_eq!(refused(&faulty, false, None), ["node 1 (i-1) is in fault: it can't serve"]);
    let mut complaining = three();
    complaining[2].tags = complaining[2].tags.clone().with(TAG_MESSAGE, "cannot read the API: denied");
    assert_eq!(refused(&complaining, false, None), ["node 2 (i-2): cannot read the API: denied"]);
    assert!(refused(&three(), true, None)[0].starts_with("preempt = true"));
}

#[test]
fn it_is_done_when_the_other_is_active_and_has_the_routes() {
    let under = |nodes: &[Node], target| match progress(&planned(None), &is(nodes, target)) {
        Progress::Under(left) => left.join("; "),
        other => format!("{other:?}"),
    };
    assert_eq!(under(&three(), "eni-0"), "10.255.0.10: node 0 (i-0) is still active");
    let mut nodes = vec![says(0, "standby"), says(1, "active"), says(2, "standby")];
    assert_eq!(under(&nodes, "eni-0"), "10.255.0.10: 0 of 1 routes lead to node 1 (i-1)");
    assert_eq!(under(&nodes, "eni-1"), "Done");
    nodes[0] = says(0, "active");
    assert_eq!(under(&nodes, "eni-1"), "10.255.0.10: 2 nodes say that they are active");
}

#[test]
fn another_node_than_the_wanted_one_is_not_it() {
    let nodes = [says(0, "standby"), says(1, "active"), says(2, "standby")];
    let left = vec!["10.255.0.10: node 1 (i-1) is active instead".to_owned()];
    assert_eq!(progress(&planned(Some(2)), &is(&nodes, "eni-1")), Progress::Under(left));
    assert_eq!(progress(&planned(Some(1)), &is(&nodes, "eni-1")), Progress::Done);
}

#[test]
fn a_refusal_is_told_in_the_nodes_words() {
    let mut nodes = three();
    nodes[0].tags = nodes[0].tags.clone().with(TAG_MESSAGE, "handover refused: 10.0.2.10 doesn't answer");
    let said = "node 0 (i-0) keeps serving: 10.0.2.10 doesn't answer".to_owned();
    assert_eq!(progress(&planned(None), &is(&nodes, "eni-0")), Progress::Refused(said));
}
