//! A node is dead while EC2 reports it as `running`: what `status` shows, and what the launcher refuses and does.

use lab::world::Instance;
use serde_json::Value;

use crate::node;
use crate::obedient::with_obedient_nodes;
use crate::rig::{Rig, refused, succeeded, text};
use crate::update::{changed, created};

/// The active node loses power; the other node takes over and reports it. The dead node's tags stay. Returns both.
fn failed_over(rig: &Rig) -> (Instance, Instance) {
    created(rig);
    let [dead, survivor] = rig.nodes().try_into().expect("two nodes");
    node::succeed(rig, &survivor);
    node::report(rig, &survivor, &node::revision(rig), "active");
    let report = format!("{}@2026-11-29T14:03:12Z", dead.id);
    let now = jiff::Timestamp::now().strftime("%FT%TZ").to_string();
    node::tag(rig, &survivor, &[("elbow:unreachable", &report), ("elbow:alive", &now)]);
    (dead, survivor)
}

fn status(rig: &Rig) -> (Option<i32>, Value) {
    let output = rig.launcher(["status", "web", "--output", "json"]);
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn status_trusts_the_survivor_and_names_the_dead_node_and_the_remedy() {
    let rig = Rig::new();
    let (dead, survivor) = failed_over(&rig);
    let (code, said) = status(&rig);
    assert_eq!(code, Some(3));
    assert_eq!(said["virtual_ips"][0]["active"], serde_json::json!([survivor.id]));
    let routes = said["virtual_ips"][0]["routes"].as_array().expect("routes");
    assert!(routes.iter().all(|route| route["ok"] == true), "{routes:?}");
    assert_eq!(said["nodes"][0]["unreachable"]["since"], "2026-11-29T14:03:12Z");
    assert_eq!(said["nodes"][0]["unreachable"]["from"], serde_json::json!([survivor.id]));
    assert_eq!(said["nodes"][1]["unreachable"], Value::Null);
    assert_eq!(said["problems"].as_array().map(Vec::len), Some(1), "{}", said["problems"]);
    let shown = text(&rig.launcher(["status", "web"]).stdout);
    assert!(shown.contains(&format!("{} of {}", routes.len(), routes.len())), "{shown}");
    for part in ["unreachable since", "14:03:12Z", &format!("node 0 ({})", dead.id), "reboot it, or terminate it"] {
        assert!(shown.contains(part), "{part:?} isn't in: {shown}");
    }
}

#[test]
fn a_handover_to_a_dead_node_or_from_it_is_refused_at_once() {
    let rig = Rig::new();
    let (dead, survivor) = failed_over(&rig);
    let (unreachable, active) =
        (format!("node 0 ({}) is unreachable since", dead.id), format!("node 1 ({}) is active already", survivor.id));
    refused(&rig, &["handover", "web", "--to", "0"], &[&unreachable, &active]);
    refused(&rig, &["handover", "web"], &[&unreachable, &active]);
    let to_itself = succeeded(rig.launcher(["handover", "web", "--to", "1"]));
    assert!(text(&to_itself.stdout).contains(&active), "{}", text(&to_itself.stdout));
}

#[test]
fn an_update_works_without_a_dead_node_which_runs_it_when_it_returns() {
    let rig = Rig::new();
    let (dead, survivor) = failed_over(&rig);
    let file = changed(&rig);
    let file = file.to_str().unwrap();
    let unreachable = format!("node 0 ({}) is unreachable since", dead.id);
    refused(&rig, &["update", file], &[&unreachable, "--without 0"]);
    refused(&rig, &["update", file, "--force"], &[&unreachable]);
    refused(&rig, &["update", file, "--without", "1"], &["can be reached: --without is for a node that can't"]);
    with_obedient_nodes(&rig, || {
        succeeded(rig.launcher(["update", file, "--without", "0"]));
        let revision = node::revision(&rig);
        assert_eq!(rig.nodes()[0].tags["elbow:revision"], format!("2:{revision}"), "the dead node has no order");
        assert_ne!(rig.nodes()[0].tags["elbow:running"], revision, "the dead node runs the order");
        let again = succeeded(rig.launcher(["update", file, "--without", "0"]));
        assert!(text(&again.stdout).contains("nothing changes"), "{}", text(&again.stdout));
        // The node returns and executes its order, and its peer deletes its report.
        node::report(&rig, &dead, &dead.tags["elbow:running"], "standby");
        node::untag(&rig, &survivor, &["elbow:unreachable", "elbow:alive"]);
        let done = succeeded(rig.launcher(["update", file]));
        assert!(text(&done.stdout).contains("nothing changes") || text(&done.stdout).contains("is updated"));
        let (code, said) = status(&rig);
        assert_eq!(code, Some(0), "{said}");
    });
}

#[test]
fn a_dead_node_is_replaced_with_the_others() {
    let rig = Rig::new();
    let (dead, _) = failed_over(&rig);
    let file = rig.file("large.toml", &rig.example().replace("t3.small", "t3.large"));
    let file = file.to_str().unwrap();
    refused(&rig, &["update", file], &["is unreachable since", "--without 0"]);
    with_obedient_nodes(&rig, || {
        let done = succeeded(rig.launcher(["update", file, "--without", "0"]));
        let nodes = rig.nodes();
        assert!(nodes.len() == 2 && nodes.iter().all(|node| node.id != dead.id), "{}", text(&done.stdout));
        assert_eq!(status(&rig).0, Some(0));
    });
}
