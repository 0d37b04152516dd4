//! Decides which node is launched, stopped or terminated next, where nodes can't be updated in place. Pure.
//!
//! A slot's new node serves before its old one goes, so there is never one node fewer. One slot is changed after another, those
//! of active nodes last. An active node hands over to a new one before it is stopped. During the stop its agent waits for open
//! connections. If no old node ever came up, all of them are terminated at once.

use templates::names::TAG_REVISION;
use templates::{Balancer, Order, Role, Slot};

use crate::model::node::Node;
use crate::model::node_status::{active, has_reported, is_in_fault, roles, running};
use crate::resources::route_tables::Table;
use crate::update::in_place::plan::Goal;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextReplacement {
    /// Every slot has its new node, and no old one.
    Done,
    /// Wait for the last step.
    Wait,
    /// Launch the slot's new node.
    Launch(Slot),
    /// Ask the first node, which is active, to hand over to the second.
    HandOver(String, Option<String>),
    /// Stop this node.
    Stop(String),
    /// Terminate this node, which is stopped, unreachable or never came up.
    End(String),
}

/// Whether clients are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Every route leads to the active node.
    Whole,
    /// A virtual IP has no active node, or not exactly one, or a route leads elsewhere.
    Broken,
    /// No old node ever reported, and no route leads to one.
    Never,
}

/// The goal of a replacement.
#[derive(Debug, Clone)]
pub struct Aim {
    /// What every node has to run.
    pub order: Order,
    /// What a node without an order boots.
    pub boots: Order,
    /// The image that every node must have, if the revision alone doesn't tell new nodes from old.
    pub image: Option<String>,
    /// Which nodes may be unreachable.
    pub goal: Goal,
    /// The number of slots.
    pub slots: u8,
    /// Whether nodes can be asked to hand over. Not with `preempt`: there a stop hands over.
    pub asks: bool,
}

/// What to do next to have one node of the order in each slot.
pub fn step(aim: &Aim, nodes: &[Node], service: Service) -> NextReplacement {
    let Aim { order, goal, slots, asks, .. } = aim;
    let live: Vec<&Node> = nodes.iter().filter(|node| node.is_live()).collect();
    let (new, old): (Vec<&Node>, Vec<&Node>) = live.into_iter().partition(|node| is_new(aim, node));
    if service == Service::Never
        && let Some(node) = old.first()
    {
        return NextReplacement::End(node.id.clone());
    }
    let work = work(*slots, &new, &old);
    // Without old nodes, new ones don't wait for each other.
    if let (Some(Work::Fill(slot)), true) = (&work, old.is_empty()) {
        return NextReplacement::Launch(*slot);
    }
    // If no old node can serve, a launch takes nothing from them.
    let safe = service == Service::Whole || matches!(work, Some(Work::Fill(_))) && old.iter().all(|node| is_down(node));
    if !safe || new.iter().any(|node| !is_well(order, node) && !goal.leaves_out(node)) {
        return NextReplacement::Wait;
    }
    match work {
        None => NextReplacement::Done,
        Some(Work::Fill(slot)) => NextReplacement::Launch(slot),
        Some(Work::Clear(node)) => match node.state.as_str() {
            "stopping" => NextReplacement::Wait,
            "stopped" => NextReplacement::End(node.id.clone()),
            _ if node.unreachable.is_some() => NextReplacement::End(node.id.clone()),
            _ if *asks && active(node) > 0 => NextReplacement::HandOver(node.id.clone(), successor(node, &new)),
            _ => NextReplacement::Stop(node.id.clone()),
        },
    }
}

/// Whether no old node ever reported, and no route leads to one; also if there are no old nodes.
pub fn never_served(aim: &Aim, nodes: &[Node], tables: &[Table]) -> bool {
    let routed = |node: &Node| {
        let targets = tables.iter().flat_map(|table| &table.routes).filter_map(|route| route.target.as_ref());
        targets.into_iter().any(|target| node.interfaces.contains(target))
    };
    let mut old = nodes.iter().filter(|node| node.is_live() && !is_new(aim, node));
    old.all(|node| !has_reported(node) && !routed(node))
}

