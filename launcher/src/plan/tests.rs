//! Plans for observed states.

use std::collections::BTreeSet;

use templates::names;

use super::*;
use crate::model::agent_store::{self, AgentStore, Contents};
use crate::model::desired::tests::{auto_scaling, desired, desired_of, web};
use crate::model::group_settings::tests::group;
use crate::model::observe::tests::{node, whole};
use crate::resources::scaling_group::ScalingGroup;

fn kinds(actions: &[Action]) -> Vec<&'static str> {
    actions.iter().map(|action| action.change(&desired()).action).collect()
}

#[test]
fn without_resources_everything_is_created_in_an_order_that_works() {
    let actions = plan(&desired(), &Observed::default());
    assert_eq!(
        kinds(&actions),
        [
            "create-security-group",
            "allow",
            "create-role",
            "set-policy",
            "create-instance-profile",
            "add-role",
            "create-launch-template",
            "launch",
            "launch"
        ]
    );
    assert!(actions.is_sorted_by_key(Action::stage));
}

#[test]
fn the_agent_is_in_the_bucket_before_a_node_is_launched() {
    let store = agent_store::tests::store();
    let of = |contents: Contents| {
        desired_of(&agent_store::tests::balancer()).with_store(&Some(AgentStore { contents, ..store.clone() }))
    };
    let desired = of(Contents::Absent);
    let actions = plan(&desired, &Observed::default());
    assert_eq!(
        kinds(&actions)[..5],
        ["create-security-group", "allow", "create-bucket", "upload-agent", "create-role"]
    );
    assert!(actions.is_sorted_by_key(Action::stage));
    let said: Vec<String> = missing_in_bucket(&desired).iter().map(|action| action.change(&desired).what).collect();
    let bucket = "bucket elbow-123456789012-eu-west-1";
    assert_eq!(said, [format!("create {bucket}"), format!("upload the agent for x86_64 (5.8 MB) to {bucket}")]);
    let keys =
        |digits: &[&str]| Contents::Keys(digits.iter().map(|digit| names::agent_key(&digit.repeat(64))).collect());
    assert_eq!(kinds(&missing_in_bucket(&of(keys(&["b"])))), ["upload-agent"]);
    assert_eq!(missing_in_bucket(&of(keys(&["b", "a"]))), []);
}

#[test]
fn a_whole_balancer_needs_nothing() {
    assert_eq!(plan(&desired(), &whole()), []);
}

#[test]
fn only_the_missing_part_is_created() {
    let without = |change: fn(&mut Observed)| {
        let mut observed = whole();
        change(&mut observed);
        kinds(&plan(&desired(), &observed))
    };
    assert_eq!(without(|it| it.role.as_mut().unwrap().policy = None), ["set-policy"]);
    assert_eq!(without(|it| it.role.as_mut().unwrap().trust = serde_json::Value::Null), ["set-trust"]);
    assert_eq!(without(|it| it.role = None), ["create-role", "set-policy"]);
    assert_eq!(without(|it| it.profile.as_mut().unwrap().role = None), ["add-role"]);
    assert_eq!(without(|it| it.profile = None), ["create-instance-profile", "add-role"]);
    assert_eq!(without(|it| it.template = None), ["create-launch-template"]);
    assert_eq!(without(|it| drop(it.nodes.remove(1))), ["launch"]);
}

#[test]
fn a_group_gets_exactly_its_rules() {
    let mut observed = whole();
    let rules = &mut observed.groups[0].rules;
    let missing = rules.pop_first().unwrap();
    let extra = Rule {
        protocol: "tcp".into(),
        ports: Some((22, 22)),
        source: crate::resources::security_group::Source::Cidr("0.0.0.0/0".into()),
    };
    rules.insert(extra.clone());
    let actions = plan(&desired(), &observed);
    assert_eq!(actions, [Action::Allow(BTreeSet::from([missing])), Action::Revoke(BTreeSet::from([extra]))]);
}

#[test]
fn a_template_that_names_another_group_gets_a_version_with_the_same_image() {
    let mut observed = whole();
    let contents = &mut observed.template.as_mut().unwrap().contents;
    contents.groups = vec!["sg-gone".into()];
    contents.image = "ami-0123".into();
    assert_eq!(plan(&desired(), &observed), [Action::AddVersion(Box::new(observed.template.clone().unwrap()))]);
}

#[test]
fn a_newer_image_changes_nothing() {
    let mut observed = whole();
    observed.template.as_mut().unwrap().contents.image = "ami-0123".into();
    assert_eq!(plan(&desired(), &observed), []);
}

#[test]
fn an_ended_node_is_replaced_by_one_with_another_token() {
    let mut observed = whole();
    observed.nodes[0].state = "terminated".into();
    observed.nodes.push(node("i-older", 0, "terminated"));
    assert_eq!(
        plan(&desired(), &observed),
        [Action::Launch(Place { slot: Slot(0), subnet: "subnet-0aaa".into(), ended: 2, order: None, replaces: None })]
    );
}

