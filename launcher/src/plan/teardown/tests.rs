//! What is removed, and what is left alone.

use super::*;
use crate::model::observe::tests::whole;
use crate::resources::route_tables::Route;

fn table(id: &str, destination: &str, target: &str, blackhole: bool) -> Table {
    let route = Route { destination: destination.into(), target: Some(target.into()), blackhole };
    Table { id: id.into(), routes: vec![route], ..Table::default() }
}

#[test]
fn everything_goes_and_the_template_before_iam_but_after_the_routes() {
    let observed = whole();
    assert_eq!(instances(&observed), Some(Removal::Terminate(vec!["i-0".into(), "i-1".into()])));
    let kinds: Vec<&str> = rest(&observed, "vpc-0a1b2c3d").iter().map(|removal| removal.change().action).collect();
    assert_eq!(kinds, ["delete-launch-template", "delete-instance-profile", "delete-role", "delete-security-group"]);
}

#[test]
fn ended_instances_are_not_ended_again() {
    let mut observed = whole();
    for node in &mut observed.nodes {
        node.state = "terminated".into();
    }
    assert_eq!(instances(&observed), None);
}

#[test]
fn only_routes_to_own_nodes_or_to_nothing_go() {
    let tables = [
        table("rtb-1", "10.255.0.10/32", "eni-0", false),
        table("rtb-2", "10.255.0.10/32", "eni-gone", true),
        table("rtb-3", "10.255.0.10/32", "eni-others", false),
        table("rtb-4", "10.255.9.9/32", "eni-gone", true),
        table("rtb-5", "10.9.0.0/16", "eni-0", false),
    ];
    let removals = routes(&whole(), &tables);
    let from: Vec<&str> = removals
        .iter()
        .map(|removal| match removal {
            Removal::Route { table, .. } => table.as_str(),
            other => panic!("{other:?} is no route"),
        })
        .collect();
    assert_eq!(from, ["rtb-1", "rtb-2"]);
}

#[test]
fn another_vpcs_group_of_the_name_stays() {
    let removed = rest(&whole(), "vpc-other");
    assert!(!removed.iter().any(|removal| matches!(removal, Removal::Group { .. })));
}

#[test]
fn a_group_goes_first_whatever_it_is_doing() {
    let mut observed = whole();
    assert_eq!(scaling(&observed), None);
    observed.scaling = Some(crate::model::group_settings::tests::group());
    assert_eq!(scaling(&observed), Some(Removal::Scaling("elbow-web".into())));
}

#[test]
fn a_kind_stays_if_a_kind_that_must_go_first_stays() {
    let stays = |stuck: &[Kind]| {
        let stuck = stuck.iter().copied().collect();
        ORDER.into_iter().filter(|kind| in_the_way(*kind, &stuck).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(stays(&[]), []);
    assert_eq!(stays(&[Kind::Scaling]), [Kind::Nodes]);
    let nodes = [Kind::Tables, Kind::Template, Kind::Profile, Kind::Role, Kind::Groups];
    assert_eq!(stays(&[Kind::Nodes]), nodes, "they may run");
    assert_eq!(stays(&[Kind::Tables]), [Kind::Template], "it lists the virtual IPs");
    assert_eq!(stays(&[Kind::Profile]), [Kind::Role]);
}

#[test]
fn an_unreadable_group_counts_only_if_it_may_exist() {
    let unread = |observed: Observed| {
        let mut glance = Glance { observed, ..Glance::default() };
        let reason = crate::aws::error::Reason::Denied(String::new());
        let (action, object) = ("autoscaling:DescribeAutoScalingGroups", "elbow-web".to_owned());
        glance.take::<()>(Kind::Scaling, Err(crate::aws::error::CallFailed { action, object, reason }));
        unsure(&glance).contains(&Kind::Scaling)
    };
    assert!(!unread(whole()), "its template launches instances");
    let mut grouped = whole();
    grouped.nodes[0].tags = grouped.nodes[0].tags.clone().with("aws:autoscaling:groupName", "elbow-web");
    assert!(unread(grouped));
    assert!(unread(Observed { template: None, ..whole() }));
}
