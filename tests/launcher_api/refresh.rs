//! Instance refreshes: an update starts one or follows one that another update started, and rolls it back if a new node
//! refuses its revision.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::group::{group, pinned};
use crate::kill::{Killer, When, killed_at};
use crate::node;
use crate::obedient::{launched_with, with_obedient_nodes};
use crate::rig::{Rig, complaints, mutating, refused, succeeded, text};
use crate::update::default;

/// Creates a balancer with a group and two healthy nodes.
fn created(rig: &Rig) -> PathBuf {
    let file = rig.grouped();
    rig.create(&file);
    node::serve(rig);
    file
}

fn changed(rig: &Rig, name: &str, change: (&str, &str)) -> PathBuf {
    let text = std::fs::read_to_string(rig.grouped()).unwrap();
    assert!(text.contains(change.0), "{text}");
    rig.file(name, &text.replace(change.0, change.1))
}

fn larger(rig: &Rig) -> PathBuf {
    changed(rig, "larger.toml", ("t3.small", "t3.large"))
}

/// Updates, and takes over the lease of a killed update.
fn update(rig: &Rig, file: &Path) -> String {
    let output = succeeded(rig.launcher(["update".as_ref(), file.as_os_str(), "--take-over".as_ref()]));
    text(&output.stdout) + &text(&output.stderr)
}

fn types(rig: &Rig) -> Vec<String> {
    rig.nodes().into_iter().map(|node| node.instance_type).collect()
}

fn count(rig: &Rig, action: &str) -> usize {
    rig.take_calls().iter().filter(|call| call.action == action && call.succeeded()).count()
}

#[test]
fn a_group_replaces_its_own_nodes_in_both_directions_and_keeps_a_tag_of_the_operators() {
    let rig = Rig::new();
    let before = rig.surroundings();
    created(&rig);
    let larger = larger(&rig);
    let tag = "ResourceId=elbow-web,ResourceType=auto-scaling-group,Key=team,Value=edge,PropagateAtLaunch=false";
    rig.aws(&["autoscaling", "create-or-update-tags", "--tags", tag]);
    let actions = |arguments: &[&str]| -> Vec<String> {
        let said = succeeded(rig.launcher([&["update"], arguments, &["--output", "json"]].concat()));
        let document: serde_json::Value = serde_json::from_str(&text(&said.stdout)).expect("JSON");
        let changes = document["changes"].as_array().expect("changes").iter();
        changes.map(|change| change["action"].as_str().expect("an action").to_owned()).collect()
    };
    with_obedient_nodes(&rig, || {
        let file = larger.to_str().unwrap();
        let dry = text(&succeeded(rig.launcher(["update", file, "--dry-run"])).stdout);
        assert!(dry.contains("have Auto Scaling group elbow-web replace node 0 (i-"), "{dry}");
        let planned = actions(&[file, "--dry-run"]);
        rig.take_calls();
        assert_eq!(actions(&[file]), planned, "the update differs from its dry run");
        assert_eq!(planned, ["create-launch-template-version", "start-instance-refresh", "set-default"]);
        let calls = rig.take_calls();
        let mut named = mutating(&calls);
        named.retain(|action| *action != "CreateTags" && *action != "DeleteTags");
        let expected =
            ["CreateLaunchTemplateVersion", "StartInstanceRefresh", "ModifyLaunchTemplate", "UpdateAutoScalingGroup"];
        assert_eq!(named, expected, "other calls than expected");
        assert_eq!((types(&rig), pinned(&rig), default(&rig)), (vec!["t3.large".into(); 2], "2".into(), "2".into()));
        assert!(update(&rig, &larger).contains("nothing changes"));
        rig.create(&larger);
        assert_eq!(mutating(&rig.take_calls()).iter().filter(|action| !action.ends_with("Tags")).count(), 0);

        let planned = actions(&["--rollback", "web", "--dry-run"]);
        assert_eq!(actions(&["--rollback", "web"]), planned);
        assert_eq!(planned, ["start-instance-refresh", "set-default"]);
        assert_eq!((types(&rig), pinned(&rig), default(&rig)), (vec!["t3.small".into(); 2], "1".into(), "1".into()));
    });
    let tags = group(&rig).expect("a group")["Tags"].to_string();
    assert!(tags.contains("edge"), "{tags}");
    rig.destroy();
    assert_eq!(rig.surroundings(), before);
}

