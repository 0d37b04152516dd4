//! Reads the [`Facts`] in two rounds of concurrent calls: the second needs ids from the first, and the balancer's resources.
//! A part that can't be read leaves its checks unknown.

mod network;
mod rights;

use std::collections::BTreeSet;

use templates::Balancer;

use super::facts::Facts;
use crate::aws::Aws;
use crate::model::discover::Surroundings;
use crate::model::observe::Observed;
use crate::resources::{gateways, security_group};

/// The first round: what the file alone names. Permissions and security groups are left to the second.
pub async fn first(aws: &Aws, balancer: &Balancer) -> Facts {
    let (ec2, vpc) = (&aws.ec2, balancer.vpc.as_str());
    let groups = balancer.groups();
    let targets: BTreeSet<String> =
        groups.iter().flat_map(|group| &group.targets).map(|target| target.address.ip.to_string()).collect();
    let inside = async {
        futures::join!(
            gateways::nats(ec2, vpc),
            gateways::endpoints(ec2, vpc),
            network::dns(ec2, vpc),
            network::access_lists(ec2, vpc),
            network::interfaces(ec2, vpc, targets.into_iter().collect()),
        )
    };
    let outside = async {
        futures::join!(
            network::transit_gateways(ec2, vpc),
            network::peerings(ec2, vpc),
            network::private_gateways(ec2, vpc),
        )
    };
    let (inside, outside) = futures::join!(inside, outside);
    let (nats, endpoints, dns, access_lists, interfaces) = inside;
    let (transit_gateways, peerings, private_gateways) = outside;
    Facts {
        permissions: Vec::new(),
        nats,
        endpoints,
        dns,
        access_lists,
        interfaces,
        groups: Ok(Vec::new()),
        transit_gateways,
        peerings,
        private_gateways,
    }
}

/// The second round: permissions, and the security groups that the first round found.
pub async fn second(aws: &Aws, balancer: &Balancer, place: &Surroundings, observed: &Observed, facts: &mut Facts) {
    let of_interfaces = facts.interfaces.iter().flatten().flat_map(|interface| &interface.groups);
    let of_endpoints = facts.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.groups);
    let ids: Vec<String> = of_interfaces.chain(of_endpoints).cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let groups = security_group::listed(&aws.ec2, &ids);
    let permissions = rights::permissions(aws, balancer, place, observed);
    let (groups, permissions) = futures::join!(groups, permissions);
    (facts.groups, facts.permissions) = (groups, permissions);
}
