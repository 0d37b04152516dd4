//! Which slot this node takes. A wrong guess is harmless, as VRRP breaks ties by address; a right one makes the
//! preferred node the same one every time.

use std::collections::BTreeSet;

use templates::Slot;

use crate::ids::InstanceId;
use crate::members::Member;

/// One virtual IP per VRRP priority step: a slot beyond has nothing of its own (see [`Slot::priority`]).
const SLOTS: u8 = 16;

/// The slot of `me`: the one it was launched for; else the one it claimed before; else the lowest that no live member
/// has, newcomers at the same moment going by launch index, then instance id.
pub fn decide(me: &InstanceId, members: &[Member]) -> Slot {
    let own = members.iter().find(|member| &member.instance == me);
    if let Some(slot) = own.and_then(held) {
        return slot;
    }
    let taken: BTreeSet<Slot> = members.iter().filter(|member| &member.instance != me).filter_map(held).collect();
    let mut newcomers: Vec<&Member> = members.iter().filter(|member| held(member).is_none()).collect();
    newcomers.sort_by_key(|member| (member.launch_index, &member.instance));
    let rank = newcomers.iter().position(|member| &member.instance == me).unwrap_or_default();
    let mut free = (0..SLOTS).map(Slot).filter(|slot| !taken.contains(slot));
    free.nth(rank).unwrap_or(Slot(SLOTS - 1))
}

/// The slot a member has: an order by the launcher goes before its own claim.
fn held(member: &Member) -> Option<Slot> {
    member.ordered.or(member.claim).filter(|slot| slot.0 < SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::tests::member;

    fn newcomer(id: &str, launch_index: u32) -> Member {
        Member { launch_index, ..member(id, 1) }
    }

    fn claims(id: &str, slot: u8) -> Member {
        Member { claim: Some(Slot(slot)), ..member(id, 1) }
    }

    fn ordered(id: &str, slot: u8) -> Member {
        Member { ordered: Some(Slot(slot)), ..member(id, 1) }
    }

    #[test]
    fn the_launchers_word_counts_most() {
        let mine = Member { claim: Some(Slot(0)), ..ordered("i-b", 1) };
        assert_eq!(decide(&"i-b".into(), &[ordered("i-a", 0), mine]), Slot(1));
    }

    #[test]
    fn a_live_member_keeps_the_slot_it_claimed() {
        assert_eq!(decide(&"i-b".into(), &[newcomer("i-a", 0), claims("i-b", 2)]), Slot(2));
    }

    #[test]
    fn a_newcomer_takes_the_lowest_free_slot() {
        let members = [claims("i-a", 0), ordered("i-b", 2), newcomer("i-c", 0)];
        assert_eq!(decide(&"i-c".into(), &members), Slot(1));
    }

    #[test]
    fn newcomers_at_the_same_moment_go_by_launch_index_then_id() {
        let members = [newcomer("i-a", 1), newcomer("i-c", 0), newcomer("i-b", 0)];
        let slots: Vec<Slot> = ["i-b", "i-c", "i-a"].map(|id| decide(&id.into(), &members)).to_vec();
        assert_eq!(slots, [Slot(0), Slot(1), Slot(2)]);
    }

    #[test]
    fn a_node_alone_takes_the_first_slot() {
        assert_eq!(decide(&"i-a".into(), &[newcomer("i-a", 7)]), Slot(0));
        assert_eq!(decide(&"i-a".into(), &[]), Slot(0));
    }

    #[test]
    fn a_slot_that_cannot_be_is_ignored() {
        assert_eq!(decide(&"i-a".into(), &[ordered("i-a", 99)]), Slot(0));
    }
}
