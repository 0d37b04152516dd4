//! From instances to an Auto Scaling group and back, as an update: the nodes run on, whatever happens to the launcher.

use std::path::Path;
use std::sync::Arc;

use crate::group::group;
use crate::kill::{Killer, When, killed_at};
use crate::node;
use crate::rig::{Rig, mutating, refused, succeeded, text};
use crate::update::with_obedient_nodes;

const LAUNCHING_OR_ENDING: [&str; 3] = ["RunInstances", "TerminateInstances", "TerminateInstanceInAutoScalingGroup"];

/// Takes over from an update that was killed, if there is one.
fn update(rig: &Rig, file: &Path) -> String {
    let output = succeeded(rig.launcher(["update".as_ref(), file.as_os_str(), "--take-over".as_ref()]));
    text(&output.stdout) + &text(&output.stderr)
}

fn ids(rig: &Rig) -> Vec<String> {
    let mut ids: Vec<String> = rig.nodes().into_iter().map(|node| node.id).collect();
    ids.sort();
    ids
}

/// The group has these nodes, wants as many, and has never launched or ended one.
#[track_caller]
fn has(rig: &Rig, ids: &[String]) {
    let group = group(rig).expect("a group");
    assert_eq!([&group["MinSize"], &group["DesiredCapacity"], &group["MaxSize"]], [2, 2, 2]);
    let mut members: Vec<&str> =
        group["Instances"].as_array().unwrap().iter().map(|one| one["InstanceId"].as_str().unwrap()).collect();
    members.sort_unstable();
    assert_eq!(members, ids);
    let activities = rig.aws(&["autoscaling", "describe-scaling-activities", "--query", "Activities[].Description"]);
    assert!(!activities.contains("Launching") && !activities.contains("Terminating"), "{activities}");
}

/// There is no group, and the nodes are as if the launcher had launched them.
#[track_caller]
fn on_their_own(rig: &Rig, ids: &[String]) {
    assert_eq!(group(rig), None);
    let nodes = rig.nodes();
    for (slot, node) in nodes.iter().enumerate() {
        assert_eq!(node.tags["Name"], format!("elbow-web-{slot}"));
        assert!(!node.tags.contains_key("aws:autoscaling:groupName"), "{node:?}");
    }
    assert_eq!(self::ids(rig), ids);
}

#[test]
fn running_nodes_become_a_groups_and_their_own_again_and_are_updated_in_both() {
    let rig = Rig::new();
    let before = rig.surroundings();
    let (instances, grouped) = (rig.web(), rig.grouped());
    rig.create(&instances);
    node::serve(&rig);
    let nodes = ids(&rig);
    with_obedient_nodes(&rig, || {
        let dry = text(&succeeded(rig.launcher(["update", grouped.to_str().unwrap(), "--dry-run"])).stdout);
        for line in
            ["create Auto Scaling group elbow-web without nodes yet", "take i-", "+      \"Sid\": \"EndAndReplaceNodes"]
        {
            assert!(dry.contains(line), "it doesn't say {line:?}: {dry}");
        }
        rig.take_calls();
        update(&rig, &grouped);
        has(&rig, &nodes);
        let calls = rig.take_calls();
        assert!(!mutating(&calls).iter().any(|action| LAUNCHING_OR_ENDING.contains(action)), "{:?}", mutating(&calls));
        assert!(update(&rig, &grouped).contains("nothing changes"));
        rig.create(&grouped);
        assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
        let status = rig.launcher(["status", "web"]);
        assert!(status.status.success(), "{}", text(&status.stdout));

        // What nodes can change to as they run, a group's can, too; and both at once.
        let listener = rig.file("listener.toml", &std::fs::read_to_string(&grouped).unwrap().replace("= 80", "= 81"));
        update(&rig, &listener);
        has(&rig, &nodes);
        rig.take_calls();
        update(&rig, &instances);
        on_their_own(&rig, &nodes);
        let calls = rig.take_calls();
        assert!(!mutating(&calls).iter().any(|action| LAUNCHING_OR_ENDING.contains(action)), "{:?}", mutating(&calls));
        let role = ["--role-name", "elbow-eu-west-1-web", "--policy-name", "elbow-eu-west-1-web"];
        let policy = rig.aws(&[&["iam", "get-role-policy"][..], &role].concat());
        assert!(!policy.contains("CompleteLifecycleAction"), "{policy}");
        succeeded(rig.launcher(["update", "--rollback", "web"]));
        has(&rig, &nodes);
    });
    rig.destroy();
    assert_eq!(rig.surroundings(), before);
}

/// After each call that has to do with the group, in both directions.
#[test]
fn a_conversion_killed_at_the_group_is_finished_by_running_it_again_or_taken_back() {
    let killer = Arc::new(Killer::default());
    let rig = Rig::with(killer.clone());
    let files = [rig.web(), rig.grouped()];
    rig.create(&files[0]);
    node::serve(&rig);
    let nodes = ids(&rig);
    let turns = [
        ["CreateAutoScalingGroup", "UpdateAutoScalingGroup"],
        ["SuspendProcesses", "DetachInstances"],
        ["AttachInstances", "DeleteAutoScalingGroup"],
    ];
    with_obedient_nodes(&rig, || {
        for actions in turns {
            for (action, file) in actions.into_iter().zip([&files[1], &files[0]]) {
                let arguments = ["update", file.to_str().unwrap()];
                assert!(killed_at(&rig, &killer, action, When::After, &arguments), "it never came to {action}");
                if file == &files[1] {
                    left_in_between(&rig, file);
                }
                update(&rig, file);
                if file == &files[1] { has(&rig, &nodes) } else { on_their_own(&rig, &nodes) }
            }
        }
        let there = ["update", files[1].to_str().unwrap()];
        assert!(killed_at(&rig, &killer, "AttachInstances", When::After, &there));
        succeeded(rig.launcher(["update", "--rollback", "web", "--take-over"]));
        on_their_own(&rig, &nodes);
    });
}