/// The new node in the same slot; any new node, if there is none.
fn successor(node: &Node, new: &[&Node]) -> Option<String> {
    let next = new.iter().find(|next| next.slot == node.slot).or(new.first())?;
    Some(next.id.clone())
}

enum Work<'a> {
    /// This slot has no new node.
    Fill(Slot),
    /// This old node isn't needed any more.
    Clear(&'a Node),
}

fn work<'a>(slots: u8, new: &[&Node], old: &[&'a Node]) -> Option<Work<'a>> {
    let has_new = |slot: Slot| new.iter().any(|node| node.slot == Some(slot));
    // Finish a slot before the next begins.
    let replaced = old.iter().find(|node| node.slot.is_some_and(|slot| slot.0 < slots && has_new(slot)));
    if let Some(node) = replaced {
        return Some(Work::Clear(node));
    }
    let actives =
        |slot: Slot| old.iter().filter(|node| node.slot == Some(slot)).map(|node| active(node)).sum::<usize>();
    let empty = (0..slots).map(Slot).filter(|slot| !has_new(*slot));
    if let Some(slot) = empty.min_by_key(|slot| (actives(*slot), std::cmp::Reverse(*slot))) {
        return Some(Work::Fill(slot));
    }
    // The old nodes that are left are in removed slots.
    old.iter().min_by_key(|node| (active(node), &node.id)).map(|node| Work::Clear(node))
}

/// Whether the node runs the order, or was launched for it.
pub fn is_new(aim: &Aim, node: &Node) -> bool {
    let runs = match (running(node), node.tags.get(TAG_REVISION)) {
        (Some(running), _) => *running == aim.order.revision.0,
        (None, Some(told)) => *told == aim.order.to_string(),
        (None, None) => aim.boots.revision == aim.order.revision,
    };
    runs && aim.image.as_ref().is_none_or(|image| node.image == *image)
}

/// Whether the node can serve nothing, by its report.
fn is_down(node: &Node) -> bool {
    node.state != "running" || is_in_fault(node)
}

fn is_well(order: &Order, node: &Node) -> bool {
    node.state == "running"
        && node.unreachable.is_none()
        && running(node) == Some(&order.revision.0)
        && roles(node).is_some_and(|roles| !roles.0.contains(&Role::Fault))
}

/// Whether a node that runs `now` can be updated to `new` in place.
pub fn stays(now: &Balancer, new: &Balancer) -> bool {
    now.updates.in_place && now.needs_new_nodes(new).is_empty()
}

#[cfg(test)]
pub(crate) mod tests {
    use templates::names::{TAG_ROLE, TAG_RUNNING};

    use super::*;
    use crate::model::node_selector::NodeSelector;
    use crate::model::observe::tests::{lost, node};

    fn order() -> Order {
        "2:fedcba987654".parse().unwrap()
    }

    /// A node that was launched for the order, and has reported.
    pub fn new(id: &str, slot: u8, role: &str) -> Node {
        let mut node = node(id, slot, "running");
        for (key, value) in [(TAG_RUNNING, "fedcba987654"), (TAG_ROLE, role), (TAG_REVISION, "2:fedcba987654")] {
            node.tags.0.insert(key.to_owned(), value.to_owned());
        }
        node
    }

    fn booting(id: &str, slot: u8) -> Node {
        let mut node = new(id, slot, "standby");
        node.tags.0.remove(TAG_RUNNING);
        node.tags.0.remove(TAG_ROLE);
        node
    }

    fn first() -> Order {
        "1:0123456789ab".parse().unwrap()
    }

    /// The aim to replace the example's nodes.
    pub fn aim(slots: u8) -> Aim {
        Aim { order: order(), boots: first(), image: None, goal: Goal::default(), slots, asks: true }
    }

    fn on(nodes: &[Node]) -> NextReplacement {
        step(&aim(2), nodes, Service::Whole)
    }

    /// A launched node that never reported.
    pub fn silent(id: &str, slot: u8) -> Node {
        let mut node = node(id, slot, "running");
        node.tags.0.retain(|key, _| key != TAG_RUNNING && key != TAG_ROLE);
        node
    }

