//! `update` with the API and stand-ins for nodes: refusals, kills at each change, rollbacks, and the lease against
//! concurrent updates.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use lab::api::{Call, Hooks, Passage};

use crate::kill::{Killer, When, killed_after, killed_at};
use crate::node;
use crate::obedient::with_obedient_nodes;
use crate::rig::{Rig, mutating, refused, succeeded, text};

pub fn changed(rig: &Rig) -> PathBuf {
    rig.file("changed.toml", &rig.example().replace("port = 80", "port = 8080"))
}

pub fn created(rig: &Rig) -> PathBuf {
    let file = rig.web();
    rig.create(&file);
    node::serve(rig);
    file
}

pub fn ports(rig: &Rig) -> Vec<Option<i32>> {
    let world = rig.world();
    let group = world.security_groups.iter().find(|group| group.name == "elbow-web").expect("the security group");
    let tcp = group.ingress.iter().filter(|rule| rule.protocol == "tcp" && !rule.cidrs.is_empty());
    tcp.map(|rule| rule.from).collect()
}

#[test]
fn a_finished_update_changes_nothing_and_rolls_back_and_forth() {
    let rig = Rig::new();
    created(&rig);
    let file = changed(&rig);
    with_obedient_nodes(&rig, || {
        let update = |arguments: &[&str]| succeeded(rig.launcher([&["update"], arguments].concat()));
        let file = file.to_str().unwrap();
        rig.take_calls();
        let dry = text(&update(&[file, "--dry-run"]).stdout);
        assert!(dry.contains("-    bind *:80\n+    bind *:8080\n"), "{dry}");
        assert!(dry.contains("-tcp 80 from") && !dry.contains('\x1b'), "{dry}");
        assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
        let actions = |arguments: &[&str]| -> Vec<String> {
            let said = text(&update(&[arguments, &["--output", "json"]].concat()).stdout);
            let document: serde_json::Value = serde_json::from_str(&said).expect("JSON");
            let changes = document["changes"].as_array().expect("changes").iter();
            changes.map(|change| change["action"].as_str().expect("an action").to_owned()).collect()
        };
        let planned = actions(&[file, "--dry-run"]);
        assert_eq!(actions(&[file]), planned, "the update differs from its dry run");
        assert_eq!(planned, ["allow", "create-launch-template-version", "tell", "tell", "set-default", "revoke"]);
        assert_eq!(ports(&rig), [Some(8080)]);
        let said: Vec<_> = rig.nodes().iter().map(|node| node.tags["elbow:revision"].clone()).collect();
        assert_eq!(said, [format!("2:{}", node::revision(&rig)), format!("2:{}", node::revision(&rig))]);
        rig.take_calls();
        assert!(text(&update(&[file]).stdout).contains("nothing changes"));
        assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
        let planned = actions(&["--rollback", "web", "--dry-run"]);
        assert_eq!(actions(&["--rollback", "web"]), planned);
        assert_eq!(planned, ["allow", "set-default", "tell", "tell", "revoke"]);
        assert_eq!(ports(&rig), [Some(80)]);
        update(&["--rollback", "web"]);
        assert_eq!(ports(&rig), [Some(8080)]);
        let versions = text(&update(&["--versions", "web"]).stdout);
        assert!(versions.contains("nodes boot it") && versions.contains("--rollback goes to it"), "{versions}");
    });
}

/// Kills the update after each mutating call, in both directions. Reading calls leave nothing unfinished.
#[test]
fn update_killed_after_any_change_is_finished_by_running_it_again() {
    let killer = Arc::new(Killer::default());
    let rig = Rig::with(killer.clone());
    let first = created(&rig);
    let files = [(changed(&rig), 8080), (first, 80)];
    with_obedient_nodes(&rig, || {
        let mut runs = 0;
        for (file, port) in files.iter().cycle() {
            // The killed update's lease is still valid.
            let (arguments, change) = (["update", file.to_str().unwrap(), "--take-over"], runs / 2 + 1);
            if !killed_after(&rig, &killer, change, &arguments) {
                break;
            }
            succeeded(rig.launcher(arguments));
            assert_eq!(ports(&rig), [Some(*port)], "killed after change {change}");
            rig.take_calls();
            succeeded(rig.launcher(arguments));
            assert_eq!(
                mutating(&rig.take_calls()),
                [] as [&str; 0],
                "killed after change {change}, resumed, and again"
            );
            runs += 1;
        }
        assert!(runs > 12, "it was killed only {runs} times");
    });
}

