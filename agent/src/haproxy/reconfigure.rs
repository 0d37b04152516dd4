//! Configures HAProxy again when the members change, if nodes share stick tables, and reports peers that take no part.
//! The revision stays the same meanwhile, so HAProxy itself is asked for the nodes that it shares its tables with.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use templates::paths::PEERS_PORT;
use tokio::sync::Mutex;

use super::stick_tables::{Sharing, sharing, until_learned};
use crate::config::boot::{Local, services};
use crate::host::backoff::Backoff;
use crate::node::state::{Board, Topic};

/// keepalived's reload comes first, as elections wait for it. And members often change together.
const PAUSE: Duration = Duration::from_millis(500);
/// How long HAProxy may take to name the new members. A reload usually waits for the new process already, and other
/// tasks need the lock.
const NAMED: Duration = Duration::from_secs(5);
const ASK: Duration = Duration::from_millis(100);
/// How often the agent asks HAProxy for its connections to peers.
const LOOK: Duration = Duration::from_secs(10);
/// A peer is reported after this many looks without a connection. HAProxy connects again within 5 s, but an update
/// reaches one node after the other.
const LOOKS: u32 = 6;
const AGAIN: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(60));

/// Follows the board forever.
pub(crate) async fn upkeep(local: Arc<Mutex<Local>>, board: Board) {
    let mut reader = board.subscribe();
    let mut applied: Option<Vec<Ipv4Addr>> = None;
    let mut backoff = AGAIN;
    let mut looks = 0;
    loop {
        let change = async { reader.wait_for(|state| applied.as_ref() != Some(&state.peers)).await.map(drop) };
        let outcome = match tokio::time::timeout(LOOK, change).await {
            Ok(Err(_)) => return,
            Ok(Ok(())) => {
                tokio::time::sleep(PAUSE).await;
                configure(&local, &board).await
            }
            Err(_) => {
                let apart = apart(sharing().await.ok().flatten().as_ref(), &board.read().answering);
                looks = if apart.is_empty() { 0 } else { looks + 1 };
                show(&board, problem(&apart).filter(|_| looks >= LOOKS));
                continue;
            }
        };
        match outcome {
            Ok(peers) => {
                (applied, backoff, looks) = (Some(peers), AGAIN, 0);
                show(&board, None);
            }
            Err(error) => {
                show(&board, Some(format!("cannot share stick tables with the current members: {error:#}")));
                backoff.wait().await;
            }
        }
    }
}

/// Logs a new problem, and shows it on the board.
fn show(board: &Board, problem: Option<String>) {
    if let Some(problem) = board.problem(Topic::StickTables, problem) {
        tracing::warn!("{problem}");
    }
}

/// Returns the peers for which HAProxy is configured.
async fn configure(local: &Mutex<Local>, board: &Board) -> anyhow::Result<Vec<Ipv4Addr>> {
    // Other tasks need the lock, so this waits before it.
    until_learned().await;
    let local = local.lock().await;
    let peers = board.read().peers;
    let shares = local.balancer.shares_tables();
    if shares {
        if let Some(failed) = services::haproxy(&local, &peers).await.into_iter().next() {
            return Err(failed.error);
        }
        until_it_shares(peers.iter().copied().chain([local.address]).collect()).await?;
    }
    board.change(|state| state.sharing = shares.then(|| peers.clone()));
    Ok(peers)
}

/// Waits until HAProxy shares its tables with these nodes. If a new process can't start, the old one keeps serving.
async fn until_it_shares(wanted: BTreeSet<Ipv4Addr>) -> anyhow::Result<()> {
    let mut last = String::new();
    let shares = async {
        loop {
            match sharing().await {
                Ok(Some(sharing)) if sharing.nodes == wanted => return,
                Ok(Some(sharing)) => last = format!("it still names {:?}", sharing.nodes),
                Ok(None) => last = "it names no node".to_owned(),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(ASK).await;
        }
    };
    let in_time = tokio::time::timeout(NAMED, shares).await;
    in_time.with_context(|| format!("HAProxy didn't load its new configuration: {last}"))
}

/// The peers with an answering agent that HAProxy names and isn't connected to.
fn apart(sharing: Option<&Sharing>, answering: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
    let Some(Sharing { nodes, connected, .. }) = sharing else { return Vec::new() };
    answering.iter().copied().filter(|peer| nodes.contains(peer) && !connected.contains(peer)).collect()
}

fn problem(apart: &[Ipv4Addr]) -> Option<String> {
    let peers: Vec<String> = apart.iter().map(ToString::to_string).collect();
    (!peers.is_empty()).then(|| {
        format!(
            "HAProxy shares no stick tables with {}, so a failover may send clients to other targets: does the \
             security group admit members on TCP port {PEERS_PORT}?",
            peers.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::haproxy::stick_tables::tests::shared;

    #[test]
    fn only_a_peer_that_answers_and_is_not_connected_is_reported() {
        let [one, other, third] = [2, 3, 4].map(|n| Ipv4Addr::new(10, 0, n, 10));
        let sharing = shared(&[one, other], &[one]);
        assert_eq!(apart(Some(&sharing), &[one, other, third]), [other]);
        assert_eq!(apart(Some(&sharing), &[one]), [] as [Ipv4Addr; 0]);
        assert_eq!(apart(None, &[one, other]), [] as [Ipv4Addr; 0]);
        assert_eq!(problem(&[]), None);
        let said = problem(&[other]).unwrap();
        assert!(said.starts_with("HAProxy shares no stick tables with 10.0.3.10, so ") && said.ends_with("9112?"));
    }
}
