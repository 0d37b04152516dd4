//! Two virtual IPs on two nodes, each active on one of them. A lost virtual IP returns to its preferred node only with
//! `preempt = true`, and then no client notices.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::clients::Crowd;
use lab::prober;
use lab::rig::{Rig, VIP, printed, wait_for};
use serde_json::Value;

use crate::load::{Load, judge};

const OTHER_VIP: &str = "10.255.0.11:80";
const BOOT: Duration = Duration::from_secs(90);
/// Much longer than an election takes.
const LATE: Duration = Duration::from_secs(3);
/// Longer than a node with preemption takes to take back its virtual IP.
const TEMPTATION: Duration = Duration::from_secs(2);

#[tokio::test]
async fn two_virtual_ips_are_active_active_and_return_only_with_preempt() -> Result<()> {
    let rig = Rig::up()?;
    let [first, second] = created_with_a_late_node(&rig)?;

    power_cut(&rig, &first, "the first node", [VIP, OTHER_VIP]).await?;
    rig.lab(["reboot", &first])?;
    serving_nodes(&rig, [&second, &second])?;
    std::thread::sleep(TEMPTATION);
    ensure!(owners(&rig)? == [second.clone(), second.clone()], "a virtual IP moved without preempt");

    let crowds = crowds(&rig).await?;
    printed(&rig.launcher(["update".as_ref(), file(&rig, "preempt = true")?.as_os_str()])?)?;
    serving_nodes(&rig, [&first, &second])?;
    unnoticed(&rig, crowds, "a virtual IP goes home because of an update to preempt = true")?;

    power_cut(&rig, &second, "the second node", [OTHER_VIP, VIP]).await?;
    let crowds = self::crowds(&rig).await?;
    rig.lab(["reboot", &second])?;
    serving_nodes(&rig, [&first, &second])?;
    unnoticed(&rig, crowds, "a virtual IP goes home as its node returns, preempt = true")?;
    rig.destroy("web").map(drop)
}

/// Creates the balancer; the preferred node of the first virtual IP boots seconds later than the other one. The other
/// node serves both virtual IPs until then, and hands the first over. Returns both nodes.
fn created_with_a_late_node(rig: &Rig) -> Result<[String; 2]> {
    let file = file(rig, "")?;
    printed(&rig.launcher(["create".as_ref(), file.as_os_str(), "--no-wait".as_ref()])?)?;
    let mut nodes = rig.status()?.instances;
    nodes.sort_by_key(|node| node.slot.clone());
    let [first, second] = &nodes[..] else { anyhow::bail!("not two nodes: {nodes:?}") };
    wait_for("the first node to run", BOOT, || rig.lab(["freeze", &first.id, &LATE.as_millis().to_string()]))?;
    rig.create(&file)?;
    serving_nodes(rig, [&first.id, &second.id])?;
    Ok([first.id.clone(), second.id.clone()])
}

/// Cuts a node's power: the outage of its virtual IP is short, and the other virtual IP has none.
async fn power_cut(rig: &Rig, lost: &str, called: &str, [moves, stays]: [&str; 2]) -> Result<()> {
    rig.lab(["latency", "100"])?;
    let probers = [rig.prober_of(moves, 10)?, rig.prober_of(stays, 10)?];
    for prober in &probers {
        prober.answered(50, Duration::from_secs(10)).await.context("before the power cut")?;
    }
    rig.lab(["kill", lost])?;
    // Answers within this time may belong to requests from before the cut.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut holes = Vec::new();
    for prober in probers {
        prober.answered(50, Duration::from_secs(30)).await.context("after the power cut")?;
        holes.push(prober::longest_outage(&prober.finish()?).context("there were two answers")?.length());
    }
    rig.figure(
        &format!("two virtual IPs, {called} without power: its own, the other's outage"),
        format!("{holes:.2?}"),
    )?;
    ensure!(holes[0] <= Duration::from_millis(1500), "the lost node's virtual IP wasn't served for {:?}", holes[0]);
    ensure!(holes[1] <= Duration::from_millis(500), "the other virtual IP wasn't served for {:?}", holes[1]);
    rig.lab(["latency", "0"]).map(drop)
}

/// Starts the same load on each virtual IP.
async fn crowds(rig: &Rig) -> Result<[Crowd; 2]> {
    let load = Load { keep_alive: 4, pause: Duration::from_millis(50), idle: 1, ..Load::default() };
    let kinds = load.kinds();
    let crowds = [rig.crowd_of(VIP, kinds.clone())?, rig.crowd_of(OTHER_VIP, kinds)?];
    for crowd in &crowds {
        crowd.ready(Duration::from_secs(20)).await?;
    }
    Ok(crowds)
}

fn unnoticed(rig: &Rig, crowds: [Crowd; 2], what: &str) -> Result<()> {
    for (crowd, vip) in crowds.into_iter().zip([VIP, OTHER_VIP]) {
        judge(rig, crowd, &format!("{what}: clients of {vip}"))?;
    }
    Ok(())
}

/// Waits until the balancer is healthy with these nodes active for the first and the second virtual IP.
fn serving_nodes(rig: &Rig, wanted: [&str; 2]) -> Result<()> {
    wait_for(&format!("the active nodes {wanted:?}"), BOOT, || {
        let active = owners(rig)?;
        ensure!(active == wanted, "the active nodes are {active:?}");
        Ok(())
    })
}

/// The active node of each virtual IP; fails if `status` reports a problem.
fn owners(rig: &Rig) -> Result<[String; 2]> {
    let status: Value = serde_json::from_str(&printed(&rig.launcher(["status", "web", "--output", "json"])?)?)?;
    let of = |vip: usize| status["virtual_ips"][vip]["active"][0].as_str().map(str::to_owned);
    of(0).zip(of(1)).map(|(first, second)| [first, second]).with_context(|| format!("two active nodes in {status}"))
}

fn file(rig: &Rig, failover: &str) -> Result<PathBuf> {
    rig.balancer(|text| {
        let two = text.replace("[\"10.255.0.10\"]", "[\"10.255.0.10\", \"10.255.0.11\"]");
        format!("{two}\n[failover]\n{failover}\n")
    })
}
