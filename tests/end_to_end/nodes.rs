//! Nodes in unusual cases: launched by hand, without a peer, and from an image without packages.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::daemon::protocol::InstanceStatus;
use lab::observations::text;
use lab::rig::{Rig, printed, wait_for};
use serde_json::Value;

const BOOT: Duration = Duration::from_secs(90);

/// One RunInstances call launches two nodes in node 0's subnet, another call a node in a subnet outside the balancer.
/// Then the other nodes are terminated, and the two nodes of one subnet serve both virtual IPs.
#[tokio::test]
async fn nodes_started_by_hand_in_one_subnet_join_and_serve() -> Result<()> {
    let rig = Rig::up()?;
    let file = rig.balancer(|text| text.replace("[\"10.255.0.10\"]", "[\"10.255.0.10\", \"10.255.0.11\"]"))?;
    rig.create(&file)?;
    let rendered = rig.launcher(["render".as_ref(), "user-data".as_ref(), file.as_os_str(), "--gzip".as_ref()])?;
    let user_data = file.with_file_name("user-data");
    std::fs::write(&user_data, &rendered.stdout).context("writing the user-data")?;
    let like = rig.status()?.instances.into_iter().find(|node| node.slot.as_deref() == Some("0")).context("node 0")?;
    let query = "Reservations[0].Instances[0].{image:ImageId,subnet:SubnetId,group:SecurityGroups[0].GroupId,type:InstanceType}";
    let like = rig.aws(["ec2", "describe-instances", "--instance-ids", &like.id, "--query", query])?;
    let subnet = text(&like["subnet"])?;
    let clients = ["ec2", "describe-subnets", "--filters", "Name=tag:Name,Values=clients", "--query"];
    let clients = text(&rig.aws(clients.into_iter().chain(["Subnets[0].SubnetId"]))?)?;
    let by_hand = |subnet: &str, count: &str| run_instances(&rig, &like, &user_data, subnet, count);
    let ours = [by_hand(&subnet, "2")?, by_hand(&clients, "1")?].concat();

    wait_for("five nodes to report", BOOT, || {
        let nodes = rig.status()?.instances;
        let is_ready = |node: &InstanceStatus| node.role.as_ref().is_some_and(|role| !role.contains("fault"));
        ensure!(nodes.len() == 5 && nodes.iter().all(is_ready), "nodes: {nodes:?}");
        let mut slots: Vec<_> = nodes.iter().filter_map(|node| node.slot.as_deref()).collect();
        slots.sort_unstable();
        ensure!(slots == ["0", "0", "0", "1", "16"], "slots: {slots:?}");
        knows_its_peers(&rig, &nodes)
    })?;
    let said = rig.launcher(["status", "web"])?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.contains("slot 0 has 3 nodes: ") && said.contains(&format!("{} is in {clients}", ours[2])), "{said}");

    printed(&rig.launcher(["handover", "web", "--to", &ours[0]])?)?;
    ensure!(owners(&rig)? == [ours[0].clone(), ours[0].clone()], "owners: {:?}", owners(&rig)?);
    let others = rig.status()?.instances.into_iter().map(|node| node.id).filter(|id| !ours[..2].contains(id));
    let others: Vec<String> = others.collect();
    rig.aws(["ec2", "terminate-instances", "--instance-ids"].into_iter().chain(others.iter().map(String::as_str)))?;
    rig.lab(["kill", &ours[0]])?;
    wait_for("the last node to own both virtual IPs", BOOT, || {
        ensure!(owners(&rig)? == [ours[1].clone(), ours[1].clone()], "owners: {:?}", owners(&rig)?);
        Ok(())
    })?;
    let prober = rig.prober_of("10.255.0.11:80", 50)?;
    prober.answered(20, BOOT).await.context("from the last node")?;
    rig.destroy("web").map(drop)
}

