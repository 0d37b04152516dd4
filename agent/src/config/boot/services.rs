//! Renders and checks the configurations of HAProxy and keepalived, and starts or reloads both. Without a change,
//! neither is disturbed.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use templates::files::{HaproxyNode, KeepalivedNode, haproxy_cfg, keepalived_conf};
use templates::{Balancer, Slot, paths};
use tokio::time::Instant;

use super::install::{Installed, install, try_out};
use crate::host::{memory, systemd};
use crate::node::state::Topic;
use crate::{haproxy, keepalived};

/// Limit for HAProxy to answer: usually it does so within a second, on a busy boot later.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
const ANSWER_EVERY: Duration = Duration::from_millis(30);

const CHECK_HAPROXY: [&str; 3] = ["haproxy", "-c", "-f"];
const CHECK_KEEPALIVED: [&str; 3] = ["keepalived", "--config-test", "--use-file"];

/// What the configurations of HAProxy and keepalived are rendered from, apart from the peers.
#[derive(Debug, Clone)]
pub struct Local {
    /// The node's balancer.
    pub balancer: Balancer,
    pub slot: Slot,
    /// Its own address.
    pub address: Ipv4Addr,
    pub interface: String,
}

/// A failure, and the topic under which the board shows it.
#[derive(Debug)]
pub struct Failed {
    pub topic: Topic,
    pub error: anyhow::Error,
}

fn about(topic: Topic) -> impl FnOnce(anyhow::Error) -> Failed {
    move |error| Failed { topic, error }
}

impl Local {
    /// Installs keepalived's configuration with `peers`, and starts or reloads keepalived.
    pub async fn keepalived(&self, peers: &[Ipv4Addr]) -> Result<(), Failed> {
        let due = reload_due(keepalived::UNIT);
        let up = async {
            let installed = install(paths::KEEPALIVED, &self.conf(peers), &CHECK_KEEPALIVED, &due).await?;
            // systemd refuses a reload during a shutdown, and a node that drains then still needs its current peers.
            bring_up(keepalived::UNIT, installed, systemd::hang_up(keepalived::UNIT)).await
        };
        up.await.map_err(about(Topic::Keepalived))
    }

    /// Checks that keepalived accepts this configuration; changes nothing.
    pub async fn check_keepalived(&self, peers: &[Ipv4Addr]) -> anyhow::Result<()> {
        try_out(paths::KEEPALIVED, &self.conf(peers), &CHECK_KEEPALIVED).await
    }

    fn conf(&self, peers: &[Ipv4Addr]) -> String {
        keepalived_conf(&KeepalivedNode {
            balancer: &self.balancer,
            slot: self.slot,
            address: self.address,
            peers,
            interface: &self.interface,
        })
    }
}

/// Checks that HAProxy accepts its configuration with `peers`; changes nothing.
pub async fn check_haproxy(local: &Local, peers: &[Ipv4Addr]) -> anyhow::Result<()> {
    haproxy::check_version().await?;
    try_out(paths::HAPROXY, &config(local, peers)?, &CHECK_HAPROXY).await
}

/// haproxy.cfg for this node's memory.
fn config(local: &Local, peers: &[Ipv4Addr]) -> anyhow::Result<String> {
    let memory_mb = u32::try_from(memory::total_kb()? / 1024).unwrap_or(u32::MAX);
    Ok(haproxy_cfg(&HaproxyNode { balancer: &local.balancer, memory_mb, address: local.address, peers }))
}

/// Installs HAProxy's configuration with `peers`, starts or reloads HAProxy, and waits until it answers. An invalid
/// configuration leaves the old one in use. Returns each failure: a rejected configuration is reported even if HAProxy
/// is down, too. An HAProxy that is too old is neither configured nor started.
pub async fn haproxy(local: &Local, peers: &[Ipv4Addr]) -> Vec<Failed> {
    if let Err(error) = haproxy::check_version().await {
        return vec![Failed { topic: Topic::Configuration, error }];
    }
    let due = reload_due(haproxy::UNIT);
    let before = haproxy::configuration().await;
    let installed = async { install(paths::HAPROXY, &config(local, peers)?, &CHECK_HAPROXY, &due).await };
    let (installed, refused) = match installed.await {
        Ok(installed) => (installed, None),
        Err(error) => (Installed::Unchanged, Some(about(Topic::Configuration)(error))),
    };
    let up = async {
        let reload = async {
            haproxy::until_learned().await;
            haproxy::reload(&before).await
        };
        bring_up(haproxy::UNIT, installed, reload).await?;
        until_it_answers().await
    };
    let down = up.await.map_err(about(Topic::Haproxy)).err();
    refused.into_iter().chain(down).collect()
}

/// The marker file that exists until `unit` has read its new configuration. It needn't survive a reboot.
fn reload_due(unit: &str) -> PathBuf {
    Path::new(paths::RUN).join(format!("{unit}.reload-due"))
}

/// Starts `unit`, or awaits `reload` if its file is new.
async fn bring_up(
    unit: &str,
    installed: Installed,
    reload: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    match (systemd::is_active(unit).await, installed) {
        (false, _) => systemd::start(unit).await?,
        (true, Installed::Changed) => reload.await?,
        (true, Installed::Unchanged) => return Ok(()),
    }
    match std::fs::remove_file(reload_due(unit)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", reload_due(unit).display()))
        }
        _ => Ok(()),
    }
}

async fn until_it_answers() -> anyhow::Result<()> {
    let end = Instant::now() + ANSWER_LIMIT;
    loop {
        match haproxy::answers().await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > end => return Err(error).context("HAProxy doesn't answer its health page"),
            Err(_) => tokio::time::sleep(ANSWER_EVERY).await,
        }
    }
}
