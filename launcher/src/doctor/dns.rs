//! Whether the VPC's DNS leads the nodes to AWS's APIs. Pure.
//!
//! Without `enableDnsSupport` the VPC's resolver doesn't answer. The private DNS of an interface endpoint also needs
//! `enableDnsHostnames` (VPC user guide, "DNS attributes for your VPC").

use super::case::Case;
use super::finding::{Finding, with};
use super::ids::Id;
use super::ways::{named_endpoints, net};
use crate::model::ways::Way;

/// The VPC's DNS attributes.
pub fn attributes(case: &Case<'_>) -> Vec<Finding> {
    let id = Id::VpcDns;
    let net = match net(case) {
        Ok(net) => net,
        Err(error) => return vec![Finding::unread(id, error)],
    };
    with(id, &case.facts.dns, |dns| {
        let vpc = &case.balancer.vpc;
        let named = named_endpoints(case, &net);
        let endpoints: Vec<&str> = named.iter().map(|(_, endpoint)| endpoint.id.as_str()).collect();
        let (off, option) = match (dns.support, dns.hostnames) {
            (false, _) => ("enableDnsSupport", "--enable-dns-support"),
            (true, false) if !endpoints.is_empty() => ("enableDnsHostnames", "--enable-dns-hostnames"),
            (true, _) => return vec![Finding::ok(id, "the names of AWS's APIs resolve in the VPC")],
        };
        let add = format!("run: aws ec2 modify-vpc-attribute --vpc-id {vpc} {option}");
        if endpoints.is_empty() {
            let seen = format!("{vpc} has {off} off: nodes need other DNS servers, from a DHCP option set of the VPC");
            return vec![Finding::warning(id, seen, add)];
        }
        let seen = format!("{vpc} has {off} off, so the names of AWS's APIs don't lead to {}", endpoints.join(", "));
        let subnets = case.subnets();
        let ways: Vec<Way> = named
            .iter()
            .flat_map(|(service, _)| subnets.iter().map(move |subnet| net.to_public(subnet, service)))
            .collect();
        vec![if ways.iter().any(|way| matches!(way, Way::Nowhere(_))) {
            Finding::problem(id, format!("{seen}, and no route leads to public addresses"), add)
        } else if ways.iter().any(|way| matches!(way, Way::Unclear(_))) {
            Finding::unknown(id, format!("{seen}, and the routes may not lead to public addresses"), add)
        } else {
            Finding::warning(id, format!("{seen}: nodes call public addresses"), add)
        }]
    })
}
