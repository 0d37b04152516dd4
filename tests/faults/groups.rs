//! A node of an Auto Scaling group hangs while EC2 reports it as running. The test has a lab of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::rig::{Rig, wait_for};
use serde_json::Value;

use crate::stage::BOOT;

const AFTER: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_node_that_hangs_is_replaced_by_its_group_and_no_other_node_is() -> Result<()> {
    let rig = Rig::up()?;
    let group =
        |text| format!("launch = \"auto-scaling\"\n{text}\n[failover]\nreplace_after = \"{}s\"\n", AFTER.as_secs());
    rig.create(&rig.balancer(group)?)?;
    rig.serving_nodes(2, BOOT)?;
    let hung = rig.active()?;
    let prober = rig.prober(20)?;
    rig.lab(["kill", &hung])?;
    let since = Instant::now();
    let report = wait_for("the survivor's report to the group", BOOT, || {
        reports(&rig)?.pop().context("no SetInstanceHealth call")
    })?;
    rig.figure("a hung node of a group: to the report", format!("{:.1?}", since.elapsed()))?;
    ensure!(since.elapsed() >= AFTER, "the node was reported after {:?}", since.elapsed());
    let survivor = rig.active()?;
    ensure!(report["caller"] == survivor.as_str() && report["status"] == 200, "the call is {report}");
    wait_for("another node to be standby", BOOT, || {
        let nodes = rig.status()?.instances;
        let is_new = |id: &str| id != hung && id != survivor;
        let new = nodes.iter().find(|node| is_new(&node.id) && node.role.as_deref() == Some("standby"));
        new.map(drop).with_context(|| format!("nodes: {nodes:?}"))
    })?;
    rig.figure("a hung node of a group: to its replacement's service", format!("{:.1?}", since.elapsed()))?;
    let outage = lab::prober::longest_outage(&prober.finish()?).context("answers")?;
    ensure!(outage.length() < Duration::from_secs(3), "no node served for {:?}", outage.length());
    // While the group waits for the hung node to complete its hook, no other node is reported.
    std::thread::sleep(AFTER);
    ensure!(reports(&rig)?.len() == 1, "reports: {:?}", reports(&rig)?);
    rig.destroy("web").map(drop)
}

fn reports(rig: &Rig) -> Result<Vec<Value>> {
    Ok(rig.calls()?.into_iter().filter(|call| call["action"] == "SetInstanceHealth").collect())
}
