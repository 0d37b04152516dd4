//! Serves a node's health to its peers: `GET /health` on port 9110 of the interface's own address. (Probes of the path
//! watch also ask on the virtual IPs.) A request from an unknown address is a hint that a member has joined.

mod client;
mod connection_quota;
mod join;
mod listener;
mod reachability;
mod stranger_lookups;
pub mod tagged_strangers;

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, State as Shared};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use ipnet::Ipv4Net;
use rustix::net::sockopt::set_ip_freebind;
use serde::{Deserialize, Serialize};
use templates::balancer::Revision;
use templates::paths::HEALTH_PORT;
use templates::{Roles, Slot};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;

use crate::aws::ids::InstanceId;
use crate::haproxy::Serves;
use crate::host::probe::{self, Page};
use crate::node::state::{Board, Change, State, Topic};
pub use client::{ask, machine_answers, tell, watch, word};
pub use join::join;
use listener::Visitors;
use stranger_lookups::Strangers;

/// The time from keepalived's start to the health page's: the rest of the agent's own start.
const START: Duration = Duration::from_millis(800);

/// Connections that may wait to be accepted.
const CROWD: u32 = 2048;

/// A node's health, as its peers read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub instance: InstanceId,
    pub slot: Slot,
    /// Its role for each virtual IP.
    pub roles: Roles,
    /// For each virtual IP, whether an active node is past its first look at the routes.
    #[serde(default)]
    pub settled: Vec<bool>,
    /// For each virtual IP, whether all routes lead to this node, as far as it knows.
    #[serde(default)]
    pub routed: Vec<bool>,
    /// The revision it runs.
    pub revision: Revision,
    /// How far it is with a change to another revision.
    #[serde(default)]
    pub change: Change,
    pub haproxy: Serves,
    /// The members it exchanges advertisements with.
    pub peers: Vec<Ipv4Addr>,
    /// The members that its HAProxy shares stick tables with, if its balancer has any.
    #[serde(default)]
    pub sharing: Option<Vec<Ipv4Addr>>,
}

impl Health {
    pub(crate) fn of(state: &State) -> Health {
        Health {
            instance: state.instance.clone(),
            slot: state.slot,
            roles: state.roles(),
            settled: state.virtual_ips.iter().map(|vip| vip.settled).collect(),
            routed: state.virtual_ips.iter().map(|vip| vip.routed).collect(),
            revision: state.revision.clone(),
            change: state.change,
            haproxy: state.haproxy,
            peers: state.peers.clone(),
            sharing: state.sharing.clone(),
        }
    }
}

struct ServerState {
    board: Board,
    strangers: Mutex<Strangers>,
    bells: Bells,
}

/// Notifications that requests cause.
#[derive(Debug, Clone, Default)]
pub struct Bells {
    /// An unknown address asked for the health.
    pub stranger: Arc<Notify>,
    /// A peer reported that it is no longer active.
    pub stepped_back: Arc<Notify>,
}

/// Serves the health page forever, and the pages of `beside` for peers and for `readers` of metrics.
pub async fn serve(board: Board, bells: Bells, beside: Router, readers: Vec<Ipv4Net>) {
    let address = SocketAddr::from((board.read().address, HEALTH_PORT));
    let mut said = false;
    loop {
        let error = match listen(address) {
            Ok(listener) => {
                board.problem(Topic::Health, None);
                match serve_on(listener, board, bells, beside, readers).await {}
            }
            Err(error) => error,
        };
        let problem = format!("cannot serve the health page on {address}: {error}");
        if !said {
            tracing::warn!("{problem}");
            said = true;
        }
        board.problem(Topic::Health, Some(problem));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Listens with a long backlog, so that a request behind many others is still answered in time.
pub(crate) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // A virtual IP may be missing for a moment.
    set_ip_freebind(&socket, true)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(CROWD)
}

/// Whether the agent at `address` answers, for keepalived's script. The thread that moves routes serves the page, so a
/// hung agent doesn't answer. A refused connection is tried again for a moment, as the agent starts keepalived before
/// it serves the page: without that, a booting node would lose its preference.
pub fn check(address: Ipv4Addr) -> std::io::Result<()> {
    let page = Page { address: SocketAddr::from((address, HEALTH_PORT)), path: "/health" };
    let began = Instant::now();
    loop {
        match probe::check(page) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && began.elapsed() < START => {
                std::thread::sleep(START / 20);
            }
            answer => return answer,
        }
    }
}

