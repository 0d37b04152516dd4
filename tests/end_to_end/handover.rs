//! `launcher handover` makes another node active without a lost request, and refuses what is impossible.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::clients::Crowd;
use lab::observations::text;
use lab::rig::{Rig, printed, wait_for};

use crate::load::{Load, judge};
use crate::pair::{on_pair, rounds};

const BOOT: Duration = Duration::from_secs(90);
/// For a request in a tag: the agent reads tags in IMDS every two seconds.
const HEARD: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_operator_hands_over_to_a_chosen_node() -> Result<()> {
    let rig = Rig::up()?;
    rig.create(&three(&rig)?)?;
    let prober = rig.prober(10)?;
    prober.answered(20, HEARD).await?;
    let slots = ["0", "1", "2"];
    let first = slot(&rig, &rig.active()?)?;
    let start = slots.iter().position(|slot| *slot == first).context("three nodes, three slots")?;
    for to in (1..=3).map(|step| slots[(start + step) % 3]) {
        let began = Instant::now();
        let said = printed(&rig.launcher(["handover", "web", "--to", to])?)?;
        ensure!(said.contains("web is handed over after"), "it said {said:?}");
        rig.figure(&format!("launcher handover --to {to} of three"), format!("{:.1?}", began.elapsed()))?;
        rig.serving_nodes(3, HEARD)?;
        let active = slot(&rig, &rig.active()?)?;
        ensure!(active == to, "node {active} is active, not {to}");
    }
    let before = rig.active()?;
    printed(&rig.launcher(["handover", "web"])?)?;
    ensure!(rig.active()? != before, "{before} is still active");
    let status = rig.launcher(["status", "web"])?;
    ensure!(status.status.code() == Some(0), "after a handover the balancer is degraded: {}", printed(&status)?);
    prober.answered(20, HEARD).await?;
    let failed = prober.finish()?.into_iter().filter(|probe| probe.outcome.is_err()).count();
    ensure!(failed == 0, "{failed} requests failed");
    Ok(())
}

#[tokio::test]
async fn impossible_handovers_are_refused_and_the_node_keeps_serving() -> Result<()> {
    on_pair(refusals).await
}

async fn refusals(rig: &Rig) -> Result<()> {
    let active = rig.active()?;
    let refused = |words: &[&str], code: i32, line: &str| -> Result<()> {
        let output = rig.launcher(["handover"].iter().chain(words))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(code) && said.contains(line), "{words:?}: {}: {said}", output.status);
        ensure!(drains(rig)? == [] as [String; 0], "{words:?} left a request behind");
        Ok(())
    };
    refused(&["other"], 2, "there is no balancer named \"other\"")?;
    refused(&["web", "--to", "7"], 2, "there is no live node 7")?;
    let unchanged = printed(&rig.launcher(["handover", "web", "--to", &slot(rig, &active)?])?)?;
    ensure!(unchanged.contains("is active already"), "it said {unchanged:?}");
    refused(&["web", "--to", "i-7"], 2, "i-7 is no live node")?;
    refused(&["web", "--to", "first"], 2, "name a node by its slot (0 is the first) or by its instance")?;
    let dry = printed(&rig.launcher(["handover", "web", "--dry-run"])?)?;
    ensure!(dry.contains("hands over 10.255.0.10") && drains(rig)?.is_empty(), "it said {dry:?}");

    // The standby has lost power, but its tags still show it as healthy: only the active node can see that.
    rig.lab(["kill", "standby"])?;
    refused(&["web"], 1, "keeps serving")?;
    ensure!(rig.active()? == active, "the route has moved");
    let prober = rig.prober(20)?;
    prober.answered(20, HEARD).await?;
    Ok(())
}

#[tokio::test]
async fn a_request_that_a_killed_launcher_left_is_handled_once() -> Result<()> {
    on_pair(requests_left_behind).await
}

async fn requests_left_behind(rig: &Rig) -> Result<()> {
    let first = rig.active()?;
    let ask = |id: &str| {
        let tag = format!("Key=elbow:drain,Value=left-on-{id}");
        rig.aws(["ec2", "create-tags", "--resources", id, "--tags", &tag]).map(drop)
    };
    let moved_from = |id: &str| {
        wait_for("the other node to be active", HEARD, || {
            ensure!(rig.active()? != id, "{id} is still active");
            rig.active()
        })
    };
    ask(&first)?;
    let second = moved_from(&first)?;
    rig.serving_nodes(2, BOOT)?;
    ask(&second)?;
    ensure!(moved_from(&second)? == first, "a third node is active");
    rig.serving_nodes(2, BOOT)?;
    // The restarted agent must not handle the old request in its tag again.
    rig.inside(&first, &["systemctl", "restart", "elbow-agent"])?;
    let prober = rig.prober(20)?;
    prober.answered(250, HEARD).await?;
    ensure!(rig.active()? == first, "the agent handled the old request again");
    printed(&rig.launcher(["handover", "web"])?)?;
    ensure!(rig.active()? == second, "the agent didn't handle the new request");
    ensure!(drains(rig)? == [] as [String; 0], "requests are left: {:?}", drains(rig)?);
    Ok(())
}

#[tokio::test]
async fn handovers_lose_no_request_and_no_connection() -> Result<()> {
    on_pair(handovers).await
}

async fn handovers(rig: &Rig) -> Result<()> {
    let crowd = crowd(rig).await?;
    let mut times = Vec::new();
    for _ in 0..rounds() {
        let before = rig.active()?;
        let began = Instant::now();
        printed(&rig.launcher(["handover", "web"])?)?;
        times.push(began.elapsed());
        ensure!(rig.active()? != before, "{before} is still active");
    }
    judge(rig, crowd, &format!("{} handovers", times.len()))?;
    let median = lab::prober::median(&times).context("some handovers")?;
    rig.figure("handovers: median from command to done", format!("{median:.1?}"))
}

/// The load during handovers.
pub async fn crowd(rig: &Rig) -> Result<Crowd> {
    let load = Load { keep_alive: 4, pause: Duration::from_millis(50), idle: 1, downloads: 1, ..Load::default() };
    load.begin(rig, HEARD).await
}

fn slot(rig: &Rig, id: &str) -> Result<String> {
    let found = rig.status()?.instances.into_iter().find(|node| node.id == id).and_then(|node| node.slot);
    found.with_context(|| format!("{id} has no slot"))
}

/// The nodes with a handover request in their tags.
fn drains(rig: &Rig) -> Result<Vec<String>> {
    let tags =
        rig.aws(["ec2", "describe-tags", "--filters", "Name=key,Values=elbow:drain", "--query", "Tags[].ResourceId"])?;
    tags.as_array().context("a list of tags")?.iter().map(text).collect()
}

/// The lab's example with a third node in the clients' subnet.
pub fn three(rig: &Rig) -> Result<PathBuf> {
    let third =
        ["ec2", "describe-subnets", "--filters", "Name=tag:Name,Values=clients", "--query", "Subnets[0].SubnetId"];
    let third = text(&rig.aws(third)?).context("the clients' subnet")?;
    rig.balancer(|text| text.replace("\"]\nvirtual_ips", &format!("\", \"{third}\"]\nvirtual_ips")))
}
