//! Each problem is found by its id, and the healthy example has none.

mod s3;

use std::net::Ipv4Addr;

use templates::Balancer;

use super::access_lists::{AccessList, Rule, VRRP};
use super::facts::{Answer, Dns, Facts, Interface, Permission};
use super::{Case, Finding, Id, Status, examine};
use crate::aws::error::{CallFailed, Reason};
use crate::model::desired::tests::{auto_scaling, web};
use crate::model::discover::Surroundings;
use crate::model::observe::Observed;
use crate::model::observe::tests::whole;
use crate::model::tags::Tags;
use crate::preflight::tests::place;
use crate::resources::gateways::{Endpoint, Nat};
use crate::resources::route_tables::{Route, Table};
use crate::resources::security_group::{self, Group, Source};

const ALLOWS: Rule = Rule {
    number: 100,
    outbound: false,
    allows: true,
    protocol: None,
    ports: None,
    net: ipnet::Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0),
};

fn route(destination: &str, target: &str) -> Route {
    Route { destination: destination.into(), target: Some(target.into()), blackhole: false }
}

/// Two private subnets with a NAT gateway each.
fn tables() -> Vec<Table> {
    let table = |id: &str, subnet: &str, nat: &str| Table {
        id: id.into(),
        subnets: vec![subnet.into()],
        routes: vec![route("10.0.0.0/16", "local"), route("0.0.0.0/0", nat)],
        ..Table::default()
    };
    vec![table("rtb-a", "subnet-0aaa", "nat-a"), table("rtb-b", "subnet-0bbb", "nat-b")]
}

/// The nodes' subnets are also the targets'.
fn facts() -> Facts {
    let nat = |id: &str, subnet: &str| Nat { id: id.into(), subnet: Some(subnet.into()), public: true };
    let target = |address: [u8; 4]| Interface { addresses: vec![address.into()], groups: vec!["sg-app".into()] };
    Facts {
        permissions: vec![Permission { action: "ec2:CreateSecurityGroup".into(), answer: Answer::Allowed }],
        nats: Ok(vec![nat("nat-a", "subnet-0aaa"), nat("nat-b", "subnet-0bbb")]),
        endpoints: Ok(Vec::new()),
        dns: Ok(Dns { support: true, hostnames: true }),
        access_lists: Ok(vec![AccessList {
            id: "acl-1".into(),
            subnets: vec!["subnet-0aaa".into(), "subnet-0bbb".into()],
            rules: vec![ALLOWS, Rule { outbound: true, ..ALLOWS }],
        }]),
        interfaces: Ok(vec![target([10, 0, 1, 20]), target([10, 0, 2, 20])]),
        groups: Ok(vec![group("10.0.0.0/16")]),
        transit_gateways: Ok(Vec::new()),
        peerings: Ok(Vec::new()),
        private_gateways: Ok(Vec::new()),
    }
}

/// The targets' security group, which admits this source on the targets' port.
fn group(source: &str) -> Group {
    let source = if source.starts_with("sg-") { Source::Group(source.into()) } else { Source::Cidr(source.into()) };
    let rule = security_group::Rule { protocol: "tcp".into(), ports: Some((8080, 8080)), source };
    Group {
        id: "sg-app".into(),
        name: "app".into(),
        vpc: "vpc-0a1b2c3d".into(),
        tags: Tags::default(),
        rules: [rule].into(),
        outbound: [].into(),
    }
}

struct World {
    balancer: Balancer,
    place: Surroundings,
    observed: Observed,
    facts: Facts,
}

/// The findings that aren't ok after a change of the healthy example.
fn after(change: impl FnOnce(&mut World)) -> Vec<Finding> {
    let place = Surroundings { tables: tables(), ..place() };
    let mut world = World { balancer: web(), place, observed: whole(), facts: facts() };
    change(&mut world);
    let World { balancer, place, observed, facts } = &world;
    let findings = examine(&Case { balancer, place, observed, facts });
    for finding in &findings {
        assert!(!finding.line().contains('\n'), "{finding:?}");
        assert_eq!(finding.remedy.is_empty(), finding.status == Status::Ok, "{finding:?}");
    }
    findings.into_iter().filter(|finding| finding.status != Status::Ok).collect()
}

