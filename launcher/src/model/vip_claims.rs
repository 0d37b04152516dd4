//! Finds the virtual IPs that other balancers claim: two balancers with one virtual IP would redirect its routes
//! forever. Claims are tags on the security group, which is created first and deleted last.

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

/// How long a concurrent `create` may take to give up its claims, or to go on.
const PATIENCE: Duration = Duration::from_secs(10);
/// Interval between polls.
const LOOK: Duration = Duration::from_millis(500);

/// The claims of another balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub balancer: String,
    pub virtual_ips: Vec<Ipv4Addr>,
    /// The tables of their routes; all, if unknown.
    pub route_tables: RouteTables,
    /// Whether it has a launch template, and so has passed its own check for rival claims.
    pub complete: bool,
}

impl Claim {
    /// Whether it has this virtual IP in one of these tables.
    fn has(&self, vip: Ipv4Addr, tables: &RouteTables) -> bool {
        let overlap = match (&self.route_tables, tables) {
            (RouteTables::Only(theirs), RouteTables::Only(ours)) => theirs.iter().any(|id| ours.contains(id)),
            _ => true,
        };
        overlap && self.virtual_ips.contains(&vip)
    }
}

/// Each of `vips` that another balancer has in one of `tables`, with that balancer's claim.
pub fn taken<'a>(vips: &[Ipv4Addr], tables: &RouteTables, others: &'a [Claim]) -> Vec<(Ipv4Addr, &'a Claim)> {
    vips.iter().filter_map(|vip| Some((*vip, others.iter().find(|other| other.has(*vip, tables))?))).collect()
}

/// The line for the operator.
pub fn refusal(vip: Ipv4Addr, other: &Claim) -> String {
    let name = &other.balancer;
    match other.complete {
        true => format!("virtual IP {vip} belongs to balancer {name}: choose another"),
        false => format!(
            "virtual IP {vip} belongs to balancer {name}, which is incomplete: choose another, wait for its `create`, \
             or remove it with `launcher destroy {name}`"
        ),
    }
}

/// The claims of the VPC's other balancers on `vips`.
pub async fn find(aws: &Aws, vpc: &str, balancer: &str, vips: &[Ipv4Addr]) -> Result<Vec<Claim>, CallFailed> {
    let mut claims = Vec::new();
    for group in security_group::tagged(&aws.ec2, TAG_BALANCER).await? {
        let Some(other) = group.tags.balancer().filter(|other| *other != balancer && group.vpc == vpc) else {
            continue;
        };
        // A tag alone proves nothing; a group's name can't be changed.
        if group.name != names::regional(other) {
            continue;
        }
        let mut virtual_ips = claimed(&group.tags);
        // A group without claims is an older Elbow's, or has given them up.
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
            complete: template.is_some(),
        });
    }
    Ok(claims)
}

/// Checks for rival claims once this balancer's own claims are written; returns the refusal, if any. A rival with a
/// launch template wins. Of two concurrent `create`s the one with the first name waits, and the other gives way.
pub async fn contend(aws: &Aws, desired: &Desired) -> Result<Option<String>, CallFailed> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let others = find(aws, &desired.vpc, &desired.balancer, &desired.virtual_ips).await?;
        let taken = taken(&desired.virtual_ips, &desired.route_tables, &others);
        let Some((vip, other)) = taken.first() else { return Ok(None) };
        if other.complete || other.balancer < desired.balancer || Instant::now() >= deadline {
            return Ok(Some(refusal(*vip, other)));
        }
        pause(LOOK).await;
    }
}

/// Removes these claims.
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
            |tables| Claim { balancer: "web".into(), virtual_ips: vec![vips[1]], route_tables: tables, complete: true };
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
