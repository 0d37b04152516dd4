//! What the operator sees and can do after a fault. These tests watch no clients.

use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::rig::{printed, wait_for};
use serde_json::Value;

use crate::stage::{BOOT, Stage, play};

/// `status` must be correct this soon after the fault.
const TRUTH: Duration = Duration::from_secs(10);
/// The launcher refuses within this time.
const AT_ONCE: Duration = Duration::from_secs(10);
/// A listener that an update adds.
pub const SECOND: &str =
    "\n[[listener]]\nname = \"second\"\nport = 8081\nprotocol = \"http\"\ntargets = [\"10.0.2.20:8080\"]\n";

impl Stage {
    fn seen(&self) -> Result<(Option<i32>, Value)> {
        let output = self.rig.launcher(["status", "web", "--output", "json"])?;
        Ok((output.status.code(), serde_json::from_slice(&output.stdout).context("reading the status")?))
    }

    /// Waits until `status` shows `dead` as unreachable and `survivor` as active with all routes.
    fn told(&self, dead: &str, survivor: &str) -> Result<Duration> {
        let began = Instant::now();
        wait_for("status to be correct", TRUTH * 3, || {
            let (code, is) = self.seen()?;
            let node = is["nodes"].as_array().and_then(|nodes| nodes.iter().find(|node| node["instance"] == dead));
            let node = node.with_context(|| format!("status doesn't show {dead}"))?;
            ensure!(node["unreachable"]["since"].is_string(), "status shows {dead} as {node}");
            let vip = &is["virtual_ips"][0];
            ensure!(vip["active"] == serde_json::json!([survivor]), "active: {}", vip["active"]);
            let routes = vip["routes"].as_array().context("there are no routes")?;
            ensure!(routes.len() == 3 && routes.iter().all(|route| route["ok"] == true), "routes: {routes:?}");
            ensure!(code == Some(3), "status exits with {code:?}");
            Ok(())
        })?;
        Ok(began.elapsed())
    }

    /// The launcher refuses at once, and its message contains `part`.
    fn refuses(&self, arguments: &[&str], part: &str) -> Result<()> {
        let began = Instant::now();
        let output = self.rig.launcher(arguments)?;
        let said = complaints(&output);
        ensure!(output.status.code() == Some(2) && said.contains(part), "{arguments:?}: {}, {said}", output.status);
        ensure!(began.elapsed() <= AT_ONCE, "{arguments:?} took {:?}", began.elapsed());
        Ok(())
    }

    /// Waits until `status` finds nothing wrong.
    fn healthy(&self) -> Result<()> {
        wait_for("status to find nothing wrong", BOOT, || {
            let (code, is) = self.seen()?;
            ensure!(code == Some(0), "{} {}", is["problems"], is["messages"]);
            Ok(())
        })
    }
}

fn complaints(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn after_a_power_cut_status_is_correct_and_an_update_works_without_the_dead_node() -> Result<()> {
    play(|stage| {
        let (dead, survivor) = stage.pair()?;
        stage.rig.lab(["kill", &dead])?;
        let told = stage.told(&dead, &survivor)?;
        stage.rig.figure("power cut of the active node: status is correct after", format!("{told:.1?}"))?;
        ensure!(told <= TRUTH, "status was correct after {told:.1?}");
        let shown = String::from_utf8_lossy(&stage.rig.launcher(["status", "web"])?.stdout).into_owned();
        ensure!(shown.contains("unreachable since") && shown.contains("reboot it, or terminate it"), "{shown}");
        ensure!(shown.contains("3 of 3"), "{shown}");

        let (_, is) = stage.seen()?;
        let nodes = is["nodes"].as_array().context("there are no nodes")?;
        let slot = |id: &str| nodes.iter().find(|node| node["instance"] == id).map(|node| node["slot"].to_string());
        let (lost, left) = (slot(&dead).context("its slot")?, slot(&survivor).context("its slot")?);
        let unreachable = format!("node {lost} ({dead}) is unreachable since");
        stage.refuses(&["handover", "web", "--to", &lost], &unreachable)?;
        stage.refuses(&["handover", "web"], &format!("node {left} ({survivor}) is active already"))?;

        let file = stage.rig.balancer(|text| text + SECOND)?;
        let file = file.to_str().context("a path in UTF-8")?;
        stage.refuses(&["update", file], &unreachable)?;
        printed(&stage.rig.launcher(["update", file, "--without", &lost])?)?;
        let (_, is) = stage.seen()?;
        let revision = is["revision"].clone();

        stage.rig.lab(["reboot", &dead])?;
        wait_for("the dead node to return and take the revision", BOOT, || {
            let (_, is) = stage.seen()?;
            let nodes = is["nodes"].as_array().context("there are no nodes")?;
            ensure!(nodes.iter().all(|node| node["running"] == revision), "{nodes:?}");
            Ok(())
        })?;
        stage.healthy()?;
        // Other tests on this stage expect the first revision.
        printed(&stage.rig.launcher(["update", "--rollback", "web"])?)?;
        stage.healthy()
    })
}

#[test]
fn after_a_power_cut_of_the_standby_status_is_correct() -> Result<()> {
    play(|stage| {
        let (active, dead) = stage.pair()?;
        stage.rig.lab(["kill", &dead])?;
        let told = stage.told(&dead, &active)?;
        stage.rig.figure("power cut of the standby: status is correct after", format!("{told:.1?}"))?;
        ensure!(told <= TRUTH, "status was correct after {told:.1?}");
        stage.refuses(&["handover", "web"], "is active already")?;
        stage.rig.lab(["reboot", &dead])?;
        stage.healthy()
    })
}

#[test]
fn status_shows_the_owner_as_active_while_nodes_are_cut_off_from_each_other() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        stage.rig.lab(["partition", &active, &standby])?;
        wait_for("both to be reported", TRUTH * 3, || {
            let (code, is) = stage.seen()?;
            let nodes = is["nodes"].as_array().context("there are no nodes")?;
            ensure!(nodes.iter().all(|node| node["unreachable"]["since"].is_string()), "{nodes:?}");
            let owner = stage.routes()?.first().context("there are no routes")?.1.clone();
            ensure!(is["virtual_ips"][0]["active"] == serde_json::json!([owner]), "{}", is["virtual_ips"]);
            ensure!(code == Some(3), "status exits with {code:?}");
            Ok(())
        })?;
        stage.rig.lab(["heal"])?;
        stage.healthy()
    })
}
