//! `update` after another update that failed, that still runs, or that was changed by hand: what it rolls back,
//! withdraws and leaves alone.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use lab::world::Instance;

use crate::node;
use crate::obedient::with_obedient_nodes;
use crate::rig::{Rig, mutating, succeeded, text};
use crate::update::{changed, created, default, ports, template};

fn failed(output: &Output, code: i32, part: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(part), "{part:?} isn't in: {said}");
}

fn update(rig: &Rig, file: &Path, more: &[&str]) -> Output {
    rig.launcher([&["update", file.to_str().expect("it is UTF-8")], more].concat())
}

fn tag(rig: &Rig, id: &str, key: &str, value: &str) {
    // The CLI's shorthand syntax splits values at commas and spaces.
    let tags = format!("[{{\"Key\": \"{key}\", \"Value\": \"{value}\"}}]");
    rig.aws(&["ec2", "create-tags", "--resources", id, "--tags", &tags]);
}

fn told(node: &Instance) -> Option<&str> {
    node.tags.get("elbow:revision").map(String::as_str)
}

#[test]
fn a_rollback_withdraws_an_order_that_a_node_has_not_run() {
    let rig = Rig::new();
    created(&rig);
    let (file, before) = (changed(&rig), node::revision(&rig));
    failed(&update(&rig, &file, &["--timeout", "1s"]), 1, "has been told, and still runs revision");
    let order = told(&rig.nodes()[1]).expect("the standby was told").to_owned();
    let status = rig.launcher(["status", "web"]);
    assert_eq!(status.status.code(), Some(3));
    assert!(text(&status.stdout).contains(&format!("has an order for {order}, but nodes boot another revision")));
    let versions = text(&succeeded(rig.launcher(["update", "--versions", "web"])).stdout);
    assert!(versions.contains("nodes boot it, --rollback goes to it"), "{versions}");
    // The rollback needs no node.
    let back = succeeded(rig.launcher(["update", "--rollback", "web"]));
    assert!(text(&back.stderr).contains("an update is unfinished"), "{}", text(&back.stderr));
    assert_eq!(told(&rig.nodes()[1]), Some(format!("1:{before}").as_str()));
    assert_eq!((ports(&rig), default(&rig).as_str()), (vec![Some(80)], "1"));
    succeeded(rig.launcher(["status", "web"]));
    failed(&rig.launcher(["update", "--rollback", "web"]), 2, "web has no version to go back to");
}

#[test]
fn an_update_that_lost_its_lease_stops_and_create_refuses_during_updates() {
    let rig = Rig::new();
    let first = created(&rig);
    let (file, template) = (changed(&rig), template(&rig));
    std::thread::scope(|scope| {
        let updating = scope.spawn(|| update(&rig, &file, &["--timeout", "60s"]));
        let deadline = Instant::now() + Duration::from_secs(30);
        while told(&rig.nodes()[1]).is_none() {
            assert!(Instant::now() < deadline, "the standby got no order");
            std::thread::sleep(Duration::from_millis(50));
        }
        let now = jiff::Timestamp::now() + Duration::from_secs(3600);
        tag(&rig, &template, "elbow:update", &format!("alice@elsewhere 4e5f6a7b {now:.0} {now:.0}"));
        let standby = &rig.nodes()[1];
        let (_, revision) = told(standby).and_then(|order| order.split_once(':')).expect("an order");
        node::report(&rig, standby, revision, "standby");
        failed(&updating.join().expect("it ends"), 1, "the update was taken over by alice@elsewhere since");
    });
    assert_eq!(told(&rig.nodes()[0]), None, "the active node has an order");
    rig.take_calls();
    let create = rig.launcher(["create".as_ref(), first.as_os_str()]);
    failed(&create, 2, "an update of web is under way, by alice@elsewhere since");
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
    assert_eq!(ports(&rig).len(), 2, "create removed a rule that the update needs");
}

