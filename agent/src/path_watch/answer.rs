//! Answers probes: the health page on port 9110 of each virtual IP, for members only. Each virtual IP has a listener of
//! its own: with a wildcard, the second chance would forward a probe's stray packet to other nodes.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use templates::paths::HEALTH_PORT;

use crate::node::state::Board;
use crate::peers;

/// The pause after a failure.
const AGAIN: Duration = Duration::from_secs(1);

/// Answers forever; the board's virtual IPs may change.
pub(crate) async fn answer(board: Board) {
    let mut news = board.subscribe();
    loop {
        let vips = news.borrow_and_update().addresses();
        let all = vips.iter().map(|vip| answer_on(*vip, &board));
        tokio::select! {
            _ = futures::future::join_all(all) => {}
            changed = news.wait_for(|state| state.addresses() != vips) => if changed.is_err() { return },
        }
    }
}

async fn answer_on(vip: Ipv4Addr, board: &Board) -> Infallible {
    let address = SocketAddr::from((vip, HEALTH_PORT));
    let mut said = false;
    loop {
        match peers::listen(address) {
            Ok(listener) => match peers::serve_members(listener, board.clone()).await {},
            Err(error) if !said => {
                tracing::warn!(%address, %error, "cannot answer probes of a virtual IP, trying again");
                said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}