/// The change causes this finding and no other; returns its line.
#[track_caller]
fn only(status: Status, id: Id, change: impl FnOnce(&mut World)) -> String {
    let findings = after(change);
    let kinds: Vec<(Status, Id)> = findings.iter().map(|finding| (finding.status, finding.id)).collect();
    assert_eq!(kinds, [(status, id)], "{findings:?}");
    findings[0].line()
}

#[track_caller]
fn says(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "{line:?} doesn't say {word:?}");
    }
}

fn denied<T>(action: &'static str) -> Result<T, CallFailed> {
    Err(CallFailed { action, object: "vpc-1".into(), reason: Reason::Denied("no".into()) })
}

#[test]
fn a_healthy_balancer_has_no_finding_and_each_check_is_ok() {
    assert_eq!(after(|_| ()), []);
    let (balancer, place, observed, facts) = (web(), place(), whole(), facts());
    let findings = examine(&Case { balancer: &balancer, place: &place, observed: &observed, facts: &facts });
    // These have nothing to say about it: no group launches its nodes, its agent isn't in S3, it has no endpoint, and all
    // nodes run.
    let silent = [Id::AutoScalingApi, Id::SubnetS3, Id::EndpointGroups, Id::VcpuQuota];
    for id in Id::ALL {
        assert_eq!(findings.iter().any(|finding| finding.id == id), !silent.contains(&id), "{id}");
    }
}

#[test]
fn before_create_only_the_quota_that_ec2_does_not_show_is_unknown() {
    only(Status::Unknown, Id::VcpuQuota, |world| world.observed = Observed::default());
}

#[test]
fn a_denied_permission_is_a_problem_and_one_that_cannot_be_tried_is_unknown() {
    let answer = |answer: Answer| vec![Permission { action: "iam:CreateRole".into(), answer }];
    let line = only(Status::Problem, Id::Permissions, |world| {
        world.facts.permissions = answer(Answer::Denied("no policy allows it".into()));
    });
    says(&line, &["iam:CreateRole", "no policy allows it", "organization"]);
    only(Status::Unknown, Id::Permissions, |world| {
        world.facts.permissions = answer(Answer::Unclear("IAM doesn't say".into()));
    });
}

#[test]
fn the_preflights_lines_have_ids() {
    only(Status::Problem, Id::Subnets, |world| drop(world.place.subnets.remove(1)));
    only(Status::Problem, Id::VirtualIps, |world| {
        world.place.tables[0].routes.push(route("10.255.0.10/32", "eni-other"));
    });
    let arm = only(Status::Problem, Id::ImageAndType, |world| {
        world.place.image.as_mut().unwrap().architecture = "arm64".into();
    });
    says(&arm, &["arm64", "t3.small"]);
}

#[test]
fn a_full_subnet_is_a_problem_unless_its_node_runs() {
    let full = |world: &mut World| world.place.subnets[0].free = 0;
    only(Status::Warning, Id::SubnetAddresses, full);
    let findings = after(|world| {
        full(world);
        world.observed = Observed::default();
    });
    assert!(findings.iter().any(|one| (one.status, one.id) == (Status::Problem, Id::SubnetAddresses)), "{findings:?}");
}

fn default_route(world: &mut World) -> &mut Vec<Route> {
    &mut world.place.tables[0].routes
}

