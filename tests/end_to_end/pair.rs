//! The pair that most tests play on: the lab's example, with the drain's limit short enough to wait for.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::rig::{Rig, wait_for};
use lab::stage::{Stage, end_all_faults};

/// How long a stopped agent waits for open connections.
pub const DRAIN: Duration = Duration::from_secs(8);
/// Within this both nodes are well again.
pub const RECOVERY: Duration = Duration::from_secs(120);

static PAIR: Stage<Rig> = Stage::new();

/// Plays on a pair of which both nodes are well, and leaves one.
pub async fn on_pair(test: impl AsyncFnOnce(&Rig) -> Result<()>) -> Result<()> {
    PAIR.play(raise, test, mend).await
}

/// The balancer's file; what is lost of the pair, `create` launches again with it.
pub fn file(rig: &Rig) -> Result<std::path::PathBuf> {
    rig.balancer(|text| format!("{text}\n[failover]\ndrain_timeout = \"{}s\"\n", DRAIN.as_secs()))
}

/// How often what could go wrong once in a while is tried: `ELBOW_ROUNDS`, or three times.
pub fn rounds() -> usize {
    std::env::var("ELBOW_ROUNDS").map_or(3, |rounds| rounds.parse().expect("ELBOW_ROUNDS is a number"))
}

/// What the agent on a node has logged since it booted; two of them differ by what came between.
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
    wait_for("the pair to be well", RECOVERY, || {
        for node in rig.settled(2, Duration::ZERO)? {
            ensure!(node.message.is_none(), "{} says: {}", node.id, node.message.unwrap_or_default());
        }
        Ok(())
    })
}