/// What a running node can't change to: the group's are let go, replaced one at a time, and taken in again.
#[test]
fn a_groups_nodes_are_replaced_and_no_group_has_a_hand_in_it() {
    let killer = Arc::new(Killer::default());
    let rig = Rig::with(killer.clone());
    let (instances, grouped) = (rig.web(), rig.grouped());
    let larger = rig.file("larger.toml", &std::fs::read_to_string(&grouped).unwrap().replace("t3.small", "t3.large"));
    rig.create(&instances);
    node::serve(&rig);
    let types = || rig.nodes().into_iter().map(|node| node.instance_type).collect::<Vec<_>>();
    with_obedient_nodes(&rig, || {
        let first = ids(&rig);
        // Both at once: another way of launching, and other nodes.
        update(&rig, &larger);
        assert_eq!(types(), ["t3.large"; 2]);
        assert!(ids(&rig).iter().all(|id| !first.contains(id)), "{first:?} are still there");
        has(&rig, &ids(&rig));

        let dry = text(&succeeded(rig.launcher(["update", "--rollback", "web", "--dry-run"])).stdout);
        assert!(dry.contains("because of instance_type") && dry.contains("delete Auto Scaling group"), "{dry}");
        let smaller = rig.file("smaller.toml", &std::fs::read_to_string(&grouped).unwrap().replace("8080", "8081"));
        let dry = text(&succeeded(rig.launcher(["update", smaller.to_str().unwrap(), "--dry-run"])).stdout);
        let steps =
            ["delete Auto Scaling group", "launch node 1 anew", "shut node 0", "without nodes yet", "take new 1"];
        let places: Vec<Option<usize>> = steps.iter().map(|step| dry.find(step)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{steps:?} in this order: {dry}");

        for (action, file, size) in [
            ("DeleteAutoScalingGroup", &smaller, "t3.small"),
            ("RunInstances", &larger, "t3.large"),
            ("CreateAutoScalingGroup", &smaller, "t3.small"),
        ] {
            let arguments = ["update", file.to_str().unwrap()];
            assert!(killed_at(&rig, &killer, action, When::After, &arguments), "it never came to {action}");
            update(&rig, file);
            assert_eq!(types(), [size; 2], "killed after {action}");
            has(&rig, &ids(&rig));
        }
        assert!(update(&rig, &smaller).contains("nothing changes"));
        succeeded(rig.launcher(["update", "--rollback", "web"]));
        assert_eq!(types(), ["t3.large"; 2]);
        has(&rig, &ids(&rig));
    });
    rig.destroy();
}

/// `create` would launch others beside the nodes, or `status` says what is left to do.
fn left_in_between(rig: &Rig, file: &Path) {
    let outside = group(rig).is_none_or(|group| group["DesiredCapacity"] == 0);
    let status = rig.launcher(["status", "web"]);
    assert_eq!(status.status.code(), Some(3), "{}", text(&status.stdout));
    if outside {
        assert!(text(&status.stdout).contains("isn't in its Auto Scaling group: `launcher update`"));
        refused(rig, &["create", file.to_str().unwrap(), "--no-wait"], &["run without an Auto Scaling group"]);
    }
}

#[test]
fn what_somebody_did_by_hand_is_shown_before_anything_changes() {
    let rig = Rig::new();
    let (instances, grouped) = (rig.web(), rig.grouped());
    rig.create(&instances);
    node::serve(&rig);
    let (standby, there) = (&rig.nodes()[1].id, ["update", grouped.to_str().unwrap()]);
    rig.aws(&["ec2", "stop-instances", "--instance-ids", standby]);
    refused(&rig, &there, &[standby, "an Auto Scaling group takes in only what runs"]);
    rig.aws(&["ec2", "start-instances", "--instance-ids", standby]);
    with_obedient_nodes(&rig, || {
        update(&rig, &grouped);
        let named = ["--auto-scaling-group-name", "elbow-web"];
        let bend = |words: &[&str]| rig.aws(&[&["autoscaling", "update-auto-scaling-group"], words, &named].concat());
        bend(&["--min-size", "1", "--max-size", "3"]);
        bend(&["--launch-template", "LaunchTemplateName=elbow-web,Version=1"]);
        let changed = rig.file("port.toml", &std::fs::read_to_string(&grouped).unwrap().replace("= 80", "= 81"));
        let changed = changed.to_str().unwrap();
        let parts = ["min 1, desired 2, max 3 instead of 2 each", "version 1 instead of", "--force"];
        refused(&rig, &["update", changed], &parts);
        succeeded(rig.launcher(["update", changed, "--force"]));
        has(&rig, &ids(&rig));
        assert_eq!(group(&rig).unwrap()["LaunchTemplate"]["Version"], "$Default");
        // Its template, changed by hand, is no other than that of instances.
        let data = "{\"InstanceType\": \"t3.large\"}";
        let name = ["--launch-template-name", "elbow-web"];
        let version = ["--source-version", "3", "--launch-template-data", data];
        rig.aws(&[&["ec2", "create-launch-template-version"][..], &name, &version].concat());
        rig.aws(&[&["ec2", "modify-launch-template"][..], &name, &["--default-version", "4"]].concat());
        refused(
            &rig,
            &there,
            &["version 4 of launch template elbow-web", "by hand", "+InstanceType: t3.large", "--force"],
        );
    });
}
