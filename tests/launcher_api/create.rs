//! `create` makes each resource once, with its tags, and changes nothing if all exist.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::node;
use crate::rig::{Rig, mutating, succeeded, text};

#[test]
fn create_waits_for_the_nodes_and_a_second_one_changes_nothing() {
    let rig = Rig::new();
    let file = rig.web();
    let mut launcher = rig.command(["create".as_ref(), file.as_os_str(), "--output".as_ref(), "json".as_ref()]);
    let waiting = launcher.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    until("both nodes are launched", || rig.nodes().len() == 2);
    node::serve(&rig);
    let output = succeeded(waiting.wait_with_output().unwrap());
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
    assert_eq!(document["outcome"], "created");
    assert_eq!(document["revision"], node::revision(&rig));
    assert_eq!(document["status"]["virtual_ips"][0]["active"][0], rig.nodes()[0].id);
    assert_eq!(document["status"]["problems"], serde_json::json!([]));

    rig.take_calls();
    let again = succeeded(rig.launcher(["create".as_ref(), file.as_os_str()]));
    assert!(text(&again.stdout).contains("nothing changes"), "{}", text(&again.stdout));
    let calls = rig.take_calls();
    assert!(!calls.is_empty(), "create read nothing");
    assert_eq!(mutating(&calls), [] as [&str; 0]);
    assert!(rig.launcher(["status", "web"]).status.success());
}

#[test]
fn resources_are_complete_tagged_and_locked_down() {
    let rig = Rig::new();
    rig.create(&rig.web());
    let seed = rig.api.seed();
    let nodes = rig.nodes();
    let subnets: Vec<_> = nodes.iter().map(|node| node.subnet.clone().unwrap()).collect();
    assert_eq!(subnets, [seed.subnets["private-a"].clone(), seed.subnets["private-b"].clone()]);
    for (slot, node) in nodes.iter().enumerate() {
        assert_eq!(node.tags["elbow:vpc"], seed.vpc);
        assert_eq!(node.tags["Name"], format!("elbow-web-{slot}"));
        assert_eq!((node.tokens.as_deref(), node.hop_limit, node.metadata_tags), (Some("required"), Some(1), true));
        assert_eq!(node.role.as_deref(), Some("elbow-eu-west-1-web"));
        assert_eq!(node.image, seed.images["main"]);
    }
    // An account's default may be "disabled".
    let versions =
        ["ec2", "describe-launch-template-versions", "--launch-template-name", "elbow-web", "--output", "text"];
    let endpoint = "LaunchTemplateVersions[].LaunchTemplateData.MetadataOptions.HttpEndpoint";
    assert_eq!(rig.aws(&[&versions[..], &["--query", endpoint]].concat()), "enabled");
    let world = rig.world();
    let group = world.security_groups.iter().find(|group| group.name == "elbow-web").expect("the security group");
    let let_in = |protocol: &str| group.ingress.iter().find(|rule| rule.protocol == protocol).expect("a rule");
    assert_eq!(let_in("112").groups, std::slice::from_ref(&group.id));
    let tcp: Vec<_> = group.ingress.iter().filter(|rule| rule.protocol == "tcp").collect();
    assert!(tcp.iter().any(|rule| rule.from == Some(80) && rule.cidrs == ["10.0.0.0/16".parse().unwrap()]));
    assert!(tcp.iter().any(|rule| rule.from == Some(9110)
        && rule.groups == std::slice::from_ref(&group.id)
        && rule.cidrs.is_empty()));
    let tunnels = let_in("udp");
    assert_eq!((tunnels.from, &tunnels.groups[..]), (Some(4789), std::slice::from_ref(&group.id)));
    assert!(tunnels.cidrs.is_empty());
    assert_eq!(group.ingress.len(), 4);
    for interface in nodes.iter().filter_map(|node| node.interface.as_ref()) {
        let interface = world.interfaces.iter().find(|there| there.id == *interface).expect("its interface");
        assert_eq!(interface.groups, std::slice::from_ref(&group.id));
        assert_eq!(interface.tags["elbow:balancer"], "web");
    }
}

#[test]
fn a_dry_run_prints_the_plan_and_changes_nothing() {
    let rig = Rig::new();
    let file = rig.web();
    let output = succeeded(rig.launcher(["create".as_ref(), file.as_os_str(), "--dry-run".as_ref()]));
    assert!(text(&output.stdout).contains("create launch template elbow-web"), "{}", text(&output.stdout));
    let calls = rig.take_calls();
    assert!(!calls.is_empty());
    assert_eq!(mutating(&calls), [] as [&str; 0]);
}

#[test]
fn create_replaces_a_lost_node_and_a_deleted_policy() {
    let rig = Rig::new();
    let file = rig.web();
    rig.create(&file);
    let lost = rig.nodes()[0].id.clone();
    rig.aws(&["ec2", "terminate-instances", "--instance-ids", &lost]);
    let role = "elbow-eu-west-1-web";
    rig.aws(&["iam", "delete-role-policy", "--role-name", role, "--policy-name", role]);
    rig.take_calls();
    rig.create(&file);
    let mut calls = rig.take_calls();
    calls.sort_by(|a, b| a.action.cmp(&b.action));
    assert_eq!(mutating(&calls), ["PutRolePolicy", "RunInstances"]);
    let nodes = rig.nodes();
    assert_eq!(nodes.len(), 2);
    assert_ne!(nodes[0].id, lost);
}

#[test]
fn a_node_that_never_reports_is_named_with_the_command_for_its_console() {
    let rig = Rig::new();
    let file = rig.web();
    let output = rig.launcher(["create".as_ref(), file.as_os_str(), "--timeout".as_ref(), "1s".as_ref()]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    for node in rig.nodes() {
        assert!(said.contains(&node.id), "{said}");
    }
    assert!(said.contains("has not reported yet") && said.contains("get-console-output"), "{said}");
    let status = rig.launcher(["status", "web"]);
    assert_eq!(status.status.code(), Some(3), "status doesn't report a degraded balancer");
    assert!(!text(&status.stdout).contains("launcher doctor web"), "the nodes may still boot");
    rig.api.set_launched(&rig.nodes()[1].id, Duration::from_secs(900)).expect("the lab moves it");
    let shown = text(&rig.launcher(["status", "web"]).stdout);
    let explained = "has not reported yet, 15 min after its launch: `launcher doctor web` checks what it needs";
    assert_eq!(shown.matches(explained).count(), 1, "{shown}");
    assert_eq!(shown.matches("has not reported yet").count(), 2, "{shown}");
}

#[test]
fn status_and_list_find_a_balancer() {
    let rig = Rig::new();
    assert_eq!(rig.launcher(["status", "web"]).status.code(), Some(2));
    rig.create(&rig.web());
    node::serve(&rig);
    let output = succeeded(rig.launcher(["status", "web", "--output", "json"]));
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["degraded"], false);
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(2));
    let list = succeeded(rig.launcher(["list"]));
    assert!(text(&list.stdout).contains("web"));
}

/// Waits for up to a minute.
pub fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !happened() {
        assert!(Instant::now() < deadline, "waited a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
