//! Nodes refuse a handover or an order while another, graver problem is in their message: the launcher reports the
//! refusal at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::node;
use crate::rig::{Rig, complaints};
use crate::update::{changed, created};

const GRAVER: &str = "the routes of 10.255.0.10 can't be moved: denied (and 1 more: agent status)";
/// Much less than the launcher's time limits.
const AT_ONCE: Duration = Duration::from_secs(30);

/// Runs the launcher while each node refuses requests and orders with `why`. It must fail at once and print `why`;
/// returns its messages.
fn refuses(rig: &Rig, arguments: &[&str], why: &str) -> String {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for node in rig.nodes() {
                    let request = node.tags.get("elbow:drain").and_then(|tag| tag.split(' ').next());
                    let order =
                        node.tags.get("elbow:revision").filter(|tag| !tag.ends_with(&node.tags["elbow:running"]));
                    for (key, of) in
                        [("elbow:refused-handover", request), ("elbow:refused-revision", order.map(|tag| &**tag))]
                    {
                        match of {
                            Some(of) => {
                                node::tag(rig, &node, &[(key, &format!("{of} {why}")), ("elbow:message", GRAVER)])
                            }
                            None if node.tags.contains_key(key) => node::untag(rig, &node, &[key]),
                            None => {}
                        }
                    }
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let began = Instant::now();
        let output = rig.launcher(arguments);
        over.store(true, Ordering::Relaxed);
        let said = complaints(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{said}");
        assert!(began.elapsed() < AT_ONCE, "the launcher took {:?}", began.elapsed());
        said
    })
}

#[test]
fn a_refused_handover_is_reported_despite_a_graver_problem() {
    let rig = Rig::new();
    created(&rig);
    let said = refuses(&rig, &["handover", "web"], "10.0.2.10 doesn't answer");
    assert!(said.contains("keeps serving: 10.0.2.10 doesn't answer"), "{said}");
    assert!(rig.nodes().iter().all(|node| !node.tags.contains_key("elbow:drain")), "the request wasn't withdrawn");
}

#[test]
fn a_refused_revision_is_reported_despite_a_graver_problem_and_rolled_back() {
    let rig = Rig::new();
    created(&rig);
    let before = node::revision(&rig);
    let file = changed(&rig);
    let said = refuses(&rig, &["update", file.to_str().unwrap()], "/etc/haproxy/haproxy.cfg:12: no such thing");
    assert!(said.contains("refuses revision") && said.contains("still runs revision"), "{said}");
    assert_eq!(node::revision(&rig), before);
}
