//! docs/auto-scaling.md as it is written: an Auto Scaling group that the AWS CLI makes from the rendered launch template
//! gives nodes that configure themselves, is filled up again when it loses one, and leaves nothing behind.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::evidence::text;
use lab::prober::longest_outage;
use lab::rig::{Rig, printed, programs, wait_for};

const BOOT: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(20);
const DOCUMENT: &str = include_str!("../../docs/auto-scaling.md");

#[tokio::test]
async fn a_group_made_by_the_handbook_balances_and_heals_itself() -> Result<()> {
    let rig = Rig::up()?;
    let [_, role, group, template, down] = <[&str; 5]>::try_from(blocks()).ok().context("five blocks to run")?;
    let file = rig.balancer(|text| text)?;
    std::fs::rename(&file, file.with_file_name("web.toml"))?;
    let folder = file.parent().context("a file in a folder")?;

    let made = Instant::now();
    run(&rig, folder, &[role, group, template])?;
    let nodes = rig.settled(2, BOOT)?;
    rig.figure("Auto Scaling group by the handbook: made to a full pair", format!("{:.1?}", made.elapsed()))?;
    ensure!(nodes[0].slot != nodes[1].slot && nodes[0].zone != nodes[1].zone, "they are {nodes:?}");
    rig.lab(["client", "curl", "--silent", "--fail", "--max-time", "5", "http://10.255.0.10/"])?;

    let lost = rig.active()?;
    let since = Instant::now();
    rig.aws(["ec2", "terminate-instances", "--instance-ids", &lost])?;
    wait_for("the survivor to serve", BOOT, || {
        rig.lab(["client", "curl", "--silent", "--fail", "--max-time", "1", "http://10.255.0.10/"])
    })?;
    let survivor = wait_for("the route to lead to the survivor", BOOT, || rig.active())?;
    let healed = rig.settled(2, BOOT)?;
    rig.figure(
        "Auto Scaling group by the handbook: active node lost to a full pair",
        format!("{:.1?}", since.elapsed()),
    )?;
    ensure!(healed.iter().all(|node| node.id != lost), "{lost} is still there: {healed:?}");
    ensure!(rig.active()? == survivor, "the virtual IP moved to the newcomer");

    hands_over_before_it_is_ended(&rig).await?;

    run(&rig, folder, &[&format!("role=elbow-$AWS_REGION-$name; group={}", security_group(&rig)?), down])?;
    let status = rig.status()?;
    ensure!(
        status.instances.is_empty() && status.routes.iter().all(|r| r.destination != "10.255.0.10/32"),
        "{status:?}"
    );
    Ok(())
}

/// The active node is told by IMDS that the group ends it, and is served from its peer while it still runs.
async fn hands_over_before_it_is_ended(rig: &Rig) -> Result<()> {
    let leaving = rig.active()?;
    let prober = rig.prober(10)?;
    prober.answered(50, SOON).await.context("before the group ends the active node")?;
    let end = ["autoscaling", "terminate-instance-in-auto-scaling-group", "--no-should-decrement-desired-capacity"];
    rig.aws(end.into_iter().chain(["--instance-id", &leaving]))?;
    wait_for("the virtual IP to move", BOOT, || {
        let active = rig.active()?;
        ensure!(active != leaving, "it is at {leaving}");
        Ok(())
    })?;
    ensure!(rig.inside(&leaving, &["true"]).is_ok(), "{leaving} was ended before the virtual IP had moved");
    prober.answered(50, SOON).await.context("after the virtual IP moved")?;
    let notes = prober.finish()?;
    let failed = notes.iter().filter(|note| note.outcome.is_err()).count();
    rig.figure("Auto Scaling ends the active node: failed requests", format!("{failed} of {}", notes.len()))?;
    let outage = longest_outage(&notes).context("there were two answers")?.length();
    ensure!(outage <= Duration::from_millis(300), "clients weren't served for {outage:?}");

    rig.aws([
        "autoscaling",
        "complete-lifecycle-action",
        "--auto-scaling-group-name=elbow-web",
        "--lifecycle-hook-name=handover",
        "--lifecycle-action-result=CONTINUE",
        "--instance-id",
        &leaving,
    ])?;
    let healed = rig.settled(2, BOOT)?;
    ensure!(healed.iter().all(|node| node.id != leaving), "{leaving} is still there: {healed:?}");
    Ok(())
}

/// What the document tells to run.
fn blocks() -> Vec<&'static str> {
    DOCUMENT.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block).collect()
}

fn security_group(rig: &Rig) -> Result<String> {
    let query = "SecurityGroups[0].GroupId";
    text(&rig.aws([
        "ec2",
        "describe-security-groups",
        "--filters=Name=group-name,Values=elbow-web",
        "--query",
        query,
    ])?)
}

/// Runs blocks of the document one after the other, as a person in `folder` would, in the lab's VPC instead of the
/// document's.
fn run(rig: &Rig, folder: &Path, blocks: &[&str]) -> Result<()> {
    let (vpc, subnets) = place(rig)?;
    let ours = format!(
        "name=web; vpc={vpc}; subnets={subnets}; clients=10.0.0.0/16; ports=80; virtual_ips=10.255.0.10; nodes=2\n"
    );
    let script = ours + &blocks.join("\n");
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &script]).current_dir(folder).env_clear();
    for key in [
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_PAGER",
    ] {
        command.env(key, rig.variable(key)?);
    }
    let path = format!("{}:{}", programs()?.display(), rig.variable("PATH")?);
    let output = command.env("PATH", path).output().context("running bash")?;
    printed(&output).with_context(|| format!("running\n{script}")).map(drop)
}

/// The lab's VPC, and its private subnets.
fn place(rig: &Rig) -> Result<(String, String)> {
    let subnets = ["ec2", "describe-subnets", "--filters=Name=tag:Name,Values=private-a,private-b"];
    let found = rig.aws(subnets.into_iter().chain(["--query=join(`,`, Subnets[].SubnetId)"]))?;
    Ok((rig.status()?.vpc, text(&found)?))
}
