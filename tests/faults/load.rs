//! Healthy nodes: at rest they make few API calls, and on an overloaded machine they move no routes.

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::stage::play;

/// API calls that a node at rest may make in a minute.
const ACTIVE: usize = 3;
const STANDBY: usize = 1;

#[test]
fn nodes_at_rest_spend_little_of_the_apis_budget() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let watch = stage.watch()?;
        let minutes = 5;
        watch.go_on(Duration::from_secs(60 * minutes as u64));
        let mut calls: BTreeMap<String, usize> = BTreeMap::new();
        for call in stage.rig.calls()? {
            *calls.entry(call["caller"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let of = |node: &str| calls.get(node).copied().unwrap_or_default();
        let figure = format!("active {}, standby {}", of(&active), of(&standby));
        stage.rig.figure(&format!("EC2 calls in {minutes} minutes at rest"), figure)?;
        ensure!(of(&active) <= ACTIVE * minutes, "the active node made {} calls", of(&active));
        ensure!(of(&standby) <= STANDBY * minutes, "the standby made {} calls", of(&standby));
        watch.end("at rest for five minutes")?.nothing_happened()
    })
}

/// `stress-ng` on every core; ended when dropped.
struct Load(Child);

impl Load {
    fn begin() -> Result<Load> {
        let child = Command::new("stress-ng").args(["--cpu", "0", "--quiet"]).spawn();
        Ok(Load(child.context("starting stress-ng: `make setup` installs it")?))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // On this signal `stress-ng` ends its workers, too.
        if let Some(id) = rustix::process::Pid::from_raw(self.0.id() as i32) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

#[test]
fn ten_minutes_on_an_overloaded_machine_cause_no_failover() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let agents = || Ok([stage.agent(&active)?, stage.agent(&standby)?]);
        let before: [String; 2] = agents()?;
        let watch = stage.watch()?;
        let load = Load::begin()?;
        watch.go_on(Duration::from_secs(600));
        drop(load);
        let moved = stage.rig.calls()?.iter().any(|call| call["action"] == "ReplaceRoute");
        ensure!(stage.serving_nodes(Duration::from_secs(10))? == active && !moved, "the routes have moved");
        let seen = watch.end("ten minutes of stress-ng on every core")?;
        ensure!(seen.moves.is_empty(), "routes were moved: {:?}", seen.moves);
        let after: Result<[String; 2]> = agents();
        ensure!(after? == before, "systemd restarted a healthy agent");
        Ok(())
    })
}
