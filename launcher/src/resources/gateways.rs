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
    /// Whether the service's usual name leads to it in the VPC. An S3 endpoint may have private DNS for inbound resolvers only,
    /// so that the VPC's own calls go to a gateway endpoint (Amazon S3 user guide, "AWS PrivateLink for Amazon S3").
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
    let is_for_resolvers = |endpoint: &types::VpcEndpoint| {
        endpoint.dns_options().and_then(|dns| dns.private_dns_only_for_inbound_resolver_endpoint()) == Some(true)
    };
    let endpoint = |endpoint: &types::VpcEndpoint| Endpoint {
        id: text(endpoint.vpc_endpoint_id()),
        service: text(endpoint.service_name()),
        interface: endpoint.vpc_endpoint_type() == Some(&VpcEndpointType::Interface),
        tables: endpoint.route_table_ids().to_vec(),
        private_dns: endpoint.private_dns_enabled() == Some(true) && !is_for_resolvers(endpoint),
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

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::operation::describe_vpc_endpoints::DescribeVpcEndpointsOutput;
    use aws_sdk_ec2::types::{DnsOptions, VpcEndpoint};

    use super::*;
    use crate::aws::mock::ec2;

    #[tokio::test]
    async fn private_dns_for_inbound_resolvers_only_does_not_serve_the_vpc() {
        let endpoint = |for_resolvers| {
            let dns = DnsOptions::builder().private_dns_only_for_inbound_resolver_endpoint(for_resolvers).build();
            let endpoint = VpcEndpoint::builder().state(State::Available).private_dns_enabled(true).dns_options(dns);
            endpoint.service_name("com.amazonaws.eu-west-1.s3").vpc_endpoint_type(VpcEndpointType::Interface).build()
        };
        let answer = aws_smithy_mocks::mock!(Client::describe_vpc_endpoints).then_output(move || {
            let both = [endpoint(true), endpoint(false)].to_vec();
            DescribeVpcEndpointsOutput::builder().set_vpc_endpoints(Some(both)).build()
        });
        let found = endpoints(&ec2(&[&answer]), "vpc-1").await.unwrap();
        assert_eq!(found.iter().map(|one| one.private_dns).collect::<Vec<_>>(), [false, true]);
        assert!(found[0].interface && found[0].serves("eu-west-1", "s3") && !found[0].serves("eu-west-1", "ec2"));
    }
}
