//! Starts moto: the AWS API, in Python, with our patches, on a loopback port of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::api::upstream::Upstream;
use crate::dir::{self, LabDir};

/// Python and moto's modules take seconds to load on a busy machine.
const START: Duration = Duration::from_secs(90);
/// How often a starting moto is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// moto's server. It ends with this, and when the process that started it does.
#[derive(Debug)]
pub struct Moto {
    upstream: Upstream,
    child: Child,
}

impl Moto {
    /// Starts moto with an empty account; its port file and log are put into `run`.
    pub async fn start(dir: &LabDir, run: &Path) -> Result<Moto> {
        let python = dir.venv().join("bin/python");
        if !python.exists() {
            bail!("{} isn't there: run `make setup` first", python.display());
        }
        let (port_file, log_path) = (run.join("moto.port"), run.join("moto.log"));
        remove(&port_file)?;
        let log = std::fs::File::create(&log_path).with_context(|| format!("writing {}", log_path.display()))?;
        let child = Command::new(&python)
            .arg(dir::checkout()?.join("tests/lab/moto/serve.py"))
            .args(["--port", "0", "--until-stdin-ends", "--port-file"])
            .arg(&port_file)
            // Its input is a pipe from here, which ends with this process, also if that is killed; and moto with it.
            .stdin(Stdio::piped())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting moto with {}", python.display()))?;
        Moto::await_ready(child, &port_file)
            .await
            .with_context(|| format!("starting moto (see {})", log_path.display()))
    }

    async fn await_ready(mut child: Child, port_file: &Path) -> Result<Moto> {
        let end = Instant::now() + START;
        loop {
            if let Some(status) = child.try_wait()? {
                bail!("it ended with {status}");
            }
            if let Some(port) = read_port(port_file) {
                let upstream = Upstream::new(&format!("http://127.0.0.1:{port}"));
                if upstream.get("/lab/ready").await.is_ok() {
                    return Ok(Moto { upstream, child });
                }
            }
            if Instant::now() > end {
                bail!("it wasn't ready after {START:?}");
            }
            sleep(LOOK).await;
        }
    }

    /// The way to its control paths.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Makes the lab's VPC and what others have in it.
    pub async fn seed(&self) -> Result<Seed> {
        let body = self.upstream.post("/lab/seed", &json!({})).await.context("seeding moto")?;
        serde_json::from_slice(&body).context("reading what moto was seeded with")
    }

    /// Ends it and waits until it is gone.
    pub async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("ending moto")
    }
}

/// What is in the account from the beginning (`tests/lab/moto/seed.py`).
#[derive(Debug, Clone, Deserialize)]
pub struct Seed {
    /// The account's 12 digits.
    pub account: String,
    /// The Region.
    pub region: String,
    /// Who may do everything.
    pub operator: Operator,
    /// The lab's VPC.
    pub vpc: String,
    /// Its subnets: `private-a`, `private-b`, `clients`, `shared` (another account's).
    pub subnets: BTreeMap<String, String>,
    /// Its route tables: `private-a`, `private-b`, `main`, `gateway`.
    pub route_tables: BTreeMap<String, String>,
    /// Machine images: `main`, `plain`, `arm`.
    pub images: BTreeMap<String, String>,
    /// What belongs to others, in whatever shape.
    pub others: serde_json::Value,
}

/// An IAM user with an access key.
#[derive(Debug, Clone, Deserialize)]
pub struct Operator {
    /// Of the user.
    pub arn: String,
    /// Of the key.
    pub access_key_id: String,
    /// Of the key.
    pub secret_access_key: String,
}

/// Temporary credentials of an instance's role.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Credentials {
    /// Identifies them.
    pub access_key_id: String,
    /// Signs with them.
    pub secret_access_key: String,
    /// Goes along with each call.
    pub token: String,
}

impl Credentials {
    /// New ones, as the instance metadata service hands them out.
    pub async fn of_instance(moto: &Upstream, id: &str) -> Result<Credentials> {
        let body = moto.post("/lab/role-credentials", &json!({ "instance": id })).await?;
        serde_json::from_slice(&body).with_context(|| format!("reading the credentials of {id}"))
    }
}

/// Makes Describe calls answer from the world of so long ago; zero ends it.
pub async fn set_stale(moto: &Upstream, age: Duration) -> Result<()> {
    moto.post("/lab/stale", &json!({ "ms": age.as_millis() as u64 })).await.map(drop)
}

/// The generation of the world as it is now, after all that Auto Scaling and the end of instances had to do by now.
pub async fn generation(moto: &Upstream) -> Result<u64> {
    let body = moto.get("/lab/generation").await?;
    let answer: serde_json::Value = serde_json::from_slice(&body).context("reading moto's generation")?;
    answer["generation"].as_u64().context("moto's generation is no number")
}

/// From now on Auto Scaling looks this often at the health of its instances.
pub async fn set_health_checks(moto: &Upstream, every: Duration) -> Result<()> {
    moto.post("/lab/auto-scaling", &json!({ "health_ms": every.as_millis() as u64 })).await.map(drop)
}

/// From now on an instance that is stopped is `stopping` until [`stopped`] says that its system is down.
pub async fn have_systems(moto: &Upstream) -> Result<()> {
    moto.post("/lab/systems", &json!({})).await.map(drop)
}

/// The instance's system has shut down.
pub async fn stopped(moto: &Upstream, instance: &str) -> Result<()> {
    moto.post("/lab/stopped", &json!({ "instance": instance })).await.map(drop)
}

/// Sets what GetConsoleOutput answers.
pub async fn set_console(moto: &Upstream, instance: &str, text: &str) -> Result<()> {
    moto.post("/lab/console", &json!({ "instance": instance, "text": text })).await.map(drop)
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
