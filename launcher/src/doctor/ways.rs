//! The nodes' ways out of their subnets: to AWS's services and to the internet. Pure.
//!
//! A takeover calls the EC2 API from the zone that survives, so each subnet needs a way within its own zone. With a NAT
//! gateway or an interface endpoint in one zone only, losing that zone stops takeovers.

use templates::balancer::Launch;

use super::case::Case;
use super::facts::Facts;
use super::finding::{Finding, Status, or_ok, with};
use super::ids::Id;
use super::targets::{Admits, Nodes, admits};
use crate::aws::error::CallFailed;
use crate::model::ways::{Net, Way};
use crate::resources::gateways::Endpoint;
use crate::resources::network::Subnet;

/// HTTPS, on which AWS's APIs listen.
const HTTPS: u16 = 443;
const S3: &str = "s3";

/// Whether every subnet reaches the EC2 API, without which no node moves a route.
pub fn ec2_api(case: &Case<'_>) -> Vec<Finding> {
    service(case, Id::SubnetApi, "ec2", "the EC2 API")
}

/// Whether every subnet reaches the Auto Scaling API, if a group launches the nodes: there a node completes its lifecycle
/// hooks.
pub fn auto_scaling_api(case: &Case<'_>) -> Vec<Finding> {
    match case.balancer.launch {
        Launch::Instances => Vec::new(),
        Launch::AutoScaling => service(case, Id::AutoScalingApi, "autoscaling", "the Auto Scaling API"),
    }
}

/// Whether every subnet reaches S3, if a booting node gets the agent there.
pub fn s3(case: &Case<'_>) -> Vec<Finding> {
    called_at_boot(case).map(|name| service(case, Id::SubnetS3, name, "S3")).unwrap_or_default()
}

/// The services that running nodes call.
pub fn called(case: &Case<'_>) -> Vec<&'static str> {
    match case.balancer.launch {
        Launch::Instances => vec!["ec2"],
        Launch::AutoScaling => vec!["ec2", "autoscaling"],
    }
}

/// The service that only booting nodes call, if they do.
pub fn called_at_boot(case: &Case<'_>) -> Option<&'static str> {
    case.balancer.agent_place().is_in_s3().then_some(S3)
}

fn service(case: &Case<'_>, id: Id, service: &str, called: &str) -> Vec<Finding> {
    let net = match net(case) {
        Ok(net) => net,
        Err(error) => return vec![Finding::unread(id, error)],
    };
    let region = &case.place.region;
    let (mut findings, mut ways) = (Vec::new(), Vec::new());
    for subnet in case.subnets() {
        let Subnet { id: subnet_id, zone, .. } = subnet;
        let endpoint = match service {
            S3 => "a gateway endpoint for s3 to its route table".to_owned(),
            _ => format!("an interface endpoint for {service} in {zone} with private DNS"),
        };
        let add = format!("add a NAT gateway in {zone}, or {endpoint}");
        match net.to_service(subnet, service) {
            Way::Own(through) => ways.push(format!("{subnet_id}: {through}")),
            Way::OtherZone(through) => findings.push(Finding::warning(
                id,
                format!(
                    "{subnet_id} ({zone}) reaches {called} through {through}: if that zone fails, {zone} loses it too"
                ),
                add,
            )),
            Way::Unclear(through) => findings.push(Finding::unknown(
                id,
                format!("{subnet_id} ({zone}) may reach {called} through {through}"),
                format!("check from a machine in {subnet_id}: curl https://{service}.{region}.amazonaws.com"),
            )),
            Way::Nowhere(why) if service == S3 && case.observed.live().any(|node| node.subnet == *subnet_id) => {
                let seen = format!(
                    "{subnet_id} ({zone}) has no way to {called} for a node that replaces the one there: {why}"
                );
                findings.push(Finding::warning(id, seen, add));
            }
            Way::Nowhere(why) => {
                findings.push(Finding::problem(id, format!("{subnet_id} ({zone}) has no way to {called}: {why}"), add))
            }
        }
    }
    or_ok(id, findings, format!("every subnet reaches {called} independently of other zones ({})", ways.join(", ")))
}

/// Whether the subnets reach the internet. A node gets packages from there unless its image has them, and maybe the agent.
pub fn internet(case: &Case<'_>) -> Vec<Finding> {
    let net = match net(case) {
        Ok(net) => net,
        Err(error) => return vec![Finding::unread(Id::Internet, error)],
    };
    let is_without = |subnet: &&Subnet| !matches!(net.by_route(subnet), Way::Own(_) | Way::OtherZone(_));
    let without: Vec<&str> = case.subnets().into_iter().filter(is_without).map(|subnet| subnet.id.as_str()).collect();
    let unclear = (!without.is_empty()).then(|| {
        Finding::unknown(
            Id::Internet,
            format!("{} reach no internet that doctor can see", without.join(", ")),
            "check that nodes reach the agent's address, and packages unless the image has haproxy and keepalived",
        )
    });
    or_ok(Id::Internet, unclear.into_iter().collect(), "every subnet reaches the internet")
}

/// Whether the interface endpoints that the nodes use admit them.
pub fn endpoint_groups(case: &Case<'_>) -> Vec<Finding> {
    let net = match net(case) {
        Ok(net) => net,
        Err(error) => return vec![Finding::unread(Id::EndpointGroups, error)],
    };
    let mut used = named_endpoints(case, &net);
    used.retain(|(_, endpoint)| !endpoint.groups.is_empty());
    if used.is_empty() {
        return Vec::new();
    }
    with(Id::EndpointGroups, &case.facts.groups, |groups| {
        let nodes = Nodes::of(case);
        let closed = used.iter().filter_map(|(service, endpoint)| {
            let own = groups.iter().filter(|group| endpoint.groups.contains(&group.id)).collect::<Vec<_>>();
            let status = if *service == S3 { case.at_boot() } else { Status::Problem };
            let Endpoint { id, service, .. } = endpoint;
            let add = format!("allow tcp {HTTPS} from {} in {}", nodes.called(), endpoint.groups.join(" or "));
            match admits(&own, HTTPS, &nodes) {
                Admits::Yes => None,
                Admits::No => Some(Finding {
                    id: Id::EndpointGroups,
                    status,
                    seen: format!(
                        "{id} ({service}) doesn't admit the nodes: its security group has no rule for tcp {HTTPS}"
                    ),
                    remedy: add,
                }),
                Admits::Unclear => Some(Finding::unknown(
                    Id::EndpointGroups,
                    format!("{id} ({service}) may not admit all nodes on tcp {HTTPS}"),
                    add,
                )),
            }
        });
        or_ok(Id::EndpointGroups, closed.collect(), "the interface endpoints admit the nodes")
    })
}

/// The endpoints to which the names of the services that nodes call lead, with the service.
pub fn named_endpoints<'a>(case: &Case<'_>, net: &Net<'a>) -> Vec<(&'static str, &'a Endpoint)> {
    let services = called(case).into_iter().chain(called_at_boot(case));
    let endpoints = services.flat_map(|service| net.endpoints(service).into_iter().map(move |one| (service, one)));
    endpoints.filter(|(_, endpoint)| endpoint.private_dns).collect()
}

/// What decides about ways out, if all of it was read.
pub fn net<'a>(case: &Case<'a>) -> Result<Net<'a>, &'a CallFailed> {
    let Facts { nats, endpoints, .. } = case.facts;
    Ok(Net {
        region: &case.place.region,
        subnets: &case.place.subnets,
        tables: &case.place.tables,
        nats: nats.as_ref()?,
        endpoints: endpoints.as_ref()?,
    })
}
