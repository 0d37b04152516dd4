//! Configures keepalived again when the peers change. Starts it once HAProxy answers, if HAProxy didn't at boot, and again
//! if a person or a program stopped it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use crate::config::boot::{Failed, Local};
use crate::haproxy::Serves;
use crate::host::backoff::Backoff;
use crate::host::logs::CONSOLE;
use crate::host::processes::Processes;
use crate::host::systemd;
use crate::node::state::{Board, Topic};

/// systemd restarts a keepalived that crashed after `RestartSec=1`. One that is down for longer was stopped.
const STOPPED: Duration = Duration::from_secs(2);
/// The agent looks this often for keepalived's processes.
const SELDOM: Duration = Duration::from_secs(60);

/// Follows the board forever. `applied` are the peers that keepalived runs with, if it runs; `reloaded` is notified
/// when they change.
pub(crate) async fn upkeep(
    local: Arc<Mutex<Local>>,
    board: Board,
    mut applied: Option<Vec<Ipv4Addr>>,
    reloaded: Arc<Notify>,
) {
    let mut reader = board.subscribe();
    let mut stopped = false;
    let mut stop = std::pin::pin!(stop());
    let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(60));
    loop {
        let state = reader.borrow_and_update().clone();
        if stopped {
            tracing::warn!(target: CONSOLE, "keepalived was stopped while the agent runs; starting it");
        }
        let due = stopped || applied.as_ref() != Some(&state.peers);
        // keepalived starts only after HAProxy answers; once it runs, its peers may change in FAULT, too.
        if due && (applied.is_some() || state.haproxy == Serves::Yes) {
            match local.lock().await.keepalived(&state.peers).await {
                Ok(()) => {
                    tracing::info!(peers = ?state.peers, "configured keepalived");
                    applied = Some(state.peers);
                    stopped = false;
                    board.problem(Topic::Keepalived, None);
                    reloaded.notify_one();
                    backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(60));
                }
                Err(Failed { topic, error }) => {
                    tracing::error!("{error:#}");
                    board.problem(topic, Some(format!("{error:#}")));
                    backoff.wait().await;
                    continue;
                }
            }
        }
        tokio::select! {
            changed = reader.changed() => if changed.is_err() { return },
            () = &mut stop, if applied.is_some() => {
                stopped = true;
                stop.set(self::stop());
            }
        }
    }
}

/// Waits until keepalived is down and systemd doesn't restart it.
async fn stop() {
    let mut processes = Processes::named("keepalived");
    loop {
        processes.look();
        if processes.is_empty() || tokio::time::timeout(SELDOM, processes.end()).await.is_ok() {
            tokio::time::sleep(STOPPED).await;
            if !systemd::is_active(super::UNIT).await {
                return;
            }
        }
    }
}
