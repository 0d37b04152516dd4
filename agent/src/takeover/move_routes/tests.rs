//! Takeovers against an API that answers as scripted.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_ec2::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_ec2::error::ErrorMetadata;
use aws_sdk_ec2::operation::create_route::{CreateRouteError, CreateRouteOutput};
use aws_sdk_ec2::operation::replace_route::{ReplaceRouteError, ReplaceRouteOutput};
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_mocks::{MockResponseInterceptor, Rule, RuleMode, create_mock_http_client, mock};

use super::*;
use crate::aws::ids::TableId;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 10);

fn client(rules: &[&Rule]) -> Client {
    let mut script = MockResponseInterceptor::new().rule_mode(RuleMode::Sequential);
    for rule in rules {
        script = script.with_rule(rule);
    }
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        .http_client(create_mock_http_client())
        .interceptor(script);
    Client::from_conf(config.build())
}

fn coded(code: &str, message: &str) -> ErrorMetadata {
    ErrorMetadata::builder().code(code).message(message).build()
}

fn replace_fails(code: &'static str, message: &'static str) -> Rule {
    mock!(Client::replace_route).then_error(move || ReplaceRouteError::generic(coded(code, message)))
}

fn replaced() -> Rule {
    mock!(Client::replace_route)
        .match_requests(|request| {
            request.destination_cidr_block() == Some("10.255.0.10/32")
                && request.network_interface_id() == Some("eni-1")
        })
        .then_output(|| ReplaceRouteOutput::builder().build())
}

fn created() -> Rule {
    mock!(Client::create_route)
        .match_requests(|request| {
            request.destination_cidr_block() == Some("10.255.0.10/32")
                && request.network_interface_id() == Some("eni-1")
        })
        .then_output(|| CreateRouteOutput::builder().build())
}

/// Takes one table over; returns the outcomes and the reported failures.
async fn run(rules: &[&Rule], first: Call) -> (Vec<Outcome>, Vec<String>) {
    let (outcomes, troubles) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    take_over(
        &Caller::new(client(rules)),
        &"eni-1".into(),
        vec![Route { table: "rtb-1".into(), vip: VIP, first }],
        |_, error| troubles.lock().unwrap().push(error.to_string()),
        |_, outcome| outcomes.lock().unwrap().push(outcome),
    )
    .await;
    (outcomes.into_inner().unwrap(), troubles.into_inner().unwrap())
}

#[tokio::test]
async fn a_route_that_was_not_there_is_created() {
    let absent = "There is no route defined for '10.255.0.10/32' in the route table. Use CreateRoute instead.";
    let (outcomes, troubles) = run(&[&replace_fails("InvalidParameterValue", absent), &created()], Call::Replace).await;
    assert_eq!((outcomes, troubles), (vec![Outcome::Moved], vec![]));
}

#[tokio::test]
async fn a_route_that_another_program_just_created_is_replaced() {
    let exists = mock!(Client::create_route)
        .then_error(|| CreateRouteError::generic(coded("RouteAlreadyExists", "The route already exists")));
    let (outcomes, troubles) = run(&[&exists, &replaced()], Call::Create).await;
    assert_eq!((outcomes, troubles), (vec![Outcome::Moved], vec![]));
}

#[tokio::test]
async fn a_throttled_call_is_made_again() {
    let throttled = || replace_fails("RequestLimitExceeded", "Request limit exceeded.");
    let (outcomes, troubles) = run(&[&throttled(), &throttled(), &replaced()], Call::Replace).await;
    assert_eq!(outcomes, [Outcome::Moved]);
    assert_eq!(troubles, ["ReplaceRoute: RequestLimitExceeded: Request limit exceeded."; 2]);
}

#[tokio::test]
async fn a_denied_call_is_made_again_and_reported() {
    let denied = || replace_fails("UnauthorizedOperation", "You are not authorized to perform this operation.");
    let (outcomes, troubles) = run(&[&denied(), &replaced()], Call::Replace).await;
    assert_eq!(outcomes, [Outcome::Moved]);
    let said = "ReplaceRoute: UnauthorizedOperation: You are not authorized to perform this operation.";
    assert_eq!(troubles, [said]);
}

#[tokio::test]
async fn a_table_that_is_gone_ends_the_attempt() {
    let gone = replace_fails("InvalidRouteTableID.NotFound", "The routeTable ID 'rtb-1' does not exist");
    let (outcomes, _) = run(&[&gone], Call::Replace).await;
    assert_eq!(outcomes, [Outcome::TableGone]);
}

/// An EC2 API on loopback that answers no call until `callers` calls are waiting.
async fn api_that_waits_for(callers: usize) -> String {
    let barrier = Arc::new(tokio::sync::Barrier::new(callers));
    let answer = move || {
        let barrier = barrier.clone();
        async move {
            barrier.wait().await;
            "<ReplaceRouteResponse><return>true</return></ReplaceRouteResponse>"
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
    address
}

#[tokio::test]
async fn all_tables_are_moved_at_once() {
    let tables = 40;
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(api_that_waits_for(tables).await)
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        .http_client(Builder::new().tls_provider(ring).build_https());
    let routes = (0..tables).map(|n| Route { table: TableId(format!("rtb-{n}")), vip: VIP, first: Call::Replace });
    let moved = Mutex::new(Vec::new());
    let caller = Caller::new(Client::from_conf(config.build()));
    let interface = "eni-1".into();
    let takeover = take_over(
        &caller,
        &interface,
        routes.collect(),
        |route, error| panic!("{}: {error}", route.table),
        |_, outcome| moved.lock().unwrap().push(outcome),
    );
    tokio::time::timeout(Duration::from_secs(20), takeover).await.expect("all calls under way at the same time");
    assert_eq!(moved.into_inner().unwrap(), vec![Outcome::Moved; tables]);
}