#[test]
fn a_replacement_that_was_killed_is_finished_by_running_the_update_again() {
    let killer = Arc::new(Killer::default());
    let rig = Rig::with(killer.clone());
    let first = created(&rig);
    let types = ["t3.large", "t3.small"];
    let files = [rig.file("large.toml", &rig.example().replace("t3.small", "t3.large")), first];
    with_obedient_nodes(&rig, || {
        for (turn, action) in ["RunInstances", "StopInstances", "TerminateInstances"].into_iter().enumerate() {
            let update = ["update", files[turn % 2].to_str().unwrap()];
            let before: Vec<String> = rig.nodes().into_iter().map(|node| node.id).collect();
            assert!(killed_at(&rig, &killer, action, When::After, &update), "{action} wasn't called");
            rig.take_calls();
            succeeded(rig.launcher([&update[..], &["--take-over"]].concat()));
            let launched = mutating(&rig.take_calls()).iter().filter(|action| **action == "RunInstances").count();
            assert_eq!(launched, 1, "killed after {action}: not only the other node was launched");
            let nodes = rig.nodes();
            assert_eq!(nodes.len(), 2, "killed after {action}: {nodes:?}");
            for node in nodes {
                assert_eq!(node.instance_type, types[turn % 2], "killed after {action}");
                assert!(!before.contains(&node.id), "killed after {action}: {} wasn't replaced", node.id);
            }
        }
        let again = succeeded(rig.launcher(["update", files[0].to_str().unwrap()]));
        assert!(text(&again.stdout).contains("nothing changes"));
        succeeded(rig.launcher(["update", "--rollback", "web"]));
        let back: Vec<_> = rig.nodes().into_iter().map(|node| node.instance_type).collect();
        assert_eq!(back, ["t3.small", "t3.small"]);
    });
}

#[test]
fn impossible_updates_are_refused_before_anything_changes() {
    let rig = Rig::new();
    let file = changed(&rig);
    let update = ["update", file.to_str().unwrap()];
    refused(&rig, &update, &["there is no balancer named \"web\"", "launcher create"]);
    created(&rig);
    refused(&rig, &["update", "--rollback", "web"], &["web has no version to go back to"]);
    let with = |change: (&str, &str)| {
        let text = rig.example();
        assert!(text.contains(change.0), "{text}");
        rig.file("other.toml", &text.replace(change.0, change.1))
    };
    let elsewhere = with(("t3.small", "t3.tiny"));
    refused(&rig, &["update", elsewhere.to_str().unwrap()], &["instance type t3.tiny doesn't exist"]);
    let named = with(("name = \"web\"", "name = \"wep\""));
    refused(&rig, &["update", named.to_str().unwrap()], &["there is no balancer named \"wep\""]);
    let inside = with(("10.255.0.10", "10.0.3.7"));
    refused(&rig, &["update", inside.to_str().unwrap()], &["virtual IP 10.0.3.7 lies inside 10.0.0.0/16"]);
    let taken = with(("[\"10.255.0.10\"]", "[\"10.255.0.10\", \"10.255.9.9\"]"));
    refused(
        &rig,
        &["update", taken.to_str().unwrap()],
        &["virtual IP 10.255.9.9", "already sends 10.255.9.9/32 to eni-"],
    );
    let none = with(("[\"10.255.0.10\"]", "[]"));
    refused(&rig, &["update", none.to_str().unwrap()], &["line 4: virtual_ips: at least one is needed"]);
    // Targets that gzip can't compress much.
    let target = |n: u32| {
        format!("\"10.{}.{}.{}:{}\"", n * 7919 % 251, n * 104_729 % 253, n * 7 % 241, 1024 + n * 6151 % 60_000)
    };
    let listener = |number: u32| {
        let targets: Vec<String> = (number * 999..number * 999 + 999).map(target).collect();
        let (port, targets) = (9000 + number, targets.join(","));
        format!("\n[[listener]]\nname = \"l{number}\"\nport = {port}\nprotocol = \"tcp\"\ntargets = [{targets}]\n")
    };
    let big = rig.file("big.toml", &(rig.example() + &(0..4).map(listener).collect::<String>()));
    refused(&rig, &["update", big.to_str().unwrap()], &["EC2 accepts 16384"]);
    rig.aws(&["ec2", "terminate-instances", "--instance-ids", &rig.nodes()[1].id]);
    refused(&rig, &update, &["node 1 isn't running", "launcher create"]);
}

