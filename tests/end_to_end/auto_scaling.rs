//! Runs the commands of docs/auto-scaling.md: the AWS CLI makes an Auto Scaling group from the rendered launch
//! template. The nodes configure themselves, a terminated node hands over first, and nothing is left at the end.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::observations::text;
use lab::rig::{Rig, printed, programs, wait_for};
use serde_json::Value;

const BOOT: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(20);
const DOCUMENT: &str = include_str!("../../docs/auto-scaling.md");

#[tokio::test]
async fn a_group_made_by_the_handbook_serves_and_waits_for_handovers() -> Result<()> {
    let rig = Rig::up()?;
    let [_, role, group, template, down] = <[&str; 5]>::try_from(blocks()).ok().context("five blocks to run")?;
    let file = rig.balancer_by_url(|text| format!("launch = \"auto-scaling\"\n{text}"))?;
    std::fs::rename(&file, file.with_file_name("web.toml"))?;
    let folder = file.parent().context("a file in a folder")?;

    let made = Instant::now();
    run(&rig, folder, &[role, group, template])?;
    let nodes = rig.serving_nodes(2, BOOT)?;
    rig.figure("Auto Scaling group by the handbook: made to a full pair", format!("{:.1?}", made.elapsed()))?;
    ensure!(nodes[0].slot != nodes[1].slot && nodes[0].zone != nodes[1].zone, "nodes: {nodes:?}");
    rig.lab(["client", "curl", "--silent", "--fail", "--max-time", "5", "http://10.255.0.10/"])?;

    completes_the_hook(&rig)?;

    run(&rig, folder, &[&format!("role=elbow-$AWS_REGION-$name; group={}", security_group(&rig)?), down])?;
    let status = rig.status()?;
    ensure!(
        status.instances.is_empty() && status.routes.iter().all(|r| r.destination != "10.255.0.10/32"),
        "{status:?}"
    );
    Ok(())
}

/// With the names and tags of the document, a node may complete its termination hook.
fn completes_the_hook(rig: &Rig) -> Result<()> {
    let leaving = rig.active()?;
    let end = ["autoscaling", "terminate-instance-in-auto-scaling-group", "--no-should-decrement-desired-capacity"];
    rig.aws(end.into_iter().chain(["--instance-id", &leaving]))?;
    wait_for("the node to have handed over and gone", SOON, || {
        let there = rig.status()?.instances;
        ensure!(there.iter().all(|node| node.id != leaving), "{leaving} is still there");
        Ok(())
    })?;
    let calls = rig.calls()?;
    let done = calls.iter().find(|call| is_handover(call)).context("no call completed the hook")?;
    ensure!(done["caller"] == leaving.as_str() && done["status"] == 200, "the call is {done}");
    wait_for("its peer to serve", SOON, || rig.active()).map(drop)
}

fn is_handover(call: &Value) -> bool {
    call["action"] == "CompleteLifecycleAction" && call["request"]["LifecycleHookName"] == "handover"
}

/// The document's shell blocks.
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

/// Runs blocks of the document in order, in `folder`, with the lab's VPC.
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

/// The lab's VPC and its private subnets.
fn place(rig: &Rig) -> Result<(String, String)> {
    let subnets = ["ec2", "describe-subnets", "--filters=Name=tag:Name,Values=private-a,private-b"];
    let found = rig.aws(subnets.into_iter().chain(["--query=join(`,`, Subnets[].SubnetId)"]))?;
    Ok((rig.status()?.vpc, text(&found)?))
}
