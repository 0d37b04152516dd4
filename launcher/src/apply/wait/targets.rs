//! Waits until every target group has enough healthy targets. The nodes work before that, but no request reaches a target.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use templates::{Balancer, names};

use super::{LOOK, look};
use crate::assess::target_groups::GroupHealth;
use crate::assess::{Assessment, Expected};
use crate::aws::Aws;
use crate::aws::retry::pause;
use crate::output::failure::Failure;
use crate::output::progress::Progress;
use crate::resources::security_group;

/// A target needs two checks to be healthy, and an application may still start.
const TARGETS: Duration = Duration::from_secs(120);
/// The most addresses in a line about a rule.
const NAMED: usize = 8;

/// Waits at most two minutes, and at most for `limit`. The failure names the targets that are down, and the rules that
/// may be missing.
pub async fn until_healthy(
    aws: &Aws,
    balancer: &Balancer,
    expected: &Expected,
    limit: Duration,
    mut assessment: Assessment,
    progress: &Progress,
) -> Result<Assessment, Failure> {
    let patience = TARGETS.min(limit);
    let deadline = Instant::now() + patience;
    loop {
        let short: Vec<&GroupHealth> = assessment.target_groups.iter().filter(|group| !group.is_enough()).collect();
        if short.is_empty() {
            return Ok(assessment);
        }
        if Instant::now() >= deadline {
            progress.clear();
            let groups = security_group::find(&aws.ec2, &names::regional(&balancer.name)).await.unwrap_or_default();
            let nodes = groups.iter().find(|group| group.vpc == balancer.vpc).map(|group| group.id.as_str());
            return Err(Failure::Unfinished(given_up(&balancer.name, patience, &short, nodes, Timestamp::now())));
        }
        for group in short {
            progress.live(&format!("target group {}", group.name), &group.said());
        }
        pause(LOOK).await;
        assessment = look(aws, &balancer.name, &balancer.vpc, expected).await?.1;
    }
}

/// What the operator has to know and to do. `nodes` is the id of the nodes' security group.
fn given_up(
    balancer: &str,
    patience: Duration,
    short: &[&GroupHealth],
    nodes: Option<&str>,
    now: Timestamp,
) -> Vec<String> {
    let unknown = |group: &GroupHealth| format!("target group {}: {}", group.name, group.said());
    let missing = short.iter().map(|group| group.shortage().unwrap_or_else(|| unknown(group)));
    let head = format!(
        "{balancer} runs, but after {} s it has target groups without enough healthy targets; mend them and run \
         `launcher status {balancer}`, or use --no-wait-targets if they come later",
        patience.as_secs()
    );
    let lines = short.iter().flat_map(|group| group.lines(nodes, now));
    [head].into_iter().chain(missing).chain(lines).chain(rules(short, nodes)).collect()
}

/// The rules that silent targets may lack, one for each port: the checked one, and the target's own. A target behind a
/// range of ports has none of its own.
fn rules(short: &[&GroupHealth], nodes: Option<&str>) -> Vec<String> {
    let mut ports: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for group in short {
        for down in group.down.iter().filter(|down| down.reason.is_silence()) {
            let (address, own) = down.target.split_once(':').unwrap_or((down.target.as_str(), ""));
            for port in own.parse::<u16>().ok().into_iter().chain(group.check_port) {
                ports.entry(port).or_default().push(address);
            }
        }
    }
    let nodes = nodes.unwrap_or("the nodes' security group");
    let rule = |(port, mut addresses): (u16, Vec<&str>)| {
        addresses.sort_unstable();
        addresses.dedup();
        let more = addresses.len().checked_sub(NAMED).filter(|more| *more > 0);
        let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
        addresses.truncate(NAMED);
        format!("add to the security group of {}{more}: TCP {port} from {nodes}", addresses.join(", "))
    };
    ports.into_iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assess::target_groups::tests::groups;

    fn said(tag: &str) -> Vec<String> {
        let groups = groups(&[tag]);
        let short: Vec<&GroupHealth> = groups.iter().filter(|group| !group.is_enough()).collect();
        let now = "2026-11-29T14:05:00Z".parse().unwrap();
        given_up("shop", Duration::from_secs(120), &short, Some("sg-1"), now)
    }

    #[test]
    fn the_failure_names_groups_targets_reasons_and_the_missing_rule() {
        let lines = said(
            "db=2/2 web=0/2 web/10.0.1.20:8080@2026-11-29T14:03:12Z=L4TOUT web/10.0.2.20:8080@2026-11-29T14:03:12Z=L4CON",
        );
        assert!(lines[0].starts_with("shop runs, but after 120 s"), "{}", lines[0]);
        assert_eq!(
            lines[1..],
            [
                "target group web: 0 of 2 targets are healthy, and minimum_healthy is 1",
                "web: 10.0.1.20:8080 is down since 14:03:12Z: timeout at layer 4: does its security group admit sg-1?",
                "web: 10.0.2.20:8080 is down since 14:03:12Z: connection refused",
                "add to the security group of 10.0.1.20: TCP 8080 from sg-1",
            ]
        );
        assert_eq!(said("web=2/2")[1], "target group db: no active node reports its targets");
    }

    #[test]
    fn the_port_of_the_check_needs_a_rule_too() {
        let silent = |target: &str| format!("web=0/1 web/{target}@2026-11-29T14:03:12Z=L4TOUT");
        let advised = |target: &str, check_port: Option<u16>| {
            let mut group = groups(&[&silent(target)]).remove(1);
            group.check_port = check_port;
            rules(&[&group], Some("sg-1"))
        };
        let rule = |port: u16| format!("add to the security group of 10.0.1.20: TCP {port} from sg-1");
        assert_eq!(advised("10.0.1.20:8080", Some(8081)), [rule(8080), rule(8081)]);
        assert_eq!(advised("10.0.1.20:8080", Some(8080)), [rule(8080)]);
        assert_eq!(advised("10.0.1.20", Some(8081)), [rule(8081)]);
    }

    #[test]
    fn one_rule_is_advised_for_a_port_whatever_the_number_of_targets() {
        let down = (1..=20).map(|n| format!("web/10.0.1.{n}:80@2026-11-29T14:03:12Z=L4TOUT")).collect::<Vec<_>>();
        let lines = said(&format!("db=2/2 web=0/20 {}", down.join(" ")));
        assert!(lines.last().unwrap().ends_with(" and 12 more: TCP 80 from sg-1"), "{lines:?}");
    }
}
