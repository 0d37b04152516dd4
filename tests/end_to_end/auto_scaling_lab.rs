//! The lab's Auto Scaling, without Elbow: a group made with the AWS CLI boots instances in two zones, pauses at
//! lifecycle hooks, shows the target state in IMDS, and replaces lost instances.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::daemon::protocol::InstanceStatus;
use lab::observations::text;
use lab::rig::{Rig, wait_for};
use serde_json::{Value, json};

const BOOT: Duration = Duration::from_secs(90);
const SOON: Duration = Duration::from_secs(20);
const GROUP: &str = "--auto-scaling-group-name=plain";

#[tokio::test]
async fn a_group_boots_its_instances_and_replaces_those_that_are_lost() -> Result<()> {
    let rig = Rig::up()?;
    make_group(&rig)?;
    let [one, other] = pair(&rig, &[])?;
    ensure!(one.zone != other.zone, "both are in {}", one.zone);
    ensure!(imds(&rig, &one.id, "autoscaling/target-lifecycle-state")? == "InService", "the IMDS of {one:?}");
    ensure!(imds(&rig, &one.id, "tags/instance/aws:autoscaling:groupName")? == "plain", "the IMDS of {one:?}");
    rig.inside(&one.id, &["curl", "--silent", "--show-error", "https://autoscaling.eu-west-1.amazonaws.com/"])?;

    let lost = Instant::now();
    rig.aws(["ec2", "terminate-instances", "--instance-ids", &one.id])?;
    let [kept, newcomer] = pair(&rig, &[&one.id])?;
    rig.figure("Auto Scaling in the lab: instance terminated to replacement up", format!("{:.1?}", lost.elapsed()))?;
    ensure!([&kept.id, &newcomer.id].contains(&&other.id), "{} was replaced, too", other.id);

    rig.aws([
        "autoscaling",
        "put-lifecycle-hook",
        GROUP,
        "--lifecycle-hook-name=goodbye",
        "--lifecycle-transition=autoscaling:EC2_INSTANCE_TERMINATING",
    ])?;
    let end = ["autoscaling", "terminate-instance-in-auto-scaling-group", "--no-should-decrement-desired-capacity"];
    rig.aws(end.into_iter().chain(["--instance-id", &other.id]))?;
    wait_for("IMDS to announce the termination", SOON, || {
        let told = imds(&rig, &other.id, "autoscaling/target-lifecycle-state")?;
        ensure!(told == "Terminated", "the target state is {told}");
        Ok(())
    })?;
    rig.aws([
        "autoscaling",
        "complete-lifecycle-action",
        GROUP,
        "--lifecycle-hook-name=goodbye",
        "--lifecycle-action-result=CONTINUE",
        "--instance-id",
        &other.id,
    ])?;
    pair(&rig, &[&one.id, &other.id])?;

    rig.aws(["autoscaling", "delete-auto-scaling-group", GROUP, "--force-delete"])?;
    wait_for("the group's instances to go", SOON, || {
        let left = rig.status()?.instances;
        ensure!(left.is_empty(), "{left:?} are left");
        Ok(())
    })
}

/// A group of two instances in the private subnets, from a launch template without Elbow.
fn make_group(rig: &Rig) -> Result<()> {
    let ask = |words: &[&str]| -> Result<Value> { rig.aws(words.iter().copied()) };
    let subnets = ask(&[
        "ec2",
        "describe-subnets",
        "--filters=Name=tag:Name,Values=private-a,private-b",
        "--query=join(`,`, Subnets[].SubnetId)",
    ])?;
    let data = json!({
        "ImageId": "resolve:ssm:/aws/service/elbow-lab/plain-debian-12", "InstanceType": "t3.small",
        "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
    });
    let data = format!("--launch-template-data={data}");
    ask(&["ec2", "create-launch-template", "--launch-template-name=plain", &data])?;
    let zones = format!("--vpc-zone-identifier={}", text(&subnets)?);
    ask(&[
        "autoscaling",
        "create-auto-scaling-group",
        GROUP,
        "--launch-template=LaunchTemplateName=plain,Version=$Latest",
        "--min-size=2",
        "--max-size=2",
        &zones,
    ])?;
    Ok(())
}

/// Waits until the only instances are two that are up and `InService`, none of them in `gone`.
fn pair(rig: &Rig, gone: &[&str]) -> Result<[InstanceStatus; 2]> {
    let query = "--query=AutoScalingInstances[?LifecycleState=='InService'].InstanceId";
    wait_for("two instances of the group to be up", BOOT, || {
        let serving = rig.aws(["autoscaling", "describe-auto-scaling-instances", query])?;
        let serving = serving.as_array().context("a list of instances")?;
        let instances = rig.status()?.instances;
        let known = instances.iter().filter(|i| !gone.contains(&i.id.as_str()) && serving.contains(&json!(i.id)));
        let up: Vec<_> = known.filter(|i| i.lab == "up").cloned().collect();
        let pair = <[InstanceStatus; 2]>::try_from(up);
        pair.ok().filter(|_| instances.len() == 2).with_context(|| format!("there are {instances:?}"))
    })
}

/// Reads `path` below /latest/meta-data/ on an instance.
fn imds(rig: &Rig, id: &str, path: &str) -> Result<String> {
    let script = format!(
        "token=$(curl -sfX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token) &&
         curl -sf -H \"X-aws-ec2-metadata-token: $token\" http://169.254.169.254/latest/meta-data/{path}"
    );
    rig.inside(id, &["sh", "-c", &script])
}
