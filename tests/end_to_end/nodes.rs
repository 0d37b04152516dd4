//! Nodes that come, stay alone or are bare: by hand, without a peer, from an image with nothing in it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use lab::rig::{Rig, printed};

const BOOT: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_node_started_by_hand_joins() -> Result<()> {
    let rig = Rig::up()?;
    let file = rig.balancer(|text| text)?;
    rig.create(&file)?;
    let rendered = printed(&rig.launcher(["render".as_ref(), "user-data".as_ref(), file.as_os_str()])?)?;
    let user_data = rig.file("user-data", &rendered)?;

    let first = rig.settled(2, BOOT)?.remove(0);
    let query = "Reservations[0].Instances[0].{image:ImageId,subnet:SubnetId,group:SecurityGroups[0].GroupId,type:InstanceType}";
    let like = rig.aws(["ec2", "describe-instances", "--instance-ids", &first.id, "--query", query])?;
    let of = |key: &str| like[key].as_str().unwrap_or_default().to_owned();
    let tags = format!(
        "ResourceType=instance,Tags=[{{Key=elbow:balancer,Value=web}},{{Key=elbow:vpc,Value={}}}]",
        rig.status()?.vpc
    );
    rig.aws([
        "ec2",
        "run-instances",
        "--image-id",
        &of("image"),
        "--instance-type",
        &of("type"),
        "--subnet-id",
        &of("subnet"),
        "--security-group-ids",
        &of("group"),
        "--iam-instance-profile",
        "Name=elbow-eu-west-1-web",
        "--metadata-options",
        "HttpTokens=required,InstanceMetadataTags=enabled",
        "--tag-specifications",
        &tags,
        "--user-data",
        &format!("file://{}", user_data.display()),
    ])?;

    let nodes = rig.settled(3, BOOT)?;
    let mut slots: Vec<_> = nodes.iter().filter_map(|node| node.slot.clone()).collect();
    slots.sort_unstable();
    ensure!(slots == ["0", "1", "2"], "the nodes claim slots {slots:?}");
    for node in &nodes {
        let peers = nodes.iter().filter(|peer| peer.id != node.id).filter_map(|peer| peer.address);
        for peer in peers {
            lab::rig::wait_for("every node to know its peers", Duration::from_secs(60), || {
                let written = rig.inside(&node.id, &["cat", "/etc/keepalived/keepalived.conf"])?;
                ensure!(written.contains(&peer.to_string()), "{} doesn't know its peer {peer}", node.id);
                Ok(())
            })?;
        }
    }
    rig.destroy("web").map(drop)
}

#[tokio::test]
async fn a_node_whose_peer_never_comes_serves_alone() -> Result<()> {
    let rig = Rig::up()?;
    rig.create(&rig.balancer(|text| text)?)?;
    rig.settled(2, BOOT)?;
    let active = rig.active()?;
    rig.lab(["kill", "standby"])?;
    // Its peer is `running`, says the API, and never answers.
    rig.lab(["reboot", &active])?;
    let prober = rig.prober(50)?;
    prober.answered(20, BOOT).await.context("after the reboot of the only node with power")?;
    ensure!(rig.active()? == active, "the route points elsewhere");
    rig.destroy("web").map(drop)
}

#[tokio::test]
async fn a_plain_image_installs_what_it_needs() -> Result<()> {
    let rig = Rig::up()?;
    let plain =
        |text: String| text.replace("/aws/service/elbow-lab/debian-12", "/aws/service/elbow-lab/plain-debian-12");
    let file = rig.balancer(plain)?;
    ensure!(std::fs::read_to_string(&file)?.contains("plain-debian-12"), "the example names another image");
    rig.create(&file)?;
    for node in rig.settled(2, BOOT)? {
        rig.inside(&node.id, &["sh", "-c", "command -v haproxy && command -v keepalived && command -v rsyslogd"])?;
    }
    let prober = rig.prober(50)?;
    prober.answered(20, Duration::from_secs(10)).await?;
    drop(prober);
    rig.destroy("web").map(drop)
}
