//! The successor's side of a handover: a peer asks whether this node can take over (`POST /succeed` on port 9110, peers
//! only). If this node agrees, it raises its priority above all others for the election that follows.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, State as Shared};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use templates::Role;
use templates::paths::HEALTH_PORT;

use super::track_files::Preference;
use crate::aws::ec2::Api;
use crate::haproxy::{self, Serves};
use crate::host::http;
use crate::node::state::{Board, State, Topic};
use crate::ownership::decide::Targets;

const PATH: &str = "/succeed";
/// RequestLimit for an answer, which takes a request to HAProxy and [`HEARD`].
const ANSWER: Duration = Duration::from_millis(1500);
/// Time for keepalived to read a preference before the other node yields.
const HEARD: Duration = Duration::from_millis(100);

/// How old a node's reads may be for a takeover while the API can't be read.
const KNOWN_FOR: Duration = Duration::from_secs(600);

/// The problems that prevent a takeover. A silent third node doesn't.
const GRAVE: [Topic; 7] = [
    Topic::Configuration,
    Topic::Haproxy,
    Topic::Keepalived,
    Topic::SourceDestCheck,
    Topic::Members,
    Topic::Tables,
    Topic::NodeState,
];

/// Whether a node in this state could take over `vips`; the error says why not.
fn fit(state: &State, vips: &[Ipv4Addr], targets: Targets, now: Instant) -> Result<(), String> {
    if let Some(why) = &state.leaving {
        return Err(format!("it is leaving itself: {why}"));
    }
    if let Some(vip) = vips.iter().find(|vip| state.virtual_ips.iter().all(|known| known.address != **vip)) {
        return Err(format!("it doesn't have {vip}"));
    }
    if state.virtual_ips.iter().any(|vip| vip.yielding && vips.contains(&vip.address)) {
        return Err("it is handing over itself".to_owned());
    }
    if state.haproxy != Serves::Yes || state.virtual_ips.iter().any(|vip| vip.role == Role::Fault) {
        return Err("it can't serve".to_owned());
    }
    // Reads may fail while writes succeed. Recent reads are enough to move the routes.
    let recent = |read: &Instant| now.saturating_duration_since(*read) < KNOWN_FOR;
    let known = |topic: &&Topic| state.read.get(topic).is_some_and(recent) && !state.route_tables.is_empty();
    if let Some(problem) = GRAVE.iter().filter(|topic| !known(topic)).find_map(|topic| state.problems.get(topic)) {
        return Err(problem.clone());
    }
    match targets {
        Targets::Up => Ok(()),
        Targets::Down => Err("it sees no target that is up".to_owned()),
    }
}

struct SuccessionState {
    board: Board,
    preference: Arc<Preference>,
    api: Api,
}

/// The route on which peers ask.
pub fn page(board: Board, preference: Arc<Preference>, api: Api) -> Router {
    Router::new().route(PATH, post(succeed)).with_state(Arc::new(SuccessionState { board, preference, api }))
}

async fn succeed(
    Shared(shared): Shared<Arc<SuccessionState>>,
    ConnectInfo(visitor): ConnectInfo<SocketAddr>,
    Json(vips): Json<Vec<Ipv4Addr>>,
) -> Result<StatusCode, (StatusCode, String)> {
    let state = shared.board.read();
    if !matches!(visitor.ip(), IpAddr::V4(peer) if state.peers.contains(&peer)) {
        return Err((StatusCode::FORBIDDEN, "members only".to_owned()));
    }
    if shared.api.is_lost() {
        return Err((StatusCode::CONFLICT, "it can't reach the EC2 API".to_owned()));
    }
    fit(&state, &vips, haproxy::targets().await, Instant::now()).map_err(|why| (StatusCode::CONFLICT, why))?;
    shared.preference.choose(&vips).map_err(|error| (StatusCode::CONFLICT, format!("{error:#}")))?;
    tracing::info!(peer = %visitor.ip(), ?vips, "accepted a handover from a peer");
    tokio::time::sleep(HEARD).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks `peer` to take over `vips`. The error says why it doesn't.
pub async fn ask(http: &reqwest::Client, peer: Ipv4Addr, vips: &[Ipv4Addr]) -> Result<(), String> {
    let url = format!("http://{peer}:{HEALTH_PORT}{PATH}");
    let answer = http::asked(|| http.post(&url).json(vips).timeout(ANSWER)).await;
    let answer = answer.map_err(|_| format!("{peer} doesn't answer"))?;
    match answer.status() {
        StatusCode::NO_CONTENT => Ok(()),
        StatusCode::CONFLICT => {
            let why = http::body(answer).await.unwrap_or_default();
            Err(format!("{peer}: {}", http::shown(&String::from_utf8_lossy(&why))))
        }
        status => Err(format!("{peer} answered {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::state::tests::state;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 10);

    fn fit(state: &State, targets: Targets, now: Instant) -> Result<(), String> {
        super::fit(state, &[VIP], targets, now)
    }

    #[test]
    fn a_healthy_standby_can_take_over() {
        assert_eq!(fit(&state(), Targets::Up, Instant::now()), Ok(()));
    }

    #[test]
    fn a_node_that_leaves_or_can_not_serve_refuses() {
        let against = |change: &dyn Fn(&mut State), targets| {
            let mut state = state();
            change(&mut state);
            fit(&state, targets, Instant::now()).unwrap_err()
        };
        assert_eq!(against(&|_| {}, Targets::Down), "it sees no target that is up");
        assert_eq!(against(&|s| s.haproxy = Serves::No, Targets::Up), "it can't serve");
        assert_eq!(against(&|s| s.virtual_ips[0].role = Role::Fault, Targets::Up), "it can't serve");
        let yields = |s: &mut State| s.virtual_ips[0].yielding = true;
        assert_eq!(against(&yields, Targets::Up), "it is handing over itself");
        let none = |s: &mut State| s.virtual_ips.clear();
        assert_eq!(against(&none, Targets::Up), "it doesn't have 10.255.0.10");
        let leaving = |s: &mut State| s.leaving = Some("scheduled reboot".into());
        assert_eq!(against(&leaving, Targets::Up), "it is leaving itself: scheduled reboot");
        let denied = |s: &mut State| drop(s.problems.insert(Topic::Tables, "cannot read the API: denied".into()));
        assert_eq!(against(&denied, Targets::Up), "cannot read the API: denied");
    }

    #[test]
    fn a_node_that_read_the_api_less_than_ten_minutes_ago_can_take_over_without_it() {
        let (mut state, read) = (state(), Instant::now());
        for topic in [Topic::Members, Topic::Tables] {
            state.problems.insert(topic, "cannot read the API: unavailable".into());
            state.read.insert(topic, read);
        }
        let after = |state: &State, time| fit(state, Targets::Up, read + time);
        assert_eq!(after(&state, KNOWN_FOR - Duration::from_secs(1)), Ok(()));
        assert!(after(&state, KNOWN_FOR).is_err(), "its reads are too old");
        let never = State { read: Default::default(), ..state.clone() };
        assert!(after(&never, Duration::ZERO).is_err());
        state.route_tables.clear();
        assert!(after(&state, Duration::ZERO).is_err(), "it doesn't know which routes to move");
    }

    #[test]
    fn a_silent_third_node_prevents_no_takeover() {
        let mut state = state();
        state.problems.insert(Topic::Peers, "10.0.3.10 hasn't answered for 20 s; this node is active".into());
        assert_eq!(fit(&state, Targets::Up, Instant::now()), Ok(()));
    }
}
