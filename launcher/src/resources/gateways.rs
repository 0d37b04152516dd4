//! NAT gateways and VPC endpoints: what leads out of a VPC.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{self, Filter, NatGatewayState, State, VpcEndpointType};

use crate::aws::PAGE;
use crate::aws::error::{CallFailed, Named};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nat {
    /// `nat-…`
    pub id: String,
    /// Its subnet; a regional one has none and serves every zone.
    pub subnet: Option<String>,
    /// Whether it leads to the internet. A private one leads to other networks only.
    pub public: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// `vpce-…`
    pub id: String,
    /// For example `com.amazonaws.eu-west-1.ec2`.
    pub service: String,
    /// Whether it is an interface endpoint; others serve by routes.
    pub interface: bool,
    /// The route tables of a gateway endpoint.
    pub tables: Vec<String>,
    /// Whether the service's usual name leads to it.
    pub private_dns: bool,
    pub subnets: Vec<String>,
    /// Its security groups.
    pub groups: Vec<String>,
}

impl Endpoint {
    /// Whether it is an endpoint for a service. Some partitions put other words before the Region.
    pub fn serves(&self, region: &str, service: &str) -> bool {
        self.service.ends_with(&format!(".{region}.{service}"))
    }
}

/// The VPC's NAT gateways that are available.
pub async fn nats(ec2: &Client, vpc: &str) -> Result<Vec<Nat>, CallFailed> {
    let pages = ec2.describe_nat_gateways().filter(of_vpc(vpc)).into_paginator().page_size(PAGE).items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeNatGateways", vpc)?;
    let live = found.iter().filter(|nat| nat.state() == Some(&NatGatewayState::Available));
    let nat = |nat: &types::NatGateway| Nat {
        id: text(nat.nat_gateway_id()),
        subnet: nat.subnet_id().map(str::to_owned),
        public: nat.connectivity_type() != Some(&types::ConnectivityType::Private),
    };
    Ok(live.map(nat).collect())
}

/// The VPC's endpoints that are available.
pub async fn endpoints(ec2: &Client, vpc: &str) -> Result<Vec<Endpoint>, CallFailed> {
    let pages = ec2.describe_vpc_endpoints().filters(of_vpc(vpc)).into_paginator().page_size(PAGE).items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeVpcEndpoints", vpc)?;
    // The API's model writes `Available`, and the API `available`.
    let is_live = |state: &State| state.as_str().eq_ignore_ascii_case(State::Available.as_str());
    let live = found.iter().filter(|endpoint| endpoint.state().is_some_and(is_live));
    let endpoint = |endpoint: &types::VpcEndpoint| Endpoint {
        id: text(endpoint.vpc_endpoint_id()),
        service: text(endpoint.service_name()),
        interface: endpoint.vpc_endpoint_type() == Some(&VpcEndpointType::Interface),
        tables: endpoint.route_table_ids().to_vec(),
        private_dns: endpoint.private_dns_enabled() == Some(true),
        subnets: endpoint.subnet_ids().to_vec(),
        groups: endpoint.groups().iter().filter_map(|group| group.group_id()).map(str::to_owned).collect(),
    };
    Ok(live.map(endpoint).collect())
}

fn of_vpc(vpc: &str) -> Filter {
    Filter::builder().name("vpc-id").values(vpc).build()
}

fn text(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}
