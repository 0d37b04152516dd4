//! Removes everything that a run made, in an order that AWS accepts, until two lists in a row are empty.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use launcher::aws::Aws;
use launcher::aws::error::{Named, found};
use launcher::resources::{instance_profile, role, security_group};

use crate::launcher_program;
use crate::names::Run;
use crate::remains::{self, Thing};
use crate::say::say;

/// After this many attempts, about a minute, the removal of a thing no longer delays the others.
const STUCK: u32 = 20;
const PAUSE: Duration = Duration::from_secs(3);

/// How a clean-up ended.
pub struct End {
    /// What is left; empty after a complete one, none if it couldn't be listed.
    pub left: Option<Vec<Thing>>,
    /// Why: the last error of each removal, and of the list.
    pub errors: Vec<String>,
}

/// Removes everything within this time. A call in flight at the moment of Ctrl-C may still make something, and EC2 shows
/// that late: so one empty list is no proof, but a second one is.
pub async fn all(aws: &Aws, run: &Run, limit: Duration) -> End {
    let end = Instant::now() + limit;
    let mut attempts: BTreeMap<Thing, u32> = BTreeMap::new();
    let mut before = None;
    loop {
        let (left, mut errors) = match remains::list(aws, run).await {
            Ok(things) => (Some(things), Vec::new()),
            Err(error) => (None, vec![format!("listing what is left: {error:#}")]),
        };
        let is_empty = left.as_ref().is_some_and(Vec::is_empty);
        if is_empty && before == left {
            return End { left, errors };
        }
        for thing in due(left.as_deref().unwrap_or_default(), &attempts) {
            let attempt = attempts.entry(thing.clone()).or_default();
            *attempt += 1;
            if *attempt == 1 {
                say!("removing {thing}");
            }
            if let Err(error) = remove(aws, run, thing).await {
                errors.push(format!("{thing}: {error:#}"));
            }
        }
        if Instant::now() > end {
            return End { left, errors };
        }
        if is_empty || before == left {
            tokio::time::sleep(PAUSE).await;
        }
        before = left;
    }
}

/// AWS refuses to delete a resource while a resource of an earlier stage uses it.
fn stage(thing: &Thing) -> u8 {
    match thing {
        Thing::Balancer(_) => 0,
        Thing::Route { .. } | Thing::Instance(_) => 1,
        Thing::Interface(_) | Thing::Volume(_) => 2,
        Thing::SecurityGroup(_) | Thing::Gateway { .. } => 3,
        Thing::Subnet(_) => 4,
        Thing::Vpc(_) => 5,
        Thing::Profile(_) => 6,
        Thing::Role(_) => 7,
    }
}

/// The things to remove now: those of the earliest stage, without the stuck ones while others are there. The stuck ones
/// are tried again with them.
fn due<'a>(things: &'a [Thing], attempts: &BTreeMap<Thing, u32>) -> Vec<&'a Thing> {
    let is_stuck = |thing: &Thing| attempts.get(thing).is_some_and(|count| *count >= STUCK);
    let first = things.iter().filter(|thing| !is_stuck(thing)).map(stage).min();
    things.iter().filter(|thing| is_stuck(thing) || Some(stage(thing)) == first).collect()
}

async fn remove(aws: &Aws, run: &Run, thing: &Thing) -> Result<()> {
    let ec2 = &aws.ec2;
    match thing {
        Thing::Balancer(name) => {
            launcher_program::run(&["destroy", name, "--yes"], &aws.region, Duration::from_secs(300)).await?;
        }
        Thing::Route { table, destination } => {
            let call = ec2.delete_route().route_table_id(table).destination_cidr_block(destination);
            found(call.send().await.named("ec2:DeleteRoute", table))?;
        }
        Thing::Instance(id) => {
            let call = ec2.terminate_instances().instance_ids(id).skip_os_shutdown(true);
            found(call.send().await.named("ec2:TerminateInstances", id))?;
        }
        Thing::Interface(id) => {
            let call = ec2.delete_network_interface().network_interface_id(id);
            found(call.send().await.named("ec2:DeleteNetworkInterface", id))?;
        }
        Thing::Volume(id) => {
            found(ec2.delete_volume().volume_id(id).send().await.named("ec2:DeleteVolume", id))?;
        }
        Thing::SecurityGroup(id) => security_group::delete(ec2, id).await?,
        Thing::Gateway { id, vpc } => {
            if let Some(vpc) = vpc {
                let call = ec2.detach_internet_gateway().internet_gateway_id(id).vpc_id(vpc);
                call.send().await.named("ec2:DetachInternetGateway", id)?;
            }
            let call = ec2.delete_internet_gateway().internet_gateway_id(id);
            found(call.send().await.named("ec2:DeleteInternetGateway", id))?;
        }
        Thing::Subnet(id) => {
            found(ec2.delete_subnet().subnet_id(id).send().await.named("ec2:DeleteSubnet", id))?;
        }
        Thing::Vpc(id) => {
            found(ec2.delete_vpc().vpc_id(id).send().await.named("ec2:DeleteVpc", id))?;
        }
        Thing::Profile(name) => {
            instance_profile::remove_role(&aws.iam, name, &run.name()).await?;
            instance_profile::delete(&aws.iam, name).await?;
        }
        Thing::Role(name) => {
            role::strip(&aws.iam, name).await?;
            role::delete(&aws.iam, name).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Vec<Thing> {
        vec![
            Thing::Role("r".into()),
            Thing::Vpc("vpc-1".into()),
            Thing::Gateway { id: "igw-1".into(), vpc: Some("vpc-1".into()) },
            Thing::Subnet("subnet-1".into()),
            Thing::SecurityGroup("sg-1".into()),
            Thing::Volume("vol-1".into()),
            Thing::Instance("i-1".into()),
            Thing::Route { table: "rtb-1".into(), destination: "10.255.128.2/32".into() },
            Thing::Interface("eni-1".into()),
            Thing::Profile("p".into()),
            Thing::Balancer("b".into()),
        ]
    }

    #[test]
    fn what_others_depend_on_is_removed_after_them() {
        let mut left = everything();
        let mut order = Vec::new();
        while !left.is_empty() {
            let now: Vec<Thing> = due(&left, &BTreeMap::new()).into_iter().cloned().collect();
            left.retain(|thing| !now.contains(thing));
            order.push(now.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
        }
        let expected = [
            "balancer b",
            "instance i-1, route 10.255.128.2/32 in rtb-1",
            "volume vol-1, network interface eni-1",
            "internet gateway igw-1, security group sg-1",
            "subnet subnet-1",
            "VPC vpc-1",
            "instance profile p",
            "role r",
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn a_stuck_thing_does_not_hold_up_the_rest() {
        let things = [Thing::Balancer("b".into()), Thing::Instance("i-1".into()), Thing::Vpc("vpc-1".into())];
        let tried = |count| BTreeMap::from([(things[0].clone(), count)]);
        assert_eq!(due(&things, &tried(STUCK - 1)), [&things[0]]);
        assert_eq!(due(&things, &tried(STUCK)), [&things[0], &things[1]]);
        assert_eq!(due(&things[..1], &tried(STUCK)), [&things[0]]);
    }
}