#[test]
fn a_late_refusal_rolls_nothing_back_and_without_an_active_node_no_order_is_given() {
    let rig = Rig::new();
    let first = created(&rig);
    let (file, before) = (changed(&rig), node::revision(&rig));
    with_obedient_nodes(&rig, || succeeded(update(&rig, &file, &[])));
    let nodes = rig.nodes();
    let order = told(&nodes[1]).expect("it was told").to_owned();
    let (version, revision) = order.split_once(':').expect("an order");
    node::report(&rig, &nodes[1], &before, "standby");
    // The late node refuses the order, and deletes its refusal when the order is withdrawn.
    let refuses = std::thread::scope(|scope| {
        let updating = scope.spawn(|| update(&rig, &file, &[]));
        while !updating.is_finished() {
            let late = &rig.nodes()[1];
            match told(late) {
                Some(order) => tag(&rig, &late.id, "elbow:refused-revision", &format!("{order} no")),
                None => node::untag(&rig, late, &["elbow:refused-revision"]),
            }
        }
        updating.join().expect("it ends")
    });
    failed(&refuses, 1, "so nothing is undone");
    assert_eq!(rig.nodes().iter().map(told).collect::<Vec<_>>(), [Some(order.as_str()); 2]);
    assert_eq!(default(&rig), version);

    tag(&rig, &nodes[1].id, "elbow:refused-revision", "");
    node::report(&rig, &nodes[1], revision, "standby");
    node::report(&rig, &nodes[0], revision, "standby");
    let waits = update(&rig, &first, &["--timeout", "1s"]);
    failed(&waits, 1, "no node reports that it is active for virtual IP 1 (use --force to continue)");
    assert_eq!(rig.nodes().iter().map(told).collect::<Vec<_>>(), [Some(order.as_str()); 2]);
    with_obedient_nodes(&rig, || {
        let forced = update(&rig, &first, &["--timeout", "3s", "--force"]);
        failed(&forced, 1, "virtual IP 10.255.0.10: no node is active");
    });
    // Nodes refuse versions older than the default: version 3 has the content of version 1.
    let back = format!("3:{before}");
    assert_eq!(rig.nodes().iter().map(told).collect::<Vec<_>>(), [Some(back.as_str()); 2]);
}

#[test]
fn resources_around_the_nodes_are_corrected_and_the_read_permission_is_removed_last() {
    let rig = Rig::new();
    let first = created(&rig);
    let world = rig.world();
    let group = world.security_groups.iter().find(|group| group.name == "elbow-web").expect("the security group");
    let hole = ["--protocol", "tcp", "--port", "8443", "--cidr", "10.0.0.0/16"];
    rig.aws(&[&["ec2", "authorize-security-group-ingress", "--group-id", &group.id][..], &hole].concat());
    let dry = text(&succeeded(update(&rig, &first, &["--dry-run"])).stdout);
    assert!(dry.contains("no longer let in: tcp 8443 from 10.0.0.0/16"), "{dry}");
    succeeded(update(&rig, &first, &[]));
    assert_eq!(ports(&rig), [Some(80)]);

    let fixed = rig.file("fixed.toml", &(rig.example() + "\n[updates]\nin_place = false\n"));
    rig.take_calls();
    with_obedient_nodes(&rig, || succeeded(update(&rig, &fixed, &[])));
    let calls = rig.take_calls();
    let (proven, shut) = ("ModifyLaunchTemplate", "PutRolePolicy");
    let done = mutating(&calls);
    let last = |action| done.iter().rposition(|one| *one == action).expect("it was called");
    assert!(done.iter().filter(|one| **one == shut).count() == 1 && last(proven) < last(shut), "{done:?}");
    let dry = text(&succeeded(update(&rig, &fixed, &["--dry-run"])).stdout);
    assert!(dry.contains("nothing changes"), "{dry}");

    // These nodes may not read launch template versions.
    let old: Vec<String> = rig.nodes().into_iter().map(|node| node.id).collect();
    let dry = text(&succeeded(update(&rig, &first, &["--dry-run"])).stdout);
    assert!(dry.contains("replace nodes, because of [updates] in_place = false"), "{dry}");
    with_obedient_nodes(&rig, || succeeded(update(&rig, &first, &[])));
    assert!(rig.nodes().iter().all(|node| !old.contains(&node.id)), "a node stayed");
}
