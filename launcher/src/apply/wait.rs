//! Waits until a balancer serves. It reads the nodes' tags and the routes, and never contacts a node.

pub mod targets;

use std::time::{Duration, Instant};

use anyhow::anyhow;
use jiff::Timestamp;
use templates::balancer::Launch;
use templates::{Role, Roles, names};

use crate::assess::silent;
use crate::assess::{Assessment, Expected, NodeHealth, VipHealth, Watch, assess, health, remedy};
use crate::aws::Aws;
use crate::aws::error::CallFailed;
use crate::aws::retry::pause;
use crate::model::node::Node;
use crate::output::failure::Failure;
use crate::output::progress::Progress;
use crate::resources::instances;
use crate::resources::{route_tables, scaling_group};

/// Interval between polls. A poll is two Describe calls, far below an account's rate limit.
const LOOK: Duration = Duration::from_millis(700);
/// A new instance may be missing from Describe answers this long.
const SPREADING: Duration = Duration::from_secs(10);
/// A restarting node is reachable again within this.
const RESTART: Duration = Duration::from_secs(60);
/// A standby probes each second, and shows a failure after five.
const REACH: Duration = Duration::from_secs(30);
/// How many lines of a node's console are shown.
const CONSOLE_LINES: usize = 12;

/// Waits until every node has reported and every route leads to its active node.
pub async fn until_served(
    aws: &Aws,
    balancer: &str,
    vpc: &str,
    expected: &Expected,
    timeout: Duration,
    progress: &Progress,
) -> Result<Assessment, Failure> {
    let deadline = Instant::now() + timeout;
    let mut ended_since = None;
    loop {
        let (nodes, assessment) = look(aws, balancer, vpc, expected).await?;
        if assessment.problems.is_empty() {
            return Ok(assessment);
        }
        show(&assessment, expected, progress);
        match hopeless(expected, &nodes) {
            None => ended_since = None,
            Some((reason, patience)) if ended_since.get_or_insert_with(Instant::now).elapsed() > patience => {
                progress.clear();
                return Err(Failure::Failed(anyhow!("{balancer}: {reason}")));
            }
            Some(_) => {}
        }
        if Instant::now() >= deadline {
            progress.clear();
            if expected.launch == Launch::AutoScaling {
                say_failure(aws, balancer, progress).await;
            }
            return Err(timed_out(aws, balancer, &assessment, timeout, progress).await);
        }
        pause(LOOK).await;
    }
}

/// Waits until every standby reaches its virtual IPs through the VPC, at most for [`REACH`]. Warns of each one that doesn't.
pub async fn until_reached(
    aws: &Aws,
    balancer: &str,
    vpc: &str,
    expected: &Expected,
    mut assessment: Assessment,
    progress: &Progress,
) -> Result<Assessment, Failure> {
    let deadline = Instant::now() + REACH;
    loop {
        let unreached = unreached(&assessment);
        if unreached.is_empty() {
            return Ok(assessment);
        }
        if Instant::now() >= deadline {
            unreached.iter().for_each(|line| progress.say(&format!("warning: {line}")));
            return Ok(assessment);
        }
        progress.live(balancer, "waiting until the other nodes reach each virtual IP through the VPC");
        pause(LOOK).await;
        assessment = look(aws, balancer, vpc, expected).await?.1;
    }
}

/// Reads nodes and routes once, and assesses them.
async fn look(
    aws: &Aws,
    balancer: &str,
    vpc: &str,
    expected: &Expected,
) -> Result<(Vec<Node>, Assessment), CallFailed> {
    let looks = (instances::find(&aws.ec2, balancer, &expected.subnets), route_tables::find(&aws.ec2, vpc));
    let (nodes, tables) = futures::try_join!(looks.0, looks.1)?;
    let assessment = assess(expected, &nodes, &tables);
    Ok((nodes, assessment))
}

