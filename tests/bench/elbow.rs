//! Elbow at work: a balancer of so many tables, and takeovers that nobody has to die for.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::api::Upstream;
use lab::evidence::{answered, eligible_tables, master_since, text};
use lab::rig::{Rig, wait_for};
use serde_json::{Value, json};

use crate::results::Attempt;

/// Within this a pair has booted, or is back to two nodes.
pub const RECOVERY: Duration = Duration::from_secs(90);
/// More are refused.
const LISTED: usize = 80;
/// A takeover of 200 tables under throttling takes half a minute.
const PATIENCE: Duration = Duration::from_secs(120);

/// So many tables of the VPC that can hold routes, the client's (the main one) first; made where there are fewer.
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

/// The example balancer, in these tables alone. More than can be listed have to be all that there are.
pub fn balancer(rig: &Rig, tables: &[String]) -> Result<PathBuf> {
    if tables.len() > LISTED {
        let all = eligible_tables(rig, &rig.status()?.vpc)?.len();
        ensure!(all == tables.len(), "{all} tables are there, and {} of them can't be listed", tables.len());
        return rig.balancer(|text| text);
    }
    rig.balancer(|text| text.replace("[agent]", &format!("route_tables  = {tables:?}\n\n[agent]")))
}

/// One takeover: the active node's keepalived is killed, and the standby becomes MASTER. From its agent's `vrrp MASTER`
/// until its last ReplaceRoute is answered.
pub fn take_over(rig: &Rig, tables: usize) -> Result<Attempt> {
    rig.settled(2, RECOVERY)?;
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
    ensure!(took < start.elapsed(), "{heir} became MASTER before its peer was lost");
    Ok(Attempt { seconds: took.as_secs_f64(), moved: tables })
}
