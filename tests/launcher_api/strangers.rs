//! Strangers with Elbow's tags (instances, interfaces, volumes, security groups), and nodes that lost their tags.

use lab::world::InstanceState;

use crate::node;
use crate::rig::{Rig, mutating, refused, succeeded, text};

/// Launches a stranger in node 0's subnet with all tags of a node.
fn stranger(rig: &Rig) -> String {
    let seed = rig.api.seed();
    let tags = format!(
        "[{{\"ResourceType\": \"instance\", \"Tags\": [{{\"Key\": \"elbow:balancer\", \"Value\": \"web\"}}, \
         {{\"Key\": \"elbow:vpc\", \"Value\": \"{}\"}}, {{\"Key\": \"elbow:role\", \"Value\": \"active\"}}]}}]",
        seed.vpc
    );
    let machine = ["--image-id", &seed.images["main"], "--instance-type", "t3.small"];
    let place = ["--subnet-id", &seed.subnets["private-a"], "--tag-specifications", &tags];
    let answer = ["--query", "Instances[0].InstanceId", "--output", "text"];
    rig.aws(&[&["ec2", "run-instances"][..], &machine, &place, &answer].concat())
}

fn state(rig: &Rig, id: &str) -> InstanceState {
    rig.world().instances.into_iter().find(|instance| instance.id == id).expect("it is there").state
}

fn left_alone(id: &str) -> String {
    format!(
        "{id} carries elbow:balancer=web but neither its security group, its instance profile nor its launch template; left \
         alone: remove the tag"
    )
}

#[test]
fn an_instance_that_only_carries_the_tags_is_named_and_left_alone_by_every_command() {
    let rig = Rig::new();
    let stranger = stranger(&rig);
    let file = rig.web();
    let file_name = file.to_str().expect("it is UTF-8");
    // Without a balancer, the stranger isn't one.
    let listed = succeeded(rig.launcher(["list"]));
    assert!(text(&listed.stdout).contains("no balancers in"), "{}", text(&listed.stdout));
    assert!(text(&listed.stderr).contains(&left_alone(&stranger)), "{}", text(&listed.stderr));
    refused(&rig, &["status", "web"], &["there is no balancer named", &left_alone(&stranger)]);
    let absent = rig.destroy();
    assert!(text(&absent.stdout).contains("no balancer named web"), "{}", text(&absent.stdout));
    // Both nodes are launched, although the stranger is in node 0's subnet.
    let made = rig.create(&file);
    assert!(text(&made.stderr).contains(&left_alone(&stranger)), "{}", text(&made.stderr));
    assert_eq!(rig.nodes().len(), 3);
    let nodes: Vec<_> = rig.nodes().into_iter().filter(|node| node.id != stranger).collect();
    let revision = node::revision(&rig);
    node::take_over(&rig, &nodes[0]);
    node::report(&rig, &nodes[0], &revision, "active");
    node::report(&rig, &nodes[1], &revision, "standby");
    let again = rig.create(&file);
    assert!(text(&again.stdout).contains("nothing changes"), "{}", text(&again.stdout));
    let status = succeeded(rig.launcher(["status", "web"]));
    let shown = text(&status.stdout);
    assert!(shown.contains("healthy") && shown.contains(&left_alone(&stranger)), "{shown}");
    let status = succeeded(rig.launcher(["status", "web", "--output", "json"]));
    let document: serde_json::Value = serde_json::from_slice(&status.stdout).expect("it is JSON");
    assert_eq!(document["notes"], serde_json::json!([left_alone(&stranger)]));
    assert_eq!(document["nodes"].as_array().map(Vec::len), Some(2));
    for arguments in [&["list"][..], &["update", file_name, "--dry-run"], &["handover", "web", "--dry-run"]] {
        let output = succeeded(rig.launcher(arguments));
        assert!(text(&output.stderr).contains(&left_alone(&stranger)), "{}", text(&output.stderr));
        assert!(!text(&output.stdout).contains(&stranger), "{}", text(&output.stdout));
    }
    rig.take_calls();
    let destroyed = rig.destroy();
    assert!(text(&destroyed.stdout).contains("nothing of it is left"));
    assert!(text(&destroyed.stderr).contains(&left_alone(&stranger)), "{}", text(&destroyed.stderr));
    assert_eq!(state(&rig, &stranger), InstanceState::Running);
}

