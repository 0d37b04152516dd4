//! The nodes of a first `create` never come up, for example because of a wrong digest of the agent. An update with the
//! corrected file replaces them.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::world::{Instance, InstanceState};

use crate::node;
use crate::rig::{Rig, mutating, refused, succeeded, text};

/// The example with another digest, and the example.
fn files(rig: &Rig) -> [PathBuf; 2] {
    let wrong = rig.example().replace(&"0".repeat(64), &"1".repeat(64));
    [rig.file("wrong.toml", &wrong), rig.web()]
}

fn launcher(rig: &Rig, command: &str, file: &Path, more: &[&str]) -> Output {
    rig.launcher([&[command, file.to_str().expect("it is UTF-8")], more].concat())
}

/// Runs `work` while nodes that aren't in `dead` come up; the node in `private-a` becomes active.
fn with_nodes_that_come_up<T>(rig: &Rig, dead: &[Instance], work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let lives = |node: &&Instance| {
                    node.state == InstanceState::Running
                        && !node.tags.contains_key("elbow:running")
                        && dead.iter().all(|dead| dead.id != node.id)
                };
                for node in rig.nodes().iter().filter(lives) {
                    come_up(rig, node);
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn come_up(rig: &Rig, node: &Instance) {
    let told =
        node.tags.get("elbow:revision").and_then(|tag| tag.split_once(':')).map(|(_, revision)| revision.to_owned());
    let revision = told.unwrap_or_else(|| node::revision(rig));
    let active = node.subnet.as_ref() == Some(&rig.api.seed().subnets["private-a"]);
    if active {
        node::take_over(rig, node);
    }
    node::report(rig, node, &revision, if active { "active" } else { "standby" });
}

#[test]
fn nodes_that_never_came_up_are_replaced_at_once_by_an_update_with_the_corrected_file() {
    let rig = Rig::new();
    let [wrong, right] = files(&rig);
    let output = launcher(&rig, "create", &wrong, &["--timeout", "1s"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`launcher update` with a corrected file replaces nodes that never came up"), "{said}");
    let dead = rig.nodes();
    let create = ["create", right.to_str().unwrap()];
    refused(&rig, &create, &["its nodes never reported", "`launcher update` with this file to replace them"]);

    let dry = text(&succeeded(launcher(&rig, "update", &right, &["--dry-run"])).stdout);
    for (slot, node) in dead.iter().enumerate() {
        assert!(dry.contains(&format!("terminate node {slot} ({}), which never reported", node.id)), "{dry}");
        assert!(dry.contains(&format!("launch a new node {slot}")), "{dry}");
    }
    assert!(!dry.contains("standby"), "{dry}");

    // Another file that is wrong, too: the launcher fails again with the same remedy.
    let other = rig.file("other.toml", &rig.example().replace(&"0".repeat(64), &"2".repeat(64)));
    let output = launcher(&rig, "update", &other, &["--timeout", "1s"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("has not reported yet; `launcher update` with a corrected file"), "{said}");
    assert!(said.contains("get-console-output"), "{said}");

    let dead = [dead, rig.nodes()].concat();
    assert_eq!(dead.len(), 4, "not both nodes were replaced");
    rig.take_calls();
    with_nodes_that_come_up(&rig, &dead, || succeeded(launcher(&rig, "update", &right, &[])));
    let (calls, nodes) = (rig.take_calls(), rig.nodes());
    let count = |action: &str| mutating(&calls).iter().filter(|one| **one == action).count();
    assert_eq!((count("RunInstances"), count("TerminateInstances"), count("StopInstances")), (2, 2, 0));
    assert_eq!(nodes.len(), 2);
    assert!(nodes.iter().all(|node| dead.iter().all(|dead| dead.id != node.id)), "{nodes:?}");
    succeeded(rig.launcher(["status", "web"]));
    assert!(text(&succeeded(launcher(&rig, "create", &right, &[])).stdout).contains("nothing changes"));
}

#[test]
fn without_nodes_an_update_with_the_corrected_file_launches_them() {
    let rig = Rig::new();
    let [wrong, right] = files(&rig);
    rig.create(&wrong);
    for node in rig.nodes() {
        rig.aws(&["ec2", "terminate-instances", "--instance-ids", &node.id]);
    }
    let create = ["create", right.to_str().unwrap()];
    refused(&rig, &create, &["it has no nodes", "`launcher update` with this file to launch them"]);
    let dry = text(&succeeded(launcher(&rig, "update", &right, &["--dry-run"])).stdout);
    assert!(dry.contains("launch node 0") && dry.contains("launch node 1"), "{dry}");
    with_nodes_that_come_up(&rig, &[], || succeeded(launcher(&rig, "update", &right, &[])));
    assert_eq!(rig.nodes().len(), 2);
    succeeded(rig.launcher(["status", "web"]));
}
