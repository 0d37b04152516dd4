//! Which slot this node takes. A wrong guess is harmless, as VRRP breaks ties by address; a right one makes the
//! preferred node the same one every time.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use templates::Slot;

use crate::ids::InstanceId;
use crate::members::Member;

/// One virtual IP per VRRP priority step: a slot beyond has nothing of its own (see [`Slot::priority`]).
const SLOTS: u8 = 16;

/// The slot of `me`: the one it was launched for, unless another has it; else the one it claimed before; else the lowest
/// that no live member has, newcomers at the same moment going by launch index, then instance id. A node and the one that
/// is launched in its place have the same.
pub fn decide(me: &InstanceId, members: &[Member]) -> Slot {
    let members = &without_exchange(me, members)[..];
    let own = members.iter().find(|member| &member.instance == me);
    if let Some(slot) = own.and_then(|own| held(own, members)) {
        return slot;
    }
    let others = members.iter().filter(|member| &member.instance != me);
    let taken: BTreeSet<Slot> = others.filter_map(|member| held(member, members)).collect();
    let mut newcomers: Vec<&Member> = members.iter().filter(|member| held(member, members).is_none()).collect();
    newcomers.sort_by_key(|member| order(member));
    let rank = newcomers.iter().position(|member| &member.instance == me).unwrap_or_default();
    let mut free = (0..SLOTS).map(Slot).filter(|slot| !taken.contains(slot));
    free.nth(rank).unwrap_or(Slot(SLOTS - 1))
}

/// The slot of `me` in a balancer whose members have settled: none is beyond `nodes` once all of them are there, and have
/// slots of their own. A newcomer that booted beside the one that it replaces has such a slot, and a lower one is free when
/// that has gone: slots that are beyond move to those that are free, each in its place, and whoever moves first changes
/// nothing for the others.
pub fn settle(me: &InstanceId, members: &[Member], nodes: usize) -> Slot {
    let slots: BTreeSet<Slot> = members.iter().map(|member| decide(&member.instance, members)).collect();
    let slot = decide(me, members);
    let complete = members.len() == nodes && slots.len() == nodes;
    let beyond = slots.iter().filter(|slot| usize::from(slot.0) >= nodes).position(|beyond| *beyond == slot);
    let mut free = (0..SLOTS).map(Slot).filter(|slot| !slots.contains(slot));
    beyond.filter(|_| complete).and_then(|place| free.nth(place)).unwrap_or(slot)
}

/// The members but those that others replace; to such a one itself, but those that replace it.
fn without_exchange(me: &InstanceId, members: &[Member]) -> Vec<Member> {
    let goes = |member: &Member| members.iter().any(|other| other.replaces.as_ref() == Some(&member.instance));
    let mine = |member: &Member| member.replaces.as_ref() == Some(me);
    members.iter().filter(|member| &member.instance == me || !goes(member) && !mine(member)).cloned().collect()
}

/// The slot that a member has: what the launcher said goes before its own claim, where it can be true. A tag may lie: an
/// Auto Scaling group that propagates it gives all its nodes the same.
fn held(member: &Member, members: &[Member]) -> Option<Slot> {
    let others = || members.iter().filter(|other| other.instance != member.instance);
    let best = |slot: &Slot| others().all(|other| standing(other, *slot) < standing(member, *slot));
    [member.ordered, member.claim].into_iter().flatten().filter(|slot| slot.0 < SLOTS).find(best)
}

/// How good a member's right to a slot is: better if it has it, then if it was launched for it, then by age.
fn standing(member: &Member, slot: Slot) -> (bool, bool, Reverse<(u32, &InstanceId)>) {
    (member.claim == Some(slot), member.ordered == Some(slot), Reverse(order(member)))
}

