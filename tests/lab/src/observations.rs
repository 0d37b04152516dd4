//! Reads facts from a running lab for tests: answer times of calls, elections, route tables.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;

use crate::daemon::protocol::InstanceStatus;
use crate::rig::{Rig, wait_for};

/// The VPC's route tables, without those of gateways.
pub fn eligible_tables(rig: &Rig, vpc: &str) -> Result<Vec<String>> {
    let filter = format!("Name=vpc-id,Values={vpc}");
    let query = "RouteTables[?!(Associations[?GatewayId])].RouteTableId";
    let tables = rig.aws(["ec2", "describe-route-tables", "--filters", &filter, "--query", query])?;
    tables.as_array().context("the AWS CLI printed no list of tables")?.iter().map(text).collect()
}

/// The ID of an instance's first interface.
pub fn interface_of(rig: &Rig, instance: &str) -> Result<String> {
    let query = "Reservations[0].Instances[0].NetworkInterfaces[0].NetworkInterfaceId";
    text(&rig.aws(["ec2", "describe-instances", "--instance-ids", instance, "--query", query])?)
}

/// The id of a balancer's security group.
pub fn group_of(rig: &Rig, balancer: &str) -> Result<String> {
    let filter = format!("Name=group-name,Values=elbow-{balancer}");
    let query = "SecurityGroups[0].GroupId";
    text(&rig.aws(["ec2", "describe-security-groups", "--filters", &filter, "--query", query])?)
}

/// When the agent logged its last `vrrp MASTER`, by the agent's own timestamp: journald's is later.
pub fn master_since(rig: &Rig, instance: &str) -> Result<Timestamp> {
    let log = rig.inside(instance, &["journalctl", "-u", "elbow-agent", "-o", "cat", "--no-pager"])?;
    let line = log.lines().rfind(|line| line.contains("vrrp MASTER")).context("the agent logged no `vrrp MASTER`")?;
    line.split(' ').next().unwrap_or_default().parse().with_context(|| format!("no time in {line:?}"))
}

/// Waits until keepalived's last log line about its priority shows a fall by this much.
pub fn priority_falls(rig: &Rig, instance: &str, by: i32, patience: Duration) -> Result<()> {
    wait_for(&format!("{instance}'s priority to fall by {by}"), patience, || {
        let log = rig.inside(instance, &["journalctl", "-b", "-u", "keepalived", "--no-pager", "-o", "cat"])?;
        let said = log.lines().rfind(|line| line.contains("effective priority"));
        let change = said.and_then(|said| said.rsplit_once(" from ")?.1.split_once(" to "));
        let fell = change.and_then(|(from, to)| Some(from.parse::<i32>().ok()? - to.parse::<i32>().ok()?));
        ensure!(fell == Some(by), "keepalived logged {said:?}");
        Ok(())
    })
}

/// How often each of these nodes became MASTER, from its agent's log.
pub fn elections(rig: &Rig, nodes: &[InstanceStatus]) -> Result<Vec<(String, usize)>> {
    let log = |id: &str| rig.inside(id, &["journalctl", "-u", "elbow-agent", "--no-pager"]);
    nodes.iter().map(|node| Ok((node.id.clone(), log(&node.id)?.matches("vrrp MASTER").count()))).collect()
}

/// When a recorded call was answered.
pub fn answered(call: &Value) -> Result<Timestamp> {
    let came: Timestamp = text(&call["time"])?.parse()?;
    let took = call["duration_ms"].as_f64().context("the call has no duration")?;
    Ok(came.checked_add(jiff::SignedDuration::from_secs_f64(took / 1000.0))?)
}

/// A JSON value that must be a string.
pub fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("{value}: not a string"))
}
