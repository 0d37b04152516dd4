//! Measures outages after a node's power cut: Elbow at its default interval, keepalived tuned to the same interval with
//! the AWS CLI, and keepalived with the original's settings. All use the same kind of lab, tables and client; the node is
//! rebooted after each loss.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::prober::{self, Prober};
use lab::rig::{Rig, wait_for};

use crate::arena::{Arena, say};
use crate::elbow;
use crate::floor::Routes;
use crate::others::Account;
use crate::others::original::{Pair, Settings};
use crate::results::Lost;

const VIP: &str = "10.255.0.10";
const LATENCY_MS: u64 = 100;
const TABLES: usize = 3;
const LOSSES: usize = 100;
/// The original takes seconds for each loss, and its spread is small.
const ORIGINAL_LOSSES: usize = 10;
/// The original may need seconds for each table.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures the losses of each tool.
pub fn run(arena: &Arena) -> Result<Lost> {
    let losses = |full| if arena.quick { 2 } else { full };
    Ok(Lost {
        latency_ms: LATENCY_MS,
        tables: TABLES,
        elbow: elbows(arena, losses(LOSSES))?,
        tuned: pairs(arena, losses(LOSSES), Settings::Tuned)?,
        original: pairs(arena, losses(ORIGINAL_LOSSES), Settings::Original)?,
    })
}

fn elbows(arena: &Arena, losses: usize) -> Result<Vec<f64>> {
    let rig = arena.rig()?;
    let tables = elbow::tables(&rig, TABLES)?;
    rig.create(&elbow::balancer(&rig, &tables)?)?;
    rig.lab(["latency", &LATENCY_MS.to_string()])?;
    let outages = (0..losses).map(|n| {
        rig.serving_nodes(2, elbow::RECOVERY)?;
        let lost = rig.active()?;
        let outage = outage(&rig, &lost)?;
        say(format!("Elbow, loss {}: outage of {outage:.2} s", n + 1));
        rig.lab(["reboot", &lost])?;
        Ok(outage)
    });
    outages.collect()
}

fn pairs(arena: &Arena, losses: usize, settings: Settings) -> Result<Vec<f64>> {
    let rig = arena.rig()?;
    let tables = elbow::tables(&rig, TABLES)?;
    let account = Account::prepare(&rig)?;
    let pair = Pair::start(&rig, &account, &Routes { tables: &tables, vip: VIP }, settings)?;
    rig.lab(["latency", &LATENCY_MS.to_string()])?;
    let outages = (0..losses).map(|n| {
        pair.first.booted(&rig)?;
        led_to(&rig, &pair.first.id, &tables)?;
        let outage = outage(&rig, &pair.first.id)?;
        say(format!("keepalived, {settings:?}, loss {}: outage of {outage:.2} s", n + 1));
        // The script continues after it has moved the client's table.
        led_to(&rig, &pair.second.id, &tables)?;
        rig.lab(["reboot", &pair.first.id])?;
        Ok(outage)
    });
    outages.collect()
}

/// Cuts a node's power while a client sends a request every 10 ms; returns the outage.
fn outage(rig: &Rig, lost: &str) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let prober = rig.prober(10)?;
    let answered = |prober: &Prober| runtime.block_on(prober.answered(50, PATIENCE));
    answered(&prober).context("before the power cut")?;
    rig.lab(["kill", lost])?;
    // Answers within this time may belong to requests from before the cut.
    std::thread::sleep(Duration::from_millis(100));
    answered(&prober).context("after the power cut")?;
    let outage = prober::longest_outage(&prober.finish()?).context("there were two answers")?;
    Ok(outage.length().as_secs_f64())
}

/// Waits until the virtual IP's route leads to `node` in each of `tables`.
fn led_to(rig: &Rig, node: &str, tables: &[String]) -> Result<()> {
    wait_for(&format!("all routes to lead to {node}"), PATIENCE, || {
        let routes = rig.status()?.routes;
        let there = |table: &String| {
            routes.iter().any(|r| {
                r.table == *table && r.destination == format!("{VIP}/32") && r.instance.as_deref() == Some(node)
            })
        };
        ensure!(tables.iter().all(there), "the routes are {routes:?}");
        Ok(())
    })
}