#[test]
fn each_subnet_needs_a_way_to_the_api_in_its_own_zone() {
    let api = |status: Status, change: &dyn Fn(&mut World)| {
        let findings = after(change);
        let found = findings.iter().find(|finding| finding.id == Id::SubnetApi);
        let found = found.unwrap_or_else(|| panic!("{findings:?}"));
        assert_eq!(found.status, status, "{found:?}");
        found.line()
    };
    let none = api(Status::Problem, &|world| default_route(world).truncate(1));
    says(&none, &["subnet-0aaa", "rtb-a has no default route", "NAT gateway in eu-west-1a", "private DNS"]);
    let other = api(Status::Warning, &|world| default_route(world)[1].target = Some("nat-b".into()));
    says(&other, &["subnet-0aaa", "nat-b in eu-west-1b"]);
    api(Status::Problem, &|world| default_route(world)[1].blackhole = true);
    api(Status::Problem, &|world| world.facts.nats = Ok(Vec::new()));
    api(Status::Problem, &|world| default_route(world)[1].target = Some("igw-1".into()));
    api(Status::Unknown, &|world| default_route(world)[1].target = Some("tgw-1".into()));
    api(Status::Unknown, &|world| world.facts.nats = denied("ec2:DescribeNatGateways"));
    assert_eq!(
        after(|world| {
            default_route(world)[1].target = Some("igw-1".into());
            world.place.subnets[0].public = true;
        }),
        []
    );
}

fn endpoint(service: &str, subnets: &[&str]) -> Endpoint {
    Endpoint {
        id: format!("vpce-{service}"),
        service: format!("com.amazonaws.eu-west-1.{service}"),
        interface: true,
        tables: vec![],
        private_dns: true,
        subnets: subnets.iter().map(|id| (*id).to_owned()).collect(),
        groups: vec!["sg-endpoint".into()],
    }
}

/// No NAT gateway, and this endpoint for EC2.
fn isolated(world: &mut World, endpoint: Endpoint) {
    world.place.tables.iter_mut().for_each(|table| table.routes.truncate(1));
    world.facts.endpoints = Ok(vec![endpoint]);
    let open = Group { id: "sg-endpoint".into(), rules: Default::default(), ..group("10.0.0.0/16") };
    let https = security_group::Rule {
        protocol: "tcp".into(),
        ports: Some((443, 443)),
        source: Source::Cidr("10.0.0.0/16".into()),
    };
    world.facts.groups.as_mut().unwrap().push(Group { rules: [https].into(), ..open });
}

#[test]
fn an_interface_endpoint_is_a_way_to_the_api_and_must_admit_the_nodes() {
    let both = ["subnet-0aaa", "subnet-0bbb"];
    only(Status::Unknown, Id::Internet, |world| isolated(world, endpoint("ec2", &both)));
    let kinds = |change: &dyn Fn(&mut World)| -> Vec<(Status, Id)> {
        after(change).iter().map(|finding| (finding.status, finding.id)).collect()
    };
    let internet = (Status::Unknown, Id::Internet);
    let one = kinds(&|world| isolated(world, endpoint("ec2", &both[..1])));
    assert_eq!(one, [(Status::Warning, Id::SubnetApi), internet]);
    let nameless = kinds(&|world| isolated(world, Endpoint { private_dns: false, ..endpoint("ec2", &both) }));
    assert_eq!(nameless, [(Status::Unknown, Id::SubnetApi), (Status::Unknown, Id::SubnetApi), internet]);
    let closed = kinds(&|world| {
        isolated(world, endpoint("ec2", &both));
        world.facts.groups.as_mut().unwrap()[1].rules.clear();
    });
    assert_eq!(closed, [internet, (Status::Problem, Id::EndpointGroups)]);
    let group = kinds(&|world| {
        isolated(world, endpoint("ec2", &both));
        world.balancer = auto_scaling();
        world.observed = Observed::default();
    });
    assert_eq!(group.iter().filter(|kind| **kind == (Status::Problem, Id::AutoScalingApi)).count(), 2, "{group:?}");
}

