//! A node hands over before it leaves: on a notice of AWS, at a reboot, and when its agent is stopped. A restarted
//! agent hands nothing over.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::clients::Kind;
use lab::prober;
use lab::rig::{Rig, wait_for};

use crate::handover::crowd;
use crate::load::judge;
use crate::pair::{DRAIN, on_pair, rounds};

const BOOT: Duration = Duration::from_secs(90);
/// For a notice: the agent reads notices in IMDS every five seconds.
const HEARD: Duration = Duration::from_secs(20);
const SPOT: &str = r#"{"action": "terminate", "time": "2026-11-23T08:22:00Z"}"#;

#[tokio::test]
async fn a_notice_makes_a_node_hand_over_and_stay_standby_until_it_ends() -> Result<()> {
    on_pair(notices).await
}

async fn notices(rig: &Rig) -> Result<()> {
    let now = jiff::Timestamp::now().strftime("%d %b %Y %H:%M:%S GMT");
    let reboot = format!(r#"[{{"NotBefore": "{now}", "Code": "system-reboot", "State": "active"}}]"#);
    let notices = [
        ("spot/instance-action", SPOT, "Spot interruption"),
        ("autoscaling/target-lifecycle-state", "Terminated", "Auto Scaling"),
        ("events/maintenance/scheduled", reboot.as_str(), "scheduled system-reboot"),
    ];
    for (path, value, words) in notices {
        rig.serving_nodes(2, BOOT)?;
        let before = rig.active()?;
        let began = Instant::now();
        rig.lab(["imds", &before, path, value])?;
        moved_from(rig, &before).context(words)?;
        rig.figure(&format!("{words}: from notice to the other node"), format!("{:.1?}", began.elapsed()))?;
        said(rig, &before, |message| message.contains(words) && message.contains("other nodes are preferred"))?;
        // A node with a notice takes over if no other node can.
        if path.starts_with("spot") {
            let heir = rig.active()?;
            rig.inside(&heir, &["systemctl", "stop", "haproxy"])?;
            ensure!(moved_from(rig, &heir)? == before, "a third node is active");
            // When the other node recovers, the node with the notice hands over again.
            rig.inside(&heir, &["systemctl", "start", "haproxy"])?;
            ensure!(moved_from(rig, &before)? == heir, "a third node is active");
        }
        rig.lab(["imds", &before, path])?;
        said(rig, &before, |message| message.is_empty())?;
    }
    Ok(())
}

#[tokio::test]
async fn a_restarted_agent_moves_nothing_and_a_stopped_one_hands_over() -> Result<()> {
    on_pair(restart_and_stop).await
}

async fn restart_and_stop(rig: &Rig) -> Result<()> {
    let active = rig.active()?;
    let prober = rig.prober(20)?;
    rig.lab(["calls", "--clear"])?;
    for how in [["systemctl", "restart", "elbow-agent"], ["systemctl", "kill", "elbow-agent"]] {
        rig.inside(&active, &how)?;
        wait_for("the agent to be back", BOOT, || rig.inside(&active, &["systemctl", "is-active", "elbow-agent"]))?;
        prober.answered(100, HEARD).await?;
    }
    ensure!(rig.active()? == active, "a restart moved the virtual IP");
    let moves = rig.calls()?.iter().filter(|call| call["action"] == "ReplaceRoute").count();
    ensure!(moves == 0, "a restart made {moves} ReplaceRoute calls");

    rig.inside(&active, &["systemctl", "stop", "elbow-agent"])?;
    ensure!(rig.active()? != active, "{active} is still active after its agent was stopped");
    wait_for("both nodes to report their roles", HEARD, || rig.serving_nodes(2, Duration::ZERO))?;
    prober.answered(50, HEARD).await?;
    let failed = prober.finish()?.into_iter().filter(|probe| probe.outcome.is_err()).count();
    ensure!(failed == 0, "{failed} requests failed");

    // The other node can't hand over: its peer's agent is stopped.
    let last = rig.active()?;
    rig.inside(&last, &["systemctl", "stop", "elbow-agent"])?;
    let log = rig.inside(&last, &["journalctl", "-u", "elbow-agent", "--no-pager"])?;
    ensure!(log.contains("stopping without a handover"), "the agent logged {log}");
    let prober = rig.prober(20)?;
    prober.answered(50, HEARD).await.context("from HAProxy without an agent")?;
    drop(prober);
    for node in [&active, &last] {
        rig.inside(node, &["systemctl", "start", "elbow-agent"])?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stopped_agent_waits_for_open_connections_up_to_the_set_time() -> Result<()> {
    on_pair(drains).await
}

async fn drains(rig: &Rig) -> Result<()> {
    let stop = |id: &str| -> Result<Duration> {
        let began = Instant::now();
        rig.inside(id, &["systemctl", "stop", "elbow-agent"])?;
        Ok(began.elapsed())
    };
    let download = rig.crowd(vec![Kind::Download { connections: 1, seconds: 5 }])?;
    download.ready(HEARD).await?;
    let active = rig.active()?;
    let took = stop(&active)?;
    let report = download.finish()?;
    ensure!(report.lost.is_empty(), "{:?}", report.lost);
    ensure!(took >= Duration::from_secs(3) && took < DRAIN, "with a download of 5 s the stop took {took:?}");
    rig.inside(&active, &["systemctl", "start", "elbow-agent"])?;
    wait_for("a standby with an agent", BOOT, || rig.serving_nodes(2, Duration::ZERO))?;

    let idle = rig.crowd(vec![Kind::Idle { connections: 1 }])?;
    idle.ready(HEARD).await?;
    let active = rig.active()?;
    let took = stop(&active)?;
    ensure!(took >= DRAIN && took < DRAIN + Duration::from_secs(6), "with an idle connection the stop took {took:?}");
    drop(idle);
    rig.inside(&active, &["systemctl", "start", "elbow-agent"]).map(drop)
}

#[tokio::test]
async fn a_reboot_hands_over_before_it_begins() -> Result<()> {
    on_pair(reboot).await
}

async fn reboot(rig: &Rig) -> Result<()> {
    let active = rig.active()?;
    let prober = rig.prober(10)?;
    prober.answered(50, HEARD).await?;
    rig.lab(["reboot", &active])?;
    prober.answered(50, HEARD).await?;
    ensure!(rig.active()? != active, "{active} has the route again");
    rig.serving_nodes(2, BOOT)?;
    let notes = prober.finish()?;
    let failed = notes.iter().filter(|probe| probe.outcome.is_err()).count();
    let outage = prober::longest_outage(&notes).context("there were answers")?.length();
    rig.figure("reboot of the active node: longest time without an answer", format!("{outage:.0?}, {failed} failed"))?;
    ensure!(failed == 0, "{failed} of {} requests failed", notes.len());
    Ok(())
}

#[tokio::test]
async fn notices_and_stops_lose_no_request_and_no_connection() -> Result<()> {
    on_pair(many_departures).await
}

async fn many_departures(rig: &Rig) -> Result<()> {
    let clients = crowd(rig).await?;
    for _ in 0..rounds() {
        let before = rig.active()?;
        rig.lab(["imds", &before, "spot/instance-action", SPOT])?;
        moved_from(rig, &before)?;
        said(rig, &before, |message| message.contains("other nodes are preferred"))?;
        rig.lab(["imds", &before, "spot/instance-action"])?;
        said(rig, &before, |message| message.is_empty())?;
    }
    judge(rig, clients, &format!("{} Spot notices", rounds()))?;
    let clients = crowd(rig).await?;
    for _ in 0..rounds() {
        let before = rig.active()?;
        rig.inside(&before, &["systemctl", "stop", "elbow-agent"])?;
        ensure!(rig.active()? != before, "{before} is still active");
        rig.inside(&before, &["systemctl", "start", "elbow-agent"])?;
        wait_for("a standby with an agent", BOOT, || rig.serving_nodes(2, Duration::ZERO))?;
    }
    judge(rig, clients, &format!("{} stops of the agent", rounds()))
}

/// Waits until the route leads to another node than `id`; returns that node.
fn moved_from(rig: &Rig, id: &str) -> Result<String> {
    wait_for("the other node to be active", HEARD, || {
        ensure!(rig.active()? != id, "{id} is still active: {:?}", rig.status()?.instances);
        rig.active()
    })
}

/// Waits until `is` accepts the node's message.
fn said(rig: &Rig, id: &str, is: impl Fn(&str) -> bool) -> Result<()> {
    wait_for("the node's message", HEARD, || {
        let node = rig.status()?.instances.into_iter().find(|node| node.id == id);
        let message = node.and_then(|node| node.message).unwrap_or_default();
        ensure!(is(&message), "the message of {id} is {message:?}");
        Ok(())
    })
}
