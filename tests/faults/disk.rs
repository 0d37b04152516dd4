//! Nodes with full disks serve, fail over and boot.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::rig::wait_for;

use crate::stage::{BOOT, play};

#[test]
fn nodes_with_full_disks_serve_fail_over_and_restart() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let watch = stage.watch()?;
        for node in [&active, &standby] {
            stage.rig.lab(["disk", node, "0"])?;
            ensure!(stage.rig.inside(node, &["sh", "-c", "echo full >/var/lib/full"]).is_err(), "the disk isn't full");
        }
        stage.rig.inside(&standby, &["systemctl", "restart", "elbow-agent"])?;
        watch.go_on(Duration::from_secs(10));
        ensure!(stage.serving_nodes(BOOT)? == active, "another node is active");
        watch.end("disks full")?.nothing_happened()?;

        let watch = stage.watch()?;
        stage.rig.lab(["kill", &active])?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        watch.end("power cut while disks are full")?.at_most(Duration::from_millis(1500))?;

        let watch = stage.watch()?;
        stage.rig.lab(["reboot", &active])?;
        stage.joined(&active)?;
        ensure!(stage.serving_nodes(BOOT)? == standby, "the routes have moved");
        watch.end("a node with a full disk boots")?.nothing_happened()?;
        for node in [&active, &standby] {
            stage.rig.lab(["disk", node])?;
            wait_for("free space", BOOT, || stage.rig.inside(node, &["sh", "-c", "echo room >/var/lib/full"]))?;
        }
        Ok(())
    })
}
