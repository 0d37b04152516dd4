//! Waits for the connections that a node still has to end, before the node does.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::connections;
use crate::haproxy;
use crate::host::logs::CONSOLE;
use crate::host::systemd;
use crate::node::state::Board;

/// From one count of connections to the next.
const COUNT: Duration = Duration::from_millis(500);
/// How often the log says how many are left.
const SAY: Duration = Duration::from_secs(5);

/// How long kept-alive connections may take to be closed with their next answer: as long as at a shutdown
/// (`TimeoutStopSec=` of HAProxy's unit).
const CLOSING: Duration = Duration::from_secs(5);

/// Has HAProxy close kept-alive connections with their next answer, before the instance loses its power: a request under way
/// would be lost with it. A reload does so, and new connections find a process until the last moment.
pub(crate) async fn close(board: &Board) {
    if connections::open(virtual_ips(board)).await.is_ok_and(|open| open == 0) {
        return;
    }
    match systemd::reload(haproxy::UNIT).await {
        Ok(()) => drop(drain(board, CLOSING).await),
        Err(error) => tracing::warn!("kept-alive connections aren't closed before this node ends: {error:#}"),
    }
}

fn virtual_ips(board: &Board) -> Vec<Ipv4Addr> {
    board.read().virtual_ips.iter().map(|vip| vip.address).collect()
}

/// Waits for open connections to end, up to `limit`. Whether this node has become active again.
pub(crate) async fn drain(board: &Board, limit: Duration) -> bool {
    let vips = virtual_ips(board);
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
            tracing::info!(open, "waiting for open connections, at most {} s", limit.as_secs());
            said = Some(Instant::now());
        }
        tokio::time::sleep(COUNT.min(limit - waited)).await;
    }
}