#[test]
fn dns_attributes_that_hide_an_endpoint_are_a_problem_without_another_way() {
    let dns = |support, hostnames| move |world: &mut World| world.facts.dns = Ok(Dns { support, hostnames });
    assert_eq!(after(dns(true, false)), [], "no endpoint needs the attribute");
    let servers = only(Status::Warning, Id::VpcDns, dns(false, true));
    says(&servers, &["vpc-0a1b2c3d has enableDnsSupport off", "DHCP option set", "--enable-dns-support"]);
    let subnets = ["subnet-0aaa", "subnet-0bbb"];
    let routed = only(Status::Warning, Id::VpcDns, |world| {
        dns(true, false)(world);
        world.facts.endpoints = Ok(vec![Endpoint { groups: vec![], ..endpoint("ec2", &subnets) }]);
    });
    says(&routed, &["enableDnsHostnames off", "vpce-ec2", "nodes call public addresses", "--enable-dns-hostnames"]);
    let alone = after(|world| {
        isolated(world, endpoint("ec2", &subnets));
        dns(true, false)(world);
    });
    let kinds: Vec<(Status, Id)> = alone.iter().map(|finding| (finding.status, finding.id)).collect();
    assert_eq!(kinds, [(Status::Unknown, Id::Internet), (Status::Problem, Id::VpcDns)], "{alone:?}");
    only(Status::Unknown, Id::VpcDns, |world| world.facts.dns = denied("ec2:DescribeVpcAttribute"));
}

#[test]
fn a_network_acl_that_drops_vrrp_or_clients_is_a_problem_with_the_rule_to_add() {
    let no =
        |protocol: Option<u8>, ports: Option<(u16, u16)>| Rule { number: 1, allows: false, protocol, ports, ..ALLOWS };
    let lines = |rule: Rule| {
        let findings = after(|world| world.facts.access_lists.as_mut().unwrap()[0].rules.push(rule));
        assert!(findings.iter().all(|finding| finding.status == Status::Problem), "{findings:?}");
        findings
    };
    let vrrp = lines(no(Some(VRRP), None));
    assert_eq!(vrrp.len(), 2, "from each subnet: {vrrp:?}");
    says(&vrrp[0].line(), &["acl-1", "add an inbound rule to acl-1: allow protocol 112 (VRRP) from 10.0.1.0/24"]);
    let api = lines(Rule { outbound: true, ..no(Some(6), Some((443, 443))) });
    assert_eq!(api.len(), 1, "{api:?}");
    says(&api[0].line(), &["add an outbound rule to acl-1: allow tcp 443 to 0.0.0.0/0"]);
    let clients = lines(no(Some(6), Some((80, 80))));
    says(&clients[0].line(), &["acl-1 of subnet-0aaa, subnet-0bbb drops tcp 80 from 10.0.0.0/16"]);
    let targets = lines(no(Some(6), Some((8080, 8080))));
    assert!(targets.iter().all(|finding| finding.id == Id::TargetNetworkAcls), "{targets:?}");
    only(Status::Unknown, Id::TransitGateways, |world| {
        world.facts.transit_gateways = denied("ec2:DescribeTransitGatewayVpcAttachments");
    });
}

#[test]
fn outbound_rules_must_allow_what_the_nodes_send() {
    let rule = |protocol: &str, ports, source| security_group::Rule { protocol: protocol.into(), ports, source };
    let with = |rules: &[security_group::Rule]| {
        let findings = after(|world| world.observed.groups[0].outbound = rules.iter().cloned().collect());
        assert!(findings.iter().all(|finding| finding.id == Id::OutboundRules), "{findings:?}");
        findings.into_iter().map(|finding| (finding.status, finding.line())).collect::<Vec<_>>()
    };
    let vpc = Source::Cidr("10.0.0.0/16".into());
    let closed = with(&[]);
    let statuses: Vec<Status> = closed.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [Status::Problem, Status::Warning]);
    says(&closed[0].1, &["sg-1 don't allow", "tcp 443 to 0.0.0.0/0", "protocol 112 (VRRP) to 10.0.2.0/24"]);
    says(&closed[1].1, &["tcp 8080 to 10.0.1.20/32, tcp 8080 to 10.0.2.20/32"]);
    let inside = with(&[rule("-1", None, vpc.clone())]);
    assert_eq!(inside.len(), 1, "{inside:?}");
    assert_eq!(inside[0].0, Status::Unknown);
    says(&inside[0].1, &["sg-1 may not allow tcp 443 to 0.0.0.0/0; "]);
    let all = Source::Cidr("0.0.0.0/0".into());
    let web_only = with(&[rule("tcp", Some((443, 443)), all), rule("-1", None, vpc)]);
    assert!(web_only.is_empty(), "{web_only:?}");
    let members = with(&[rule("-1", None, Source::Members)]);
    assert!(members.iter().all(|(status, _)| *status == Status::Unknown), "{members:?}");
}