#[test]
fn an_update_killed_at_the_refresh_is_finished_by_running_it_again_or_rolled_back() {
    let killer = Arc::new(Killer::default());
    let rig = Rig::with(killer.clone());
    let files = [larger(&rig), created(&rig)];
    with_obedient_nodes(&rig, || {
        let moments = [
            ("StartInstanceRefresh", When::Before),
            ("StartInstanceRefresh", When::After),
            ("ModifyLaunchTemplate", When::Before),
            ("UpdateAutoScalingGroup", When::Before),
        ];
        for (turn, (action, when)) in moments.into_iter().enumerate() {
            let (file, size) = (&files[turn % 2], ["t3.large", "t3.small"][turn % 2]);
            rig.take_calls();
            // The killed update's lease is still valid.
            let arguments = ["update", file.to_str().unwrap(), "--take-over"];
            assert!(killed_at(&rig, &killer, action, when, &arguments), "{action} wasn't called");
            update(&rig, file);
            assert_eq!(count(&rig, "StartInstanceRefresh"), 1, "killed {when:?} {action}: nodes are replaced once");
            assert_eq!((types(&rig), pinned(&rig)), (vec![size.into(); 2], default(&rig)), "killed {when:?} {action}");
            assert!(update(&rig, file).contains("nothing changes"), "killed {when:?} {action}, and again");
        }
    });
    // New nodes report nothing while the obedient nodes' thread isn't running.
    let arguments = ["update", files[0].to_str().unwrap(), "--take-over"];
    assert!(killed_at(&rig, &killer, "StartInstanceRefresh", When::After, &arguments));
    refused(&rig, &["create", files[1].to_str().unwrap()], &["an update of web is under way"]);
    let versions = text(&succeeded(rig.launcher(["update", "--versions", "web"])).stdout);
    assert!(versions.contains("nodes boot it, --rollback goes to it"), "{versions}");
    rig.take_calls();
    with_obedient_nodes(&rig, || succeeded(rig.launcher(["update", "--rollback", "web", "--take-over"])));
    let calls = rig.take_calls();
    assert!(mutating(&calls).contains(&"RollbackInstanceRefresh"), "{:?}", mutating(&calls));
    assert!(!mutating(&calls).contains(&"StartInstanceRefresh"), "{:?}", mutating(&calls));
    assert_eq!((types(&rig), pinned(&rig)), (vec!["t3.small".into(); 2], default(&rig)));
}

