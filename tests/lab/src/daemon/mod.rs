//! The running lab: its parts, its response to API changes, and its faults.

pub mod access;
pub mod addresses;
pub mod api_only;
pub mod coalesce;
pub mod fleet;
pub mod kernel_state;
pub mod lab;
pub mod lock;
pub mod machines;
pub mod protocol;
pub mod reconcile;
pub mod selector;
pub mod services;
pub mod socket;
pub mod status;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::dir::LabDir;
use crate::sweep;

use lab::Lab;

/// How long a previous lab may take to end.
const PREDECESSOR: Duration = Duration::from_secs(10);

/// Runs the lab until a request at its control socket or a signal ends it. Calls `ready` once it is up.
pub fn serve(dir: LabDir, ready: impl FnOnce()) -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let _lock = lock::wait(&dir, PREDECESSOR)?;
    for removed in sweep::all(&dir).context("removing what a dead lab left")? {
        println!("removed leftover of a dead lab: {removed}");
    }
    std::fs::create_dir_all(dir.run()).with_context(|| format!("making {}", dir.run().display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(dir, ready))
}

async fn run(dir: LabDir, ready: impl FnOnce()) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let starting = async {
        let lab = Lab::start(dir.clone()).await?;
        let listener = socket::bind(&dir.socket())?;
        Ok::<(Arc<Lab>, _), anyhow::Error>((lab, listener))
    };
    let (lab, listener) = match starting.await {
        Ok(started) => started,
        Err(error) => {
            // The start's error matters more than an error of this cleanup.
            let _ = tokio::task::spawn_blocking(move || sweep::all(&dir)).await;
            return Err(error);
        }
    };
    ready();
    tokio::select! {
        served = socket::serve(listener, lab.clone()) => served?,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    lab.end().await
}