/// The virtual IPs that standbys don't reach, a line each.
fn unreached(assessment: &Assessment) -> Vec<String> {
    let line = |vip: &VipHealth, watch: &Watch| match watch.reached {
        Some(true) => None,
        Some(false) => Some(format!("{} isn't reachable from {}", vip.address, watch.place())),
        None => Some(format!("whether {} is reachable from {} isn't known yet", vip.address, watch.place())),
    };
    let vips = assessment.virtual_ips.iter();
    vips.flat_map(|vip| vip.watched.iter().filter_map(move |watch| line(vip, watch))).collect()
}

fn show(assessment: &Assessment, expected: &Expected, progress: &Progress) {
    for node in &assessment.nodes {
        let who = node.named.map_or_else(|| node.instance.clone(), |slot| format!("node {slot}"));
        progress.live(&who, &format!("{} in {}: {}", node.instance, node.zone, phase(node, expected)));
    }
    for vip in &assessment.virtual_ips {
        let right = vip.routes.iter().filter(|route| route.ok).count();
        progress
            .live(&vip.address.to_string(), &format!("{right} of {} routes lead to the active node", vip.routes.len()));
    }
}

fn phase(node: &NodeHealth, expected: &Expected) -> String {
    let mut phase = match (&node.roles, &node.running) {
        _ if node.state != "running" => node.state.clone(),
        _ if let Some(unreachable) = &node.unreachable => unreachable.to_string(),
        // The node takes part in no election yet. A real fault comes with a message.
        (Some(roles), Some(running)) if *running == expected.revision.0 && is_starting(node, roles) => {
            "starting".to_owned()
        }
        (Some(roles), Some(running)) if *running == expected.revision.0 => roles.to_string(),
        (_, Some(running)) => format!("runs revision {running}"),
        _ => "booting".to_owned(),
    };
    if let Some(message) = &node.message {
        phase.push_str(&format!(" ({message})"));
    }
    phase
}

fn is_starting(node: &NodeHealth, roles: &Roles) -> bool {
    node.message.is_none() && roles.0.iter().all(|role| *role == Role::Fault)
}

/// Why waiting is useless, once it holds for this long: a node ended without a successor, or is unreachable. An Auto
/// Scaling group replaces its own nodes.
fn hopeless(expected: &Expected, nodes: &[Node]) -> Option<(String, Duration)> {
    if expected.launch == Launch::AutoScaling {
        return None;
    }
    let live = nodes.iter().filter(|node| node.is_live()).map(health);
    let waited = live.filter(|node| !expected.leaves_out(node));
    let lost = waited.filter_map(|node| node.unreachable()).next();
    let lost = lost.map(|lost| (format!("{lost}: {}", remedy(expected.launch)), RESTART));
    ended(expected, nodes).map(|reason| (reason, SPREADING)).or(lost)
}

/// A subnet without a node, and why the last instance ended. EC2 doesn't report the subnet of an ended instance.
fn ended(expected: &Expected, nodes: &[Node]) -> Option<String> {
    let lives = |subnet: &String| nodes.iter().any(|node| node.is_live() && node.subnet == *subnet);
    let missing = expected.subnets.iter().find(|subnet| !lives(subnet))?;
    let last = nodes.iter().filter(|node| !node.is_live()).max_by_key(|node| node.launched)?;
    let reason = last.reason.as_deref().unwrap_or("AWS gives no reason");
    Some(format!(
        "{missing}: no node runs there, and {} has ended: {reason}; remove the cause, then run the same command again to launch another",
        last.id
    ))
}

async fn timed_out(
    aws: &Aws,
    balancer: &str,
    assessment: &Assessment,
    timeout: Duration,
    progress: &Progress,
) -> Failure {
    let troubled = assessment.nodes.iter().filter(|node| node.roles.is_none() || node.message.is_some());
    for node in troubled {
        say_trouble(aws, node, progress).await;
    }
    let mend = match assessment.nodes.iter().all(|node| node.running.is_none()) {
        true => "; `launcher update` with a corrected file replaces nodes that never came up",
        false => "",
    };
    Failure::Failed(anyhow!(
        "{balancer} doesn't serve after {} s: {}; run `launcher status {balancer}` to follow it{mend}",
        timeout.as_secs(),
        assessment.problems.join("; ")
    ))
}

