//! `launch = "auto-scaling"`: `create` makes one group, also after a kill, and corrects settings changed by hand.

use std::process::Stdio;
use std::sync::Arc;

use serde_json::Value;

use crate::kill::{Killer, When, killed_at};
use crate::rig::{Rig, mutating, refused, succeeded, text};

/// The balancer's group; fails if there are several.
pub fn group(rig: &Rig) -> Option<Value> {
    let groups = rig.aws(&["autoscaling", "describe-auto-scaling-groups", "--output", "json"]);
    let mut groups: Value = serde_json::from_str(&groups).expect("JSON");
    let groups = groups["AutoScalingGroups"].as_array_mut().expect("a list");
    assert!(groups.len() <= 1, "{groups:?}");
    groups.pop()
}

/// The version of the launch template that the group launches.
pub fn pinned(rig: &Rig) -> String {
    group(rig).expect("a group")["LaunchTemplate"]["Version"].as_str().expect("a version").to_owned()
}

#[test]
fn a_group_of_the_right_size_launches_tagged_nodes_and_never_rebalances_zones() {
    let rig = Rig::new();
    let before = rig.surroundings();
    let file = rig.grouped();
    let dry = succeeded(rig.launcher(["create".as_ref(), file.as_os_str(), "--dry-run".as_ref()]));
    assert!(text(&dry.stdout).contains("create Auto Scaling group elbow-web of 2 nodes"), "{}", text(&dry.stdout));
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);

    rig.create(&file);
    let group = group(&rig).expect("a group");
    assert_eq!([&group["MinSize"], &group["DesiredCapacity"], &group["MaxSize"]], [2, 2, 4]);
    assert_eq!((pinned(&rig).as_str(), &group["DefaultInstanceWarmup"]), ("1", &Value::from(0)));
    assert_eq!(group["InstanceMaintenancePolicy"]["MinHealthyPercentage"], 100);
    assert_eq!(group["InstanceMaintenancePolicy"]["MaxHealthyPercentage"], 200);
    assert_eq!(group["SuspendedProcesses"][0]["ProcessName"], "AZRebalance");
    let nodes = rig.nodes();
    let zones: std::collections::BTreeSet<_> = nodes.iter().map(|node| node.subnet.clone()).collect();
    assert_eq!((nodes.len(), zones.len()), (2, 2));
    for node in &nodes {
        assert_eq!(node.tags["Name"], "elbow-web");
        assert_eq!((node.role.as_deref(), node.metadata_tags), (Some("elbow-eu-west-1-web"), true));
    }
    rig.take_calls();
    rig.create(&file);
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
    rig.destroy();
    assert_eq!(rig.surroundings(), before);
}

#[test]
fn settings_of_the_group_that_were_changed_by_hand_are_shown_and_corrected() {
    let rig = Rig::new();
    let file = rig.grouped();
    rig.create(&file);
    let named = ["--auto-scaling-group-name", "elbow-web"];
    let bend = |words: &[&str]| rig.aws(&[&["autoscaling"], words, &named].concat());
    bend(&["update-auto-scaling-group", "--min-size", "1", "--max-size", "3"]);
    bend(&["resume-processes"]);
    bend(&["delete-lifecycle-hook", "--lifecycle-hook-name", "standby"]);
    let status = rig.launcher(["status", "web"]);
    let said = text(&status.stdout);
    assert_eq!(status.status.code(), Some(3), "{said}");
    for line in ["has min 1, desired 2, max 3 instead of min 2, desired 2, max 4", "hook standby", "AZRebalance active"]
    {
        assert!(said.contains(line), "{said}");
    }
    rig.take_calls();
    rig.create(&file);
    let mut calls = rig.take_calls();
    calls.sort_by(|a, b| a.action.cmp(&b.action));
    assert_eq!(mutating(&calls), ["PutLifecycleHook", "SuspendProcesses", "UpdateAutoScalingGroup"]);
    let said = text(&rig.launcher(["status", "web"]).stdout);
    assert!(!said.contains("the Auto Scaling group"), "{said}");
}

#[test]
fn a_launcher_that_was_killed_at_the_group_is_finished_by_running_it_again() {
    let killer = Arc::new(Killer::default());
    let rig = Rig::with(killer.clone());
    let before = rig.surroundings();
    let file = rig.grouped();
    let create = ["create", file.to_str().unwrap(), "--no-wait"];
    let destroy = ["destroy", "web", "--yes"];
    for (action, when) in [("CreateAutoScalingGroup", When::After), ("SuspendProcesses", When::Before)] {
        assert!(killed_at(&rig, &killer, action, when, &create), "{action} wasn't called");
        rig.create(&file);
        assert!(group(&rig).is_some());
        assert_eq!(rig.nodes().len(), 2, "killed {when:?} {action}");
        rig.take_calls();
        rig.create(&file);
        assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0], "killed {when:?} {action}, and again");
        rig.destroy();
    }
    for (action, when) in [("DeleteAutoScalingGroup", When::After), ("TerminateInstances", When::Before)] {
        rig.create(&file);
        assert!(killed_at(&rig, &killer, action, when, &destroy), "{action} wasn't called");
        rig.destroy();
        assert_eq!(rig.surroundings(), before, "killed {when:?} {action}");
    }
}

#[test]
fn two_creates_at_once_make_one_group() {
    let rig = Rig::new();
    let file = rig.grouped();
    let pair = [(), ()].map(|()| {
        let mut command = rig.command(["create".as_ref(), file.as_os_str(), "--no-wait".as_ref()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    for child in pair {
        succeeded(child.wait_with_output().unwrap());
    }
    assert!(group(&rig).is_some());
    assert_eq!(rig.nodes().len(), 2);
    rig.take_calls();
    rig.create(&file);
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
}

#[test]
fn a_group_that_is_not_elbows_is_left_alone() {
    let rig = Rig::new();
    let seed = rig.api.seed();
    let data = format!("{{\"ImageId\": \"{}\", \"InstanceType\": \"t3.small\"}}", seed.images["main"]);
    let template =
        ["ec2", "create-launch-template", "--launch-template-name", "theirs", "--launch-template-data", &data];
    rig.aws(&template);
    let sizes = ["--min-size", "0", "--max-size", "0", "--vpc-zone-identifier", &seed.subnets["private-a"]];
    let name = ["autoscaling", "create-auto-scaling-group", "--auto-scaling-group-name", "elbow-web"];
    rig.aws(&[&name[..], &["--launch-template", "LaunchTemplateName=theirs"], &sizes].concat());
    for file in [rig.grouped(), rig.web()] {
        let create = ["create", file.to_str().unwrap(), "--no-wait"];
        refused(&rig, &create, &["Auto Scaling group elbow-web exists and isn't Elbow's"]);
    }
}