#[test]
fn another_update_is_waited_for_or_taken_over() {
    let rig = Rig::new();
    created(&rig);
    let (file, template) = (changed(&rig), template(&rig));
    let now = jiff::Timestamp::now();
    // Far ahead, so that the lease can't expire on a slow machine.
    let seen = now + Duration::from_secs(3600);
    let tag = format!("Key=elbow:update,Value=alice@elsewhere 4e5f6a7b {now:.0} {seen:.0}");
    rig.aws(&["ec2", "create-tags", "--resources", &template, "--tags", &tag]);
    let arguments = ["update", file.to_str().unwrap()];
    refused(&rig, &arguments, &["an update of web is under way, by alice@elsewhere since", "--take-over"]);
    assert!(text(&rig.launcher(["status", "web"]).stdout).contains("alice@elsewhere"));
    with_obedient_nodes(&rig, || {
        succeeded(rig.launcher([arguments[0], arguments[1], "--take-over"]));
        let dead = format!(
            "Key=elbow:update,Value=alice@elsewhere 4e5f6a7b {:.0} {:.0}",
            now - Duration::from_secs(900),
            now - Duration::from_secs(600)
        );
        rig.aws(&["ec2", "create-tags", "--resources", &template, "--tags", &dead]);
        succeeded(rig.launcher(["update", "--rollback", "web"]));
    });
    assert_eq!(ports(&rig), [Some(80)]);
}

/// The refused order comes from a forged tag, or from an update that was killed before it withdrew the order.
#[test]
fn a_refusal_from_before_the_order_does_not_stop_an_update() {
    let rig = Rig::new();
    created(&rig);
    let file = changed(&rig);
    let update = ["update", file.to_str().unwrap()];
    let dry = text(&succeeded(rig.launcher([&update[..], &["--dry-run", "--output", "json"]].concat())).stdout);
    let dry: serde_json::Value = serde_json::from_str(&dry).expect("JSON");
    let order = format!("2:{}", dry["revision"].as_str().expect("a revision"));
    let standby = &rig.nodes()[1].id;
    let tags = [format!("Key=elbow:revision,Value={order}"), format!("Key=elbow:refused-revision,Value={order} no")];
    rig.aws(&["ec2", "create-tags", "--resources", standby, "--tags", &tags[0], &tags[1]]);
    rig.take_calls();
    with_obedient_nodes(&rig, || succeeded(rig.launcher(update)));
    let calls = rig.take_calls();
    let withdrawn = calls.iter().position(|call| call.action == "DeleteTags" && mentions(call, "elbow:revision"));
    let told = calls.iter().position(|call| call.action == "CreateTags" && mentions(call, &order));
    assert!(withdrawn.is_some() && withdrawn < told, "withdrawn {withdrawn:?}, told {told:?}");
    assert_eq!((default(&rig).as_str(), ports(&rig)), ("2", vec![Some(8080)]));
    assert!(rig.nodes().iter().all(|node| node.tags["elbow:revision"] == order));
}

