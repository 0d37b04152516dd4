//! Nodes that lose power, or restart.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::stage::{BOOT, play};

#[test]
fn a_node_without_power_is_replaced_by_the_other() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        stage.rig.lab(["latency", "100"])?;
        let watch = stage.watch()?;
        stage.rig.lab(["kill", &active])?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        watch.end("power cut, 100 ms API latency")?.at_most(Duration::from_millis(1500))
    })
}

#[test]
fn a_standby_that_restarts_leaves_the_virtual_ip_where_it_is() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let watch = stage.watch()?;
        stage.rig.lab(["reboot", &standby])?;
        ensure!(stage.rig.serving_nodes(2, BOOT)?.iter().any(|node| node.id == active), "{active} isn't there");
        stage.joined(&standby)?;
        watch.go_on(Duration::from_secs(3));
        ensure!(stage.serving_nodes(BOOT)? == active, "the route has moved");
        watch.end("standby rebooted beside a healthy active node")?.nothing_happened()
    })
}

#[test]
fn both_nodes_restart_and_serve_again() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let watch = stage.watch()?;
        std::thread::scope(|scope| {
            let other = scope.spawn(|| stage.rig.lab(["reboot", &standby]));
            stage.rig.lab(["reboot", &active])?;
            other.join().expect("lab doesn't panic")
        })?;
        watch.served(BOOT)?;
        stage.serving_nodes(BOOT)?;
        watch.end("both nodes rebooted at once")?.at_most(Duration::from_secs(40))
    })
}

#[test]
fn a_standby_that_restarts_takes_over_when_the_owner_dies_meanwhile() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let watch = stage.watch()?;
        std::thread::scope(|scope| {
            let other = scope.spawn(|| stage.rig.lab(["reboot", &standby]));
            stage.rig.lab(["kill", &active])?;
            other.join().expect("lab doesn't panic")
        })?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        watch.end("active node without power while its standby reboots")?.at_most(Duration::from_secs(25))
    })
}

#[test]
fn a_lost_zone_with_its_way_to_the_api_is_survived() -> Result<()> {
    play(|stage| {
        let nodes = stage.rig.serving_nodes(2, BOOT)?;
        let active = nodes.into_iter().find(|node| node.role.as_deref() == Some("active")).context("an active node")?;
        stage.rig.lab(["latency", "100"])?;
        let watch = stage.watch()?;
        stage.rig.lab(["lose", &active.zone])?;
        stage.moved(&active.id, BOOT)?;
        watch.served(BOOT)?;
        // The bystander lost a node in this zone, too, and fails over itself.
        watch
            .end_shared("a zone lost with its way to the API and its target, 100 ms latency")?
            .at_most(Duration::from_millis(2500))
    })
}
