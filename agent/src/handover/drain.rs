//! Waits for the connections that a node still has to end, before the node does.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::connections;
use crate::logs::CONSOLE;
use crate::state::Board;

/// From one count of connections to the next.
const COUNT: Duration = Duration::from_millis(500);
/// How often the log says how many are left.
const SAY: Duration = Duration::from_secs(5);

/// Waits for open connections to end, up to `limit`. Whether this node has become active again.
pub(super) async fn drain(board: &Board, limit: Duration) -> bool {
    let vips: Vec<Ipv4Addr> = board.read().virtual_ips.iter().map(|vip| vip.address).collect();
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
