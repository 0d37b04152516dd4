//! The way to S3, where a booting node gets the agent. Running nodes don't need it.

use super::*;

const SUBNETS: [&str; 2] = ["subnet-0aaa", "subnet-0bbb"];

/// Subnets with an endpoint for EC2 and no other way out, and agents in Elbow's bucket.
fn isolated_from_s3(world: &mut World) {
    isolated(world, endpoint("ec2", &SUBNETS));
    world.balancer.agent = None;
}

fn gateway(tables: &[&str]) -> Endpoint {
    Endpoint {
        id: "vpce-gateway".into(),
        service: "com.amazonaws.eu-west-1.s3".into(),
        tables: tables.iter().map(|id| (*id).to_owned()).collect(),
        ..Endpoint::default()
    }
}

/// The findings with this id after a change of the isolated balancer.
fn found(id: Id, change: impl FnOnce(&mut World)) -> Vec<Finding> {
    let findings = after(|world| {
        isolated_from_s3(world);
        change(world);
    });
    findings.into_iter().filter(|finding| finding.id == id).collect()
}

fn with(endpoint: Endpoint) -> impl Fn(&mut World) {
    move |world| world.facts.endpoints.as_mut().unwrap().push(endpoint.clone())
}

fn without_nodes(world: &mut World) {
    world.observed = Observed::default();
}

fn statuses(findings: &[Finding]) -> Vec<Status> {
    findings.iter().map(|finding| finding.status).collect()
}

#[test]
fn a_node_needs_a_way_to_s3_if_the_agent_is_there() {
    let none = found(Id::SubnetS3, without_nodes);
    assert_eq!(statuses(&none), [Status::Problem; 2]);
    says(
        &none[0].line(),
        &["subnet-0aaa (eu-west-1a) has no way to S3", "a gateway endpoint for s3 to its route table"],
    );
    let of = |source: &str| {
        found(Id::SubnetS3, |world| {
            without_nodes(world);
            world.balancer.agent = web().agent;
            world.balancer.agent.as_mut().unwrap().source = source.into();
        })
    };
    assert_eq!(statuses(&of("s3://artifacts/agent")), [Status::Problem; 2]);
    assert_eq!(of("/opt/agent"), []);
    let replaced = found(Id::SubnetS3, |_| ());
    assert_eq!(statuses(&replaced), [Status::Warning; 2], "running nodes don't need it");
    says(&replaced[1].line(), &["subnet-0bbb (eu-west-1b) has no way to S3 for a node that replaces the one there"]);
}

#[test]
fn gateway_endpoints_interface_endpoints_and_routes_lead_to_s3() {
    assert_eq!(found(Id::SubnetS3, with(gateway(&["rtb-a", "rtb-b"]))), []);
    assert_eq!(found(Id::SubnetS3, with(endpoint("s3", &SUBNETS))), []);
    let one = found(Id::SubnetS3, with(gateway(&["rtb-a"])));
    assert_eq!(one.len(), 1, "{one:?}");
    says(&one[0].line(), &["subnet-0bbb", "rtb-b has no default route"]);
    let main = found(Id::SubnetS3, |world| {
        world.place.tables[1].subnets.clear();
        world.place.tables[1].is_main = true;
        with(gateway(&["rtb-a", "rtb-b"]))(world);
    });
    assert_eq!(main, [], "a subnet without an association uses the main table");
    let other = found(Id::SubnetS3, with(endpoint("s3", &SUBNETS[..1])));
    assert_eq!(statuses(&other), [Status::Warning]);
    says(&other[0].line(), &["subnet-0bbb (eu-west-1b) reaches S3 through vpce-s3 in eu-west-1a"]);
    let nameless = Endpoint { private_dns: false, ..endpoint("s3", &SUBNETS) };
    assert_eq!(statuses(&found(Id::SubnetS3, with(nameless))), [Status::Unknown; 2]);
}

#[test]
fn packets_to_s3_must_pass_network_acls_and_outbound_rules() {
    let vpc: ipnet::Ipv4Net = "10.0.0.0/16".parse().unwrap();
    let lists = |world: &mut World| {
        with(gateway(&["rtb-a", "rtb-b"]))(world);
        for rule in &mut world.facts.access_lists.as_mut().unwrap()[0].rules {
            rule.net = vpc;
        }
    };
    let whole = found(Id::NetworkAcls, lists);
    assert!(!whole.is_empty() && whole.iter().all(|finding| finding.status != Status::Problem), "{whole:?}");
    assert!(whole.iter().any(|finding| finding.seen.contains("drops a part of tcp 443 to 0.0.0.0/0")), "{whole:?}");

    let rules = |world: &mut World| {
        with(gateway(&["rtb-a", "rtb-b"]))(world);
        let source = Source::Cidr(vpc.to_string());
        world.observed.groups[0].outbound =
            [security_group::Rule { protocol: "-1".into(), ports: None, source }].into();
    };
    let whole = found(Id::OutboundRules, rules);
    assert_eq!(whole.len(), 1, "{whole:?}");
    says(&whole[0].line(), &["sg-1", "tcp 443 to 0.0.0.0/0"]);
    let none = |world: &mut World| {
        rules(world);
        world.observed.groups[0].outbound.clear();
        world.observed.nodes.clear();
    };
    assert!(statuses(&found(Id::OutboundRules, none)).contains(&Status::Problem));
}

#[test]
fn an_endpoint_for_s3_must_admit_nodes_that_boot() {
    let closed = |world: &mut World| {
        with(Endpoint { groups: vec!["sg-app".into()], ..endpoint("s3", &SUBNETS) })(world);
    };
    let whole = found(Id::EndpointGroups, closed);
    assert_eq!(statuses(&whole), [Status::Warning]);
    says(&whole[0].line(), &["vpce-s3", "doesn't admit the nodes", "in sg-app"]);
    let none = found(Id::EndpointGroups, |world| {
        closed(world);
        without_nodes(world);
    });
    assert_eq!(statuses(&none), [Status::Problem]);
}

#[test]
fn dns_attributes_that_hide_an_endpoint_for_s3_matter_less_with_a_gateway_endpoint() {
    let hidden = |more: Option<Endpoint>| {
        found(Id::VpcDns, |world| {
            world.facts.dns = Ok(Dns { support: true, hostnames: false });
            world.facts.endpoints = Ok([endpoint("s3", &SUBNETS)].into_iter().chain(more).collect());
        })
    };
    assert_eq!(statuses(&hidden(None)), [Status::Problem]);
    assert_eq!(statuses(&hidden(Some(gateway(&["rtb-a", "rtb-b"])))), [Status::Warning]);
}
