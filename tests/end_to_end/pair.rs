//! The pair that most tests share: the lab's example with a short `drain_timeout`.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::rig::{Rig, wait_for};
use lab::stage::{Stage, end_all_faults};

/// The pair's `drain_timeout`.
pub const DRAIN: Duration = Duration::from_secs(8);
/// Both nodes recover within this time.
pub const RECOVERY: Duration = Duration::from_secs(120);

static PAIR: Stage<Rig> = Stage::new();

/// Runs `test` on the shared pair; both nodes are healthy before and after it.
pub async fn on_pair(test: impl AsyncFnOnce(&Rig) -> Result<()>) -> Result<()> {
    PAIR.play(raise, test, mend).await
}

/// The pair's balancer file; `create` with it replaces lost nodes.
pub fn file(rig: &Rig) -> Result<std::path::PathBuf> {
    rig.balancer(|text| format!("{text}\n[failover]\ndrain_timeout = \"{}s\"\n", DRAIN.as_secs()))
}

/// The number of rounds of tests for rare failures: `ELBOW_ROUNDS`, or 3.
pub fn rounds() -> usize {
    std::env::var("ELBOW_ROUNDS").map_or(3, |rounds| rounds.parse().expect("ELBOW_ROUNDS is a number"))
}

/// The log of a node's agent since the node booted.
pub fn log(rig: &Rig, node: &str) -> Result<String> {
    rig.inside(node, &["journalctl", "-b", "-u", "elbow-agent", "--no-pager"])
}

fn raise() -> Result<Rig> {
    let rig = Rig::up()?;
    rig.create(&file(&rig)?)?;
    mend(&rig)?;
    Ok(rig)
}

fn mend(rig: &Rig) -> Result<()> {
    end_all_faults(rig)?;
    wait_for("the pair to be healthy", RECOVERY, || {
        for node in rig.serving_nodes(2, Duration::ZERO)? {
            ensure!(node.message.is_none(), "message of {}: {}", node.id, node.message.unwrap_or_default());
        }
        Ok(())
    })
}
