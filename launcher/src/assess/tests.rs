//! A balancer that serves as it should has no problem; each other one has its line.

use templates::balancer::NodeConfig;
use templates::names::{TAG_REVISION, TAG_ROLE, TAG_RUNNING};

use super::*;
use crate::model::desired::tests::web;
use crate::model::observe::tests::{lost, node};
use crate::resources::route_tables::Route;

fn expected() -> Expected {
    Expected::from(&NodeConfig::of(&web()))
}

fn table(id: &str, target: &str) -> Table {
    let route = Route { destination: "10.255.0.10/32".into(), target: Some(target.into()), blackhole: false };
    Table { id: id.into(), routes: vec![route], ..Table::default() }
}

fn problems(nodes: &[Node], tables: &[Table]) -> Vec<String> {
    assess(&expected(), nodes, tables).problems
}

fn pair() -> Vec<Node> {
    vec![node("i-0", 0, "running"), node("i-1", 1, "running")]
}

#[test]
fn reported_nodes_and_routes_to_the_active_one_are_all_it_takes() {
    assert_eq!(problems(&pair(), &[table("rtb-1", "eni-0"), table("rtb-2", "eni-0")]), [] as [&str; 0]);
}

#[test]
fn a_route_that_is_missing_dead_or_elsewhere_is_a_problem() {
    let mut dead = table("rtb-1", "eni-0");
    dead.routes[0].blackhole = true;
    assert_eq!(
        problems(&pair(), &[dead]),
        [
            "virtual IP 10.255.0.10: the route in rtb-1 leads to eni-0, not to i-0; the active node corrects it at its next read of the routes"
        ]
    );
    let said = problems(&pair(), &[table("rtb-1", "eni-1")]);
    assert_eq!(
        said,
        [
            "virtual IP 10.255.0.10: the route in rtb-1 leads to eni-1, not to i-0; the active node corrects it at its next read of the routes"
        ]
    );
    let bare = Table { routes: vec![], ..table("rtb-1", "") };
    assert_eq!(problems(&pair(), &[bare]), ["virtual IP 10.255.0.10: there is no route in rtb-1"]);
}

#[test]
fn the_reachable_standbys_of_a_virtual_ip_watch_it() {
    let watched =
        |nodes: Vec<Node>| assess(&expected(), &nodes, &[table("rtb-1", "eni-0")]).virtual_ips[0].watched.clone();
    let with = |tag: &str| {
        let mut nodes = pair();
        nodes[1].tags = nodes[1].tags.clone().with(TAG_REACHED, tag);
        watched(nodes)
    };
    let reached = |tag: &str| with(tag).iter().map(|watch| watch.reached).collect::<Vec<_>>();
    assert_eq!(
        ["yes", "no", "-", "", "soon"].map(reached),
        [Some(true), Some(false), None, None, None].map(|one| vec![one])
    );
    assert_eq!(with("yes")[0].place(), "subnet-0bbb (eu-west-1a)");
    assert_eq!(watched(pair()[..1].to_vec()), [], "a lone node isn't watched");
    let [first, second] = pair().try_into().unwrap();
    assert_eq!(watched(vec![first, lost(second, "i-0")]), []);
}

#[test]
fn the_reachable_active_nodes_report_the_target_groups() {
    let with = |change: fn(&mut Vec<Node>)| {
        let mut nodes = pair();
        for node in &mut nodes {
            node.tags = node.tags.clone().with(TAG_TARGETS[0], "http=0/2").with(TAG_TARGETS[1], "+2");
        }
        change(&mut nodes);
        let is = assess(&expected(), &nodes, &[table("rtb-1", "eni-0")]);
        is.target_groups.iter().map(|group| (group.name.clone(), group.healthy)).collect::<Vec<_>>()
    };
    let http = |healthy| vec![("http".to_owned(), healthy)];
    assert_eq!(with(|_| {}), http(Some(0)));
    assert_eq!(with(|nodes| drop(nodes[1].tags.0.insert(TAG_TARGETS[0].into(), "http=2/2".into()))), http(Some(0)));
    assert_eq!(with(|nodes| drop(nodes[0].tags.0.remove(TAG_TARGETS[0]))), http(None));
    assert_eq!(with(|nodes| nodes[0] = lost(nodes[0].clone(), "i-1")), http(None));
    let mut nodes = pair();
    nodes[0].tags = nodes[0].tags.clone().with(TAG_TARGETS[0], "http=0/2");
    assert_eq!(problems(&nodes, &[table("rtb-1", "eni-0")]), [] as [&str; 0], "the balancer itself is well");
}

#[test]
fn a_gateways_table_needs_no_route() {
    let edge = Table { gateways: vec!["igw-1".into()], routes: vec![], ..table("rtb-9", "") };
    assert_eq!(problems(&pair(), &[table("rtb-1", "eni-0"), edge]), [] as [&str; 0]);
}

