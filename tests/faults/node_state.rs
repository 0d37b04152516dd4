//! Another program removes what the agent put on a node.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::rig::wait_for;

use crate::stage::{BOOT, Stage, play};

/// The limit for the agent to restore a thing: two checks, and a busy machine.
const RESTORED: Duration = Duration::from_secs(10);

impl Stage {
    /// Runs `script` on `node`, and waits until `probe` prints `wanted`. Prints how long that took.
    fn restored(&self, node: &str, script: &str, probe: &str, wanted: &str) -> Result<()> {
        let shell = |script: &str| self.rig.inside(node, &["sh", "-c", script]);
        let printed = shell(probe)?;
        ensure!(printed.contains(wanted), "before `{script}`, `{probe}` printed {printed}");
        shell(script)?;
        let began = Instant::now();
        wait_for(&format!("the agent to undo `{script}`"), RESTORED, || {
            let printed = shell(&format!("{probe} 2>&1 || true"))?;
            ensure!(printed.contains(wanted), "`{probe}` printed {printed}");
            Ok(())
        })?;
        self.rig.figure(&format!("`{script}` undone"), format!("after {:.1} s", began.elapsed().as_secs_f64()))
    }
}

#[test]
fn a_virtual_ip_that_is_removed_from_lo_is_restored() -> Result<()> {
    play(|stage| {
        let (active, _) = stage.pair()?;
        let watch = stage.watch()?;
        let probe = "ip -brief -4 address show dev lo";
        stage.restored(&active, "ip address delete 10.255.0.10/32 dev lo", probe, "10.255.0.10/32")?;
        watch.served(BOOT)?;
        watch.end("virtual IP removed from lo")?.at_most(Duration::from_secs(6))?;
        ensure!(stage.pair()?.0 == active, "another node is active");
        Ok(())
    })
}

#[test]
fn rules_tunnels_and_settings_that_are_removed_are_restored() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let watch = stage.watch()?;
        for node in [&active, &standby] {
            let both = "nft list chain ip elbow arrivals | grep -q 'goto known' \
                        && nft list chain inet elbow_metadata departures | grep -q 'goto asked' && echo both";
            stage.restored(node, "nft flush ruleset", both, "both")?;
            let metadata = "nft list chain inet elbow_metadata departures";
            stage.restored(node, "nft flush chain inet elbow_metadata departures", metadata, "goto asked")?;
            stage.restored(node, "ip link delete elbow2", "ip link show elbow2", "elbow2")?;
            let neighbours = "ip neighbour show dev elbow1 nud permanent";
            stage.restored(node, "ip neighbour flush dev elbow1 nud permanent", neighbours, "PERMANENT")?;
            let setting = "sysctl -n net.ipv4.tcp_tw_reuse";
            stage.restored(node, "sysctl -q -w net.ipv4.tcp_tw_reuse=0", setting, "1")?;
        }
        watch.end("rules, tunnels and settings removed")?.nothing_happened()?;
        ensure!(stage.pair()?.0 == active, "another node is active");
        Ok(())
    })
}

#[test]
fn a_keepalived_that_is_stopped_is_started_again() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let watch = stage.watch()?;
        let (stop, probe) = ("systemctl stop keepalived", "systemctl is-active keepalived");
        stage.restored(&standby, stop, &format!("test \"$({probe})\" = active && echo running"), "running")?;
        stage.restored(&active, stop, &format!("test \"$({probe})\" = active && echo running"), "running")?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        watch.end("keepalived stopped on both nodes, one after the other")?.at_most(Duration::from_millis(1500))?;
        stage.serving_nodes(BOOT).map(drop)
    })
}
