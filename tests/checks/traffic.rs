//! HAProxy with rendered files serves real requests: the usual systems of the goldens, each with the balancer's file as
//! it is, and balancers of `traffic/` for the rest of what a file can say. Scripts there are targets and clients.
//!
//! Not in the lab: half a minute of boot for each would prove only that requests reach HAProxy, which other tests do.

use std::fs;
use std::path::Path;

use templates::balancer::examine;
use templates::files::{self, HaproxyNode};
use templates::{Balancer, paths};

use crate::machine::Machine;

/// A part of a balancer's file, and what replaces it.
type Change = (&'static str, &'static str);

/// The balancer of a file after these changes.
fn changed(file: &Path, changes: &[Change]) -> Balancer {
    let read = |name: &str| fs::read_to_string(file.with_file_name(name)).map_err(|error| error.to_string());
    let mut text = fs::read_to_string(file).unwrap();
    for &(part, other) in changes {
        assert!(text.contains(part), "{}: no {part:?}", file.display());
        text = text.replace(part, other);
    }
    examine(&text, &read).valid().unwrap_or_else(|invalid| panic!("{}: {invalid}", file.display()))
}

fn config(balancer: &Balancer) -> String {
    files::haproxy_cfg(&HaproxyNode::typical(balancer))
}

/// Runs a script of `traffic/` with `haproxy.cfg` of this file and, if there are changes, `changed.cfg`.
fn play(script: &str, balancer: &str, changes: &[Change]) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = tests.join(balancer);
    let balancer = changed(&file, &[]);
    let mut machine = Machine::node().with(paths::SYSCTL, &files::sysctl_conf(&balancer));
    machine = machine.with("/srv/haproxy.cfg", &config(&balancer));
    if !changes.is_empty() {
        machine = machine.with("/srv/changed.cfg", &config(&changed(&file, changes)));
    }
    for name in ["balancer.py", "clients.py", "targets.py", script] {
        let text = fs::read_to_string(tests.join("checks/traffic").join(name)).unwrap();
        machine = machine.with(&format!("/srv/{name}"), &text);
    }
    let settings = format!("mount -o remount,rw /proc; /usr/lib/systemd/systemd-sysctl {}", paths::SYSCTL);
    machine.run(&format!("{settings}; cd /srv && python3 -B {script}")).ok();
}

const SYSTEMS: [(&str, &[Change]); 6] = [
    ("openshift", &[("\"10.0.1.9:6443\", ", ""), ("\"10.0.1.9:22623\", ", "")]),
    ("patroni", &[]),
    ("galera", &[]),
    ("rabbitmq", &[("idle_timeout = \"3h\"", "idle_timeout = \"2s\"")]),
    ("blue-green", &[]),
    ("own-sections", &[]),
];

#[test]
fn usual_systems_are_served() {
    // All at once, because they mostly wait for health checks.
    std::thread::scope(|scope| {
        for (system, changes) in SYSTEMS {
            let script = format!("{}.py", system.replace('-', "_"));
            let balancer = format!("../templates/goldens/{system}/balancer.toml");
            scope.spawn(move || play(&script, &balancer, changes));
        }
    });
}

#[test]
fn sick_targets_serve_while_no_target_is_healthy() {
    play("fail_open.py", "checks/traffic/fail-open.toml", &[]);
}

#[test]
fn connections_last_as_long_as_the_file_says_and_through_reloads() {
    let changes = [("max_request_headers = \"64KB\"", "")];
    play("connections.py", "checks/traffic/connections.toml", &changes);
}

#[test]
fn targets_are_chosen_and_checked_as_the_file_says() {
    play("groups.py", "checks/traffic/groups.toml", &[]);
}

#[test]
fn rules_decide_about_requests_as_the_file_says() {
    play("rules.py", "checks/traffic/rules.toml", &[]);
}