#[test]
fn a_node_must_be_there_run_and_report_the_right_revision() {
    let with = |change: fn(&mut Vec<Node>)| {
        let mut nodes = pair();
        change(&mut nodes);
        problems(&nodes, &[table("rtb-1", "eni-0")])
    };
    assert_eq!(with(|nodes| drop(nodes.pop())), ["node 1 is missing"]);
    assert_eq!(with(|nodes| nodes[1].state = "terminated".into()), ["node 1 is missing"]);
    assert_eq!(with(|nodes| nodes[1].state = "pending".into()), ["node 1 (i-1) is pending"]);
    let silent = with(|nodes| drop(nodes[1].tags.0.remove(TAG_ROLE)));
    assert_eq!(silent, ["node 1 (i-1) has not reported yet"]);
    let old = with(|nodes| drop(nodes[1].tags.0.insert(TAG_RUNNING.into(), "old".into())));
    assert_eq!(old, [format!("node 1 (i-1) runs revision old instead of {}", expected().revision)]);
    let fault = with(|nodes| drop(nodes[1].tags.0.insert(TAG_ROLE.into(), "fault".into())));
    assert_eq!(fault, ["node 1 (i-1) is in fault: it can't serve"]);
    let twice = with(|nodes| nodes.push(node("i-2", 1, "running")));
    assert_eq!(twice, ["slot 1 has 2 nodes: i-1, i-2"]);
}

#[test]
fn a_node_in_a_subnet_that_is_not_the_balancers_is_named_with_its_subnet() {
    for launch in [Launch::Instances, Launch::AutoScaling] {
        let mut nodes = pair();
        nodes.push(Node { slot: None, named: None, subnet: "subnet-0ccc".into(), ..node("i-2", 2, "running") });
        nodes[2].tags.0.insert(TAG_ROLE.into(), "standby".into());
        let is = assess(&Expected { launch, ..expected() }, &nodes, &[table("rtb-1", "eni-0")]);
        let said = "i-2 is in subnet-0ccc, which isn't one of the balancer's subnets: terminate it, or add the subnet to the \
                    file and run `launcher update`";
        assert_eq!(is.problems.last().unwrap(), said, "{launch:?}");
    }
}

#[test]
fn an_order_of_another_revision_that_a_node_has_not_taken_is_a_problem() {
    let mut nodes = pair();
    nodes[1].tags.0.insert(TAG_REVISION.into(), "2:fedcba987654".into());
    let said = problems(&nodes, &[table("rtb-1", "eni-0")]);
    assert_eq!(
        said,
        ["node 1 (i-1) has an order for 2:fedcba987654, but nodes boot another revision: run `launcher update` with \
             the file that is to run"]
    );
    nodes[1].tags.0.insert(TAG_REVISION.into(), format!("2:{}", expected().revision));
    assert_eq!(problems(&nodes, &[table("rtb-1", "eni-0")]), [] as [&str; 0]);
}

#[test]
fn one_node_is_active_not_none_and_not_two() {
    let with_roles = |roles: [&str; 2]| {
        let mut nodes = pair();
        for (node, role) in nodes.iter_mut().zip(roles) {
            node.tags.0.insert(TAG_ROLE.into(), role.into());
        }
        problems(&nodes, &[table("rtb-1", "eni-0")])
    };
    assert_eq!(with_roles(["standby", "standby"]), ["virtual IP 10.255.0.10: no node is active"]);
    assert_eq!(
        with_roles(["active", "active"]),
        [
            "virtual IP 10.255.0.10: i-0 and i-1 are active at once; if this lasts, VRRP between them is blocked: check the security group and network ACLs"
        ]
    );
}

#[test]
fn a_nodes_message_is_shown_but_is_no_problem() {
    let mut nodes = pair();
    nodes[0].tags.0.insert(TAG_MESSAGE.into(), "no peer answers".into());
    let assessment = assess(&expected(), &nodes, &[table("rtb-1", "eni-0")]);
    assert_eq!(assessment.problems, [] as [&str; 0]);
    assert_eq!(assessment.messages, ["node 0 (i-0): no peer answers"]);
}

#[test]
fn nodes_of_a_group_count_by_number_and_may_be_in_one_subnet() {
    let assess = |slots: &[u8]| {
        let mut nodes: Vec<Node> = slots.iter().map(|slot| node(&format!("i-{slot}"), *slot, "running")).collect();
        nodes[1..].iter_mut().for_each(|node| node.tags = node.tags.clone().with(TAG_ROLE, "standby"));
        assess(&Expected { launch: Launch::AutoScaling, ..expected() }, &nodes, &[]).problems
    };
    assert_eq!(assess(&[0, 1]), [] as [&str; 0]);
    assert_eq!(assess(&[0, 0]), [] as [&str; 0]);
    assert_eq!(assess(&[0]), ["there are 1 nodes instead of 2"]);
    assert_eq!(assess(&[0, 1, 2]), ["there are 3 nodes instead of 2"]);
}

fn says(slot: u8, role: &str) -> Node {
    let mut node = node(&format!("i-{slot}"), slot, "running");
    node.tags.0.insert(TAG_ROLE.into(), role.into());
    node
}

