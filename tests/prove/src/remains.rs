//! What a run has made and not removed yet, by the run's tag and by its names.

use std::fmt;

use anyhow::Result;
use aws_sdk_ec2::types::{Filter, Route, RouteState};
use launcher::aws::Aws;
use launcher::aws::error::Named;
use launcher::resources::{instance_profile, launch_template, role, security_group};
use templates::names::{TAG_BALANCER, global, regional};

use crate::names::{Run, TAG};

/// Something to remove.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// Elbow's balancer, with all its parts.
    Balancer(String),
    /// A route to a virtual IP in a given VPC.
    Route {
        table: String,
        destination: String,
    },
    Instance(String),
    Interface(String),
    Volume(String),
    SecurityGroup(String),
    Gateway {
        id: String,
        /// The VPC that it is attached to.
        vpc: Option<String>,
    },
    Subnet(String),
    Vpc(String),
    Profile(String),
    Role(String),
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Thing::Balancer(name) => write!(f, "balancer {name}"),
            Thing::Route { table, destination } => write!(f, "route {destination} in {table}"),
            Thing::Instance(id) => write!(f, "instance {id}"),
            Thing::Interface(id) => write!(f, "network interface {id}"),
            Thing::Volume(id) => write!(f, "volume {id}"),
            Thing::SecurityGroup(id) => write!(f, "security group {id}"),
            Thing::Gateway { id, .. } => write!(f, "internet gateway {id}"),
            Thing::Subnet(id) => write!(f, "subnet {id}"),
            Thing::Vpc(id) => write!(f, "VPC {id}"),
            Thing::Profile(name) => write!(f, "instance profile {name}"),
            Thing::Role(name) => write!(f, "role {name}"),
        }
    }
}

/// Everything that is left of a run. Terminated instances aren't: AWS shows them for an hour.
pub async fn list(aws: &Aws, run: &Run) -> Result<Vec<Thing>> {
    let tag = Filter::builder().name(format!("tag:{TAG}")).values(&run.id).build();
    let mut things = Vec::new();
    if has_balancer(aws, run).await? {
        things.push(Thing::Balancer(run.balancer()));
    }
    things.extend(instances(aws, &tag, run).await?);
    let interfaces = of_interfaces(aws, &tag, run).await?;
    things.extend(routes(aws, run, &interfaces).await?);
    things.extend(interfaces.into_iter().map(Thing::Interface));
    let ec2 = &aws.ec2;
    let pages = ec2.describe_volumes().filters(tag.clone()).into_paginator().items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeVolumes", &run.id)?;
    things.extend(found.iter().filter_map(|volume| volume.volume_id()).map(str::to_owned).map(Thing::Volume));
    let pages = ec2.describe_security_groups().filters(tag.clone()).into_paginator().items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeSecurityGroups", &run.id)?;
    things.extend(found.iter().filter_map(|group| group.group_id()).map(str::to_owned).map(Thing::SecurityGroup));
    let pages = ec2.describe_internet_gateways().filters(tag.clone()).into_paginator().items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeInternetGateways", &run.id)?;
    things.extend(found.iter().filter_map(|gateway| {
        let vpc = gateway.attachments().first().and_then(|attachment| attachment.vpc_id()).map(str::to_owned);
        Some(Thing::Gateway { id: gateway.internet_gateway_id()?.to_owned(), vpc })
    }));
    let pages = ec2.describe_subnets().filters(tag.clone()).into_paginator().items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeSubnets", &run.id)?;
    things.extend(found.iter().filter_map(|subnet| subnet.subnet_id()).map(str::to_owned).map(Thing::Subnet));
    let pages = ec2.describe_vpcs().filters(tag).into_paginator().items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeVpcs", &run.id)?;
    things.extend(found.iter().filter_map(|vpc| vpc.vpc_id()).map(str::to_owned).map(Thing::Vpc));
    things.extend(instance_profile::find(&aws.iam, &run.name()).await?.map(|profile| Thing::Profile(profile.name)));
    things.extend(role::find(&aws.iam, &run.name()).await?.map(|role| Thing::Role(role.name)));
    Ok(things)
}

/// Whether a part of the balancer exists. Its instances are found with the run's own.
async fn has_balancer(aws: &Aws, run: &Run) -> Result<bool> {
    let (name, in_iam) = (regional(&run.balancer()), global(&aws.region, &run.balancer()));
    let tag = Filter::builder().name(format!("tag:{TAG_BALANCER}")).values(run.balancer()).build();
    Ok(!instances(aws, &tag, run).await?.is_empty()
        || !security_group::find(&aws.ec2, &name).await?.is_empty()
        || launch_template::find(&aws.ec2, &name).await?.is_some()
        || instance_profile::find(&aws.iam, &in_iam).await?.is_some()
        || role::find(&aws.iam, &in_iam).await?.is_some())
}

async fn instances(aws: &Aws, tag: &Filter, run: &Run) -> Result<Vec<Thing>> {
    let pages = aws.ec2.describe_instances().filters(tag.clone()).into_paginator().items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeInstances", &run.id)?;
    let alive = found.iter().flat_map(|group| group.instances()).filter(|instance| {
        instance.state().and_then(|state| state.name()).is_none_or(|name| name.as_str() != "terminated")
    });
    Ok(alive.filter_map(|instance| instance.instance_id()).map(|id| Thing::Instance(id.to_owned())).collect())
}

async fn of_interfaces(aws: &Aws, tag: &Filter, run: &Run) -> Result<Vec<String>> {
    let pages = aws.ec2.describe_network_interfaces().filters(tag.clone()).into_paginator().items().send();
    let found = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeNetworkInterfaces", &run.id)?;
    Ok(found.iter().filter_map(|interface| interface.network_interface_id()).map(str::to_owned).collect())
}

async fn routes(aws: &Aws, run: &Run, interfaces: &[String]) -> Result<Vec<Thing>> {
    let destination = format!("{}/32", run.virtual_ip());
    let filter = Filter::builder().name("route.destination-cidr-block").values(&destination).build();
    let pages = aws.ec2.describe_route_tables().filters(filter).into_paginator().items().send();
    let tables = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeRouteTables", &destination)?;
    let ours =
        tables.iter().filter(|table| table.routes().iter().any(|route| is_ours(route, &destination, interfaces)));
    let ids = ours.filter_map(|table| table.route_table_id());
    Ok(ids.map(|table| Thing::Route { table: table.to_owned(), destination: destination.clone() }).collect())
}

/// Whether a route leads to one of the run's interfaces, or to one that is gone.
fn is_ours(route: &Route, destination: &str, interfaces: &[String]) -> bool {
    let to_ours = route.network_interface_id().is_some_and(|id| interfaces.iter().any(|ours| ours == id));
    route.destination_cidr_block() == Some(destination) && (to_ours || route.state() == Some(&RouteState::Blackhole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_of_another_program_is_not_ours() {
        let route = |destination: &str, interface: &str, state: RouteState| {
            let route = Route::builder().destination_cidr_block(destination).network_interface_id(interface);
            route.state(state).build()
        };
        let ours = ["eni-1".to_owned()];
        for (route, expected) in [
            (route("10.255.128.2/32", "eni-1", RouteState::Active), true),
            (route("10.255.128.2/32", "eni-0", RouteState::Blackhole), true),
            (route("10.255.128.2/32", "eni-2", RouteState::Active), false),
            (route("10.0.0.0/8", "eni-1", RouteState::Active), false),
        ] {
            assert_eq!(is_ours(&route, "10.255.128.2/32", &ours), expected, "{route:?}");
        }
    }
}
