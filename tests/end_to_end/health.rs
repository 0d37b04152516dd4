//! HAProxy fails on the active node, in more than one way, and clients are served again by the other one; or it doesn't
//! fail, and nothing moves.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::evidence::priority_falls;
use lab::prober::{self, Prober};
use lab::rig::{Rig, wait_for};

use crate::pair::{RECOVERY, log, on_pair, rounds};

/// As long as a false failover could take to show.
const CALM: Duration = Duration::from_secs(3);

#[tokio::test]
async fn an_haproxy_that_is_killed_is_relieved_within_0_4_seconds() -> Result<()> {
    on_pair(killed).await
}

async fn killed(rig: &Rig) -> Result<()> {
    rig.lab(["latency", "100"])?;
    let mut outages = Vec::new();
    for _ in 0..rounds() {
        outages.push(outage_of(rig, &["pkill", "-KILL", "-x", "haproxy"]).await?);
        rig.settled(2, RECOVERY)?;
    }
    report(rig, "HAProxy killed", &outages, Duration::from_millis(400), Duration::from_millis(1500))
}

#[tokio::test]
async fn an_haproxy_that_hangs_is_relieved_within_2_seconds() -> Result<()> {
    on_pair(hung).await
}

async fn hung(rig: &Rig) -> Result<()> {
    rig.lab(["latency", "100"])?;
    let mut outages = Vec::new();
    for _ in 0..rounds() {
        let active = rig.active()?;
        outages.push(outage_of(rig, &["pkill", "-STOP", "-x", "haproxy"]).await?);
        rig.inside(&active, &["pkill", "-CONT", "-x", "haproxy"])?;
        rig.settled(2, RECOVERY)?;
    }
    report(rig, "HAProxy hung", &outages, Duration::from_secs(2), Duration::from_secs(4))
}

#[tokio::test]
async fn a_hiccup_a_reload_and_a_worker_that_leaves_move_nothing() -> Result<()> {
    on_pair(hiccups).await
}

async fn hiccups(rig: &Rig) -> Result<()> {
    let active = rig.active()?;
    let before = log(rig, &active)?.len();
    let prober = rig.prober(10)?;

    rig.inside(&active, &["sh", "-c", "pkill -STOP -x haproxy; sleep 0.5; pkill -CONT -x haproxy"])?;
    prober.answered(50, CALM).await.context("after a hiccup of half a second")?;
    let worker = rig.inside(&active, &["sh", "-c", "pgrep -x haproxy | tail -n 1"])?;
    rig.inside(&active, &["systemctl", "reload", "haproxy"])?;
    // It leaves by itself as soon as it has no connection any more.
    wait_for("the relieved worker to leave", RECOVERY, || {
        let alive = rig.inside(&active, &["pgrep", "-x", "haproxy"])?;
        ensure!(!alive.lines().any(|pid| pid == worker.trim()), "worker {} is still there", worker.trim());
        Ok(())
    })?;
    prober.answered(50, CALM).await.context("after the relieved worker left")?;
    calm(rig, prober, &active, before).await?;
    Ok(())
}

#[tokio::test]
async fn a_machine_that_stands_still_for_a_moment_stays_active() -> Result<()> {
    on_pair(standstill).await
}

async fn standstill(rig: &Rig) -> Result<()> {
    let active = rig.active()?;
    let before = log(rig, &active)?.len();
    let prober = rig.prober(10)?;
    // The fault suite plays 400 ms, which leaves an election's patience some 46 ms for the machine's own delays.
    rig.lab(["freeze", &active, "200"])?;
    calm(rig, prober, &active, before).await?;

    // Longer than an election takes: the other one is active then, and the one that comes round holds nothing against
    // an HAProxy that stood as still as itself.
    rig.lab(["freeze", &active, "5000"])?;
    rig.settled(2, RECOVERY)?;
    let log = log(rig, &active)?;
    let said = &log[before..];
    ensure!(!said.contains("HAProxy doesn't answer"), "the thawed node accuses its HAProxy:\n{said}");
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
            ensure!(track.trim() == lost, "it is {track:?}");
            Ok(())
        })
    };
    priority("1")?;
    priority_falls(rig, &active, 50, RECOVERY)?;
    // It has the routes and serves: with nopreempt it stays.
    calm(rig, prober, &active, before).await?;
    rig.lab(["heal"])?;
    priority("0")?;
    Ok(())
}

/// Runs a command on the active node; how long clients went without an answer until the other one answered.
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

/// The median is held to the bar; the worst to what a machine may add that has other work to do.
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

/// Nothing has moved since the active node's log was so long, and nothing does for a while.
async fn calm(rig: &Rig, prober: Prober, active: &str, before: usize) -> Result<()> {
    tokio::time::sleep(CALM).await;
    prober.answered(10, CALM).await?;
    let log = log(rig, active)?;
    let said = &log[before..];
    ensure!(rig.active()? == active && !said.contains(" vrrp "), "the active node has changed:\n{said}");
    Ok(())
}