fn order(member: &Member) -> (u32, &InstanceId) {
    (member.launch_index, &member.instance)
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

    #[test]
    fn a_slot_tag_that_lies_gives_two_nodes_two_slots() {
        let both = [ordered("i-a", 0), ordered("i-b", 0)];
        assert_eq!(["i-a", "i-b"].map(|id| decide(&id.into(), &both)), [Slot(0), Slot(1)]);
        let later = [Member { claim: Some(Slot(0)), ..ordered("i-z", 0) }, ordered("i-a", 0)];
        assert_eq!(decide(&"i-a".into(), &later), Slot(1), "who serves in a slot keeps it");
        let settled = [later[0].clone(), Member { claim: Some(Slot(1)), ..ordered("i-a", 0) }];
        assert_eq!(["i-z", "i-a"].map(|id| decide(&id.into(), &settled)), [Slot(0), Slot(1)], "also after a restart");
    }

    #[test]
    fn what_a_tag_orders_does_not_take_a_slot_from_who_claims_it() {
        let members = [claims("i-z", 0), ordered("i-a", 0), claims("i-b", 1)];
        assert_eq!(["i-z", "i-a", "i-b"].map(|id| decide(&id.into(), &members)), [Slot(0), Slot(2), Slot(1)]);
    }

    #[test]
    fn two_that_claim_the_same_agree_on_who_has_it() {
        let members = [claims("i-a", 0), claims("i-b", 0), claims("i-c", 1)];
        assert_eq!(["i-a", "i-b", "i-c"].map(|id| decide(&id.into(), &members)), [Slot(0), Slot(2), Slot(1)]);
    }

    #[test]
    fn two_newcomers_of_two_launches_with_the_same_index_take_two_slots() {
        let members = [newcomer("i-b", 0), newcomer("i-a", 0)];
        assert_eq!(["i-a", "i-b"].map(|id| decide(&id.into(), &members)), [Slot(0), Slot(1)]);
    }

    #[test]
    fn a_replacement_that_repeats_an_index_takes_what_is_free() {
        for lost in 0..3 {
            let kept =
                (0..3).filter(|slot| *slot != lost).map(|slot| claims(["i-a", "i-b", "i-c"][slot as usize], slot));
            let members: Vec<Member> = kept.chain([newcomer("i-0", 0)]).collect();
            assert_eq!(decide(&"i-0".into(), &members), Slot(lost));
        }
    }

    #[test]
    fn one_node_more_than_there_should_be_takes_the_next_slot() {
        let members = [claims("i-a", 0), claims("i-b", 1), newcomer("i-c", 0)];
        assert_eq!(decide(&"i-c".into(), &members), Slot(2));
        let after = [claims("i-b", 1), claims("i-c", 2)];
        assert_eq!(decide(&"i-c".into(), &after), Slot(2), "and keeps it when it boots again meanwhile");
        assert_eq!(settle(&"i-c".into(), &after, 2), Slot(0), "until it is known that the other has gone");
        assert_eq!(settle(&"i-b".into(), &after, 2), Slot(1));
        assert_eq!(settle(&"i-c".into(), &after, 3), Slot(2), "who comes next takes what is free");
        assert_eq!(settle(&"i-c".into(), &members, 2), Slot(2), "there is one more");
    }

    #[test]
    fn a_slot_tag_that_lies_beyond_the_nodes_moves_nobody_for_ever() {
        let lie = |claim: u8| Member { claim: Some(Slot(claim)), ..ordered("i-a", 5) };
        assert_eq!(settle(&"i-a".into(), &[lie(5), claims("i-b", 0)], 2), Slot(1));
        assert_eq!(settle(&"i-a".into(), &[lie(1), claims("i-b", 0)], 2), Slot(1));
    }

    #[test]
    fn who_is_being_replaced_and_its_successor_are_one_too_many() {
        let instead = Member { replaces: Some("i-b".into()), ..claims("i-c", 1) };
        let members = [claims("i-a", 2), claims("i-b", 1), instead];
        assert_eq!(["i-a", "i-b", "i-c"].map(|id| settle(&id.into(), &members, 3)), [2, 1, 1].map(Slot));
    }

    #[test]
    fn who_is_launched_in_anothers_place_has_its_slot_at_once_and_takes_it_from_nobody_else() {
        let claims = |id, slot| Member { claim: Some(Slot(slot)), ..ordered(id, slot) };
        let instead = |id, slot, old: &str| Member { replaces: Some(old.into()), ..ordered(id, slot) };
        let both = [claims("i-a", 0), claims("i-b", 1), instead("i-c", 1, "i-b")];
        assert_eq!(["i-a", "i-b", "i-c"].map(|id| decide(&id.into(), &both)), [0, 1, 1].map(Slot));
        let other = [claims("i-a", 0), claims("i-b", 1), instead("i-c", 1, "i-x")];
        assert_eq!(decide(&"i-c".into(), &other), Slot(2), "i-b isn't the one that goes");
        let next = [claims("i-a", 0), Member { claim: Some(Slot(1)), ..both[2].clone() }, instead("i-d", 0, "i-a")];
        assert_eq!(["i-a", "i-c", "i-d"].map(|id| decide(&id.into(), &next)), [0, 1, 0].map(Slot));
    }

    #[test]
    fn while_one_goes_and_another_comes_nobody_moves() {
        let members = [claims("i-a", 0), claims("i-b", 1), newcomer("i-c", 0), newcomer("i-d", 0)];
        let slots = ["i-a", "i-b", "i-c", "i-d"].map(|id| decide(&id.into(), &members));
        assert_eq!(slots, [0, 1, 2, 3].map(Slot));
        let gone = [claims("i-b", 1), newcomer("i-c", 0), newcomer("i-d", 0)];
        assert_eq!(["i-b", "i-c", "i-d"].map(|id| decide(&id.into(), &gone)), [1, 0, 2].map(Slot));
    }
}
