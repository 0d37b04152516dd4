//! A complaint: a standby tells the active node that it doesn't reach a virtual IP (`POST /unreachable` on port 9110,
//! peers only).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, State as Shared};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use templates::paths::HEALTH_PORT;
use tokio::sync::mpsc;

use crate::node::state::Board;

const PATH: &str = "/unreachable";
/// The time limit of an answer.
const ANSWER: Duration = Duration::from_millis(300);
/// Complaints that wait: one of each standby about each virtual IP. Standbys repeat theirs every second.
const WAITING: usize = 64;

/// A complaint that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// The standby's address.
    pub from: Ipv4Addr,
    pub virtual_ip: Ipv4Addr,
}

/// The queue of complaints.
pub(crate) fn channel() -> (mpsc::Sender<Complaint>, mpsc::Receiver<Complaint>) {
    mpsc::channel(WAITING)
}

/// The route on which standbys complain.
pub(crate) fn page(board: Board, sender: mpsc::Sender<Complaint>) -> Router {
    Router::new().route(PATH, post(take)).with_state((board, sender))
}

async fn take(
    Shared((board, sender)): Shared<(Board, mpsc::Sender<Complaint>)>,
    ConnectInfo(visitor): ConnectInfo<SocketAddr>,
    Json(virtual_ip): Json<Ipv4Addr>,
) -> StatusCode {
    match visitor.ip() {
        IpAddr::V4(from) if board.read().peers.contains(&from) => {
            // A full queue has others of the same kind.
            let _ = sender.try_send(Complaint { from, virtual_ip });
            StatusCode::NO_CONTENT
        }
        _ => StatusCode::FORBIDDEN,
    }
}

/// Tells the node at `active` that this node doesn't reach `vip`.
pub(super) async fn send(http: &reqwest::Client, active: Ipv4Addr, vip: Ipv4Addr) {
    let url = format!("http://{active}:{HEALTH_PORT}{PATH}");
    if let Err(error) = http.post(url).timeout(ANSWER).json(&vip).send().await {
        tracing::debug!(%active, %vip, %error, "cannot tell the active node that a virtual IP isn't reachable");
    }
}
