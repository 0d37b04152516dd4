//! Forecasts a replacement for the plan: applies [`step`] to the snapshot again and again, as if each node did what it
//! should. Pure.

use templates::Role;
use templates::names::{TAG_REVISION, TAG_ROLE, TAG_RUNNING};

use super::plan::{Aim, NextReplacement, Service, is_new, step};
use crate::model::node::Node;
use crate::model::node_status::called;
use crate::model::tags::Tags;
use crate::plan::Change;

/// The forecast steps from `nodes` on, and the nodes after them.
pub fn replaced(aim: &Aim, subnets: &[String], nodes: &[Node], service: Service) -> (Vec<Change>, Vec<Node>) {
    let mut service = if service == Service::Never { service } else { Service::Whole };
    let mut nodes = nodes.to_vec();
    let mut changes = Vec::new();
    let change = |action, what| Change { action, what };
    loop {
        match step(aim, &nodes, service) {
            NextReplacement::Done => return (changes, nodes),
            // Complete what is under way.
            NextReplacement::Wait => {
                service = Service::Whole;
                for node in nodes.iter_mut().filter(|node| node.is_live()) {
                    report_running(aim, node);
                }
            }
            NextReplacement::Launch(slot) => {
                changes.push(change("launch", format!("launch a new node {slot} in {}", subnets[usize::from(slot.0)])));
                let tags = Tags::from_iter([(TAG_REVISION, aim.order.to_string())]);
                let (id, image) = (format!("new {slot}"), aim.image.clone().unwrap_or_default());
                let subnet = subnets[usize::from(slot.0)].clone();
                let (state, slot) = ("running".to_owned(), Some(slot));
                nodes.push(Node { id, state, image, subnet, tags, slot, named: slot, ..Node::default() });
            }
            NextReplacement::HandOver(id, _) | NextReplacement::Stop(id) | NextReplacement::End(id) => {
                for node in nodes.iter_mut().filter(|node| node.id == id) {
                    changes.push(match service {
                        Service::Never => {
                            change("terminate", format!("terminate {}, which never reported", called(node)))
                        }
                        _ => {
                            let what = format!("stop {} when its successor serves, and terminate it", called(node));
                            change("stop", what)
                        }
                    });
                    node.state = "terminated".to_owned();
                }
            }
        }
    }
}

fn report_running(aim: &Aim, node: &mut Node) {
    if is_new(aim, node) {
        node.state = "running".to_owned();
        node.unreachable = None;
        node.tags =
            node.tags.clone().with(TAG_RUNNING, aim.order.revision.0.clone()).with(TAG_ROLE, Role::Standby.to_string());
    } else if node.state == "stopping" {
        node.state = "stopped".to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::observe::tests::{lost, node};
    use crate::update::replacement::plan::tests::{aim, new, silent};

    /// The forecast in words, and the nodes that are live after it.
    fn foretold(aim: &Aim, nodes: &[Node], service: Service) -> (Vec<String>, Vec<Node>) {
        let (changes, mut nodes) = replaced(aim, &["subnet-a".into(), "subnet-b".into()], nodes, service);
        nodes.retain(Node::is_live);
        (changes.into_iter().map(|change| change.what).collect(), nodes)
    }

    #[test]
    fn each_slot_gets_its_new_node_before_the_old_one_goes() {
        let (said, nodes) = foretold(&aim(2), &[node("i-0", 0, "running"), node("i-1", 1, "running")], Service::Whole);
        let live: Vec<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(live, ["new 1", "new 0"]);
        assert_eq!(
            said,
            [
                "launch a new node 1 in subnet-b",
                "stop node 1 (i-1, standby) when its successor serves, and terminate it",
                "launch a new node 0 in subnet-a",
                "stop node 0 (i-0, active) when its successor serves, and terminate it",
            ]
        );
        let dead = lost(node("i-0", 0, "running"), "i-1");
        let (said, _) = foretold(&aim(2), &[dead, node("i-1", 1, "running")], Service::Whole);
        assert_eq!(said.len(), 4, "{said:?}");
    }

    #[test]
    fn nodes_that_never_reported_are_terminated_first() {
        let (said, _) = foretold(&aim(2), &[silent("i-0", 0)], Service::Never);
        let ends = "terminate node 0 (i-0), which never reported";
        assert_eq!(said, [ends, "launch a new node 1 in subnet-b", "launch a new node 0 in subnet-a"]);
    }

    #[test]
    fn new_nodes_have_the_wanted_image() {
        let aim = Aim { image: Some("ami-new".to_owned()), ..aim(2) };
        let (_, nodes) = foretold(&aim, &[new("i-0", 0, "active"), new("i-1", 1, "standby")], Service::Whole);
        assert!(nodes.iter().all(|node| node.image == "ami-new"), "{nodes:?}");
    }
}
