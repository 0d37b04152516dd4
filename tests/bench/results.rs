//! The raw results of the sections, saved as JSON. Times are in seconds.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A section's results and conditions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured<T> {
    pub conditions: Conditions,
    pub data: T,
}

/// The machine and the circumstances of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    pub cores: usize,
    pub processor: String,
    pub memory_gb: u64,
    pub kernel: String,
    pub agent: Build,
    /// The load average over a minute before the measurement: the load of other programs.
    pub load: f64,
    /// The time that the section took.
    pub seconds: f64,
    /// Whether this was a test run with few repetitions.
    pub quick: bool,
}

/// A build of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Build {
    /// The shipped one: `make dist`.
    Dist,
    /// The tests' one: `make build`.
    Release,
}

/// The tool that takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// A bare client that makes the same calls concurrently over open connections.
    WarmFloor,
    /// The same over new connections; with throttling, the token bucket's time.
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
    /// From its start to the answer to its last ReplaceRoute, or until it was stopped.
    pub seconds: f64,
    /// The number of tables with a moved route by then.
    pub moved: usize,
}

/// One tool's takeovers with one number of tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    pub who: Who,
    pub tables: usize,
    /// Whether the API throttled.
    pub throttled: bool,
    pub attempts: Vec<Attempt>,
}

/// Takeovers at one API latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Takeover {
    /// From a call's arrival to its answer.
    pub latency_ms: u64,
    pub cells: Vec<Cell>,
}

/// Outages that a client saw after a node's power cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// From a call's arrival to its answer.
    pub latency_ms: u64,
    /// The number of route tables.
    pub tables: usize,
    /// In order.
    pub elbow: Vec<f64>,
    /// keepalived at Elbow's interval. Results of older benchmarks lack it.
    #[serde(default)]
    pub tuned: Vec<f64>,
    pub original: Vec<f64>,
}

/// Many balancers lose a zone at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    /// From a call's arrival to its answer.
    pub latency_ms: u64,
    /// The number of the VPC's route tables.
    pub tables: usize,
    /// The size of the account's token bucket.
    pub burst: u32,
    /// Its refill per second.
    pub refill: f64,
    /// With `route_tables = "all"`.
    pub all: ZoneLoss,
    /// With only the tables of clients in other zones.
    pub named: ZoneLoss,
}

/// The results for one choice of tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZoneLoss {
    /// The number of each balancer's route tables.
    pub tables: usize,
    /// Each balancer's outage, as its client saw it.
    pub outages: Vec<f64>,
    /// From the first ReplaceRoute to the answer to the last.
    pub serving_nodes: f64,
    /// The number of throttled calls.
    pub throttled: usize,
}

/// The cost of an idle pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Idle {
    /// The time of the measurement.
    pub seconds: f64,
    pub active: Cost,
    pub standby: Cost,
}

/// The cost of one node during the measurement.
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
    /// Its peak.
    pub peak_kb: u64,
}

/// Requests of clients, through proxies on the active node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataPlane {
    /// The time of one measurement.
    pub seconds: f64,
    /// The number of the client's addresses.
    pub addresses: usize,
    /// The number of open connections from each address.
    pub connections: usize,
    /// In the order in which they were measured.
    pub samples: Vec<Sample>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The round, from 0: each measures every proxy once with each traffic.
    pub round: usize,
    pub traffic: Traffic,
    pub proxy: Proxy,
    pub requests: u64,
    /// Those without a good answer.
    pub failed: u64,
    pub requests_a_second: f64,
    /// From a request's first byte to its answer's last. The handshake of a new connection isn't included.
    pub p50: f64,
    pub p99: f64,
    /// CPU time of the proxy's service; none without a proxy.
    pub proxy_cpu: Option<f64>,
    /// CPU time of the whole machine, the client and the target included.
    pub machine_cpu: f64,
}

/// How the client sends its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Traffic {
    /// Over open connections.
    KeepAlive,
    /// Each over a new connection.
    NewConnections,
    /// Over open connections that the proxy forwards as streams of bytes.
    Tcp,
}

impl Traffic {
    pub const ALL: [Traffic; 3] = [Traffic::KeepAlive, Traffic::NewConnections, Traffic::Tcp];
}

/// What is between the client and the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proxy {
    /// Elbow's HAProxy, with the configuration of a small balancer.
    Elbow,
    /// HAProxy with a minimal configuration by hand.
    Minimal,
    /// The same with the request headers that Elbow sets, and the request's id in the log.
    MinimalWithHeaders,
    /// HAProxy with the distribution's configuration and a frontend.
    Distribution,
    /// Debian's nginx.
    Nginx,
    /// Nothing.
    Direct,
    /// HAProxy with Elbow's configuration of 200 rules and 1,000 targets.
    Large,
    /// Elbow's HAProxy while packets pass none of the second chance's rules.
    WithoutSecondChance,
}

/// All saved results.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Results {
    /// One for each latency, in order.
    pub takeover: Vec<Measured<Takeover>>,
    pub lost: Option<Measured<Lost>>,
    pub zone: Option<Measured<Zone>>,
    pub idle: Option<Measured<Idle>>,
    pub data_plane: Option<Measured<DataPlane>>,
}

/// The API latencies of the takeover sections, in milliseconds.
pub const LATENCIES: [u64; 3] = [0, 50, 200];

impl Results {
    /// Reads the results in a folder; missing ones are left out.
    pub fn read(folder: &Path) -> Result<Results> {
        let mut takeover = Vec::new();
        for latency in LATENCIES {
            takeover.extend(load(folder, &format!("takeover-{latency}"))?);
        }
        Ok(Results {
            takeover,
            lost: load(folder, "lost")?,
            zone: load(folder, "zone")?,
            idle: load(folder, "idle")?,
            data_plane: load(folder, "data-plane")?,
        })
    }
}

/// Saves a section's results.
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
