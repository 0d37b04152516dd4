//! `destroy` removes everything of the balancer and nothing else, and succeeds if nothing exists.

use lab::api::Failing;

use crate::node;
use crate::rig::{Rig, mutating, succeeded, text};

#[test]
fn destroy_removes_everything_and_leaves_others_alone() {
    let rig = Rig::new();
    let (before, iam) = (rig.surroundings(), identities(&rig));
    let file = rig.web();
    rig.create(&file);
    node::serve(&rig);
    let output = rig.destroy();
    assert!(text(&output.stdout).contains("nothing of it is left"));
    assert_eq!(rig.surroundings(), before);
    assert_eq!(identities(&rig), iam);
    let tagged = ["ec2", "describe-tags", "--filters", "Name=key,Values=elbow:balancer", "--output", "text", "--query"];
    let live = "Tags[?ResourceType!=`instance`].ResourceId";
    assert_eq!(rig.aws(&[&tagged[..], &[live]].concat()), "");
    let templates =
        ["ec2", "describe-launch-templates", "--query", "LaunchTemplates[].LaunchTemplateName", "--output", "text"];
    assert!(!rig.aws(&templates).contains("elbow-"));
}

#[test]
fn destroying_a_missing_balancer_succeeds() {
    let rig = Rig::new();
    let output = rig.destroy();
    assert!(text(&output.stdout).contains("no balancer named web"), "{}", text(&output.stdout));
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
}

/// AWS terminates none of a call's instances if it doesn't know one of them.
#[test]
fn nodes_are_terminated_one_by_one_after_an_unknown_one() {
    let rig = Rig::new();
    rig.create(&rig.web());
    let (action, code) = ("TerminateInstances".to_owned(), "InvalidInstanceID.NotFound".to_owned());
    rig.api.proxy().set_failing(Failing { action: action.clone(), code, left: 1, zone: None });
    rig.take_calls();
    succeeded(rig.launcher(["destroy", "web", "--yes", "--timeout", "30s"]));
    assert_eq!(rig.take_calls().iter().filter(|call| call.action == action).count(), 3);
    assert_eq!(rig.nodes(), []);
}

#[test]
fn create_destroy_create_makes_new_nodes() {
    let rig = Rig::new();
    let file = rig.web();
    rig.create(&file);
    let first = rig.nodes();
    rig.destroy();
    rig.create(&file);
    let second = rig.nodes();
    assert_eq!(second.len(), 2);
    assert!(second.iter().all(|node| first.iter().all(|old| old.id != node.id)));
    rig.destroy();
    assert_eq!(rig.nodes(), []);
}

#[test]
fn destroy_without_a_terminal_needs_yes() {
    let rig = Rig::new();
    rig.create(&rig.web());
    rig.take_calls();
    let output = rig.launcher(["destroy", "web"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--yes"));
    let dry = succeeded(rig.launcher(["destroy", "web", "--dry-run"]));
    assert!(text(&dry.stdout).contains("delete launch template elbow-web"));
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
}

#[test]
fn a_route_to_a_stranger_stays() {
    let rig = Rig::new();
    rig.create(&rig.web());
    let table = rig.api.seed().route_tables["private-a"].clone();
    let interface = rig.api.seed().others["interface"].as_str().unwrap().to_owned();
    let route = ["--destination-cidr-block", "10.255.0.10/32", "--network-interface-id", &interface];
    rig.aws(&[&["ec2", "create-route", "--route-table-id", &table][..], &route].concat());
    rig.destroy();
    let world = rig.world();
    let routes = &world.route_tables.iter().find(|there| there.id == table).unwrap().routes;
    assert!(
        routes
            .iter()
            .any(|route| route.interface.as_ref() == Some(&interface)
                && route.destination.to_string() == "10.255.0.10/32")
    );
}

/// Every role, role policy and instance profile of the account.
fn identities(rig: &Rig) -> [String; 2] {
    let text = ["--output", "json", "--query"];
    [
        rig.aws(&[&["iam", "list-roles"][..], &text, &["Roles[].RoleName"]].concat()),
        rig.aws(&[&["iam", "list-instance-profiles"][..], &text, &["InstanceProfiles[].InstanceProfileName"]].concat()),
    ]
}
