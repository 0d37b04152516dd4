//! One reading call is denied or fails: the launcher uses and shows the other results, names the failed call, and
//! reports nothing about what it couldn't read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use lab::api::{Call, Caller, Failing, Hooks, Passage};

use crate::obedient::with_obedient_nodes;
use crate::rig::{Rig, complaints, mutating, succeeded, text};
use crate::update::created;

const READS: [(&str, &str); 7] = [
    ("ec2", "DescribeRouteTables"),
    ("ec2", "DescribeInstances"),
    ("ec2", "DescribeSecurityGroups"),
    ("ec2", "DescribeLaunchTemplates"),
    ("autoscaling", "DescribeAutoScalingGroups"),
    ("iam", "GetRole"),
    ("iam", "GetInstanceProfile"),
];

/// Runs `work` while the API denies this call.
fn denied<T>(rig: &Rig, (service, action): (&str, &str), work: impl FnOnce() -> T) -> T {
    let code = if service == "ec2" { "UnauthorizedOperation" } else { "AccessDenied" };
    let failing = |left| Failing { action: action.to_owned(), code: code.to_owned(), left, zone: None };
    rig.api.proxy().set_failing(failing(1000));
    let done = work();
    rig.api.proxy().set_failing(failing(0));
    done
}

#[test]
fn status_shows_what_can_be_read_and_names_the_rest() {
    let rig = Rig::new();
    created(&rig);
    let nodes = rig.nodes();
    for (service, action) in READS {
        let output = denied(&rig, (service, action), || rig.launcher(["status", "web"]));
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(3), "{action}: {shown}{}", text(&output.stderr));
        assert!(shown.contains(&format!("not allowed to call {service}:{action}")), "{action}: {shown}");
        assert!(!shown.contains("missing") && !shown.contains("no node is active"), "{action}: {shown}");
        for node in nodes.iter().filter(|_| action != "DescribeInstances") {
            assert!(shown.contains(&node.id), "{action}: {shown}");
        }
        if !["DescribeRouteTables", "DescribeLaunchTemplates"].contains(&action) {
            let routes = if action == "DescribeInstances" { nodes[0].interface.as_deref().unwrap() } else { " of " };
            assert!(shown.contains("10.255.0.10") && shown.contains(routes), "{action}: {shown}");
        }
    }
    assert_eq!(rig.launcher(["status", "web"]).status.code(), Some(0));
}

#[test]
fn resources_that_cannot_be_read_are_not_reported_as_missing() {
    let rig = Rig::new();
    for arguments in [&["status", "web"][..], &["handover", "web"], &["destroy", "web", "--yes"]] {
        let output = denied(&rig, ("ec2", "DescribeLaunchTemplates"), || rig.launcher(arguments));
        let said = complaints(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("not allowed to call ec2:DescribeLaunchTemplates"), "{arguments:?}: {said}");
        assert!(!text(&output.stdout).contains("there is no balancer"), "{arguments:?}");
    }
    let all = denied(&rig, ("ec2", "DescribeInstances"), || rig.launcher(["status"]));
    assert_eq!(all.status.code(), Some(1), "{}", text(&all.stdout));
}

#[test]
fn a_handover_needs_only_nodes_and_the_launch_template() {
    let rig = Rig::new();
    created(&rig);
    with_obedient_nodes(&rig, || {
        let reads =
            READS.iter().filter(|(_, action)| !["DescribeInstances", "DescribeLaunchTemplates"].contains(action));
        for (turn, read) in reads.enumerate() {
            let to = ["1", "0"][turn % 2];
            let output = denied(&rig, *read, || rig.launcher(["handover", "web", "--to", to]));
            let said = text(&succeeded(output).stderr);
            assert!(said.contains(&format!("not allowed to call {}:{}", read.0, read.1)), "{said}");
        }
    });
}

