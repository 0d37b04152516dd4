//! Two nodes that booted on old answers of the API may have taken one slot, and a node may be given another number. Nodes
//! hear from each other which slot each has; one that isn't active moves to the slot that it has the best right to, as it
//! runs: keepalived reads another priority, and stays what it is.

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
            let wanted = better(&state, &self.members.borrow().all, &self.claims.borrow());
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

/// The slot to move to, if there is a better one and this node may move.
fn better(state: &State, members: &[Member], claims: &Claims) -> Option<Slot> {
    let standby = state.virtual_ips.iter().all(|vip| vip.role == Role::Standby);
    if !standby || state.haproxy != Serves::Yes || !members.iter().any(|member| member.instance == state.instance) {
        return None;
    }
    let now = now(state, members, claims);
    Some(slot::decide(&state.instance, &now)).filter(|slot| *slot != state.slot)
}

/// The members with the slots that they have now; the right of one that is active is the best.
fn now(state: &State, members: &[Member], claims: &Claims) -> Vec<Member> {
    let current = |member: &Member| -> Member {
        let mut member = Member { launch_index: member.launch_index.saturating_add(1), ..member.clone() };
        if member.instance == state.instance {
            member.claim = Some(state.slot);
        } else if let Some((slot, roles)) = claims.get(&member.address) {
            member.claim = Some(*slot);
            if roles.0.contains(&Role::Active) {
                (member.ordered, member.launch_index) = (Some(*slot), 0);
            }
        }
        member
    };
    members.iter().map(current).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use templates::Roles;

    use super::*;
    use crate::members::tests::member;
    use crate::state::tests::state;

    /// This node, `i-a`, is a standby in `slot`.
    fn standby(slot: u8) -> State {
        let mut state = State { slot: Slot(slot), haproxy: Serves::Yes, ..state() };
        state.virtual_ips.iter_mut().for_each(|vip| vip.role = Role::Standby);
        state
    }

    fn says(host: u8, slot: u8, role: Role) -> (Ipv4Addr, (Slot, Roles)) {
        (member("i-b", host).address, (Slot(slot), Roles(vec![role])))
    }

    fn pair() -> Vec<Member> {
        vec![member("i-a", 1), Member { claim: Some(Slot(1)), ..member("i-b", 2) }]
    }

    #[test]
    fn one_of_two_that_took_the_same_slot_moves_and_never_the_active_one() {
        let active = Claims::from([says(2, 0, Role::Active)]);
        assert_eq!(better(&standby(0), &pair(), &active), Some(Slot(1)));
        let equal = Claims::from([says(2, 0, Role::Standby)]);
        assert_eq!(better(&standby(0), &pair(), &equal), None, "i-b moves");
        let launched = [pair()[0].clone(), Member { ordered: Some(Slot(0)), ..pair()[1].clone() }];
        assert_eq!(better(&standby(0), &launched, &equal), Some(Slot(1)), "i-b was launched for it");
        let mut leads = standby(0);
        leads.virtual_ips[0].role = Role::Active;
        assert_eq!(better(&leads, &launched, &equal), None);
    }

    #[test]
    fn who_is_alone_in_its_slot_stays_whatever_old_tags_say() {
        let members = [pair()[0].clone(), Member { claim: Some(Slot(0)), ..pair()[1].clone() }];
        assert_eq!(better(&standby(0), &members, &Claims::from([says(2, 1, Role::Active)])), None);
        assert_eq!(better(&standby(7), &pair()[1..], &Claims::new()), None, "the API doesn't show this node yet");
        assert_eq!(better(&standby(2), &pair(), &Claims::new()), None, "a gap isn't filled unasked");
    }

    #[test]
    fn a_node_that_is_given_a_number_takes_it_once_it_is_free() {
        let members = [Member { ordered: Some(Slot(0)), ..pair()[0].clone() }, pair()[1].clone()];
        assert_eq!(better(&standby(2), &members, &Claims::from([says(2, 1, Role::Active)])), Some(Slot(0)));
        assert_eq!(better(&standby(2), &members, &Claims::from([says(2, 0, Role::Active)])), None);
    }
}