#[test]
fn an_update_ignores_an_instance_that_only_carries_the_tags() {
    let rig = Rig::new();
    let first = crate::update::created(&rig);
    let stranger = stranger(&rig);
    let file = crate::update::changed(&rig);
    let output = crate::obedient::with_obedient_nodes(&rig, || {
        rig.launcher(["update".as_ref(), file.as_os_str(), "--timeout".as_ref(), "30s".as_ref()])
    });
    let output = succeeded(output);
    assert!(text(&output.stderr).contains(&left_alone(&stranger)), "{}", text(&output.stderr));
    let node = rig.nodes().into_iter().find(|node| node.id == stranger).expect("it is there");
    assert_eq!(node.tags.get("elbow:revision"), None);
    assert_eq!(state(&rig, &stranger), InstanceState::Running);
    drop(first);
}

#[test]
fn a_node_that_lost_its_tag_is_named_and_destroyed_with_the_others() {
    let rig = Rig::new();
    let file = rig.web();
    rig.create(&file);
    node::serve(&rig);
    let nodes = rig.nodes();
    rig.aws(&["ec2", "delete-tags", "--resources", &nodes[1].id, "--tags", "Key=elbow:balancer"]);
    let lacks = format!("{} is a node of web by its security group", nodes[1].id);
    let status = rig.launcher(["status", "web"]);
    assert_eq!(status.status.code(), Some(3));
    assert!(text(&status.stdout).contains(&lacks), "{}", text(&status.stdout));
    // A replacement would be a second node in its subnet.
    let file_name = file.to_str().expect("it is UTF-8");
    refused(&rig, &["create", file_name], &[&lacks, "set the tag, or terminate the instance"]);
    refused(&rig, &["update", file_name], &[&lacks]);
    let dry = succeeded(rig.launcher(["destroy", "web", "--dry-run"]));
    assert!(text(&dry.stdout).contains(&nodes[1].id), "{}", text(&dry.stdout));
    rig.destroy();
    assert_eq!(state(&rig, &nodes[1].id), InstanceState::Terminated);
    assert_eq!(state(&rig, &nodes[0].id), InstanceState::Terminated);
}

#[test]
fn nodes_of_a_half_removed_balancer_are_still_recognized() {
    let rig = Rig::new();
    rig.create(&rig.web());
    let nodes = rig.nodes();
    rig.aws(&["ec2", "delete-launch-template", "--launch-template-name", "elbow-web"]);
    rig.destroy();
    for node in &nodes {
        assert_eq!(state(&rig, &node.id), InstanceState::Terminated);
    }
}

#[test]
fn a_volume_and_an_interface_that_only_carry_the_tag_do_not_block_destroy() {
    let rig = Rig::new();
    rig.create(&rig.web());
    let volume = ["--availability-zone", "eu-west-1a", "--size", "1", "--query", "VolumeId", "--output", "text"];
    let volume = rig.aws(&[&["ec2", "create-volume"][..], &volume].concat());
    let interface = rig.api.seed().others["interface"].as_str().unwrap().to_owned();
    rig.aws(&["ec2", "create-tags", "--resources", &volume, &interface, "--tags", "Key=elbow:balancer,Value=web"]);
    let group = rig.api.seed().others["security_group"].as_str().unwrap().to_owned();
    let claim = ["Key=elbow:balancer,Value=api", "Key=elbow:virtual-ip:10.255.0.10,Value="];
    rig.aws(&[&["ec2", "create-tags", "--resources", &group, "--tags"][..], &claim].concat());
    // A claim on a security group that isn't Elbow's doesn't count.
    let again = rig.create(&rig.web());
    assert!(text(&again.stdout).contains("nothing changes"), "{}", text(&again.stdout));
    let said = text(&rig.destroy().stderr);
    for id in [&volume, &interface] {
        assert!(said.contains(&format!("{id} carries elbow:balancer=web and isn't known as a node's")), "{said}");
    }
    let listed = succeeded(rig.launcher(["list"]));
    assert!(text(&listed.stdout).contains("no balancers in"), "{}", text(&listed.stdout));
    assert!(text(&listed.stderr).contains("carries elbow:balancer=api and isn't named elbow-api"));
    assert_eq!(mutating(&rig.take_calls()).iter().filter(|action| action.contains("Volume")).count(), 0);
}
