//! Measures the outages of ten balancers of one VPC that lose a zone at once. The API throttles, and they share the
//! account's token bucket.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use lab::daemon::addresses::CLIENT;
use lab::daemon::protocol::InstanceStatus;
use lab::network::namespace;
use lab::observations::{answered, text};
use lab::prober::{self, Plan, Prober};
use lab::rig::{Rig, wait_for};

use crate::arena::{Arena, say};
use crate::elbow;
use crate::results::{Zone, ZoneLoss};

const LATENCY_MS: u64 = 100;
const TABLES: usize = 20;
const BALANCERS: usize = 10;
const BURST: u32 = 50;
const REFILL: f64 = 5.0;
const LOST_ZONE: &str = "eu-west-1a";
/// The time for 200 routes at 5 a second, and a margin.
const PATIENCE: Duration = Duration::from_secs(180);

/// Measures with all tables, and with only those of clients in other zones.
pub fn run(arena: &Arena) -> Result<Zone> {
    let count = if arena.quick { 2 } else { BALANCERS };
    let all = loss(arena, count, |tables, _| tables)?;
    let named = loss(arena, count, |_, living| living)?;
    Ok(Zone { latency_ms: LATENCY_MS, tables: TABLES, burst: BURST, refill: REFILL, all, named })
}

/// `choose` selects the balancers' tables from all tables and those of clients in other zones.
fn loss(arena: &Arena, count: usize, choose: fn(Vec<String>, Vec<String>) -> Vec<String>) -> Result<ZoneLoss> {
    let rig = arena.rig()?;
    let all = elbow::tables(&rig, TABLES)?;
    let found = rig.aws(["ec2", "describe-route-tables", "--filters", "Name=tag:Name,Values=private-b"])?;
    let living = vec![all[0].clone(), text(&found["RouteTables"][0]["RouteTableId"])?];
    let tables = choose(all, living);
    // One after another: twenty concurrent boots overload a machine with few cores.
    for n in 0..count {
        say(format!("balancer {} of {count}, in {} tables", n + 1, tables.len()));
        rig.create(&file(&rig, n, &tables)?)?;
    }
    for n in 0..count {
        into_the_zone(&rig, n)?;
    }
    let probers = (0..count).map(prober).collect::<Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for prober in &probers {
        runtime.block_on(prober.answered(20, PATIENCE)).context("before the zone is lost")?;
    }
    rig.lab(["latency", &LATENCY_MS.to_string()])?;
    rig.lab(["throttle", &BURST.to_string(), &REFILL.to_string()])?;
    rig.lab(["calls", "--clear"])?;
    rig.lab(["lose", LOST_ZONE])?;
    let (serving_nodes, throttled) = moved(&rig, count * tables.len())?;
    for prober in &probers {
        runtime.block_on(prober.answered(20, PATIENCE)).context("after the zone was lost")?;
    }
    let outages = probers.into_iter().map(|prober| {
        let outage = prober::longest_outage(&prober.finish()?).context("there were two answers")?;
        Ok(outage.length().as_secs_f64())
    });
    let outages = outages.collect::<Result<Vec<_>>>()?;
    say(format!("{} tables each: served after {outages:.2?} s, all routes after {serving_nodes:.1} s", tables.len()));
    Ok(ZoneLoss { tables: tables.len(), outages, serving_nodes, throttled })
}

fn name(n: usize) -> String {
    format!("web{n}")
}

fn vip(n: usize) -> String {
    format!("10.255.0.{}", 10 + n)
}

fn file(rig: &Rig, n: usize, tables: &[String]) -> Result<PathBuf> {
    let text = std::fs::read_to_string(elbow::balancer(rig, tables)?)?;
    let text = text.replace("\"web\"", &format!("{:?}", name(n))).replace("10.255.0.10", &vip(n));
    rig.file("balancer.toml", &text)
}

fn prober(n: usize) -> Result<Prober> {
    Prober::start(Plan {
        namespace: Some(namespace::behind(CLIENT)),
        to: format!("{}:80", vip(n)).parse()?,
        path: "/".to_owned(),
        every: Duration::from_millis(50),
        limit: Duration::from_secs(2),
    })
}

/// Waits until the balancer's active node is in the zone to be lost; kills keepalived of an active node elsewhere.
fn into_the_zone(rig: &Rig, n: usize) -> Result<()> {
    let mut asked = false;
    wait_for("an active node in the zone", elbow::RECOVERY, || {
        let nodes = nodes(rig, n)?;
        let role = |role: &str| nodes.iter().find(|i| i.role.as_deref() == Some(role));
        let active = role("active").context("no node is active")?;
        role("standby").context("no node is standby")?;
        if active.zone != LOST_ZONE {
            if !asked {
                rig.inside(&active.id, &["systemctl", "kill", "--signal=KILL", "keepalived"])?;
                asked = true;
            }
            return Err(anyhow!("the active node is in {}", active.zone));
        }
        let status = rig.status()?;
        let routes = status.routes.iter().filter(|r| r.destination == format!("{}/32", vip(n)));
        ensure!(routes.into_iter().all(|r| r.instance.as_deref() == Some(&active.id)), "a route leads elsewhere");
        Ok(())
    })
}

fn nodes(rig: &Rig, n: usize) -> Result<Vec<InstanceStatus>> {
    let ours = rig.status()?.instances.into_iter();
    Ok(ours.filter(|i| i.balancer.as_deref() == Some(&name(n)) && i.lab == "up").collect())
}

/// Waits until `routes` routes are replaced; returns the seconds from the first call to the last answer, and the number
/// of throttled calls.
fn moved(rig: &Rig, routes: usize) -> Result<(f64, usize)> {
    wait_for("every route", PATIENCE, || {
        let calls: Vec<_> = rig.calls()?.into_iter().filter(|c| c["action"] == "ReplaceRoute").collect();
        let done: Vec<_> = calls.iter().filter(|c| c["status"] == 200).collect();
        ensure!(done.len() >= routes, "{} of {routes} are replaced", done.len());
        let first: jiff::Timestamp = text(&calls[0]["time"])?.parse()?;
        let last = done.into_iter().map(answered).collect::<Result<Vec<_>>>()?.into_iter().max().context("a call")?;
        let throttled = calls.iter().filter(|c| c["error"] == "RequestLimitExceeded").count();
        Ok((last.duration_since(first).as_secs_f64(), throttled))
    })
}
