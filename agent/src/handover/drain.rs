//! Waits for a node's open connections to end before the node stops.

use std::time::{Duration, Instant};

use super::connections;
use crate::haproxy;
use crate::host::logs::CONSOLE;
use crate::node::state::Board;

/// Interval between two counts of open connections.
const COUNT: Duration = Duration::from_millis(500);
/// Interval between two log lines about open connections.
const SAY: Duration = Duration::from_secs(5);

/// RequestLimit for closing kept-alive connections, as at a shutdown (`TimeoutStopSec=` of HAProxy's unit).
const CLOSING: Duration = Duration::from_secs(5);

/// Reloads HAProxy so that it closes kept-alive connections with their next answer: a request under way would be lost
/// when the instance ends. New connections still find a process.
pub(crate) async fn close(board: &Board) {
    if connections::open(board.read().addresses()).await.is_ok_and(|open| open == 0) {
        return;
    }
    match haproxy::reload(&haproxy::configuration().await).await {
        Ok(()) => drop(drain(board, CLOSING).await),
        Err(error) => tracing::warn!("cannot close kept-alive connections before this node ends: {error:#}"),
    }
}

/// Waits up to `limit` for open connections to end. Returns `true` if this node became active again.
pub(crate) async fn drain(board: &Board, limit: Duration) -> bool {
    let vips = board.read().addresses();
    let (since, mut said) = (Instant::now(), None::<Instant>);
    loop {
        let open = match connections::open(vips.clone()).await {
            Ok(open) => open,
            Err(error) => {
                tracing::warn!("not waiting for open connections: {error:#}");
                return false;
            }
        };
        let waited = since.elapsed();
        if open == 0 || waited >= limit {
            tracing::info!(target: CONSOLE, open, seconds = waited.as_secs(), "done waiting for open connections");
            return false;
        }
        if board.read().is_active() {
            return true;
        }
        if said.is_none_or(|said| said.elapsed() >= SAY) {
            tracing::info!(open, limit_seconds = limit.as_secs(), "waiting for open connections");
            said = Some(Instant::now());
        }
        tokio::time::sleep(COUNT.min(limit - waited)).await;
    }
}
