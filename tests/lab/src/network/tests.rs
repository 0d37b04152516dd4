//! Tests of the desired state and of the scripts, without a kernel.

use std::collections::BTreeSet;

use super::*;
use crate::world::{Interface, Permission, Route, RouteState, RouteTable, SecurityGroup, Subnet, Vpc, World};

fn world() -> World {
    let subnet = |id: &str, cidr: &str| Subnet {
        id: id.into(),
        vpc: "vpc-1".into(),
        cidr: cidr.parse().unwrap(),
        zone: "eu-west-1a".into(),
        zone_id: None,
        tags: Default::default(),
    };
    let interface = |id: &str, subnet: &str, address: &str| Interface {
        id: id.into(),
        subnet: subnet.into(),
        vpc: "vpc-1".into(),
        address: address.parse().unwrap(),
        mac: "02:00:00:00:00:01".into(),
        source_dest_check: true,
        groups: vec!["sg-1".into()],
        instance: Some("i-1".into()),
        status: "in-use".into(),
        tags: Default::default(),
    };
    let table = |id: &str, main: bool, subnets: &[&str]| RouteTable {
        id: id.into(),
        vpc: "vpc-1".into(),
        main,
        subnets: subnets.iter().map(|s| s.to_string()).collect(),
        gateways: vec![],
        tags: Default::default(),
        routes: vec![Route {
            destination: "10.0.0.0/16".parse().unwrap(),
            interface: None,
            gateway: Some("local".into()),
            state: RouteState::Active,
        }],
    };
    World {
        vpcs: vec![Vpc { id: "vpc-1".into(), cidrs: vec!["10.0.0.0/16".parse().unwrap()] }],
        subnets: vec![subnet("subnet-a", "10.0.1.0/24"), subnet("subnet-c", "10.0.3.0/24")],
        route_tables: vec![table("rtb-main", true, &[]), table("rtb-a", false, &["subnet-a"])],
        security_groups: vec![SecurityGroup {
            id: "sg-1".into(),
            vpc: "vpc-1".into(),
            name: "elbow-web".into(),
            tags: Default::default(),
            ingress: vec![Permission {
                protocol: "112".into(),
                from: None,
                to: None,
                cidrs: vec![],
                groups: vec!["sg-1".into()],
            }],
            egress: vec![],
        }],
        interfaces: vec![
            interface("eni-aaaaaaaaaaaaaaaaa", "subnet-a", "10.0.1.10"),
            interface("eni-bbbbbbbbbbbbbbbbb", "subnet-c", "10.0.3.11"),
        ],
        ..World::default()
    }
}

fn services() -> Services {
    Services {
        metadata: "169.254.169.254".parse().unwrap(),
        resolver: "10.0.0.2".parse().unwrap(),
        api: BTreeSet::from(["10.0.0.3".parse().unwrap()]),
        hosts: BTreeSet::new(),
    }
}

fn decide(world: &World, faults: &Faults) -> Desired {
    decide_with(world, faults, &mut Numbers::default())
}

fn decide_with(world: &World, faults: &Faults, numbers: &mut Numbers) -> Desired {
    let fixtures =
        [Fixture { name: "client".into(), address: "10.0.3.10".parse().unwrap(), subnet: "subnet-c".into() }];
    desired(&Setting { world, vpc: "vpc-1", services: &services(), fixtures: &fixtures, faults }, numbers)
}

fn vip(interface: Option<&str>, state: RouteState) -> Route {
    Route { destination: "10.255.0.10/32".parse().unwrap(), interface: interface.map(Into::into), gateway: None, state }
}

#[test]
fn a_state_that_is_as_desired_needs_no_script() {
    let wanted = decide(&world(), &Faults::default());
    assert!(difference(&wanted, &wanted).is_empty());
}

#[test]
fn a_moved_route_is_one_line_in_the_router_and_nothing_else() {
    let (mut world, mut numbers) = (world(), Numbers::default());
    world.route_tables[1].routes.push(vip(Some("eni-aaaaaaaaaaaaaaaaa"), RouteState::Active));
    let before = decide_with(&world, &Faults::default(), &mut numbers);
    world.route_tables[1].routes[1] = vip(Some("eni-bbbbbbbbbbbbbbbbb"), RouteState::Active);
    let after = decide_with(&world, &Faults::default(), &mut numbers);
    let script = difference(&before, &after);
    let number = after.tables["rtb-a"].number;
    let line = format!("route replace 10.255.0.10/32 via 10.0.3.11 dev r-bbbbbbbbbbbb onlink table {number}");
    assert_eq!(script, Script { router: vec![line], ..Script::default() });
}

#[test]
fn packets_to_a_blackhole_and_to_an_internet_gateway_are_dropped() {
    let mut world = world();
    world.route_tables[0].routes.push(vip(Some("eni-aaaaaaaaaaaaaaaaa"), RouteState::Blackhole));
    let to_world = Route { gateway: Some("igw-1".into()), ..vip(None, RouteState::Active) };
    world.route_tables[1].routes.push(to_world);
    let wanted = decide(&world, &Faults::default());
    for table in ["rtb-main", "rtb-a"] {
        let routes: Vec<_> = wanted.tables[table].routes.values().collect();
        assert_eq!(routes, [&Target::Nowhere], "{table}");
    }
}