#[test]
fn a_new_node_that_refuses_its_revision_has_the_refresh_rolled_back_and_its_reason_shown() {
    let rig = Rig::new();
    let file = created(&rig);
    let (before, larger) = (rig.nodes(), larger(&rig));
    let output = std::thread::scope(|scope| {
        let updating = scope.spawn(|| rig.launcher(["update".as_ref(), larger.as_os_str()]));
        while !updating.is_finished() {
            for node in rig.nodes().iter().filter(|node| !before.iter().any(|old| old.id == node.id)) {
                if node::is_ending(node) {
                    node::complete(&rig, node, "handover");
                } else if !node.tags.contains_key("elbow:message") {
                    node::report(&rig, node, &launched_with(&rig, node), "fault");
                    node::tag(&rig, node, &[("elbow:message", "haproxy.cfg:12: no such user")]);
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        updating.join().unwrap()
    });
    let said = complaints(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["refuses revision", "haproxy.cfg:12: no such user", "web still runs revision"] {
        assert!(said.contains(part), "{part:?} isn't in: {said}");
    }
    let calls = rig.take_calls();
    assert!(mutating(&calls).contains(&"RollbackInstanceRefresh"), "{:?}", mutating(&calls));
    let ids = |nodes: &[lab::world::Instance]| nodes.iter().map(|node| node.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&rig.nodes()), ids(&before), "the old nodes didn't stay");
    assert_eq!((pinned(&rig), default(&rig)), ("1".into(), "1".into()));
    with_obedient_nodes(&rig, || {
        assert!(update(&rig, &file).contains("nothing changes"));
        assert!(update(&rig, &larger).contains("is updated"), "the same update failed with nodes that accept it");
    });
    assert_eq!((types(&rig), pinned(&rig)), (vec!["t3.large".into(); 2], default(&rig)));
}

#[test]
fn a_default_that_was_moved_by_hand_changes_nothing_for_a_group_and_a_pinned_version_is_shown() {
    let rig = Rig::new();
    let file = created(&rig);
    let name = ["--launch-template-name", "elbow-web"];
    let data = ["--source-version", "1", "--launch-template-data", "{\"InstanceType\": \"t3.large\"}"];
    rig.aws(&[&["ec2", "create-launch-template-version"][..], &name, &data].concat());
    rig.aws(&[&["ec2", "modify-launch-template"][..], &name, &["--default-version", "2"]].concat());
    let status = rig.launcher(["status", "web"]);
    assert!(status.status.success(), "{}", text(&status.stdout));
    rig.take_calls();
    rig.create(&file);
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
    with_obedient_nodes(&rig, || {
        rig.aws(&["ec2", "terminate-instances", "--instance-ids", &rig.nodes()[1].id]);
        // The AWS CLI is slow on a busy machine.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
        while rig.nodes().iter().filter(|node| node.tags.contains_key("elbow:running")).count() < 2 {
            assert!(std::time::Instant::now() < deadline, "the group launched no other node");
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        assert_eq!(types(&rig), ["t3.small"; 2]);
        let ported = changed(&rig, "port.toml", ("port = 80", "port = 81"));
        assert!(update(&rig, &ported).contains("is updated"));
        assert_eq!((types(&rig), pinned(&rig), default(&rig)), (vec!["t3.small".into(); 2], "3".into(), "3".into()));

        let by_hand = ["autoscaling", "update-auto-scaling-group", "--auto-scaling-group-name", "elbow-web"];
        let bend = |words: &[&str]| rig.aws(&[&by_hand[..], words].concat());
        bend(&["--launch-template", "LaunchTemplateName=elbow-web,Version=2"]);
        let parts = ["version 2 of launch template elbow-web", "into the Auto Scaling group by hand", "--force"];
        refused(&rig, &["update", ported.to_str().unwrap()], &parts);
        bend(&["--launch-template", "LaunchTemplateName=elbow-web,Version=$Latest", "--min-size", "1"]);
        let parts = ["version $Latest instead of", "min 1, desired 2, max 4 instead of", "--force"];
        refused(&rig, &["update", ported.to_str().unwrap()], &parts);
        succeeded(rig.launcher(["update", ported.to_str().unwrap(), "--force"]));
        assert_eq!((pinned(&rig).as_str(), &group(&rig).unwrap()["MinSize"]), ("3", &2.into()));
    });
}

#[test]
fn impossible_updates_of_a_group_are_refused_before_anything_changes() {
    let rig = Rig::new();
    let file = created(&rig);
    let (larger, instances) = (larger(&rig), rig.web());
    for command in ["update", "create"] {
        let parts = ["web was created with \"auto-scaling\"", "a second balancer", "`launcher destroy web`"];
        refused(&rig, &[command, instances.to_str().unwrap()], &parts);
    }
    let named = ["--auto-scaling-group-name", "elbow-web"];
    rig.aws(&[&["autoscaling", "suspend-processes"][..], &named, &["--scaling-processes", "Launch"]].concat());
    let parts = ["has Launch suspended and can't replace nodes", "aws autoscaling resume-processes"];
    refused(&rig, &["update", larger.to_str().unwrap()], &parts);
    rig.aws(&[&["autoscaling", "resume-processes"][..], &named, &["--scaling-processes", "Launch"]].concat());
    rig.aws(&[&["autoscaling", "start-instance-refresh"][..], &named].concat());
    refused(&rig, &["update", larger.to_str().unwrap()], &["isn't Elbow's", "cancel-instance-refresh"]);
    refused(&rig, &["create", file.to_str().unwrap()], &["an instance refresh replaces the nodes of web"]);
}
