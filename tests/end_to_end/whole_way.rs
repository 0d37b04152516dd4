//! The life of a balancer: create, serve, create again, destroy; nothing is left at the end. Its nodes get the agent from
//! Elbow's bucket.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use lab::rig::{Rig, printed};

/// The limit for `create`: the goal on an idle machine is 15 s, but this one may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_balancer_is_created_serves_and_is_destroyed() -> Result<()> {
    let rig = Rig::up()?;
    let others = others(&rig)?;
    let file = rig.balancer(|text| text)?;

    let prober = rig.prober(50)?;
    let start = Instant::now();
    let creating = std::thread::scope(|scope| {
        let creating = scope.spawn(|| rig.create(&file));
        let first = futures::executor::block_on(prober.answered(1, PATIENCE)).map(|()| start.elapsed());
        (creating.join().expect("create doesn't panic"), first)
    });
    let (created, first) = (creating.0.context("launcher create")?, creating.1?);
    rig.figure("launcher create to the first 200 from the virtual IP", format!("{first:.1?}"))?;
    rig.figure("launcher create in all", format!("{:.1?}", start.elapsed()))?;
    ensure!(!created.is_empty(), "create printed nothing");
    drop(prober);

    let zones: Vec<_> = rig.serving_nodes(2, Duration::from_secs(10))?.into_iter().map(|i| i.zone).collect();
    ensure!(zones.contains(&"eu-west-1a".to_owned()) && zones.contains(&"eu-west-1b".to_owned()), "zones {zones:?}");

    rig.lab(["calls", "--clear"])?;
    let again = rig.create(&file)?;
    ensure!(again.contains("nothing changes"), "create again said: {again}");
    let calls = rig.calls()?;
    let launchers: Vec<&str> =
        calls.iter().filter(|c| c["caller"] == "launcher").filter_map(|c| c["action"].as_str()).collect();
    ensure!(!launchers.is_empty(), "the second create made no call");
    let changing: Vec<_> = launchers.iter().filter(|action| !is_reading(action)).collect();
    ensure!(changing.is_empty(), "the second create called {changing:?}");

    let said = rig.destroy("web")?;
    ensure!(said.contains("launcher bucket --delete"), "destroy doesn't say that the bucket stays: {said}");
    let said = printed(&rig.launcher(["bucket", "--delete", "--yes"])?)?;
    ensure!(said.contains("is deleted"), "bucket --delete said: {said}");
    nothing_is_left(&rig)?;
    let after = self::others(&rig)?;
    ensure!(others == after, "other resources before: {others:#}\nand after: {after:#}");

    let twice = printed(&rig.launcher(["destroy", "web", "--yes"])?).context("the second destroy")?;
    ensure!(!twice.is_empty(), "the second destroy printed nothing");
    Ok(())
}

#[tokio::test]
async fn create_works_after_destroy() -> Result<()> {
    let rig = Rig::up()?;
    let file = rig.balancer_by_url(|text| text)?;
    for _ in 0..2 {
        rig.create(&file)?;
        let prober = rig.prober(100)?;
        prober.answered(5, Duration::from_secs(10)).await?;
        drop(prober);
        rig.destroy("web")?;
    }
    nothing_is_left(&rig)
}

fn is_reading(action: &str) -> bool {
    ["Describe", "Get", "List"].iter().any(|start| action.starts_with(start))
}

/// The account's resources as the AWS CLI shows them; called while the balancer doesn't exist.
fn others(rig: &Rig) -> Result<Value> {
    let ec2 = |what: &str, query: &str| rig.aws(["ec2", what, "--query", query]);
    Ok(serde_json::json!({
        "groups": ec2("describe-security-groups", "sort_by(SecurityGroups, &GroupId)")?,
        "routes": ec2("describe-route-tables", "sort_by(RouteTables, &RouteTableId)")?,
        "interfaces": ec2("describe-network-interfaces", "sort_by(NetworkInterfaces, &NetworkInterfaceId)")?,
        "templates": ec2("describe-launch-templates", "LaunchTemplates")?,
        "instances": ec2("describe-instances", "Reservations[].Instances[?State.Name!='terminated'][]")?,
        "roles": rig.aws(["iam", "list-roles", "--query", "sort_by(Roles, &RoleName)[].Arn"])?,
        "profiles": rig.aws(["iam", "list-instance-profiles", "--query", "InstanceProfiles[].Arn"])?,
    }))
}

/// Fails if a live resource has the tag `elbow:balancer` or a name with `elbow-`, or a route leads to the virtual IP.
fn nothing_is_left(rig: &Rig) -> Result<()> {
    let states = "Name=instance-state-name,Values=pending,running,shutting-down,stopping,stopped";
    let tag = "Name=tag-key,Values=elbow:balancer";
    let looks: [&[&str]; 9] = [
        &["ec2", "describe-instances", "--filters", states, tag, "--query", "Reservations[].Instances[].InstanceId"],
        &["ec2", "describe-network-interfaces", "--filters", tag, "--query", "NetworkInterfaces[].NetworkInterfaceId"],
        &["ec2", "describe-volumes", "--filters", tag, "--query", "Volumes[].VolumeId"],
        &["ec2", "describe-security-groups", "--filters", tag, "--query", "SecurityGroups[].GroupId"],
        &["ec2", "describe-security-groups", "--query", "SecurityGroups[?starts_with(GroupName,'elbow-')].GroupName"],
        &["ec2", "describe-launch-templates", "--query", "LaunchTemplates[?starts_with(LaunchTemplateName,'elbow-')]"],
        &[
            "ec2",
            "describe-route-tables",
            "--filters",
            "Name=route.destination-cidr-block,Values=10.255.0.10/32",
            "--query",
            "RouteTables[].RouteTableId",
        ],
        &["iam", "list-roles", "--query", "Roles[?starts_with(RoleName,'elbow-')].RoleName"],
        &["iam", "list-instance-profiles", "--query", "InstanceProfiles[?starts_with(InstanceProfileName,'elbow-')]"],
    ];
    for look in looks {
        let found = rig.aws(look)?;
        ensure!(found == serde_json::json!([]), "left after destroy: {found} (aws {})", look.join(" "));
    }
    Ok(())
}
