//! Starts moto, the AWS API in Python, with the lab's patches on a loopback port.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::api::upstream::Upstream;
use crate::dir::{self, LabDir};

/// Python and moto's modules take seconds to load on a busy machine.
const START: Duration = Duration::from_secs(90);
/// How often a starting moto is polled.
const LOOK: Duration = Duration::from_millis(20);

/// The process that has loaded moto, and forks a server for each [`Moto`] of this process. It and its servers end with
/// this process, even if this is killed: their standard input ends.
static SOURCE: Mutex<Option<Child>> = Mutex::new(None);

/// moto's server. It ends when this is dropped or this process ends.
#[derive(Debug)]
pub struct Moto {
    upstream: Upstream,
    _server: Server,
}

impl Moto {
    /// Starts moto with an empty account; its port file and log are in `run`.
    pub async fn start(dir: &LabDir, run: &Path) -> Result<Moto> {
        let (port_file, log) = (run.join("moto.port"), run.join("moto.log"));
        remove(&port_file)?;
        order(dir, &json!({ "start": port_file, "log": log }))?;
        let server = Server(port_file);
        server.await_ready().await.with_context(|| format!("starting moto (see {})", log.display()))
    }

    /// The client for its control paths.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Creates the lab's VPC, and other resources in it that don't belong to Elbow.
    pub async fn seed(&self) -> Result<Seed> {
        let body = self.upstream.post("/lab/seed", &json!({})).await.context("seeding moto")?;
        serde_json::from_slice(&body).context("reading what moto was seeded with")
    }
}

/// A forked server, by its port file.
#[derive(Debug)]
struct Server(PathBuf);

impl Server {
    async fn await_ready(self) -> Result<Moto> {
        let end = Instant::now() + START;
        loop {
            if let Some(status) = source().as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("moto ended with {status}");
            }
            if let Some(port) = read_port(&self.0) {
                let upstream = Upstream::new(&format!("http://127.0.0.1:{port}"));
                if upstream.get("/lab/ready").await.is_ok() {
                    return Ok(Moto { upstream, _server: self });
                }
            }
            if Instant::now() > end {
                bail!("moto wasn't ready after {START:?}");
            }
            sleep(LOOK).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stop = json!({ "stop": self.0 });
        if let Some(source) = source().as_mut() {
            // If the source has ended, its servers have, too.
            let _ = send(source, &stop);
        }
    }
}

/// Gives the source an order, and starts it first if it doesn't run.
fn order(dir: &LabDir, order: &Value) -> Result<()> {
    let mut source = source();
    let ended = source.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
    if ended {
        let python = dir.venv().join("bin/python");
        if !python.exists() {
            bail!("{}: missing; run `make setup` first", python.display());
        }
        let child = Command::new(&python)
            .arg(dir::checkout()?.join("tests/lab/moto/serve.py"))
            .arg("--copies")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("starting moto with {}", python.display()))?;
        *source = Some(child);
    }
    let child = source.as_mut().context("moto's process is missing")?;
    send(child, order).context("giving moto's process an order")
}

fn send(source: &mut Child, order: &Value) -> std::io::Result<()> {
    match source.stdin.as_mut() {
        Some(pipe) => pipe.write_all(format!("{order}\n").as_bytes()),
        None => Err(std::io::ErrorKind::BrokenPipe.into()),
    }
}

fn source() -> std::sync::MutexGuard<'static, Option<Child>> {
    SOURCE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the account was seeded with (`tests/lab/moto/seed.py`).
#[derive(Debug, Clone, Deserialize)]
pub struct Seed {
    /// The account's 12 digits.
    pub account: String,
    pub region: String,
    /// The user that may do everything.
    pub operator: Operator,
    /// The lab's VPC.
    pub vpc: String,
    /// Its subnets: `private-a`, `private-b`, `clients`, `shared` (another account's).
    pub subnets: BTreeMap<String, String>,
    /// Its route tables: `private-a`, `private-b`, `main`, `gateway`.
    pub route_tables: BTreeMap<String, String>,
    /// Machine images: `main`, `plain`, `dnf`, `arm`.
    pub images: BTreeMap<String, String>,
    /// The VPC's interface endpoints, by service: `ec2`, `autoscaling`, `s3`.
    pub endpoints: BTreeMap<String, String>,
    /// Resources that don't belong to Elbow; the format is free.
    pub others: Value,
}

/// An IAM user with an access key.
#[derive(Debug, Clone, Deserialize)]
pub struct Operator {
    /// The user's ARN.
    pub arn: String,
    /// A part of the access key.
    pub access_key_id: String,
    /// A part of the access key.
    pub secret_access_key: String,
}

/// Temporary credentials of an instance's role.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    /// The session token.
    pub token: String,
}

impl Credentials {
    /// New credentials of an instance, as IMDS issues them.
    pub async fn of_instance(moto: &Upstream, id: &str) -> Result<Credentials> {
        let body = moto.post("/lab/role-credentials", &json!({ "instance": id })).await?;
        serde_json::from_slice(&body).with_context(|| format!("reading the credentials of {id}"))
    }
}

/// Makes Describe calls answer from the state at this age; zero ends it.
pub async fn set_stale(moto: &Upstream, age: Duration) -> Result<()> {
    moto.post("/lab/stale", &json!({ "ms": age.as_millis() as u64 })).await.map(drop)
}

/// The current generation of the world, after Auto Scaling and terminations have done what is due.
pub async fn generation(moto: &Upstream) -> Result<u64> {
    let body = moto.get("/lab/generation").await?;
    let answer: Value = serde_json::from_slice(&body).context("reading moto's generation")?;
    answer["generation"].as_u64().context("moto's generation isn't a number")
}

/// Sets how often Auto Scaling checks the health of its instances.
pub async fn set_health_checks(moto: &Upstream, every: Duration) -> Result<()> {
    moto.post("/lab/auto-scaling", &json!({ "health_ms": every.as_millis() as u64 })).await.map(drop)
}

/// From now on, a stopped instance is `stopping` until [`stopped`] reports that its system is down.
pub async fn have_systems(moto: &Upstream) -> Result<()> {
    moto.post("/lab/systems", &json!({})).await.map(drop)
}

/// Reports that an instance's system has shut down.
pub async fn stopped(moto: &Upstream, instance: &str) -> Result<()> {
    moto.post("/lab/stopped", &json!({ "instance": instance })).await.map(drop)
}

/// Sets what GetConsoleOutput answers.
pub async fn set_console(moto: &Upstream, instance: &str, text: &str) -> Result<()> {
    moto.post("/lab/console", &json!({ "instance": instance, "text": text })).await.map(drop)
}

/// Moves the launch of an instance into the past.
pub async fn set_launched(moto: &Upstream, instance: &str, ago: Duration) -> Result<()> {
    moto.post("/lab/launched", &json!({ "instance": instance, "ago": ago.as_secs() })).await.map(drop)
}

/// Creates a bucket that belongs to another account.
pub async fn make_foreign_bucket(moto: &Upstream, name: &str) -> Result<()> {
    moto.post("/lab/foreign-bucket", &json!({ "name": name })).await.map(drop)
}

fn read_port(file: &Path) -> Option<u16> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn remove(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", file.display()))
        }
        _ => Ok(()),
    }
}
