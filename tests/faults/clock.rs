//! Nodes that are frozen for a while, as in a live migration.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::stage::{BOOT, play};

#[test]
fn a_node_that_is_frozen_for_400_ms_stays_active() -> Result<()> {
    play(|stage| {
        let (active, _) = stage.pair()?;
        let watch = stage.watch()?;
        for _ in 0..3 {
            stage.rig.lab(["freeze", &active, "400"])?;
            watch.served(BOOT)?;
            watch.go_on(Duration::from_secs(1));
        }
        ensure!(stage.serving_nodes(BOOT)? == active, "another node is active");
        let seen = watch.end("active node frozen for 400 ms, three times")?;
        ensure!(seen.moves.is_empty(), "routes were moved: {:?}", seen.moves);
        ensure!(seen.failed == 0, "{} requests failed", seen.failed);
        seen.at_most(Duration::from_millis(900))
    })
}

#[test]
fn a_node_that_thaws_after_5_s_does_not_fight_over_the_routes() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let agent = stage.agent(&active)?;
        let watch = stage.watch()?;
        stage.rig.lab(["freeze", &active, "5000"])?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        let seen = watch.end("active node frozen for 5 s")?;
        seen.at_most(Duration::from_millis(1500))?;
        ensure!(seen.changes().values().all(|changes| *changes == 1), "routes moved again: {:?}", seen.moves);

        let watch = stage.watch()?;
        stage.thawed(&active)?;
        let owner = stage.serving_nodes(BOOT)?;
        // A node that reclaims routes does so when it reads them next.
        watch.go_on(Duration::from_secs(35));
        ensure!(stage.serving_nodes(BOOT)? == owner, "the routes have moved on");
        ensure!(stage.masters()? == [owner], "another node is MASTER");
        ensure!(stage.agent(&active)? == agent, "systemd restarted the agent of a machine that was frozen");
        let seen = watch.end("thaw after 5 s")?;
        ensure!(seen.changes().values().all(|changes| *changes <= 1), "routes moved more than once: {:?}", seen.moves);
        seen.at_most(Duration::from_millis(1000))
    })
}

#[test]
fn a_standby_that_thaws_takes_nothing_from_a_healthy_owner() -> Result<()> {
    play(|stage| {
        // Each node is the standby once, with and without the preference.
        for _ in 0..2 {
            let (active, standby) = stage.pair()?;
            let watch = stage.watch()?;
            for _ in 0..4 {
                stage.rig.lab(["freeze", &standby, "1500"])?;
                stage.thawed(&standby)?;
                watch.go_on(Duration::from_secs(2));
            }
            ensure!(stage.masters()? == [active.as_str()], "the standby became MASTER");
            watch.end("standby frozen for 1.5 s, four times")?.nothing_happened()?;
            stage.rig.launcher(["handover", "web"])?;
            ensure!(stage.moved(&active, BOOT)? == standby, "the virtual IP wasn't handed over");
            ensure!(stage.serving_nodes(BOOT)? == standby, "another node is active");
        }
        Ok(())
    })
}
