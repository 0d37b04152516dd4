//! Two nodes that booted on old answers of the API may have taken one slot, a node may be given another number, and one that
//! booted beside the node that it replaces has a slot beyond the balancer's. Nodes hear from each other which slot each
//! has; one moves to the slot that it has the best right to, as it runs: keepalived reads another priority, and stays what
//! it is. With `preempt` a virtual IP then goes where it is at home; without, a MASTER that its peers hear stays MASTER
//! whatever its priority.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use templates::{Role, Slot};
use tokio::sync::{Mutex, watch};
use tokio::time::MissedTickBehavior;

use super::refresh::Latest;
use crate::configure::Local;
use crate::haproxy::Serves;
use crate::health::Claims;
use crate::logs::CONSOLE;
use crate::members::Member;
use crate::slot;
use crate::state::{Board, State};

/// From one look at what is known to the next.
const LOOK: Duration = Duration::from_secs(1);
/// So many looks in a row must say the same as the one before: a peer that moves is heard a moment later.
const AGREEING: u8 = 2;

/// What it goes by, and what it changes.
pub(super) struct Slots {
    /// What the API says of the members.
    pub members: watch::Receiver<Latest<Member>>,
    /// What peers say.
    pub claims: watch::Receiver<Claims>,
    /// What keepalived's configuration is rendered from.
    pub local: Arc<Mutex<Local>>,
    /// How this node is.
    pub board: Board,
}

impl Slots {
    /// For as long as the node lives.
    pub(super) async fn follow(self) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut before, mut agreed) = (None, 0);
        loop {
            ticks.tick().await;
            let state = self.board.read();
            let nodes = self.local.lock().await.balancer.subnets.len();
            let wanted = better(&state, &self.members.borrow().all, &self.claims.borrow(), nodes);
            agreed = if wanted == before && wanted.is_some() { agreed + 1 } else { 0 };
            before = wanted;
            if let (Some(slot), AGREEING) = (wanted, agreed) {
                self.take(slot, &state).await;
                before = None;
            }
        }
    }

    async fn take(&self, slot: Slot, state: &State) {
        let mut local = self.local.lock().await;
        let next = Local { slot, ..local.clone() };
        match next.keepalived(&state.peers).await {
            Ok(()) => {
                tracing::info!(target: CONSOLE, %slot, before = %local.slot, "this node's place is another");
                *local = next;
                self.board.change(|state| state.slot = slot);
            }
            Err(failed) => tracing::error!("cannot move to slot {slot}: {:#}", failed.error),
        }
    }
}

/// The slot to move to, if there is a better one and this node may move. One that is active may only while it hears from
/// everybody: who couldn't hear it might be active, too, and then priorities decide.
fn better(state: &State, members: &[Member], claims: &Claims, nodes: usize) -> Option<Slot> {
    let calm = state.virtual_ips.iter().all(|vip| vip.role == Role::Standby || vip.role == Role::Active && vip.settled);
    let well = state.haproxy == Serves::Yes && !state.yielding && state.leaving.is_none();
    if !calm || !well || !members.iter().any(|member| member.instance == state.instance) {
        return None;
    }
    let others = members.iter().filter(|member| member.instance != state.instance).map(|member| member.address);
    // A peer that one read missed isn't known to have gone.
    let all: BTreeSet<Ipv4Addr> = others.chain(state.peers.iter().copied()).collect();
    let heard = all.iter().all(|peer| claims.contains_key(peer)) && all.len() + 1 == members.len();
    let now = now(state, members, claims);
    let slot = match (heard, state.is_active()) {
        (true, _) => slot::settle(&state.instance, &now, nodes),
        (false, false) => slot::decide(&state.instance, &now),
        (false, true) => return None,
    };
    Some(slot).filter(|slot| *slot != state.slot)
}

/// The members with the slots that they have now; who is active has the best right to its own.
fn now(state: &State, members: &[Member], claims: &Claims) -> Vec<Member> {
    let current = |member: &Member| -> Member {
        let mine = (member.instance == state.instance).then(|| (state.slot, state.is_active()));
        let said = claims.get(&member.address).map(|(slot, roles)| (*slot, roles.0.contains(&Role::Active)));
        let mut member = Member { launch_index: member.launch_index.saturating_add(1), ..member.clone() };
        if let Some((slot, active)) = mine.or(said) {
            member.claim = Some(slot);
            if active {
                // Not where the launcher says another: there it is to go.
                (member.ordered, member.launch_index) = (member.ordered.or(Some(slot)), 0);
            }
        }
        member
    };
    members.iter().map(current).collect()
}

#[cfg(test)]
mod tests;