/// Launches instances with `aws ec2 run-instances --count`.
fn run_instances(rig: &Rig, like: &Value, user_data: &Path, subnet: &str, count: &str) -> Result<Vec<String>> {
    let of = |key: &str| like[key].as_str().unwrap_or_default().to_owned();
    let tags = format!(
        "ResourceType=instance,Tags=[{{Key=elbow:balancer,Value=web}},{{Key=elbow:vpc,Value={}}}]",
        rig.status()?.vpc
    );
    let launched = rig.aws([
        "ec2",
        "run-instances",
        "--count",
        count,
        "--image-id",
        &of("image"),
        "--instance-type",
        &of("type"),
        "--subnet-id",
        subnet,
        "--security-group-ids",
        &of("group"),
        "--iam-instance-profile",
        "Name=elbow-eu-west-1-web",
        "--metadata-options",
        "HttpTokens=required,InstanceMetadataTags=enabled",
        "--tag-specifications",
        &tags,
        "--user-data",
        &format!("fileb://{}", user_data.display()),
        "--query",
        "Instances[].InstanceId",
    ])?;
    launched.as_array().context("a list of instances")?.iter().map(text).collect()
}

fn knows_its_peers(rig: &Rig, nodes: &[InstanceStatus]) -> Result<()> {
    for node in nodes {
        let written = rig.inside(&node.id, &["cat", "/etc/keepalived/keepalived.conf"])?;
        for peer in nodes.iter().filter_map(|peer| peer.address) {
            ensure!(written.contains(&peer.to_string()), "keepalived.conf of {} lacks {peer}", node.id);
        }
    }
    Ok(())
}

/// For each virtual IP, the one instance that all of its routes lead to.
fn owners(rig: &Rig) -> Result<[String; 2]> {
    let routes = rig.status()?.routes;
    let owner = |vip: &str| {
        let to: BTreeSet<_> =
            routes.iter().filter(|route| route.destination == vip).map(|route| route.instance.clone()).collect();
        let [Some(owner)] = &to.into_iter().collect::<Vec<_>>()[..] else {
            bail!("the routes of {vip} don't all lead to one instance: {routes:?}");
        };
        Ok(owner.clone())
    };
    Ok([owner("10.255.0.10/32")?, owner("10.255.0.11/32")?])
}

#[tokio::test]
async fn a_node_without_an_answering_peer_serves_alone() -> Result<()> {
    let rig = Rig::up()?;
    rig.create(&rig.balancer(|text| text)?)?;
    rig.serving_nodes(2, BOOT)?;
    let active = rig.active()?;
    rig.lab(["kill", "standby"])?;
    // The API reports the peer as `running`, but the peer never answers.
    rig.lab(["reboot", &active])?;
    let prober = rig.prober(50)?;
    prober.answered(20, BOOT).await.context("after the reboot of the only node with power")?;
    ensure!(rig.active()? == active, "the route points elsewhere");
    rig.destroy("web").map(drop)
}

#[tokio::test]
async fn a_plain_image_installs_what_it_needs() -> Result<()> {
    installs_what_it_needs("plain-debian-12", "apt-get", "dnf").await
}

#[tokio::test]
async fn an_image_with_dnf_installs_what_it_needs() -> Result<()> {
    installs_what_it_needs("plain-dnf", "dnf", "apt-get").await
}

/// Boots a pair from this image, which has one installer and not the other, and sends requests.
async fn installs_what_it_needs(image: &str, installer: &str, absent: &str) -> Result<()> {
    let rig = Rig::up()?;
    let parameter = format!("/aws/service/elbow-lab/{image}");
    let file = rig.balancer(|text| text.replace("/aws/service/elbow-lab/debian-12", &parameter))?;
    ensure!(std::fs::read_to_string(&file)?.contains(&parameter), "the example names another image");
    rig.create(&file)?;
    // An RPM starts nothing: the install step starts rsyslog and logrotate's timer.
    let run = format!(
        "set -e; command -v {installer}; ! command -v {absent} || exit 1
        for unit in haproxy keepalived rsyslog logrotate.timer; do systemctl is-active $unit; done"
    );
    for node in rig.serving_nodes(2, BOOT)? {
        rig.inside(&node.id, &["sh", "-c", &run])?;
    }
    let prober = rig.prober(50)?;
    prober.answered(20, Duration::from_secs(10)).await?;
    drop(prober);
    rig.destroy("web").map(drop)
}