#[test]
fn destroy_removes_what_it_can_and_names_what_it_could_not_read() {
    // The denied call, calls that must be made, and calls that must not be made.
    let cases: [(_, &[&str], &[&str]); 6] = [
        (("iam", "GetRole"), &["TerminateInstances", "DeleteLaunchTemplate", "DeleteSecurityGroup"], &["DeleteRole"]),
        (("iam", "DeleteRole"), &["TerminateInstances", "DeleteInstanceProfile", "DeleteSecurityGroup"], &[]),
        (
            ("ec2", "DescribeRouteTables"),
            &["TerminateInstances", "DeleteRole", "DeleteSecurityGroup"],
            &["DeleteLaunchTemplate"],
        ),
        (
            ("ec2", "DescribeInstances"),
            &[],
            &["DeleteLaunchTemplate", "DeleteRole", "DeleteInstanceProfile", "DeleteSecurityGroup", "DeleteRoute"],
        ),
        (("ec2", "TerminateInstances"), &[], &["DeleteLaunchTemplate", "DeleteRole", "DeleteSecurityGroup"]),
        (("ec2", "DescribeVolumes"), &["TerminateInstances", "DeleteSecurityGroup"], &[]),
    ];
    for (call, gone, stays) in cases {
        let rig = Rig::new();
        created(&rig);
        rig.take_calls();
        let output = denied(&rig, call, || rig.launcher(["destroy", "web", "--yes"]));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{call:?}: {said}");
        assert!(said.contains(&format!("not allowed to call {}:{}", call.0, call.1)), "{call:?}: {said}");
        assert!(!text(&output.stdout).contains("nothing of it is left"), "{call:?}");
        let calls = rig.take_calls();
        let made: Vec<&str> = mutating(&calls).into_iter().filter(|action| *action != call.1).collect();
        assert!(gone.iter().all(|action| made.contains(action)), "{call:?}: {made:?}");
        assert!(stays.iter().all(|action| !made.contains(action)), "{call:?}: {made:?}");
        // The resource that couldn't be read may not exist any more.
        let again = text(&rig.destroy().stdout);
        assert!(["nothing of it is left", "there is no balancer"].iter().any(|end| again.contains(end)), "{again}");
        assert_eq!(rig.nodes(), [], "{call:?}");
    }
}

#[test]
fn nodes_are_not_terminated_while_a_group_that_may_replace_them_cannot_be_read() {
    let rig = Rig::new();
    rig.create(&rig.grouped());
    rig.take_calls();
    let read = ("autoscaling", "DescribeAutoScalingGroups");
    let output = denied(&rig, read, || rig.launcher(["destroy", "web", "--yes"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("depends on the Auto Scaling group"), "{}", text(&output.stderr));
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
    rig.destroy();
    assert_eq!(rig.nodes(), []);
}

/// When set, DescribeInstances fails unless it names instances, as on EC2 while a zone is disrupted.
#[derive(Default)]
struct Disrupted(AtomicBool);

impl Hooks for Disrupted {
    fn request<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Passage> {
        let whole = call.action == "DescribeInstances" && call.parameter("InstanceId.1").is_none();
        let lost = whole && call.caller == Caller::Launcher && self.0.load(Ordering::Relaxed);
        async move { if lost { Passage::Lost } else { Passage::Open } }.boxed()
    }
}

#[test]
fn while_a_zone_is_disrupted_nodes_are_found_by_their_interfaces() {
    let zone = Arc::new(Disrupted::default());
    let rig = Rig::with(zone.clone());
    created(&rig);
    zone.0.store(true, Ordering::Relaxed);
    let output = rig.launcher(["status", "web"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{shown}");
    for part in ["instances not read: no answer from AWS", &rig.nodes()[0].id, &rig.nodes()[1].id, "active"] {
        assert!(shown.contains(part), "{part:?} isn't in: {shown}");
    }
    assert!(!shown.contains("missing"), "{shown}");
}
