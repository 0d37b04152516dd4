//! Waits at boot until each peer that is up knows this node. Otherwise the peers' keepalived would send it no
//! advertisements, and it would take the routes from a healthy node. The peers' HAProxy would refuse it, and it would
//! learn no stick tables, because HAProxy asks for them only in its first seconds.

use std::net::Ipv4Addr;
use std::time::Duration;

use templates::paths::HEALTH_PORT;

use super::Health;
use crate::host::http;

/// How long a peer that is up may take to learn of this node: a read of the API, and a reload of its keepalived or its
/// HAProxy.
const LIMIT: Duration = Duration::from_secs(8);
/// The time limit of an answer: peers are in the same Region. A silent peer isn't up.
const ANSWER: Duration = Duration::from_millis(300);
const AGAIN: Duration = Duration::from_millis(250);

/// Visits each of `peers` that is up, until its health shows that it `knows` this node or its time is over.
pub async fn join(http: &reqwest::Client, peers: &[Ipv4Addr], knows: impl Fn(&Health) -> bool) {
    futures::future::join_all(peers.iter().map(|peer| visit(http, *peer, &knows))).await;
}

async fn visit(http: &reqwest::Client, peer: Ipv4Addr, knows: &impl Fn(&Health) -> bool) {
    let url = format!("http://{peer}:{HEALTH_PORT}/health");
    let known = async {
        while !is_known(http, &url, knows).await {
            tokio::time::sleep(AGAIN).await;
        }
    };
    if tokio::time::timeout(LIMIT, known).await.is_err() {
        tracing::warn!(%peer, "peer doesn't know this node after {} s, not waiting longer", LIMIT.as_secs());
    }
}

/// Whether the peer at `url` knows this node, or isn't up.
async fn is_known(http: &reqwest::Client, url: &str, knows: &impl Fn(&Health) -> bool) -> bool {
    let answer = match http::asked(|| http.get(url).timeout(ANSWER)).await {
        Ok(answer) => answer,
        // A connection that ends without an answer made room for another client's: the peer is up.
        Err(error) => return error.is_connect() || error.is_timeout(),
    };
    let body = http::body(answer).await.unwrap_or_default();
    serde_json::from_slice::<Health>(&body).map_or(true, |health| knows(&health))
}

#[cfg(test)]
mod tests {
    use super::super::{Bells, serve_on};
    use super::*;
    use crate::node::state::Board;
    use crate::node::state::tests::state;

    #[tokio::test]
    async fn a_peer_that_lists_this_node_knows_it_and_a_dead_one_is_not_waited_for() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/health", listener.local_addr().unwrap());
        let board = Board::new(state());
        let server = tokio::spawn(serve_on(listener, board.clone(), Bells::default(), axum::Router::new(), vec![]));
        let http = http::client().unwrap();
        let lists = |last| move |health: &Health| health.peers.contains(&Ipv4Addr::new(10, 0, 2, last));
        assert!(is_known(&http, &url, &lists(10)).await);
        assert!(!is_known(&http, &url, &lists(77)).await);
        server.abort();
        let _ = server.await;
        drop(http);
        assert!(is_known(&http::client().unwrap(), &url, &lists(77)).await);
    }
}
