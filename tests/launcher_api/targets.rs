//! The health of targets: `status` shows it, and `create` waits for it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::create::until;
use crate::node::{self, TARGETS};
use crate::rig::{Rig, mutating, succeeded, text};

const SILENT: &str = "10.0.1.20:8080@2026-11-29T14:03:12Z=L4TOUT";

/// What the active node reports of the targets.
fn reports(rig: &Rig, targets: &str) {
    node::tag(rig, &rig.nodes()[0], &[(TARGETS, targets)]);
}

fn group(rig: &Rig) -> String {
    let group = rig.world().security_groups.into_iter().find(|group| group.name == "elbow-web");
    group.expect("the security group").id
}

#[test]
fn create_waits_until_a_target_is_healthy() {
    let rig = Rig::new();
    let file = rig.web();
    let mut launcher = rig.command(["create".as_ref(), file.as_os_str()]);
    let mut waiting = launcher.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(waiting.stderr.take().expect("it is piped"));
    until("both nodes are launched", || rig.nodes().len() == 2);
    reports(&rig, "http=0/2");
    node::serve(&rig);
    let mut lines = said.lines().map(|line| line.expect("it is text"));
    assert!(lines.any(|line| line.ends_with("target group http: 0 of 2 targets are healthy")), "it didn't wait");
    reports(&rig, "http=1/2");
    let rest: Vec<String> = lines.collect();
    assert!(waiting.wait_with_output().unwrap().status.success(), "{rest:?}");
}

#[test]
fn create_fails_without_a_healthy_target_and_leaves_the_balancer_running() {
    let rig = Rig::new();
    let file = rig.web();
    rig.create(&file);
    reports(&rig, &format!("http=0/2 http/{SILENT} http/10.0.2.20:8080@2026-11-29T14:03:12Z=L4CON"));
    node::serve(&rig);
    rig.take_calls();
    let create = ["create", file.to_str().unwrap()];
    let output = rig.launcher([&create[..], &["--timeout", "2s", "--output", "json"]].concat());
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
    assert_eq!((output.status.code(), document["outcome"].as_str()), (Some(1), Some("failed")));
    let (said, group) = (text(&output.stderr), group(&rig));
    for part in [
        "target group http: 0 of 2 targets are healthy, and minimum_healthy is 1",
        "http: 10.0.2.20:8080 is down since 2026-11-29 14:03:12Z: connection refused",
        &format!("timeout at layer 4: does its security group admit {group}?"),
        &format!("add to the security group of 10.0.1.20: TCP 8080 from {group}"),
    ] {
        // The test's clock may be at that day.
        let undated = part.replace("2026-11-29 ", "");
        assert!(said.contains(part) || said.contains(&undated), "{part:?} isn't in: {said}");
    }
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
    assert_eq!(rig.nodes().len(), 2);

    let output = succeeded(rig.launcher([&create[..], &["--no-wait-targets"]].concat()));
    assert!(text(&output.stdout).contains("nothing changes"), "{}", text(&output.stdout));
}

#[test]
fn status_exits_with_3_below_the_minimum_and_warns_above_it() {
    let rig = Rig::new();
    rig.create(&rig.web());
    node::serve(&rig);
    let status = |targets: &str, options: &[&str]| {
        reports(&rig, targets);
        let output = rig.launcher([&["status", "web"][..], options].concat());
        (output.status.code(), text(&output.stdout))
    };
    let (code, said) = status("http=2/2", &["--strict"]);
    assert!(code == Some(0) && said.contains("2 of 2"), "{code:?} {said}");

    let one = format!("http=1/2 http/{SILENT}");
    let (code, said) = status(&one, &[]);
    assert!(code == Some(0) && said.contains("healthy, with warnings") && said.contains("1 of 2"), "{code:?} {said}");
    assert!(said.contains("! http: 10.0.1.20:8080 is down since ") && said.contains(&group(&rig)), "{said}");
    assert_eq!(status(&one, &["--strict"]).0, Some(3));
    let (code, json) = status(&one, &["--output", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let http = &json["target_groups"][0];
    assert_eq!((code, &json["degraded"], json["warnings"].as_array().map(Vec::len)), (Some(0), &false.into(), Some(1)));
    assert_eq!((&http["healthy"], &http["targets"], &http["minimum_healthy"]), (&1.into(), &2.into(), &1.into()));
    assert_eq!((&http["down"][0]["reason"], &http["down"][0]["target"]), (&"L4TOUT".into(), &"10.0.1.20:8080".into()));

    let (code, said) = status("http=0/2", &[]);
    assert!(code == Some(3) && said.contains("DEGRADED") && said.contains("minimum_healthy is 1"), "{code:?} {said}");
    let (code, said) = status("what a later Elbow writes", &["--strict"]);
    assert!(code == Some(0) && said.contains("not reported"), "{code:?} {said}");
}
