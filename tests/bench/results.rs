//! What a section leaves behind: raw results, as JSON, from which the document is rendered. Times are in seconds.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What a section measured, and under which conditions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured<T> {
    /// Where and how.
    pub conditions: Conditions,
    /// What came out.
    pub data: T,
}

/// Where and how something was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// The machine's cores.
    pub cores: usize,
    /// What the processor says it is.
    pub processor: String,
    /// The machine's memory in GB.
    pub memory_gb: u64,
    /// The kernel's release.
    pub kernel: String,
    /// Which build of the agent it was.
    pub agent: Build,
    /// The machine's load average over a minute, before: what others did to it.
    pub load: f64,
    /// How long it took.
    pub seconds: f64,
    /// Whether it was a trial with few repetitions.
    pub quick: bool,
}

/// A build of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Build {
    /// As it is shipped: `make dist`.
    Dist,
    /// As tests run it: `make build`.
    Release,
}

/// Who takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// The same calls at once over connections that stand open, by a client that does nothing else.
    WarmFloor,
    /// The same over new connections; where throttling binds, the token bucket's time.
    Floor,
    /// Elbow's agent.
    Agent,
    /// `aws ec2 replace-route || aws ec2 create-route`, table after table.
    Loop,
    /// Debian's resource agent `aws-vpc-move-ip`.
    MoveIp,
}

/// One takeover.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// From its beginning to the answer to its last ReplaceRoute; to its being stopped, if it was.
    pub seconds: f64,
    /// How many tables' routes had been moved by then.
    pub moved: usize,
}

/// Takeovers of so many tables by one of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// By whom.
    pub who: Who,
    /// Of how many tables.
    pub tables: usize,
    /// Whether the API throttled.
    pub throttled: bool,
    /// Each takeover.
    pub attempts: Vec<Attempt>,
}

/// Takeovers at one API latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Takeover {
    /// From a call's coming to its answer's leaving.
    pub latency_ms: u64,
    /// All that was measured.
    pub cells: Vec<Cell>,
}

/// Outages that a client saw after a node lost its power.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// From a call's coming to its answer's leaving.
    pub latency_ms: u64,
    /// How many route tables each had to change.
    pub tables: usize,
    /// Elbow's, in order.
    pub elbow: Vec<f64>,
    /// The others'.
    pub original: Vec<f64>,
}

/// A zone lost by many balancers together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    /// From a call's coming to its answer's leaving.
    pub latency_ms: u64,
    /// How many tables the VPC has.
    pub tables: usize,
    /// Tokens that the account's bucket holds.
    pub burst: u32,
    /// Tokens that it regains a second.
    pub refill: f64,
    /// With `route_tables = "all"`.
    pub all: ZoneLoss,
    /// With the tables of living clients named.
    pub named: ZoneLoss,
}

/// How a lost zone went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZoneLoss {
    /// Tables that each balancer had its route in.
    pub tables: usize,
    /// The outage of each balancer as its client saw it.
    pub outages: Vec<f64>,
    /// From the loss until the last route of the last balancer was right.
    pub settled: f64,
    /// How many calls were throttled.
    pub throttled: usize,
}

/// What nodes cost when nothing happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Idle {
    /// For how long it was watched.
    pub seconds: f64,
    /// The active node's.
    pub active: Cost,
    /// The standby's.
    pub standby: Cost,
}

/// What one node cost while it was watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// EC2 calls, by action.
    pub calls: BTreeMap<String, usize>,
    /// CPU time of the agent's service.
    pub agent_cpu: f64,
    /// CPU time of keepalived's service, with the health checks that it runs.
    pub keepalived_cpu: f64,
    /// The agent's resident memory at the end.
    pub rss_kb: u64,
    /// The most that it was.
    pub peak_kb: u64,
}

/// All that there is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Results {
    /// One for each latency, in order.
    pub takeover: Vec<Measured<Takeover>>,
    /// Node lost, served again.
    pub lost: Option<Measured<Lost>>,
    /// A zone lost.
    pub zone: Option<Measured<Zone>>,
    /// Idle.
    pub idle: Option<Measured<Idle>>,
}

/// API latencies that takeovers are measured at.
pub const LATENCIES: [u64; 3] = [0, 50, 200];

impl Results {
    /// What is in a folder.
    pub fn read(folder: &Path) -> Result<Results> {
        let mut takeover = Vec::new();
        for latency in LATENCIES {
            takeover.extend(load(folder, &format!("takeover-{latency}"))?);
        }
        let (lost, zone, idle) = (load(folder, "lost")?, load(folder, "zone")?, load(folder, "idle")?);
        Ok(Results { takeover, lost, zone, idle })
    }
}

/// Keeps a section's results.
pub fn save<T: Serialize>(folder: &Path, name: &str, measured: &Measured<T>) -> Result<()> {
    let path = folder.join(name).with_extension("json");
    std::fs::write(&path, serde_json::to_string_pretty(measured)?)
        .with_context(|| format!("writing {}", path.display()))
}

fn load<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<Measured<T>>> {
    let path = folder.join(name).with_extension("json");
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("reading {}: was it measured by another version? remove it", path.display()))
}
