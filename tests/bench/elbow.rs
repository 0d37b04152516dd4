//! Elbow's part of the benchmark: a balancer with a given number of route tables, and takeovers without a lost node.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::api::Upstream;
use lab::observations::{answered, eligible_tables, master_since, text};
use lab::rig::{Rig, wait_for};
use serde_json::{Value, json};

use crate::results::Attempt;

/// The limit for a pair to boot or to recover.
pub const RECOVERY: Duration = Duration::from_secs(90);
/// The launcher refuses a longer list of route tables.
const LISTED: usize = 80;
/// A takeover of 200 tables under throttling takes half a minute.
const PATIENCE: Duration = Duration::from_secs(120);

/// `count` eligible tables of the VPC, the client's (the main one) first. Creates missing ones.
pub fn tables(rig: &Rig, count: usize) -> Result<Vec<String>> {
    let status = rig.status()?;
    let have = eligible_tables(rig, &status.vpc)?.len();
    if have < count {
        let port = std::fs::read_to_string(rig.run_folder().join("moto.port"))?;
        let moto = Upstream::new(&format!("http://127.0.0.1:{}", port.trim()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(moto.post("/lab/route-tables", &json!({ "count": count - have })))?;
    }
    let main = rig.aws(["ec2", "describe-route-tables", "--filters", "Name=association.main,Values=true"])?;
    let main = (main["RouteTables"].as_array().context("a list of tables")?.iter())
        .find(|table| table["VpcId"] == status.vpc.as_str())
        .context("the VPC has no main table")?;
    let main = text(&main["RouteTableId"])?;
    let mut others = eligible_tables(rig, &status.vpc)?;
    others.retain(|table| *table != main);
    Ok(std::iter::once(main).chain(others).take(count).collect())
}

/// The example balancer with these tables. More than [`LISTED`] must be all tables of the VPC.
pub fn balancer(rig: &Rig, tables: &[String]) -> Result<PathBuf> {
    if tables.len() > LISTED {
        let all = eligible_tables(rig, &rig.status()?.vpc)?.len();
        ensure!(all == tables.len(), "the VPC has {all} tables, and {} of them are too many to list", tables.len());
        return rig.balancer(|text| text);
    }
    rig.balancer(|text| format!("route_tables  = {tables:?}\n{text}"))
}

/// One takeover: the active node's keepalived is killed, and the standby becomes MASTER. Measures from its agent's
/// `vrrp MASTER` to the answer to its last ReplaceRoute.
pub fn take_over(rig: &Rig, tables: usize) -> Result<Attempt> {
    rig.serving_nodes(2, RECOVERY)?;
    let loser = rig.active()?;
    rig.lab(["calls", "--clear"])?;
    rig.inside(&loser, &["systemctl", "kill", "--signal=KILL", "keepalived"])?;
    let start = Instant::now();
    let moves = wait_for("a takeover", PATIENCE, || {
        let done: Vec<Value> =
            rig.calls()?.into_iter().filter(|c| c["action"] == "ReplaceRoute" && c["status"] == 200).collect();
        ensure!(done.len() >= tables, "{} of {tables} routes are moved", done.len());
        Ok(done)
    })?;
    let heir = text(&moves[0]["caller"])?;
    ensure!(heir != loser, "{heir} took over from itself");
    let last = moves.iter().map(answered).collect::<Result<Vec<_>>>()?.into_iter().max().context("a call")?;
    let took = Duration::try_from(last.duration_since(master_since(rig, &heir)?))?;
    ensure!(took < start.elapsed(), "{heir} became MASTER before keepalived was killed");
    Ok(Attempt { seconds: took.as_secs_f64(), moved: tables })
}
