//! Reads of the members against a scripted API.

use std::collections::BTreeMap;

use aws_sdk_ec2::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_ec2::error::ErrorMetadata;
use aws_sdk_ec2::operation::describe_instances::{DescribeInstancesError, DescribeInstancesOutput};
use aws_sdk_ec2::operation::describe_network_interfaces::DescribeNetworkInterfacesOutput;
use aws_sdk_ec2::types::{
    GroupIdentifier, InstanceNetworkInterface, NetworkInterface, NetworkInterfaceAttachment, Placement, Reservation,
    Tag,
};
use aws_smithy_mocks::{MockResponseInterceptor, Rule, RuleMode, create_mock_http_client, mock};

use super::*;
use crate::aws::ids::InterfaceId;

fn observer(rules: &[&Rule]) -> Observer {
    let script = rules
        .iter()
        .fold(MockResponseInterceptor::new().rule_mode(RuleMode::MatchAny), |script, rule| script.with_rule(rule));
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        .retry_config(aws_sdk_ec2::config::retry::RetryConfig::disabled())
        .http_client(create_mock_http_client())
        .interceptor(script);
    let balancer = Balancer::parse(include_str!("../../../../templates/goldens/small/balancer.toml")).unwrap();
    let facts = Facts {
        instance: "i-a".into(),
        interface: "eni-a".into(),
        mac: "0a:00:00:00:00:01".into(),
        address: Ipv4Addr::new(10, 0, 1, 1),
        groups: vec!["sg-1".into()],
        vpc: "vpc-1".into(),
        subnet: "subnet-a".into(),
        zone: "eu-west-1a".into(),
        region: "eu-west-1".into(),
        tags: BTreeMap::new(),
    };
    Observer::new(Client::from_conf(config.build()), &balancer, &facts)
}

fn group() -> GroupIdentifier {
    let balancer = Balancer::parse(include_str!("../../../../templates/goldens/small/balancer.toml")).unwrap();
    GroupIdentifier::builder().group_id("sg-1").group_name(names::regional(&balancer.name)).build()
}

/// `i-a` at `eni-a`, and so on; without Elbow's group it is a stranger.
fn instance(letter: &str, groups: &[GroupIdentifier]) -> Instance {
    let last = letter.as_bytes()[0] - b'a' + 1;
    let interface = InstanceNetworkInterface::builder().network_interface_id(format!("eni-{letter}"));
    Instance::builder()
        .instance_id(format!("i-{letter}"))
        .vpc_id("vpc-1")
        .set_security_groups(Some(groups.to_vec()))
        .placement(Placement::builder().availability_zone(format!("eu-west-1{letter}")).build())
        .network_interfaces(interface.private_ip_address(format!("10.0.1.{last}")).build())
        .tags(Tag::builder().key(names::TAG_ROLE).value("active").build())
        .build()
}

fn interface(letter: &str, groups: &[GroupIdentifier]) -> NetworkInterface {
    let last = letter.as_bytes()[0] - b'a' + 1;
    let attachment = NetworkInterfaceAttachment::builder().instance_id(format!("i-{letter}")).device_index(0).build();
    NetworkInterface::builder()
        .network_interface_id(format!("eni-{letter}"))
        .private_ip_address(format!("10.0.1.{last}"))
        .availability_zone(format!("eu-west-1{letter}"))
        .set_groups(Some(groups.to_vec()))
        .attachment(attachment)
        .build()
}

/// DescribeInstances fails with `code` unless it names ids, and always if it names `disrupted`.
fn list_fails(code: &'static str, disrupted: &'static str) -> Rule {
    let befalls = move |ids: &[String]| ids.is_empty() || ids.iter().any(|id| id == disrupted);
    mock!(Client::describe_instances)
        .match_requests(move |request| befalls(request.instance_ids()))
        .then_error(move || DescribeInstancesError::generic(ErrorMetadata::builder().code(code).build()))
}

fn by_ids(instances: Vec<Instance>) -> Rule {
    mock!(Client::describe_instances).match_requests(|request| !request.instance_ids().is_empty()).then_output(
        move || {
            let reservation = Reservation::builder().set_instances(Some(instances.clone())).build();
            DescribeInstancesOutput::builder().reservations(reservation).build()
        },
    )
}

fn interfaces(found: Vec<NetworkInterface>) -> Rule {
    mock!(Client::describe_network_interfaces).then_output(move || {
        DescribeNetworkInterfacesOutput::builder().set_network_interfaces(Some(found.clone())).build()
    })
}

#[tokio::test]
async fn members_are_found_by_their_interfaces_and_read_zone_by_zone_when_the_list_fails() {
    let rules = [
        list_fails("InternalError", "i-b"),
        by_ids(vec![instance("a", &[group()])]),
        interfaces(vec![interface("a", &[group()]), interface("b", &[group()]), interface("c", &[])]),
    ];
    let sighting = observer(&rules.each_ref()).members(&[]).await.unwrap();
    let seen: Vec<_> = sighting.members.iter().map(|one| (one.instance.0.as_str(), one.says.is_some())).collect();
    assert_eq!(seen, [("i-a", true), ("i-b", false)], "the zone of i-b is disrupted, i-c is none of ours");
    assert!(sighting.whole && sighting.trouble.is_some());
}

#[tokio::test]
async fn a_throttled_list_is_not_read_by_more_calls() {
    let rules = [list_fails("RequestLimitExceeded", "")];
    assert_eq!(observer(&rules.each_ref()).members(&[]).await.unwrap_err().kind, crate::aws::ec2::Kind::Throttled);
}

#[tokio::test]
async fn an_interface_is_a_members_a_strangers_or_unknown() {
    let ids = [InterfaceId::from("eni-b"), "eni-c".into(), "eni-d".into()];
    let lookup = interfaces(vec![interface("b", &[group()]), interface("c", &[]), interface("d", &[])]);
    let rules = [list_fails("InternalError", "i-d"), by_ids(vec![instance("c", &[])]), lookup];
    let identified = observer(&rules.each_ref()).identify(&ids, &[]).await.unwrap();
    assert_eq!(identified.ours.iter().map(|one| &one.instance.0[..]).collect::<Vec<_>>(), ["i-b"]);
    assert_eq!(identified.strangers, ["eni-c".into()].into(), "eni-d stays unknown");
}
