//! Decides whether it is a node's turn to change. With several orders at once, one node changes at a time, the active
//! ones last: a bad revision that passes every check doesn't reload two nodes at once. Pure.

use std::time::Duration;

use templates::balancer::Revision;
use templates::{Role, Slot};

use crate::aws::ids::InstanceId;
use crate::haproxy::Serves;
use crate::node::state::Change;
use crate::peers::Health;

/// How long an active node waits for standbys that don't run the revision: they may have no order.
const STANDBYS: Duration = Duration::from_secs(20);
/// The longest wait in all. A change has limits of its own: a peer that shows one for longer is stuck.
const LONGEST: Duration = Duration::from_secs(90);

/// The node that wants to change.
#[derive(Debug)]
pub(super) struct Me {
    pub slot: Slot,
    /// Decides between two nodes in one slot.
    pub instance: InstanceId,
    /// Whether it is active for any virtual IP.
    pub active: bool,
    /// How long it has waited for its turn.
    pub waited: Duration,
}

/// Whether `me` changes to `revision` now, by the answers of `peers`. Each node shows that it asks before it asks, so
/// of two that ask at once, at least one sees the other.
pub(super) fn is_mine(me: &Me, peers: &[Health], revision: &Revision) -> bool {
    let goes_first = |peer: &Health| match peer.change {
        Change::Runs => true,
        Change::Asks => (peer.slot, &peer.instance) < (me.slot, &me.instance),
        Change::None => false,
    };
    let is_behind = |peer: &Health| {
        let standby = peer.haproxy == Serves::Yes && peer.roles.0.iter().all(|role| *role == Role::Standby);
        standby && peer.revision != *revision
    };
    let waits_for_standbys = me.active && me.waited < STANDBYS && peers.iter().any(is_behind);
    me.waited >= LONGEST || !(waits_for_standbys || peers.iter().any(goes_first))
}

#[cfg(test)]
mod tests {
    use templates::Roles;

    use super::*;
    use crate::node::state::tests::state;

    fn peer(slot: u8, change: Change, runs: &str) -> Health {
        let mut health = Health::of(&state());
        (health.slot, health.instance, health.change) = (Slot(slot), InstanceId(format!("i-{slot}")), change);
        health.revision = Revision(runs.to_owned());
        health
    }

    fn me(slot: u8, active: bool, waited: u64) -> Me {
        Me { slot: Slot(slot), instance: InstanceId(format!("i-{slot}")), active, waited: Duration::from_secs(waited) }
    }

    fn mine(me: &Me, peers: &[Health]) -> bool {
        is_mine(me, peers, &Revision("new".to_owned()))
    }

    #[test]
    fn a_node_waits_while_a_peer_changes_but_not_for_ever() {
        let peers = [peer(1, Change::Runs, "old")];
        assert!(!mine(&me(0, false, 0), &peers));
        assert!(!mine(&me(0, false, LONGEST.as_secs() - 1), &peers));
        assert!(mine(&me(0, false, LONGEST.as_secs()), &peers));
    }

    #[test]
    fn of_nodes_that_ask_at_once_the_first_slot_changes() {
        assert!(mine(&me(0, false, 0), &[peer(1, Change::Asks, "old")]));
        assert!(!mine(&me(1, false, 0), &[peer(0, Change::Asks, "old")]));
        let twin = Health { instance: "i-0".into(), ..peer(1, Change::Asks, "old") };
        assert!(!mine(&me(1, false, 0), &[twin]), "two nodes may have one slot");
    }

    #[test]
    fn an_active_node_waits_for_its_standbys_unless_they_were_not_told() {
        let (behind, there) = ([peer(1, Change::None, "old")], [peer(1, Change::None, "new")]);
        assert!(!mine(&me(0, true, 0), &behind));
        assert!(mine(&me(0, true, 0), &there), "the launcher tells standbys first");
        assert!(mine(&me(0, true, STANDBYS.as_secs()), &behind));
        assert!(mine(&me(0, false, 0), &behind), "a standby waits for no other");
    }

    #[test]
    fn a_node_that_cannot_serve_or_is_active_itself_is_not_waited_for() {
        let mut down = peer(1, Change::None, "old");
        down.haproxy = Serves::No;
        let mut active = peer(1, Change::None, "old");
        active.roles = Roles(vec![Role::Active]);
        assert!(mine(&me(0, true, 0), &[down, active]));
        assert!(mine(&me(0, true, 0), &[]));
    }
}
