//! Stands in for nodes that execute orders and requests: a thread reads their tags and answers them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::world::{Instance, InstanceState};

use crate::node;
use crate::rig::Rig;
use crate::update::default;

/// Runs `work` while the nodes execute orders, requests and terminations.
pub fn with_obedient_nodes<T>(rig: &Rig, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut ran = HashMap::new();
            while !over.load(Ordering::Relaxed) {
                let nodes = rig.nodes();
                let is_dead = |node: &Instance| {
                    let reports = nodes.iter().filter_map(|other| other.tags.get("elbow:unreachable"));
                    reports.into_iter().any(|report| report.contains(&node.id))
                };
                for node in nodes.iter().filter(|node| !is_dead(node)) {
                    obey(rig, node, &mut ran);
                }
                elect(rig, &nodes);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        // The thread must end even if `work` panics.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The active node hands over on request, or when its group terminates it. Fails if an active node is stopped, which
/// would lose connections.
fn elect(rig: &Rig, nodes: &[Instance]) {
    let is_active = |node: &&Instance| node.tags.get("elbow:role").is_some_and(|role| role == "active");
    let ends = |node: &&Instance| !is_active(node) && node::is_ending(node);
    nodes.iter().filter(ends).for_each(|node| node::complete(rig, node, "handover"));
    let Some(was) = nodes.iter().find(is_active) else { return };
    assert_eq!(was.state, InstanceState::Running, "{} is active", was.id);
    let asked = was.tags.get("elbow:drain");
    if asked.is_none() && !node::is_ending(was) {
        return;
    }
    let serves = |node: &&Instance| node.state == InstanceState::Running && node.tags.contains_key("elbow:running");
    let others = nodes.iter().filter(|node| node.id != was.id).filter(serves);
    let wanted = |node: &&Instance| match asked {
        Some(asked) => asked.ends_with(&format!("to {}", node.id)),
        None => !node::is_ending(node),
    };
    if let Some(next) = others.into_iter().find(wanted) {
        node::report(rig, was, &was.tags["elbow:running"], "standby");
        node::succeed(rig, next);
        node::report(rig, next, &next.tags["elbow:running"], "active");
    }
}

fn obey(rig: &Rig, node: &Instance, ran: &mut HashMap<String, i64>) {
    match (node.tags.get("elbow:revision"), node.tags.get("elbow:refused-revision")) {
        // A node doesn't retry a refused order.
        (Some(order), Some(refused)) if refused.starts_with(order.as_str()) => return,
        (_, Some(_)) => return node::untag(rig, node, &["elbow:refused-revision"]),
        _ => {}
    }
    if node::is_grouped(node) && !node.tags.contains_key("elbow:running") && node.state == InstanceState::Running {
        let revision = launched_with(rig, node);
        node::report(rig, node, &revision, "standby");
        return node::complete(rig, node, "standby");
    }
    let order = node.tags.get("elbow:revision").and_then(|tag| tag.split_once(':'));
    let told = order.map(|(_, revision)| revision);
    if let Some(version) = order.and_then(|(version, _)| version.parse().ok()) {
        let newest = ran.entry(node.id.clone()).or_insert(version);
        if version < *newest && default(rig) != version.to_string() {
            // A node takes an older version only if it is the default.
            return;
        }
        *newest = version;
    }
    let (running, role) = (node.tags.get("elbow:running"), node.tags.get("elbow:role"));
    // A new node boots the revision in its order.
    if let (Some(told), None, InstanceState::Running) = (told, running, node.state) {
        return node::report(rig, node, told, "standby");
    }
    if let (Some(told), Some(running), Some(role)) = (told, running, role)
        && told != running
    {
        node::report(rig, node, told, role);
    }
}

/// The revision of the launch template version from which a group launched the node.
pub fn launched_with(rig: &Rig, node: &Instance) -> String {
    let member = ["autoscaling", "describe-auto-scaling-instances", "--instance-ids", &node.id, "--output", "text"];
    let version = rig.aws(&[&member[..], &["--query", "AutoScalingInstances[0].LaunchTemplate.Version"]].concat());
    let versions = ["ec2", "describe-launch-template-versions", "--launch-template-name", "elbow-web"];
    let one = ["--versions", &version, "--query", "LaunchTemplateVersions[0].VersionDescription", "--output", "text"];
    rig.aws(&[&versions[..], &one].concat())
}
