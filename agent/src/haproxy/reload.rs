//! Reloads HAProxy, so that the new process continues with the old one's state of servers. The old process passes its
//! listening sockets on, serves its connections until they end, and takes no orders about servers any more.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use templates::paths;
use tokio::sync::Mutex;

use super::UNIT;
use super::admin::Admin;
use super::server_state::{self, Order};
use crate::host::{files, systemd};

/// How long a new process may take to answer.
const LIMIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(30);
/// A state file without servers.
const NO_SERVERS: &str = "1\n";

/// One reload at a time: the state file is for its own new process.
static RELOADING: Mutex<()> = Mutex::const_new(());

/// The text of haproxy.cfg; empty if there is none.
pub async fn configuration() -> String {
    let read = files::aside(|| Ok(std::fs::read_to_string(paths::HAPROXY)?)).await;
    read.unwrap_or_default()
}

/// Reloads HAProxy with its present configuration, and returns when a new process answers. `before` is the
/// configuration of the running process, as far as it is known.
pub async fn reload(before: &str) -> anyhow::Result<()> {
    let _one = RELOADING.lock().await;
    let after = configuration().await;
    let mut old = match Old::look(before, &after).await {
        Ok(old) => old,
        Err(error) => {
            tracing::warn!("HAProxy's reload doesn't keep health and drains of targets: cannot read them: {error}");
            return systemd::reload(UNIT).await;
        }
    };
    write_state(old.state_file.clone()).await;
    // Before the reload, because afterwards the old process refuses it.
    old.remove_targets().await;
    let reloaded = async {
        systemd::reload(UNIT).await?;
        until_another_answers(&old.pid).await
    };
    let outcome = reloaded.await;
    write_state(NO_SERVERS.to_owned()).await;
    if outcome.is_err()
        && let Err(error) = old.restore_targets().await
    {
        tracing::error!("cannot use removed targets again after a failed reload: {error}");
    }
    outcome
}

/// The process that runs before a reload.
struct Old {
    admin: Admin,
    pid: String,
    /// For the new process.
    state_file: String,
    /// What keeps requests from removed targets.
    removals: Vec<Order>,
}

impl Old {
    async fn look(before: &str, after: &str) -> io::Result<Old> {
        let mut admin = Admin::connect().await?;
        let pid = admin.pid().await?;
        let answer = admin.servers().await?;
        let rows =
            server_state::rows(&answer).ok_or_else(|| io::Error::other("its columns have another version than 1"))?;
        let (before, after) = (server_state::configured(before), server_state::configured(after));
        let state_file = server_state::state_file(&rows, &after);
        let removals = server_state::removals(&rows, &before, &after);
        Ok(Old { admin, pid, state_file, removals })
    }

    /// Stops at the first error: a process that hangs would delay the reload for each target.
    async fn remove_targets(&mut self) {
        for order in &self.removals {
            if let Err(error) = self.admin.set(order).await {
                tracing::warn!("removed targets may get requests of kept-alive connections: {error}");
                return;
            }
            tracing::info!(server = order.server, state = order.state, "removing a target");
        }
    }

    /// On a new connection: HAProxy closes a silent one after `stats timeout`, which a reload may exceed.
    async fn restore_targets(&self) -> io::Result<()> {
        if self.removals.is_empty() {
            return Ok(());
        }
        let mut admin = Admin::connect().await?;
        if admin.pid().await? != self.pid {
            // A new process serves after all.
            return Ok(());
        }
        for order in &self.removals {
            admin.set(&Order { server: order.server.clone(), state: "ready" }).await?;
        }
        Ok(())
    }
}

/// Writes HAProxy's state file. Without it, the node serves, and all targets start as up.
async fn write_state(text: String) {
    if let Err(error) = files::write_aside(Path::new(paths::SERVER_STATE), text).await {
        tracing::warn!("{error:#}");
    }
}

/// Waits until another process than `old` answers. If none can start, the old one serves on, and its unit looks well.
async fn until_another_answers(old: &str) -> anyhow::Result<()> {
    let started = async {
        loop {
            let pid = async { Admin::connect().await?.pid().await };
            if pid.await.is_ok_and(|pid| pid != old) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let in_time = tokio::time::timeout(LIMIT, started).await;
    in_time.with_context(|| format!("HAProxy didn't load its new configuration: process {old} still serves"))
}
