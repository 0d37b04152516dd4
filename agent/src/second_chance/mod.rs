//! The second chance: when routes move, packets of open connections reach a node that doesn't know them. It passes them to
//! the other members, one after another, through tunnels; where the connection is, there it goes on. So a move loses no
//! connection while the node that had the virtual IP lives. Only a member whose kernel answers inside the tunnel is passed
//! anything: towards a dead one, or one that no tunnel reaches, clients would hang, where a reset lets them reconnect.
//!
//! The rules and the tunnels are the kernel's: an agent that is restarted, here or there, costs nothing.

mod pulse;
mod ring;
mod support;
mod tunnels;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;
use templates::files::{SecondChance, second_chance_nft};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::configure::Local;
use crate::process;
use crate::state::{Board, State, Topic};
use pulse::Pulse;
pub use pulse::{answers_in_tunnel, kernel_answers};
use tunnels::Tunnels;

/// From one question to the members to the next, and how long each may take to answer. Two that aren't answered make a
/// member dead: sooner than VRRP makes a MASTER at the default interval.
const EVERY: Duration = Duration::from_millis(150);
const ANSWER: Duration = Duration::from_millis(100);
/// The same when this node has just become active, for whatever reason: kernels answer, not programs.
const URGENT: Duration = Duration::from_millis(40);

/// Keeps it going for ever, on the node that `local` describes.
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
        if board.read().problems.get(&Topic::SecondChance) != Some(&problem) {
            tracing::warn!(target: crate::logs::CONSOLE, "{problem}");
        }
        board.problem(Topic::SecondChance, Some(problem));
        if error.is::<support::Unsupported>() {
            return;
        }
        if began.elapsed() > Duration::from_secs(60) {
            backoff = fresh();
        }
        backoff.wait().await;
    }
}

async fn serve(local: &Local, board: &Board) -> anyhow::Result<std::convert::Infallible> {
    support::check()?;
    let tunnels = Tunnels::on(&local.interface, local.address)?;
    let mut news = board.subscribe();
    let mut known: Option<Vec<Ipv4Addr>> = None;
    let mut applied = None;
    let mut pulse = Pulse::default();
    loop {
        let state = news.borrow_and_update().clone();
        if known.as_ref() != Some(&state.peers) {
            tunnels.lead_to(&state.peers).await?;
            known = Some(state.peers.clone());
            // Rules hold tunnels by number, and a tunnel that was made anew has another.
            applied = None;
        }
        pulse.ask(&state.peers, ANSWER).await;
        give(&mut applied, wanted(local, &state, &pulse, tunnels.mtu())).await?;
        board.problem(Topic::SecondChance, None);
        if promoted(&mut news, &state, EVERY).await {
            let peers = board.read().peers;
            pulse.ask(&peers, URGENT).await;
            pulse.ask(&peers, URGENT).await;
            give(&mut applied, wanted(local, &state, &pulse, tunnels.mtu())).await?;
        }
    }
}

/// Waits until it is time for the next round; whether it is early because this node became active for a virtual IP.
async fn promoted(news: &mut tokio::sync::watch::Receiver<State>, before: &State, pause: Duration) -> bool {
    let before = actives(before);
    let newly = news.wait_for(|state| actives(state).difference(&before).next().is_some());
    tokio::time::timeout(pause, newly).await.is_ok()
}

fn actives(state: &State) -> BTreeSet<Ipv4Addr> {
    let active = state.virtual_ips.iter().filter(|vip| vip.role == templates::Role::Active);
    active.map(|vip| vip.address).collect()
}

fn wanted(local: &Local, state: &State, pulse: &Pulse, mtu: u16) -> SecondChance {
    let living: Vec<Ipv4Addr> = state.peers.iter().copied().filter(|peer| pulse.lives(*peer)).collect();
    SecondChance {
        // The board follows an update.
        vips: state.virtual_ips.iter().map(|vip| vip.address).collect(),
        mtu,
        next: ring::next(local.address, &living),
        living: living.len() + 1,
    }
}

/// Gives the kernel the rules, if they aren't those it has.
async fn give(applied: &mut Option<SecondChance>, wanted: SecondChance) -> anyhow::Result<()> {
    if applied.as_ref() == Some(&wanted) {
        return Ok(());
    }
    let began = Instant::now();
    process::feed("nft", &["-f", "-"], &second_chance_nft(&wanted))
        .await
        .context("setting the second chance's rules")?;
    let to = wanted.next.map_or("nobody".to_owned(), |next| next.to_string());
    tracing::info!(living = wanted.living, ms = began.elapsed().as_millis(), "strange packets go to {to}");
    *applied = Some(wanted);
    Ok(())
}
