//! Measures the cost of an idle pair over ten minutes: API calls, CPU time, and the agent's memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::observations::text;
use lab::rig::Rig;

use crate::arena::{Arena, say};
use crate::elbow;
use crate::results::{Cost, Idle};
use crate::usage;

const WATCHED: Duration = Duration::from_secs(600);
/// After this time a node has finished the work of its boot: the first refresh of tables and peers, the first tags.
const CALM: Duration = Duration::from_secs(60);

/// Measures for ten minutes, or for one if the arena is `quick`.
pub fn run(arena: &Arena) -> Result<Idle> {
    let rig = arena.rig()?;
    rig.create(&elbow::balancer(&rig, &elbow::tables(&rig, 3)?)?)?;
    let nodes = rig.serving_nodes(2, elbow::RECOVERY)?;
    let active = rig.active()?;
    let standby = nodes.into_iter().map(|node| node.id).find(|id| *id != active).context("a standby")?;
    std::thread::sleep(CALM);
    rig.lab(["calls", "--clear"])?;
    let (watched, start) = (if arena.quick { WATCHED / 10 } else { WATCHED }, Instant::now());
    say(format!("watching an idle pair for {watched:?}"));
    let before = [Usage::of(&rig, &active)?, Usage::of(&rig, &standby)?];
    std::thread::sleep(watched);
    let after = [Usage::of(&rig, &active)?, Usage::of(&rig, &standby)?];
    let seconds = start.elapsed().as_secs_f64();
    let cost = |id: &str, n: usize| -> Result<Cost> {
        Ok(Cost {
            calls: calls(&rig, id)?,
            agent_cpu: after[n].agent - before[n].agent,
            keepalived_cpu: after[n].keepalived - before[n].keepalived,
            rss_kb: after[n].rss_kb,
            peak_kb: after[n].peak_kb,
        })
    };
    let idle = Idle { seconds, active: cost(&active, 0)?, standby: cost(&standby, 1)? };
    say(format!("active {:?}, standby {:?}", idle.active, idle.standby));
    Ok(idle)
}

/// CPU seconds of a node's services since they started, and the agent's memory.
struct Usage {
    agent: f64,
    keepalived: f64,
    rss_kb: u64,
    peak_kb: u64,
}

impl Usage {
    fn of(rig: &Rig, id: &str) -> Result<Usage> {
        let process = rig.inside(id, &["systemctl", "show", "--property=MainPID", "--value", "elbow-agent"])?;
        let status = rig.inside(id, &["cat", &format!("/proc/{}/status", process.trim())])?;
        Ok(Usage {
            agent: usage::cpu(rig, id, "elbow-agent")?,
            keepalived: usage::cpu(rig, id, "keepalived")?,
            rss_kb: usage::number(&status, "VmRSS:")?,
            peak_kb: usage::number(&status, "VmHWM:")?,
        })
    }
}

fn calls(rig: &Rig, id: &str) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for call in rig.calls()?.iter().filter(|call| call["caller"] == id && call["service"] == "ec2") {
        *counts.entry(text(&call["action"])?).or_default() += 1;
    }
    Ok(counts)
}