    #[test]
    fn a_standby_goes_first_and_not_before_its_successor_serves() {
        let mut nodes = vec![node("i-0", 0, "running"), node("i-1", 1, "running")];
        assert_eq!(on(&nodes), NextReplacement::Launch(Slot(1)));
        nodes.push(booting("i-2", 1));
        assert_eq!(on(&nodes), NextReplacement::Wait);
        nodes[2] = new("i-2", 1, "fault");
        assert_eq!(on(&nodes), NextReplacement::Wait);
        nodes[2] = new("i-2", 1, "standby");
        assert_eq!(on(&nodes), NextReplacement::Stop("i-1".into()));
        nodes[1].state = "stopping".into();
        assert_eq!(on(&nodes), NextReplacement::Wait);
        nodes[1].state = "stopped".into();
        assert_eq!(on(&nodes), NextReplacement::End("i-1".into()));
        nodes[1].state = "shutting-down".into();
        assert_eq!(on(&nodes), NextReplacement::Launch(Slot(0)));
        nodes.push(new("i-3", 0, "standby"));
        assert_eq!(on(&nodes), NextReplacement::HandOver("i-0".into(), Some("i-3".into())));
        let preempted = Aim { asks: false, ..aim(2) };
        assert_eq!(
            step(&preempted, &nodes, Service::Whole),
            NextReplacement::Stop("i-0".into()),
            "it would take them back"
        );
        nodes[0].tags.0.insert(TAG_ROLE.to_owned(), "standby".to_owned());
        assert_eq!(on(&nodes), NextReplacement::Stop("i-0".into()));
        nodes[0].state = "terminated".into();
        assert_eq!(on(&nodes), NextReplacement::Done);
    }

    #[test]
    fn a_dead_node_is_replaced_without_being_asked_and_a_dead_new_one_is_not_well() {
        let dead = lost(node("i-0", 0, "running"), "i-1");
        let mut active = node("i-1", 1, "running");
        active.tags.0.insert(TAG_ROLE.to_owned(), "active".to_owned());
        let mut nodes = vec![dead, active];
        assert_eq!(on(&nodes), NextReplacement::Launch(Slot(0)), "its report that it is active is old");
        nodes.push(lost(new("i-2", 0, "standby"), "i-1"));
        assert_eq!(on(&nodes), NextReplacement::Wait);
        let without =
            Aim { goal: Goal { without: vec![NodeSelector::Instance("i-2".into())], ..Goal::default() }, ..aim(2) };
        assert_eq!(step(&without, &nodes, Service::Whole), NextReplacement::End("i-0".into()));
        nodes[2].unreachable = None;
        assert_eq!(on(&nodes), NextReplacement::End("i-0".into()), "it can neither hand over nor stop");
    }

    #[test]
    fn no_node_goes_while_a_virtual_ip_is_not_served() {
        let nodes = [node("i-0", 0, "running"), node("i-1", 1, "running"), new("i-2", 1, "standby")];
        assert_eq!(step(&aim(2), &nodes, Service::Broken), NextReplacement::Wait);
        assert_eq!(step(&aim(2), &nodes[..2], Service::Broken), NextReplacement::Wait, "not even for a new one");
    }

    #[test]
    fn nodes_that_never_reported_are_terminated_and_replaced_at_once() {
        let mut nodes = vec![silent("i-0", 0), silent("i-1", 1)];
        let on = |nodes: &[Node]| step(&aim(2), nodes, Service::Never);
        assert!(never_served(&aim(2), &nodes, &[]));
        assert_eq!(on(&nodes), NextReplacement::End("i-0".into()));
        nodes[0].state = "terminated".into();
        assert_eq!(on(&nodes), NextReplacement::End("i-1".into()));
        nodes[1].state = "shutting-down".into();
        assert!(matches!(on(&nodes), NextReplacement::Launch(_)));
        nodes.push(booting("i-2", 1));
        assert_eq!(on(&nodes), NextReplacement::Launch(Slot(0)), "the other one isn't waited for");
        nodes.push(booting("i-3", 0));
        assert_eq!(on(&nodes), NextReplacement::Wait);
        nodes[2..].clone_from_slice(&[new("i-2", 1, "standby"), new("i-3", 0, "active")]);
        assert_eq!(step(&aim(2), &nodes, Service::Whole), NextReplacement::Done);
    }

