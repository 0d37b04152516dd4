//! Configures keepalived again when the peers change. Starts it once HAProxy answers, if HAProxy didn't at boot.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use crate::config::boot::{Failed, Local};
use crate::haproxy::Serves;
use crate::host::backoff::Backoff;
use crate::node::state::{Board, Topic};

/// Follows the board forever. `applied` are the peers that keepalived runs with, if it runs; `reloaded` is notified
/// when they change.
pub(crate) async fn upkeep(
    local: Arc<Mutex<Local>>,
    board: Board,
    mut applied: Option<Vec<Ipv4Addr>>,
    reloaded: Arc<Notify>,
) {
    let mut reader = board.subscribe();
    let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(60));
    loop {
        let state = reader.borrow_and_update().clone();
        let due = applied.as_ref() != Some(&state.peers);
        // keepalived starts only after HAProxy answers; once it runs, its peers may change in FAULT, too.
        if due && (applied.is_some() || state.haproxy == Serves::Yes) {
            match local.lock().await.keepalived(&state.peers).await {
                Ok(()) => {
                    tracing::info!(peers = ?state.peers, "configured keepalived");
                    applied = Some(state.peers);
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
        if reader.changed().await.is_err() {
            return;
        }
    }
}