#[test]
fn nodes_that_never_answer_are_named_and_the_balancer_stays_unchanged() {
    let rig = Rig::new();
    created(&rig);
    let (file, revision) = (changed(&rig), node::revision(&rig));
    let output = rig.launcher(["update", file.to_str().unwrap(), "--timeout", "1s"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let standby = &rig.nodes()[1];
    assert!(
        said.contains(&format!("node 1 ({}, standby) has been told, and still runs revision {revision}", standby.id)),
        "{said}"
    );
    assert!(!rig.nodes()[0].tags.contains_key("elbow:revision"), "the active node has an order");
    assert_eq!(default(&rig), "1");
}

pub fn template(rig: &Rig) -> String {
    described(rig, "LaunchTemplateId")
}

pub fn default(rig: &Rig) -> String {
    described(rig, "DefaultVersionNumber")
}

fn described(rig: &Rig, field: &str) -> String {
    let query = format!("LaunchTemplates[0].{field}");
    let name = ["ec2", "describe-launch-templates", "--launch-template-names", "elbow-web"];
    rig.aws(&[&name[..], &["--query", &query, "--output", "text"]].concat())
}

/// CreateLaunchTemplateVersion hangs for 25 s and fails, this many times.
struct Hanging(AtomicUsize);

impl Hooks for Hanging {
    fn request<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Passage> {
        let hangs = call.action == "CreateLaunchTemplateVersion"
            && self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        async move {
            if hangs {
                tokio::time::sleep(Duration::from_secs(25)).await;
                return Passage::Lost;
            }
            Passage::Open
        }
        .boxed()
    }
}

#[test]
fn a_call_that_hangs_longer_than_a_lease_lasts_does_not_let_it_lapse() {
    // The client aborts an attempt after 20 s.
    let rig = Rig::with(Arc::new(Hanging(AtomicUsize::new(2))));
    created(&rig);
    let file = changed(&rig);
    let update = ["update", file.to_str().unwrap()];
    with_obedient_nodes(&rig, || {
        std::thread::scope(|scope| {
            let first = scope.spawn(|| rig.launcher(update));
            std::thread::sleep(Duration::from_secs(36));
            let second = rig.launcher(update);
            assert_eq!(second.status.code(), Some(2), "{}", text(&second.stderr));
            assert!(text(&second.stderr).contains("an update of web is under way"), "{}", text(&second.stderr));
            succeeded(first.join().unwrap());
        });
    });
    assert_eq!(ports(&rig), [Some(8080)]);
    assert!(!text(&rig.launcher(["status", "web"]).stdout).contains("under way"), "the lease wasn't released");
}

/// Whether a parameter of the call begins with `value`.
fn mentions(call: &Call, value: &str) -> bool {
    let parameters = call.request.as_object().into_iter().flatten();
    parameters.filter_map(|(_, given)| given.as_str()).any(|given| given.starts_with(value))
}

#[test]
fn a_rollback_that_a_node_refuses_leaves_nodes_and_default_where_they_were() {
    let rig = Rig::new();
    created(&rig);
    let file = changed(&rig);
    with_obedient_nodes(&rig, || succeeded(rig.launcher(["update", file.to_str().unwrap()])));
    assert_eq!(default(&rig), "2");
    rig.take_calls();
    let back = std::thread::scope(|scope| {
        let updating = scope.spawn(|| rig.launcher(["update", "--rollback", "web"]));
        while !updating.is_finished() {
            for node in rig.nodes() {
                let order = node.tags["elbow:revision"].parse::<templates::Order>().unwrap();
                let refused = node.tags.contains_key("elbow:refused-revision");
                match order.version {
                    1 if !refused => node::tag(&rig, &node, &[("elbow:refused-revision", &format!("{order} no"))]),
                    2 if refused => node::untag(&rig, &node, &["elbow:refused-revision"]),
                    _ => {}
                }
            }
        }
        updating.join().unwrap()
    });
    let calls = rig.take_calls();
    let first = |action, key: &str, value: &str| {
        let is_it = |call: &Call| call.action == action && mentions(call, key) && mentions(call, value);
        calls.iter().position(is_it).unwrap_or_else(|| panic!("no {action} with {value}: {calls:?}"))
    };
    let (default_moves, tells) = (first("ModifyLaunchTemplate", "1", "1"), first("CreateTags", "elbow:revision", "1:"));
    assert!(default_moves < tells, "a node got an order older than the default");
    let said = text(&back.stderr);
    assert_eq!(back.status.code(), Some(1), "{said}");
    assert!(said.contains("refuses revision") && said.contains("still runs revision"), "{said}");
    assert_eq!((default(&rig).as_str(), ports(&rig)), ("2", vec![Some(8080)]));
    assert!(rig.nodes().iter().all(|node| node.tags["elbow:revision"].starts_with("2:")));
    let versions = text(&succeeded(rig.launcher(["update", "--versions", "web"])).stdout);
    assert!(versions.contains("--rollback goes to it"), "{versions}");
}
