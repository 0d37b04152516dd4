//! Health checks of the active node: if HAProxy is killed or hangs, the other node takes over. A reload, a short freeze
//! or a lost way to the API moves nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::observations::priority_falls;
use lab::prober::{self, Prober};
use lab::rig::{Rig, wait_for};

use crate::pair::{RECOVERY, log, on_pair, rounds};

/// A false failover would show within this time.
const CALM: Duration = Duration::from_secs(3);

#[tokio::test]
async fn an_haproxy_that_is_killed_is_replaced_within_0_4_seconds() -> Result<()> {
    on_pair(killed).await
}

async fn killed(rig: &Rig) -> Result<()> {
    rig.lab(["latency", "100"])?;
    let mut outages = Vec::new();
    for _ in 0..rounds() {
        outages.push(outage_of(rig, &["pkill", "-KILL", "-x", "haproxy"]).await?);
        rig.serving_nodes(2, RECOVERY)?;
    }
    report(rig, "HAProxy killed", &outages, Duration::from_millis(400), Duration::from_millis(1500))
}

#[tokio::test]
async fn an_haproxy_that_hangs_is_replaced_within_2_seconds() -> Result<()> {
    on_pair(hung).await
}

async fn hung(rig: &Rig) -> Result<()> {
    rig.lab(["latency", "100"])?;
    let mut outages = Vec::new();
    for _ in 0..rounds() {
        let active = rig.active()?;
        outages.push(outage_of(rig, &["pkill", "-STOP", "-x", "haproxy"]).await?);
        rig.inside(&active, &["pkill", "-CONT", "-x", "haproxy"])?;
        rig.serving_nodes(2, RECOVERY)?;
    }
    report(rig, "HAProxy hung", &outages, Duration::from_secs(2), Duration::from_secs(4))
}

#[tokio::test]
async fn a_short_stop_and_a_reload_of_haproxy_move_nothing() -> Result<()> {
    on_pair(hiccups).await
}

async fn hiccups(rig: &Rig) -> Result<()> {
    let active = rig.active()?;
    let before = log(rig, &active)?.len();
    let prober = rig.prober(10)?;

    rig.inside(&active, &["sh", "-c", "pkill -STOP -x haproxy; sleep 0.5; pkill -CONT -x haproxy"])?;
    prober.answered(50, CALM).await.context("after HAProxy was stopped for half a second")?;
    let worker = rig.inside(&active, &["sh", "-c", "pgrep -x haproxy | tail -n 1"])?;
    rig.inside(&active, &["systemctl", "reload", "haproxy"])?;
    // The old worker exits when its last connection has ended.
    wait_for("the old worker to exit", RECOVERY, || {
        let alive = rig.inside(&active, &["pgrep", "-x", "haproxy"])?;
        ensure!(!alive.lines().any(|pid| pid == worker.trim()), "worker {} still runs", worker.trim());
        Ok(())
    })?;
    prober.answered(50, CALM).await.context("after the old worker exited")?;
    calm(rig, prober, &active, before).await?;
    Ok(())
}

#[tokio::test]
async fn a_machine_that_is_frozen_for_a_moment_stays_active() -> Result<()> {
    on_pair(standstill).await
}

async fn standstill(rig: &Rig) -> Result<()> {
    let active = rig.active()?;
    let before = log(rig, &active)?.len();
    let prober = rig.prober(10)?;
    // The fault tests play 400 ms, which leaves the election timeout some 46 ms for the machine's own delays.
    rig.lab(["freeze", &active, "200"])?;
    calm(rig, prober, &active, before).await?;

    // Longer than an election takes: the other node becomes active. The thawed node must not report its HAProxy, which
    // was frozen, too.
    rig.lab(["freeze", &active, "5000"])?;
    rig.serving_nodes(2, RECOVERY)?;
    let log = log(rig, &active)?;
    let said = &log[before..];
    ensure!(!said.contains("HAProxy doesn't answer"), "the thawed node reports its HAProxy:\n{said}");
    Ok(())
}

#[tokio::test]
async fn a_node_that_cannot_reach_the_api_is_less_preferred_and_never_in_fault() -> Result<()> {
    on_pair(no_way_to_the_api).await
}

async fn no_way_to_the_api(rig: &Rig) -> Result<()> {
    let active = rig.active()?;
    let before = log(rig, &active)?.len();
    let prober = rig.prober(10)?;
    rig.lab(["partition", &active, "api"])?;
    let priority = |lost: &str| {
        wait_for(&format!("api.track to be {lost}"), RECOVERY, || {
            let track = rig.inside(&active, &["cat", "/run/elbow/api.track"])?;
            ensure!(track.trim() == lost, "api.track is {track:?}");
            Ok(())
        })
    };
    priority("1")?;
    priority_falls(rig, &active, 50, RECOVERY)?;
    // With nopreempt the owner of the routes stays active.
    calm(rig, prober, &active, before).await?;
    rig.lab(["heal"])?;
    priority("0")?;
    Ok(())
}

/// Runs a command on the active node, waits for the failover, and returns the outage.
async fn outage_of(rig: &Rig, command: &[&str]) -> Result<Duration> {
    let active = rig.active()?;
    let prober = rig.prober(10)?;
    prober.answered(50, RECOVERY).await.context("before the fault")?;
    rig.inside(&active, command)?;
    wait_for("the route to move", RECOVERY, || {
        ensure!(rig.active()? != active, "it still leads to {active}");
        Ok(())
    })?;
    prober.answered(50, RECOVERY).await.context("after the fault")?;
    Ok(prober::longest_outage(&prober.finish()?).context("there were two answers")?.length())
}

/// Fails if the median outage exceeds `bar`, or the worst exceeds `limit`, which allows for other work on the machine.
fn report(rig: &Rig, fault: &str, outages: &[Duration], bar: Duration, limit: Duration) -> Result<()> {
    let median = prober::median(outages).context("some outages")?;
    rig.figure(&format!("{fault}, 100 ms latency: outages"), format!("{outages:.2?}"))?;
    rig.figure(&format!("{fault}, 100 ms latency: median outage"), format!("{median:.2?}"))?;
    let worst = *outages.iter().max().context("some outages")?;
    rig.figure(&format!("{fault}, 100 ms latency: worst outage"), format!("{worst:.2?}"))?;
    ensure!(median <= bar, "the median of {outages:?} is {median:?}, more than {bar:?}");
    ensure!(worst <= limit, "the worst of {outages:?} is {worst:?}, more than {limit:?}");
    Ok(())
}

/// Fails if the active node's role has changed since its log had `before` bytes, or changes within [`CALM`].
async fn calm(rig: &Rig, prober: Prober, active: &str, before: usize) -> Result<()> {
    tokio::time::sleep(CALM).await;
    prober.answered(10, CALM).await?;
    let log = log(rig, active)?;
    let said = &log[before..];
    ensure!(rig.active()? == active && !said.contains(" vrrp "), "the active node's role has changed:\n{said}");
    Ok(())
}