async fn serve_on(
    listener: TcpListener,
    board: Board,
    bells: Bells,
    beside: Router,
    readers: Vec<Ipv4Net>,
) -> Infallible {
    let state = Arc::new(ServerState { board: board.clone(), strangers: Mutex::default(), bells });
    let app = Router::new()
        .route("/health", get(health))
        .route("/stepped-back", post(stepped_back))
        .with_state(state)
        .merge(beside);
    listener::serve(listener, app, board, Visitors::Any { readers }).await
}

/// Serves the health page on `listener` to members only.
pub(crate) async fn serve_members(listener: TcpListener, board: Board) -> Infallible {
    let page = |Shared(board): Shared<Board>| async move { Json(Health::of(&board.read())) };
    let app = Router::new().route("/health", get(page)).with_state(board.clone());
    listener::serve(listener, app, board, Visitors::Members).await
}

async fn health(
    Shared(shared): Shared<Arc<ServerState>>,
    ConnectInfo(visitor): ConnectInfo<SocketAddr>,
) -> Json<Health> {
    let state = shared.board.read();
    if let IpAddr::V4(visitor) = visitor.ip()
        && !state.peers.contains(&visitor)
        && visitor != state.address
        && shared
            .strangers
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .worth_a_look(visitor, Instant::now())
    {
        shared.bells.stranger.notify_one();
    }
    Json(Health::of(&state))
}

/// Only a hint: the agent then reads what is true.
async fn stepped_back(
    Shared(shared): Shared<Arc<ServerState>>,
    ConnectInfo(visitor): ConnectInfo<SocketAddr>,
) -> StatusCode {
    match visitor.ip() {
        IpAddr::V4(peer) if shared.board.read().peers.contains(&peer) => {
            shared.bells.stepped_back.notify_one();
            StatusCode::NO_CONTENT
        }
        _ => StatusCode::FORBIDDEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::state::tests::state;

    async fn start(board: Board, bells: Bells) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/health", listener.local_addr().unwrap());
        tokio::spawn(serve_on(listener, board, bells, Router::new(), vec![]));
        url
    }

    #[tokio::test]
    async fn peers_can_ask_how_a_node_is() {
        let board = Board::new(state());
        let url = start(board, Bells::default()).await;
        let health: Health = crate::host::http::client().unwrap().get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(health, Health::of(&state()));
        assert_eq!(health.roles.to_string(), "standby");
    }

    #[tokio::test]
    async fn an_unknown_client_is_looked_up_and_a_peer_is_not() {
        let (board, bells) = (Board::new(state()), Bells::default());
        let (url, stranger) = (start(board.clone(), bells.clone()).await, bells.stranger);
        let http = crate::host::http::client().unwrap();
        board.change(|state| state.peers = vec![Ipv4Addr::LOCALHOST]);
        http.get(&url).send().await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(50), stranger.notified()).await.is_err());
        board.change(|state| state.peers = vec![]);
        http.get(&url).send().await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), stranger.notified()).await.expect("a hint");
    }

    #[tokio::test]
    async fn only_a_peer_may_say_that_it_stepped_back() {
        let (board, bells) = (Board::new(state()), Bells::default());
        let url = start(board.clone(), bells.clone()).await.replace("/health", "/stepped-back");
        let say = || async { crate::host::http::client().unwrap().post(&url).send().await.unwrap().status() };
        assert_eq!(say().await, StatusCode::FORBIDDEN);
        board.change(|state| state.peers = vec![Ipv4Addr::LOCALHOST]);
        assert_eq!(say().await, StatusCode::NO_CONTENT);
        tokio::time::timeout(Duration::from_secs(10), bells.stepped_back.notified()).await.expect("a bell");
    }
}