const DEAD: &str = "node 0 (i-0) is unreachable since 14:03:12Z (reported by i-1): reboot it, or terminate it and run \
                    `launcher create` with the balancer's file";

fn judged(nodes: &[Node], tables: &[Table]) -> (Vec<String>, usize, Vec<String>) {
    let mut is = assess(&expected(), nodes, tables);
    let vip = is.virtual_ips.remove(0);
    (vip.active, vip.routes.iter().filter(|route| route.ok).count(), is.problems)
}

#[test]
fn a_dead_nodes_last_report_does_not_count_and_the_survivor_has_all_routes() {
    let mut nodes = [lost(says(0, "active"), "i-1"), says(1, "active")];
    nodes[0].tags.0.insert(TAG_MESSAGE.into(), "a peer is silent".into());
    let tables = [table("rtb-1", "eni-1"), table("rtb-2", "eni-1"), table("rtb-3", "eni-1")];
    assert_eq!(judged(&nodes, &tables), (vec!["i-1".to_owned()], 3, vec![DEAD.to_owned()]));
    assert_eq!(assess(&expected(), &nodes, &tables).messages, [] as [&str; 0]);
    let moving = [table("rtb-1", "eni-0"), table("rtb-2", "eni-1"), table("rtb-3", "eni-1")];
    let (active, ok, problems) = judged(&nodes, &moving);
    assert_eq!((active, ok), (vec!["i-1".to_owned()], 2));
    assert_eq!(
        problems[1],
        "virtual IP 10.255.0.10: the route in rtb-1 leads to eni-0, not to i-1; the active node corrects it at its next read of the routes"
    );
}

#[test]
fn a_dead_standby_is_named_and_nothing_else_is_wrong() {
    let nodes = [lost(says(0, "standby"), "i-1"), says(1, "active")];
    assert_eq!(judged(&nodes, &[table("rtb-1", "eni-1")]), (vec!["i-1".to_owned()], 1, vec![DEAD.to_owned()]));
}

#[test]
fn between_nodes_that_do_not_reach_each_other_the_routes_decide() {
    let nodes = [lost(says(0, "active"), "i-1"), lost(says(1, "active"), "i-0")];
    for (target, active) in [("eni-0", "i-0"), ("eni-1", "i-1")] {
        let (is, ok, problems) = judged(&nodes, &[table("rtb-1", target), table("rtb-2", target)]);
        assert_eq!((is, ok), (vec![active.to_owned()], 2));
        assert_eq!(problems.len(), 2, "both are named: {problems:?}");
    }
    let (is, _, problems) = judged(&nodes, &[table("rtb-1", "eni-0"), table("rtb-2", "eni-1")]);
    assert_eq!(is, ["i-0", "i-1"]);
    assert_eq!(
        problems[2],
        "virtual IP 10.255.0.10: i-0 and i-1 are active at once; if this lasts, VRRP between them is blocked: check the security group and network ACLs"
    );
}

#[test]
fn an_owner_with_a_silent_agent_serves_while_no_other_node_is_active() {
    let nodes = [lost(says(0, "active"), "i-1"), says(1, "standby")];
    assert_eq!(judged(&nodes, &[table("rtb-1", "eni-0")]), (vec!["i-0".to_owned()], 1, vec![DEAD.to_owned()]));
}

#[test]
fn of_three_nodes_two_that_reach_each_other_outrank_the_third() {
    let expected = Expected { subnets: ["a", "b", "c"].map(str::to_owned).into(), ..expected() };
    let nodes = [lost(says(0, "active"), "i-1"), says(1, "standby"), says(2, "active")];
    let is = assess(&expected, &nodes, &[table("rtb-1", "eni-2")]);
    assert_eq!(is.virtual_ips[0].active, ["i-2"]);
    assert_eq!(is.problems, [DEAD]);
}

#[test]
fn a_node_that_the_operator_leaves_out_is_no_problem() {
    let without = |nodes: &[Node]| {
        let expected = Expected { without: vec![NodeSelector::Slot(Slot(0))], ..expected() };
        assess(&expected, nodes, &[table("rtb-1", "eni-1")]).problems
    };
    assert_eq!(without(&[lost(says(0, "active"), "i-1"), says(1, "active")]), [] as [&str; 0]);
    assert_eq!(without(&[says(1, "active")]), [] as [&str; 0], "it may be missing, too");
    let mut old = says(0, "standby");
    old.tags.0.insert(TAG_RUNNING.into(), "old".into());
    assert_eq!(without(&[old, says(1, "active")]).len(), 1, "a node that is reachable again is waited for");
    let grouped = Expected { launch: Launch::AutoScaling, ..expected() };
    let problems = assess(&grouped, &[lost(says(0, "active"), "i-1"), says(1, "active")], &[]).problems;
    assert!(problems[0].ends_with("terminate it and its Auto Scaling group launches another"), "{problems:?}");
}
