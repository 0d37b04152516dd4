//! Takeovers while the API takes seconds to answer, compared with a bare client that has no limits. The tests share a
//! lab of their own with 23 route tables.

#[path = "../bench/floor.rs"]
#[expect(dead_code, reason = "the bench measures more")]
mod floor;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::api::Upstream;
use lab::observations::{answered, eligible_tables, interface_of, master_since};
use lab::rig::{Rig, wait_for};
use lab::stage::end_all_faults;
use serde_json::{Value, json};

use self::floor::{Bare, Routes};
use crate::stage::BOOT;
use crate::tables::VIP;

const TABLES: usize = 23;
/// For a machine with two cores, and for the start of a process.
const MARGIN: Duration = Duration::from_millis(1500);

static STAGE: lab::stage::Stage<Rig> = lab::stage::Stage::new();

#[test]
fn at_1_s_of_latency_a_takeover_takes_what_a_bare_client_does() -> Result<()> {
    takes_what_a_bare_client_does(Duration::from_millis(1000), Duration::ZERO)
}

/// The API slows down just before the power cut: the standby's open connections still exist.
#[test]
fn at_2_5_s_of_latency_a_takeover_takes_what_a_bare_client_does() -> Result<()> {
    takes_what_a_bare_client_does(Duration::from_millis(2500), Duration::ZERO)
}

/// The API is slow long enough to close the standby's connections, and the standby has read over new ones.
#[test]
fn at_8_s_of_latency_a_standby_stays_fit_and_takes_what_a_bare_client_does() -> Result<()> {
    takes_what_a_bare_client_does(Duration::from_secs(8), Duration::from_secs(40))
}

/// The active node loses power after the API has been slow for `after`.
fn takes_what_a_bare_client_does(latency: Duration, after: Duration) -> Result<()> {
    let act = async |rig: &Rig| {
        let nodes = rig.serving_nodes(2, BOOT)?;
        let active = nodes.iter().find(|node| node.role.as_deref() == Some("active")).context("no node is active")?;
        let active = active.id.clone();
        let standby = nodes.iter().find(|node| node.id != active).context("no standby")?.id.clone();
        let tables = eligible_tables(rig, &rig.status()?.vpc)?;
        rig.lab(["latency", &latency.as_millis().to_string()])?;
        let bare = bare_time(rig, &tables, &standby, &active)?;
        std::thread::sleep(after.saturating_sub(bare));
        is_fit(rig, &standby)?;
        rig.lab(["calls", "--clear"])?;
        rig.lab(["kill", &active])?;
        let took = take_over(rig, &standby, &tables, bare * 2 + BOOT)?;
        let figure = format!("{:.1} s, the bare client's {:.1} s", took.as_secs_f64(), bare.as_secs_f64());
        rig.figure(&format!("{TABLES} tables at {latency:?} of API latency: takeover"), figure)?;
        ensure!(took <= bare + MARGIN, "the takeover took {took:.1?}, a bare client {bare:.1?}");
        Ok(())
    };
    let mend = |rig: &Rig| end_all_faults(rig).and_then(|()| rig.serving_nodes(2, BOOT).map(drop));
    futures::executor::block_on(STAGE.play(raise, act, mend))
}

fn raise() -> Result<Rig> {
    let rig = Rig::up()?;
    let have = eligible_tables(&rig, &rig.status()?.vpc)?.len();
    let port = std::fs::read_to_string(rig.run_folder().join("moto.port"))?;
    let moto = Upstream::new(&format!("http://127.0.0.1:{}", port.trim()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(moto.post("/lab/route-tables", &json!({ "count": TABLES - have })))?;
    let web = rig.balancer(|text| text)?;
    rig.create(&web)?;
    Ok(rig)
}

/// The time of a client without limits for the same calls from the standby's network, over new connections. The calls
/// change nothing: the routes lead to `active` already.
fn bare_time(rig: &Rig, tables: &[String], standby: &str, active: &str) -> Result<Duration> {
    let routes = Routes { tables, vip: VIP.trim_end_matches("/32") };
    let bare = Bare::at(rig, &interface_of(rig, standby)?)?;
    bare.replace(&routes, &interface_of(rig, active)?)
}

/// With a slow API a node reports no problem and loses no priority.
fn is_fit(rig: &Rig, node: &str) -> Result<()> {
    let lost = rig.inside(node, &["cat", "/run/elbow/api.track"])?;
    ensure!(lost.trim() == "0", "/run/elbow/api.track is {lost:?}");
    let own = rig.inside(node, &["/opt/elbow/agent", "status", "--output", "json"])?;
    let own: Value = serde_json::from_str(&own).context("reading the agent's status")?;
    ensure!(own["problems"].as_object().is_none_or(serde_json::Map::is_empty), "{node} reports {}", own["problems"]);
    Ok(())
}

/// The time from `vrrp MASTER` to the last answer; fails if a call was made twice.
fn take_over(rig: &Rig, heir: &str, tables: &[String], patience: Duration) -> Result<Duration> {
    let calls = || -> Result<Vec<Value>> {
        let calls = rig.calls()?.into_iter();
        Ok(calls.filter(|call| call["action"] == "ReplaceRoute" && call["caller"] == heir).collect())
    };
    let done = wait_for("all routes to be moved", patience, || {
        let done: Vec<Value> = calls()?.into_iter().filter(|call| call["status"] == 200).collect();
        let moved: BTreeSet<_> = done.iter().map(|call| call["request"]["RouteTableId"].to_string()).collect();
        ensure!(moved.len() == tables.len(), "{} of {} are moved", moved.len(), tables.len());
        Ok(done)
    })?;
    let made = calls()?.len();
    ensure!(made == tables.len(), "{made} calls were made for {} routes", tables.len());
    let last = done.iter().map(answered).collect::<Result<Vec<_>>>()?.into_iter().max().context("calls")?;
    Ok(Duration::try_from(last.duration_since(master_since(rig, heir)?))?)
}