#[test]
fn a_closed_target_names_the_rule_to_add() {
    let close = |world: &mut World| world.facts.groups = Ok(vec![group("10.9.0.0/16")]);
    let line = only(Status::Problem, Id::TargetSecurityGroups, close);
    says(&line, &["10.0.1.20, 10.0.2.20", "tcp 8080", "allow tcp 8080 from sg-1 in sg-app"]);
    let before = after(|world| {
        close(world);
        world.observed = Observed::default();
    });
    let before = before.iter().find(|finding| finding.id == Id::TargetSecurityGroups).expect("it is closed");
    assert_eq!(before.status, Status::Warning, "the targets may be meant to admit the group that create makes");
    says(&before.line(), &["allow tcp 8080 from 10.0.1.0/24 and 10.0.2.0/24 in sg-app"]);
    assert_eq!(after(|world| world.facts.groups = Ok(vec![group("sg-1")])), [], "the nodes' group");
    only(Status::Unknown, Id::TargetSecurityGroups, |world| world.facts.groups = Ok(vec![group("10.0.1.0/25")]));
    let unseen = only(Status::Unknown, Id::TargetSecurityGroups, |world| {
        world.facts.interfaces.as_mut().unwrap().truncate(1);
    });
    says(&unseen, &["10.0.2.20"]);
}

#[test]
fn connections_that_do_not_carry_the_address_are_warnings() {
    let transit = only(Status::Warning, Id::TransitGateways, |world| {
        world.facts.transit_gateways = Ok(vec!["tgw-1".into()]);
    });
    says(&transit, &["tgw-1", "static route for 10.255.0.10/32"]);
    only(Status::Warning, Id::Peerings, |world| world.facts.peerings = Ok(vec!["pcx-1".into()]));
    only(Status::Warning, Id::PrivateGateways, |world| world.facts.private_gateways = Ok(vec!["vgw-1".into()]));
}

#[test]
fn route_tables_of_terraform_are_unknown_and_full_ones_a_warning() {
    only(Status::Unknown, Id::TerraformTables, |world| {
        world.place.tables[0].tags = Tags::from_iter([("ManagedBy", "terraform")]);
    });
    let with = |status: Status, routes: usize| {
        only(status, Id::RoutesPerTable, |world| {
            let more = routes - default_route(world).len();
            default_route(world).extend((0..more).map(|n| route(&format!("10.{}.{}.0/24", n / 256, n % 256), "tgw-1")));
        })
    };
    says(&with(Status::Unknown, 50), &["rtb-a (51)", "quota is 500, and an account may still have 50"]);
    says(&with(Status::Warning, 500), &["rtb-a (501)", "raise the quota"]);
}

#[test]
fn changes_by_hand_are_drift() {
    let group = only(Status::Problem, Id::Drift, |world| world.observed.groups[0].rules.clear());
    says(&group, &["`launcher create` would allow inbound to elbow-web", "undo the change"]);
    let default = after(|world| {
        let template = world.observed.template.as_mut().unwrap();
        (template.version, template.default) = (3, 3);
    });
    assert!(default.iter().any(|one| (one.status, one.id) == (Status::Problem, Id::Drift)), "{default:?}");
}