#[test]
fn a_stopped_node_is_started() {
    let mut observed = whole();
    observed.nodes[1].state = "stopped".into();
    assert_eq!(plan(&desired(), &observed), [Action::Start { id: "i-1".into(), slot: Slot(1) }]);
}

#[test]
fn a_second_node_in_one_subnet_does_not_stand_in_for_another_subnets() {
    let mut observed = whole();
    observed.nodes[1].subnet = observed.nodes[0].subnet.clone();
    let [Action::Launch(place)] = &plan(&desired(), &observed)[..] else { panic!("one is launched") };
    assert_eq!((place.slot, place.subnet.as_str()), (Slot(1), "subnet-0bbb"));
}

#[test]
fn another_vpcs_group_of_the_name_is_not_used() {
    let mut observed = whole();
    observed.groups[0].vpc = "vpc-other".into();
    assert!(kinds(&plan(&desired(), &observed)).contains(&"create-security-group"));
}

#[test]
fn a_group_is_created_instead_of_nodes_and_does_not_rebalance_zones() {
    let desired = desired_of(&auto_scaling());
    let last: Vec<_> = plan(&desired, &Observed::default()).into_iter().rev().take(3).collect();
    assert_eq!(last, [Action::SuspendRebalance, Action::CreateScaling, Action::CreateTemplate]);
}

#[test]
fn a_changed_group_is_corrected_and_a_correct_one_left_alone() {
    let desired = desired_of(&auto_scaling());
    let changed = |change: &dyn Fn(&mut Observed)| {
        let group = group();
        let mut observed = Observed { scaling: Some(group), nodes: vec![], ..whole() };
        observed.template.as_mut().unwrap().contents = desired.contents("sg-1", None);
        observed.role.as_mut().unwrap().policy = serde_json::from_str(&desired.policy).ok();
        change(&mut observed);
        plan(&desired, &observed)
    };
    let planned = |change: fn(&mut ScalingGroup)| changed(&|it| change(it.scaling.as_mut().unwrap()));
    assert_eq!(planned(|_| ()), []);
    assert!(matches!(&planned(|it| it.settings.sizes = [0, 0, 2])[..], [Action::SetScaling(_)]));
    assert_eq!(planned(|it| drop(it.hooks.pop())), [Action::SetHook(group().hooks.remove(1))]);
    assert_eq!(planned(|it| it.template.1 = "$Latest".to_owned()), [Action::Pin]);
    let added = changed(&|it| it.template.as_mut().unwrap().contents.groups.clear());
    assert!(matches!(&added[..], [Action::AddVersion(_), Action::Pin]), "{added:?}");
    assert_eq!(planned(|it| it.suspended.clear()), [Action::SuspendRebalance]);
    assert_eq!(planned(|it| it.deleting = true), [Action::CreateScaling, Action::SuspendRebalance]);
}

#[test]
fn what_is_not_elbows_is_neither_created_nor_changed() {
    let iam = |role: Option<&str>, profile: Option<&str>| {
        let iam = Iam { role: role.map(str::to_owned), instance_profile: profile.map(str::to_owned), ..Iam::default() };
        desired_of(&templates::Balancer { iam, ..web() })
    };
    let made = |desired: &Desired| kinds(&plan(desired, &Observed::default()));
    let existing = iam(None, Some("nodes"));
    assert_eq!(
        made(&existing),
        ["create-security-group", "allow", "create-launch-template", "launch", "launch"],
        "an existing profile"
    );
    assert_eq!(existing.contents("sg-1", None).profile, "nodes");
    let made = made(&iam(Some("nodes"), None));
    assert!(!made.contains(&"create-role") && !made.contains(&"set-policy"), "{made:?}");
    assert!(made.contains(&"create-instance-profile") && made.contains(&"add-role"), "{made:?}");
}

#[test]
fn tags_and_the_boundary_that_another_program_changed_are_set_again() {
    let mut balancer = web();
    balancer.tags.insert("Team".to_owned(), "web".to_owned());
    balancer.iam.permissions_boundary = Some("arn:aws:iam::123456789012:policy/B".to_owned());
    let desired = desired_of(&balancer);
    let mut observed = whole();
    observed.template.as_mut().unwrap().contents = desired.contents("sg-1", None);
    let actions = plan(&desired, &observed);
    assert_eq!(actions[0], Action::SetBoundary("arn:aws:iam::123456789012:policy/B".to_owned()));
    let tagged = actions.iter().filter(|action| matches!(action, Action::Retag(_))).count();
    assert_eq!((tagged, actions.len()), (6, 7), "group, role, profile, template and two nodes: {actions:?}");
}