    #[test]
    fn nodes_of_which_one_reported_or_has_a_route_are_not_given_up() {
        assert!(!never_served(&aim(2), &[silent("i-0", 0), node("i-1", 1, "running")], &[]));
        let route = crate::resources::route_tables::Route {
            destination: "10.255.0.10/32".into(),
            target: Some("eni-0".into()),
            blackhole: false,
        };
        let table = Table { id: "rtb-1".into(), routes: vec![route], ..Table::default() };
        assert!(!never_served(&aim(2), &[silent("i-0", 0)], std::slice::from_ref(&table)));
        assert!(never_served(&aim(2), &[silent("i-1", 1)], &[table]));
        // They boot the order: they aren't old.
        let same = Aim { boots: order(), ..aim(2) };
        assert_eq!(step(&same, &[silent("i-0", 0), silent("i-1", 1)], Service::Never), NextReplacement::Wait);
    }

    #[test]
    fn if_all_old_nodes_are_in_fault_new_ones_are_launched_and_old_ones_stay_until_those_serve() {
        let mut nodes = vec![node("i-0", 0, "running"), node("i-1", 1, "running")];
        for node in &mut nodes {
            node.tags.0.insert(TAG_ROLE.to_owned(), "fault".to_owned());
        }
        assert_eq!(step(&aim(2), &nodes, Service::Broken), NextReplacement::Launch(Slot(1)));
        nodes.push(new("i-2", 1, "standby"));
        assert_eq!(step(&aim(2), &nodes, Service::Broken), NextReplacement::Wait);
    }

    #[test]
    fn the_node_with_the_fewest_virtual_ips_goes_first() {
        let mut nodes = [node("i-0", 0, "running"), node("i-1", 1, "running"), node("i-2", 2, "running")];
        for (node, roles) in nodes.iter_mut().zip(["standby active", "active standby", "standby standby"]) {
            node.tags.0.insert(TAG_ROLE.to_owned(), roles.to_owned());
        }
        assert_eq!(step(&aim(3), &nodes, Service::Whole), NextReplacement::Launch(Slot(2)));
    }

    #[test]
    fn a_new_slot_gets_a_node_and_a_removed_one_loses_it_last() {
        let nodes = [new("i-0", 0, "active"), new("i-1", 1, "standby")];
        assert_eq!(step(&aim(3), &nodes, Service::Whole), NextReplacement::Launch(Slot(2)));
        let nodes = [new("i-0", 0, "standby"), new("i-1", 1, "standby"), node("i-2", 2, "running")];
        assert_eq!(on(&nodes), NextReplacement::Stop("i-2".into()));
    }

    #[test]
    fn a_node_of_another_image_is_old_whatever_it_runs() {
        let mut nodes = vec![new("i-0", 0, "active"), new("i-1", 1, "standby")];
        assert_eq!(on(&nodes), NextReplacement::Done);
        let aim = Aim { image: Some("ami-new".to_owned()), ..aim(2) };
        assert_eq!(step(&aim, &nodes, Service::Whole), NextReplacement::Launch(Slot(1)));
        nodes.push(Node { image: "ami-new".to_owned(), ..booting("i-2", 1) });
        assert_eq!(step(&aim, &nodes, Service::Whole), NextReplacement::Wait);
        nodes[2] = Node { image: "ami-new".to_owned(), ..new("i-2", 1, "standby") };
        assert_eq!(step(&aim, &nodes, Service::Whole), NextReplacement::Stop("i-1".into()));
    }

    #[test]
    fn a_rollback_stops_a_successor_that_never_came_up() {
        let mut nodes = vec![node("i-0", 0, "running"), node("i-1", 1, "running"), booting("i-2", 1)];
        for node in &mut nodes[..2] {
            node.tags.0.insert(TAG_RUNNING.to_owned(), "0123456789ab".to_owned());
        }
        assert_eq!(
            step(&Aim { order: first(), ..aim(2) }, &nodes, Service::Whole),
            NextReplacement::Stop("i-2".into())
        );
    }
}