/// Prints state and console of each live node that hasn't reported.
pub async fn say_silent(aws: &Aws, nodes: &[Node], progress: &Progress) {
    for node in nodes.iter().filter(|node| node.is_live()).map(health).filter(|node| node.running.is_none()) {
        say_trouble(aws, &node, progress).await;
    }
}

async fn say_trouble(aws: &Aws, node: &NodeHealth, progress: &Progress) {
    let age = node.launched.map(|launched| Timestamp::now().duration_since(launched).as_secs());
    let age = age.map(|seconds| format!(", launched {seconds} s ago")).unwrap_or_default();
    let message = node.message.as_deref().unwrap_or("nothing reported");
    progress.say(&format!("{} in {} is {}{age}: {message}", node.called(), node.zone, node.state));
    match instances::console(&aws.ec2, &node.instance).await {
        Ok(text) if !text.trim().is_empty() => {
            for line in tail(&text) {
                progress.say(&format!("  | {line}"));
            }
        }
        Ok(_) => progress.say("  | its console is empty so far"),
        Err(error) => progress.say(&format!("  | its console can't be read: {error}")),
    }
    progress.say(&format!("  more: {}", silent::console(&aws.region, &node.instance)));
}

/// Prints why the group's last launch failed.
pub async fn say_failure(aws: &Aws, balancer: &str, progress: &Progress) {
    let name = names::regional(balancer);
    match scaling_group::failure(&aws.auto_scaling, &name).await {
        Ok(Some(failure)) => progress.say(&failure),
        Ok(None) => {}
        Err(error) => progress.say(&format!("Auto Scaling group {name}: can't read its last launch: {error}")),
    }
}

fn tail(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(CONSOLE_LINES)..].to_vec()
}

#[cfg(test)]
mod tests {
    use templates::Slot;

    use super::*;
    use crate::model::desired::tests::web;
    use crate::model::node_selector::NodeSelector;
    use crate::model::observe::tests::{lost, node};

    #[test]
    fn a_standby_that_does_not_reach_a_virtual_ip_is_named_with_its_subnet() {
        let expected = Expected::from(&templates::balancer::NodeConfig::of(&web()));
        let with = |tag: &str| {
            let mut nodes = [node("i-0", 0, "running"), node("i-1", 1, "running")];
            nodes[1].tags = nodes[1].tags.clone().with(names::TAG_REACHED, tag);
            unreached(&assess(&expected, &nodes, &[]))
        };
        assert_eq!(with("yes"), [] as [&str; 0]);
        assert_eq!(with("no"), ["10.255.0.10 isn't reachable from subnet-0bbb (eu-west-1a)"]);
        assert_eq!(with("-"), ["whether 10.255.0.10 is reachable from subnet-0bbb (eu-west-1a) isn't known yet"]);
    }

    #[test]
    fn waiting_stops_for_an_ended_or_unreachable_node() {
        let expected = Expected::from(&templates::balancer::NodeConfig::of(&web()));
        let hopeless = |nodes: &[Node]| hopeless(&expected, nodes);
        let [first, second] = [node("i-0", 0, "running"), node("i-1", 1, "running")];
        assert_eq!(hopeless(&[first.clone(), second.clone()]), None);
        let (reason, patience) = hopeless(&[lost(first.clone(), "i-1"), second.clone()]).expect("it is lost");
        assert!(reason.starts_with("node 0 (i-0) is unreachable since 14:03:12Z") && patience == RESTART, "{reason}");
        let without = Expected { without: vec![NodeSelector::Slot(Slot(0))], ..expected.clone() };
        assert_eq!(super::hopeless(&without, &[lost(first, "i-1"), second.clone()]), None);
        let gone = Node { subnet: String::new(), ..node("i-0", 0, "terminated") };
        let (reason, patience) = hopeless(&[gone, second]).expect("it has ended");
        assert!(
            reason.starts_with("subnet-0aaa: no node runs there, and i-0 has ended") && patience == SPREADING,
            "{reason}"
        );
    }
}