#[test]
fn a_subnet_without_a_table_uses_the_main_one() {
    let wanted = decide(&world(), &Faults::default());
    assert_eq!(wanted.rules["client"], "rtb-main");
    assert_eq!(wanted.rules["eni-aaaaaaaaaaaaaaaaa"], "rtb-a");
}

#[test]
fn a_changed_association_changes_only_the_rule_of_its_links() {
    let (mut world, mut numbers) = (world(), Numbers::default());
    let before = decide_with(&world, &Faults::default(), &mut numbers);
    world.route_tables[1].subnets.clear();
    let after = decide_with(&world, &Faults::default(), &mut numbers);
    let script = difference(&before, &after);
    assert_eq!(script.router.len(), 2, "{script:?}");
    assert!(script.router[0].starts_with("rule add") && script.router[1].starts_with("rule del"), "{script:?}");
}

#[test]
fn a_deleted_interface_loses_its_link_and_namespace() {
    let (mut world, mut numbers) = (world(), Numbers::default());
    let before = decide_with(&world, &Faults::default(), &mut numbers);
    world.interfaces.remove(0);
    let script = difference(&before, &decide_with(&world, &Faults::default(), &mut numbers));
    assert!(script.cards_first.contains(&"link del c-aaaaaaaaaaaa".to_owned()), "{script:?}");
    assert_eq!(script.host, ["netns del elbow-lab-eni-aaaaaaaaaaaaaaaaa"]);
}

#[test]
fn a_number_is_never_reused() {
    let (mut world, mut numbers) = (world(), Numbers::default());
    let first = decide_with(&world, &Faults::default(), &mut numbers).numbers["eni-aaaaaaaaaaaaaaaaa"];
    world.interfaces[0].id = "eni-ccccccccccccccccc".into();
    let second = decide_with(&world, &Faults::default(), &mut numbers).numbers["eni-ccccccccccccccccc"];
    assert_ne!(first, second);
}

#[test]
fn an_interface_without_an_instance_has_no_link() {
    let mut world = world();
    world.interfaces[0].instance = None;
    assert!(!decide(&world, &Faults::default()).links.contains_key("eni-aaaaaaaaaaaaaaaaa"));
}

#[test]
fn a_group_rule_allows_its_members_primary_addresses() {
    let wanted = decide(&world(), &Faults::default());
    assert!(wanted.cards.contains("ip saddr 10.0.1.10/32 meta l4proto 112 accept"), "{}", wanted.cards);
    assert!(wanted.cards.contains("ip saddr 10.0.3.11/32 meta l4proto 112 accept"), "{}", wanted.cards);
}

#[test]
fn a_disabled_source_dest_check_applies_to_its_card_only() {
    let mut world = world();
    world.interfaces[0].source_dest_check = false;
    let wanted = decide(&world, &Faults::default());
    assert!(wanted.cards.contains("set unchecked {\n\t\ttype ifname\n\t\telements = { \"c-aaaaaaaaaaaa\" }"));
}

#[test]
fn a_partition_changes_only_the_routers_firewall_and_healing_undoes_it() {
    let (world, mut numbers, mut faults) = (world(), Numbers::default(), Faults::default());
    let whole = decide_with(&world, &faults, &mut numbers);
    faults.partition("eni-aaaaaaaaaaaaaaaaa", Side::Machine("eni-bbbbbbbbbbbbbbbbb".into()));
    let cut = decide_with(&world, &faults, &mut numbers);
    let script = difference(&whole, &cut);
    assert!(script.router_firewall.is_some() && script.cards_firewall.is_none());
    assert!(cut.router.contains("\"r-bbbbbbbbbbbb\" . \"r-aaaaaaaaaaaa\""), "both ways: {}", cut.router);
    faults.heal();
    assert_eq!(decide_with(&world, &faults, &mut numbers), whole);
}

#[test]
fn a_lost_zone_silences_its_target_and_its_api_address() {
    let mut faults = Faults::default();
    let zone = Zone { fixtures: ["client".into()].into(), api: ["10.0.0.3".parse().unwrap()].into() };
    faults.lose("eu-west-1a", zone);
    let wanted = decide(&world(), &faults);
    assert!(wanted.cards.contains("set dark {\n\t\ttype ifname\n\t\telements = { \"c-client\", \"u-client\" }"));
    assert!(wanted.router.contains("set lost_api {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.3 }"));
    assert_eq!(faults.describe(), ["lost: eu-west-1a"]);
    faults.heal();
    assert_eq!(decide(&world(), &faults), decide(&world(), &Faults::default()));
}

#[test]
fn a_machine_without_power_is_silent_at_both_ends_of_its_card() {
    let mut faults = Faults::default();
    faults.darken("eni-aaaaaaaaaaaaaaaaa");
    let wanted = decide(&world(), &faults);
    assert!(wanted.cards.contains("elements = { \"c-aaaaaaaaaaaa\", \"u-aaaaaaaaaaaa\" }"), "{}", wanted.cards);
    faults.light("eni-aaaaaaaaaaaaaaaaa");
    assert_eq!(decide(&world(), &faults), decide(&world(), &Faults::default()));
}
