//! Links and paths that fail while the machines are healthy.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::rig::wait_for;

use crate::stage::{BOOT, Stage, play};

/// The longest time between two reads of the routes by the active node.
const LOOK: Duration = Duration::from_secs(35);

impl Stage {
    /// Waits until every route leads to one node, one of `masters` MASTER nodes. Returns it and the time taken.
    fn one_owner(&self, masters: usize, patience: Duration) -> Result<(String, Duration)> {
        let began = Instant::now();
        let owner = wait_for("one owner", patience, || {
            let routes = self.routes()?;
            let owner = routes.first().context("there are no routes")?.1.clone();
            ensure!(routes.iter().all(|(_, to)| *to == owner), "the routes lead to {routes:?}");
            let now = self.masters()?;
            ensure!(now.len() == masters && now.contains(&owner), "owner: {owner}; MASTER nodes: {now:?}");
            Ok(owner)
        })?;
        Ok((owner, began.elapsed()))
    }
}

#[test]
fn a_link_that_goes_down_costs_its_node_the_virtual_ip() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let way = stage.rig.inside(&active, &["ip", "route", "show", "default"])?;
        let watch = stage.watch()?;
        stage.rig.inside(&active, &["ip", "link", "set", "eth0", "down"])?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        watch.end("link down")?.at_most(Duration::from_millis(1500))?;

        let watch = stage.watch()?;
        let up = format!("ip link set eth0 up && ip route replace {}", way.trim());
        stage.rig.inside(&active, &["sh", "-c", &up])?;
        wait_for("the node to be standby", BOOT, || {
            let nodes = stage.rig.serving_nodes(2, Duration::ZERO)?;
            ensure!(nodes.iter().all(|node| node.id != active || node.role.as_deref() == Some("standby")), "{nodes:?}");
            Ok(())
        })?;
        ensure!(stage.serving_nodes(BOOT)? == standby, "the routes have moved back");
        watch.end("link up again")?.nothing_happened()
    })
}

#[test]
fn nodes_cut_off_from_each_other_agree_on_one_owner_and_on_the_master_when_healed() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let watch = stage.watch()?;
        stage.rig.lab(["partition", &active, &standby])?;
        wait_for("both to be MASTER", BOOT, || {
            ensure!(stage.masters()?.len() == 2, "MASTER nodes: {:?}", stage.masters()?);
            Ok(())
        })?;
        let (_, time) = stage.one_owner(2, BOOT)?;
        stage.rig.figure("cut off from each other: one owner after", format!("{time:.1?}"))?;
        ensure!(time <= Duration::from_secs(3), "it took {time:.1?} until the routes led to one of them");
        // A node that reclaims routes does so at one of its next two reads.
        watch.go_on(LOOK * 2);
        let seen = watch.end("nodes cut off from each other")?;
        ensure!(seen.changes().values().all(|changes| *changes <= 2), "routes moved more than twice: {:?}", seen.moves);
        // Requests in flight are reset as the route moves: the nodes have no tunnel to pass them through.
        seen.at_most(Duration::from_millis(300))?;

        let watch = stage.watch()?;
        stage.rig.lab(["heal"])?;
        let (owner, time) = stage.one_owner(1, BOOT)?;
        stage.rig.figure("healed: one owner that is the MASTER after", format!("{time:.1?}"))?;
        ensure!(time <= Duration::from_secs(5), "one MASTER after {time:.1?}");
        watch.go_on(LOOK);
        ensure!(stage.serving_nodes(BOOT)? == owner, "the routes have moved on");
        let seen = watch.end("nodes that were cut off from each other, healed")?;
        ensure!(seen.changes().values().all(|changes| *changes <= 1), "routes moved more than once: {:?}", seen.moves);
        ensure!(seen.failed == 0, "{} requests failed", seen.failed);
        Ok(())
    })
}

#[test]
fn an_active_node_that_cannot_reach_the_api_goes_on_serving() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let watch = stage.watch()?;
        stage.rig.lab(["partition", &active, "api"])?;
        watch.go_on(LOOK + Duration::from_secs(10));
        ensure!(stage.masters()? == [active.clone()], "{active} is no longer MASTER");
        watch.end("active node cut off from the API for 45 s")?.nothing_happened()?;

        let watch = stage.watch()?;
        stage.rig.lab(["kill", &active])?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        watch.end("power cut of a node that was cut off from the API")?.at_most(Duration::from_millis(1500))
    })
}

#[test]
fn a_metadata_service_that_is_silent_for_a_minute_hinders_nothing() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let watch = stage.watch()?;
        stage.rig.lab(["partition", &active, "imds"])?;
        stage.rig.lab(["partition", &standby, "imds"])?;
        watch.go_on(Duration::from_secs(60));
        watch.end("metadata service silent for a minute")?.nothing_happened()?;

        let watch = stage.watch()?;
        stage.rig.lab(["kill", &active])?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        watch.end("power cut while the metadata service is silent")?.at_most(Duration::from_millis(1500))
    })
}
