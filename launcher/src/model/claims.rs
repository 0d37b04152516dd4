//! Which virtual IPs are other balancers': nodes of two that had the same one would take its routes from each other for ever.
//! A balancer's security group says it in tags, as the group is the first thing that it has and the last that goes.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use templates::balancer::RouteTables;
use templates::names::TAG_BALANCER;
use templates::{files, names};

use crate::aws::Aws;
use crate::aws::error::CallFailed;
use crate::aws::retry::pause;
use crate::model::desired::Desired;
use crate::model::tags::{claim, claimed};
use crate::resources::{launch_template, security_group, tagging};

/// How long another that began at the same moment may take to give way, or to go on.
const PATIENCE: Duration = Duration::from_secs(10);
/// From one look at it to the next.
const LOOK: Duration = Duration::from_millis(500);

/// What another balancer claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub balancer: String,
    /// Its virtual IPs.
    pub virtual_ips: Vec<Ipv4Addr>,
    /// Where their routes are; all, if nothing says.
    pub route_tables: RouteTables,
    /// Whether it has a launch template: then it has seen that nobody else has them.
    pub settled: bool,
}

impl Claim {
    /// Whether it has this virtual IP in some of these tables.
    fn has(&self, vip: Ipv4Addr, tables: &RouteTables) -> bool {
        let overlap = match (&self.route_tables, tables) {
            (RouteTables::Only(theirs), RouteTables::Only(ours)) => theirs.iter().any(|id| ours.contains(id)),
            _ => true,
        };
        overlap && self.virtual_ips.contains(&vip)
    }
}

/// Those of `vips`, with routes in `tables`, that another balancer has, and that one.
pub fn taken<'a>(vips: &[Ipv4Addr], tables: &RouteTables, others: &'a [Claim]) -> Vec<(Ipv4Addr, &'a Claim)> {
    vips.iter().filter_map(|vip| Some((*vip, others.iter().find(|other| other.has(*vip, tables))?))).collect()
}

/// For people.
pub fn refusal(vip: Ipv4Addr, other: &Claim) -> String {
    let name = &other.balancer;
    match other.settled {
        true => format!("virtual IP {vip} is balancer {name}'s: choose another"),
        false => format!(
            "virtual IP {vip} is balancer {name}'s, which is half-made: choose another, or wait for its `create`, or remove it \
             with `launcher destroy {name}`"
        ),
    }
}

/// What other balancers of the VPC claim of `vips`.
pub async fn find(aws: &Aws, vpc: &str, balancer: &str, vips: &[Ipv4Addr]) -> Result<Vec<Claim>, CallFailed> {
    let mut claims = Vec::new();
    for group in security_group::tagged(&aws.ec2, TAG_BALANCER).await? {
        let Some(other) = group.tags.balancer().filter(|other| *other != balancer && group.vpc == vpc) else {
            continue;
        };
        // Tags alone make no group a balancer's; its name can't be tagged.
        if group.name != names::regional(other) {
            continue;
        }
        let mut virtual_ips = claimed(&group.tags);
        // One without such tags was made by an Elbow that didn't write any, or has given way.
        if !virtual_ips.is_empty() && !virtual_ips.iter().any(|vip| vips.contains(vip)) {
            continue;
        }
        let template = launch_template::find(&aws.ec2, &names::regional(other)).await?;
        let boots = template.as_ref().and_then(|template| files::read_back(&template.contents.user_data).ok());
        let boots = boots.map(|config| config.balancer);
        if virtual_ips.is_empty() {
            virtual_ips = boots.as_ref().map(|boots| boots.virtual_ips.clone()).unwrap_or_default();
        }
        claims.push(Claim {
            balancer: other.to_owned(),
            virtual_ips,
            route_tables: boots.map(|boots| boots.route_tables).unwrap_or_default(),
            settled: template.is_some(),
        });
    }
    Ok(claims)
}

/// Looks again when this balancer's own claim is written. Of two that began at the same moment the one whose name comes
/// first waits, and the other gives way; who has a launch template has looked already. Answers whose it is, if not its own.
pub async fn contend(aws: &Aws, desired: &Desired) -> Result<Option<String>, CallFailed> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let others = find(aws, &desired.vpc, &desired.balancer, &desired.virtual_ips).await?;
        let taken = taken(&desired.virtual_ips, &desired.route_tables, &others);
        let Some((vip, other)) = taken.first() else { return Ok(None) };
        if other.settled || other.balancer < desired.balancer || Instant::now() >= deadline {
            return Ok(Some(refusal(*vip, other)));
        }
        pause(LOOK).await;
    }
}

/// Gives the virtual IPs up.
pub async fn give_way(aws: &Aws, group: &str, vips: &[Ipv4Addr]) -> Result<(), CallFailed> {
    for vip in vips {
        tagging::remove(&aws.ec2, &[group.to_owned()], &claim(*vip)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tags::Tags;

    #[test]
    fn a_virtual_ip_is_taken_where_another_has_it_in_a_table_of_both() {
        let vips: [Ipv4Addr; 2] = [[10, 255, 0, 10].into(), [10, 255, 0, 11].into()];
        let only = |ids: &[&str]| RouteTables::Only(ids.iter().map(|id| (*id).to_owned()).collect());
        let other =
            |tables| Claim { balancer: "web".into(), virtual_ips: vec![vips[1]], route_tables: tables, settled: true };
        let theirs = |tables, ours: &RouteTables| {
            let others = [other(tables)];
            taken(&vips, ours, &others).into_iter().map(|(vip, _)| vip).collect::<Vec<_>>()
        };
        assert_eq!(theirs(RouteTables::All, &RouteTables::All), [vips[1]]);
        assert_eq!(theirs(only(&["rtb-1"]), &RouteTables::All), [vips[1]]);
        assert_eq!(theirs(only(&["rtb-1", "rtb-2"]), &only(&["rtb-2"])), [vips[1]]);
        assert_eq!(theirs(only(&["rtb-1"]), &only(&["rtb-2"])), [] as [Ipv4Addr; 0]);
    }

    #[test]
    fn a_claim_is_read_off_the_tags_as_it_was_written() {
        let vip = Ipv4Addr::new(10, 255, 0, 10);
        let tags = Tags::of("web", "vpc-1").with(&claim(vip), "").with("elbow:virtual-ip:10.255", "");
        assert_eq!(claimed(&tags), [vip]);
    }
}
