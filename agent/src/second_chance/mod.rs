//! The second chance: when routes move, packets of open connections reach a node that doesn't know them. That node
//! passes them to the other members, one after another, through tunnels, until they reach the node with the connection.
//! So a move loses no connection while the previous active node lives. A node passes packets only to members with a
//! kernel that answers inside the tunnel. Towards a dead or unreachable member, clients would hang; a reset lets them
//! reconnect.
//!
//! The kernel holds the rules and the tunnels, so a restart of any agent loses no connection.

mod kernel_support;
mod peer_liveness;
mod ring;
mod tunnels;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use templates::files::{SecondChance, second_chance_nft};
use templates::paths::TUNNEL_PORT;
use tokio::time::Instant;

use crate::config::boot::Local;
use crate::host::backoff::Backoff;
use crate::host::kernel_events::{KernelEvents, Subject};
use crate::host::logs::CONSOLE;
use crate::host::nft::{Chain, Found};
use crate::host::process;
use crate::node::state::{Board, State, Topic};
pub use kernel_support::handshakes;
use peer_liveness::Pulse;
pub use peer_liveness::{answers_in_tunnel, kernel_answers};
use tunnels::Tunnels;

/// Interval between two probes of the members, and the limit for an answer. Two unanswered probes make a member dead,
/// which is sooner than VRRP elects a MASTER at the default interval.
const EVERY: Duration = Duration::from_millis(150);
const ANSWER: Duration = Duration::from_millis(100);
/// The limit for an answer when this node has just become active: kernels answer, not programs.
const URGENT: Duration = Duration::from_millis(40);
const CHAIN: Chain = Chain { family: "ip", table: "elbow", name: "arrivals" };
/// Interval between two writes of unchanged rules, as another program may change one.
const AGAIN: Duration = Duration::from_secs(60);

/// Keeps the second chance working on the node that `local` describes. Returns only if the kernel doesn't support it.
pub async fn keep(local: Local, board: Board) {
    let fresh = || Backoff::new(Duration::from_secs(2), Duration::from_secs(60));
    let mut backoff = fresh();
    loop {
        let began = Instant::now();
        let error = match serve(&local, &board).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        let problem = format!("connections are reset when a virtual IP moves: {error:#}");
        if let Some(problem) = board.problem(Topic::SecondChance, Some(problem)) {
            tracing::warn!(target: CONSOLE, "{problem}");
        }
        if error.is::<kernel_support::Unsupported>() {
            return;
        }
        if began.elapsed() > Duration::from_secs(60) {
            backoff = fresh();
        }
        backoff.wait().await;
    }
}

async fn serve(local: &Local, board: &Board) -> anyhow::Result<std::convert::Infallible> {
    kernel_support::check()?;
    let tunnels = Tunnels::on(&local.interface, local.address)?;
    let greeted = handshakes();
    let wanted = |state: &State, living: &[Ipv4Addr]| SecondChance {
        // The board follows in-place updates.
        vips: state.addresses(),
        address: local.address,
        greeted,
        mtu: tunnels.mtu(),
        next: ring::next(local.address, living),
        living: living.len() + 1,
    };
    let mut news = board.subscribe();
    let mut known: Option<Vec<Ipv4Addr>> = None;
    let mut applied = None;
    let mut pulse = Pulse::default();
    let (mut links, mut rules) = (KernelEvents::about(Subject::Tunnels), KernelEvents::about(Subject::Rules));
    loop {
        let state = news.borrow_and_update().clone();
        if known.as_ref() == Some(&state.peers) {
            let changed = links.due().now_or_never().is_some();
            if changed && (!tunnels.missing().await?.is_empty() || !tunnels.lead_only_to(&state.peers).await?) {
                tracing::warn!(target: CONSOLE, "another program changed the tunnels between the nodes; restoring them");
                known = None;
            }
            let changed = rules.due().now_or_never().is_some();
            if changed && applied.is_some() && CHAIN.look().await == Found::Nothing {
                tracing::warn!(target: CONSOLE, "another program removed the rules of the second chance; loading them again");
                applied = None;
            }
        }
        if known.as_ref() != Some(&state.peers) {
            let missing = tunnels.missing().await?;
            if !missing.is_empty() {
                // A tunnel bypasses the security group, so the rules that guard it come first.
                give(&mut applied, wanted(&state, &[])).await?;
            }
            tunnels.lead_to(&state.peers, &missing).await?;
            known = Some(state.peers.clone());
            // Rules refer to tunnels by number, and a recreated tunnel has another one.
            applied = None;
        }
        pulse.ask(&state.peers, ANSWER).await;
        give(&mut applied, wanted(&state, &pulse.living(&state.peers))).await?;
        let blocked = blocked(&pulse.blocked(&state.answering));
        if let Some(problem) = board.problem(Topic::SecondChance, blocked) {
            tracing::warn!(target: CONSOLE, "{problem}");
        }
        if promoted(&mut news, &state, EVERY).await {
            let peers = board.read().peers;
            pulse.ask(&peers, URGENT).await;
            pulse.ask(&peers, URGENT).await;
            give(&mut applied, wanted(&state, &pulse.living(&state.peers))).await?;
        }
    }
}

/// The problem with peers that answer on port 9110 and not inside the tunnels.
fn blocked(peers: &[Ipv4Addr]) -> Option<String> {
    let named: Vec<String> = peers.iter().map(Ipv4Addr::to_string).collect();
    (!named.is_empty()).then(|| {
        format!(
            "the tunnels to {} don't work, so a handover would reset open connections: do the security group and firewalls \
             admit members on UDP port {TUNNEL_PORT}, and is that node's kernel 5.14 or later?",
            named.join(", ")
        )
    })
}

/// Waits for the next round. Returns `true` at once if this node becomes active for a virtual IP.
async fn promoted(news: &mut tokio::sync::watch::Receiver<State>, before: &State, pause: Duration) -> bool {
    let before = actives(before);
    let newly = news.wait_for(|state| actives(state).difference(&before).next().is_some());
    tokio::time::timeout(pause, newly).await.is_ok()
}

fn actives(state: &State) -> BTreeSet<Ipv4Addr> {
    let active = state.virtual_ips.iter().filter(|vip| vip.role == templates::Role::Active);
    active.map(|vip| vip.address).collect()
}

/// Sets the rules in the kernel, unless the same ones were set within [`AGAIN`].
async fn give(applied: &mut Option<(SecondChance, Instant)>, wanted: SecondChance) -> anyhow::Result<()> {
    let began = Instant::now();
    let same = applied.as_ref().filter(|(rules, _)| *rules == wanted);
    if same.is_some_and(|(_, given)| *given + AGAIN > began) {
        return Ok(());
    }
    let is_new = same.is_none();
    process::feed("nft", &["-f", "-"], &second_chance_nft(&wanted))
        .await
        .context("setting the nft rules of the second chance")?;
    if is_new {
        let ms = began.elapsed().as_millis();
        match wanted.next {
            Some(next) => {
                tracing::info!(living = wanted.living, ms, "forwarding packets of unknown connections to {next}")
            }
            None => tracing::info!(
                ms,
                "no member left to forward packets of unknown connections to; the kernel resets them"
            ),
        }
    }
    *applied = Some((wanted, began));
    Ok(())
}
