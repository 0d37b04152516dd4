//! Targets that fail: the balancer's nodes see it, and `launcher status` shows it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::rig::wait_for;

use crate::stage::{BOOT, Stage, play};

/// Three refused checks, 2 s apart, and the time until the node has read and tagged the result take up to 9 s. Three checks
/// of a silent target take longer.
const SHOWN: Duration = Duration::from_secs(40);
const TARGETS: [&str; 2] = ["10.0.1.20", "10.0.2.20"];

impl Stage {
    /// While `look` runs, packets of both nodes to `targets` get this `verdict` of nftables.
    fn broken<T>(&self, targets: &[&str], verdict: &str, look: impl FnOnce() -> Result<T>) -> Result<T> {
        let packets = format!("ip daddr {{ {} }} tcp dport 8080", targets.join(", "));
        let chain = format!("chain out {{ type filter hook output priority 0; {packets} {verdict}; }}");
        self.on_both(&format!("printf '%s' 'table inet broken {{ {chain}; }}' | nft -f -"))?;
        let seen = look();
        // Also after a failure: other tests use these nodes.
        self.on_both("nft delete table inet broken")?;
        seen
    }

    fn on_both(&self, script: &str) -> Result<()> {
        let (active, standby) = self.pair()?;
        [active, standby].iter().try_for_each(|node| self.rig.inside(node, &["sh", "-c", script]).map(drop))
    }

    /// Waits until both agents pass on HAProxy's own metrics, with this line. The HAProxy of each node checks the targets.
    fn exports(&self, line: &str) -> Result<()> {
        for node in self.rig.serving_nodes(2, BOOT)? {
            let address = node.address.context("a serving node has an address")?;
            let page = format!("http://{address}:9110/haproxy/metrics?scope=backend");
            wait_for("the nodes to export a line", SHOWN, || {
                let curl = ["curl", "--silent", "--show-error", "--max-time", "5", &page];
                let metrics = self.rig.inside(&node.id, &curl)?;
                ensure!(metrics.lines().any(|one| one == line), "{} doesn't export {line:?}: {metrics}", node.id);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Waits until `launcher status` exits with `code` and prints each of `parts`; returns the time until it was started.
    pub fn shows(&self, code: i32, options: &[&str], parts: &[&str]) -> Result<Duration> {
        let start = Instant::now();
        wait_for("status to show the targets' health", SHOWN, || {
            let shown = start.elapsed();
            let output = self.rig.launcher([&["status", "web"][..], options].concat())?;
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            ensure!(output.status.code() == Some(code), "it exits with {:?}: {printed}", output.status.code());
            for part in parts {
                ensure!(printed.contains(part), "it doesn't print {part:?}: {printed}");
            }
            Ok(shown)
        })
    }
}

#[test]
fn a_target_that_is_down_is_named() -> Result<()> {
    play(|stage| {
        stage.shows(0, &["--strict"], &["2 of 2"])?;
        let down = ["1 of 2", "http: 10.0.1.20:8080 is down since ", ": connection refused"];
        let shown = stage.broken(&TARGETS[..1], "reject with tcp reset", || {
            let shown = stage.shows(0, &[], &down)?;
            stage.shows(3, &["--strict"], &down)?;
            stage.exports("haproxy_backend_active_servers{proxy=\"http\"} 1")?;
            Ok(shown)
        })?;
        stage.rig.figure("a target refuses connections: until status names it", format!("{shown:.1?}"))?;
        let back = stage.shows(0, &["--strict"], &["2 of 2"])?;
        stage.rig.figure("a target answers again: until status shows it", format!("{back:.1?}"))
    })
}

#[test]
fn a_balancer_without_a_target_that_is_up_is_degraded_and_moves_nothing() -> Result<()> {
    play(|stage| {
        let (active, _) = stage.pair()?;
        let down = ["0 of 2", "minimum_healthy is 1", "timeout at layer 4: does its security group admit sg-"];
        let shown = stage.broken(&TARGETS, "drop", || stage.shows(3, &[], &down))?;
        stage.rig.figure("all targets silent: until status exits with 3", format!("{shown:.1?}"))?;
        stage.shows(0, &["--strict"], &["2 of 2"])?;
        ensure!(stage.serving_nodes(BOOT)? == active, "the virtual IP moved");
        Ok(())
    })
}
