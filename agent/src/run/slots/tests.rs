//! Who moves, and that all ends with one node in each slot.

use templates::Roles;

use super::*;
use crate::members::tests::member;
use crate::state::VirtualIp;
use crate::state::tests::state;

/// This node, `i-a`, is a standby in `slot`.
fn standby(slot: u8) -> State {
    let mut state = State { slot: Slot(slot), peers: vec![member("i-b", 2).address], ..state() };
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
    assert_eq!(better(&standby(0), &pair(), &active, 2), Some(Slot(1)));
    let equal = Claims::from([says(2, 0, Role::Standby)]);
    assert_eq!(better(&standby(0), &pair(), &equal, 2), None, "i-b moves");
    let launched = [pair()[0].clone(), Member { ordered: Some(Slot(0)), ..pair()[1].clone() }];
    assert_eq!(better(&standby(0), &launched, &equal, 2), Some(Slot(1)), "i-b was launched for it");
    let mut leads = standby(0);
    leads.virtual_ips[0].role = Role::Active;
    assert_eq!(better(&leads, &launched, &equal, 2), None);
}

#[test]
fn who_is_alone_in_its_slot_stays_whatever_old_tags_say() {
    let members = [pair()[0].clone(), Member { claim: Some(Slot(0)), ..pair()[1].clone() }];
    assert_eq!(better(&standby(0), &members, &Claims::from([says(2, 1, Role::Active)]), 2), None);
    assert_eq!(better(&standby(7), &pair()[1..], &Claims::new(), 2), None, "the API doesn't show this node yet");
}

/// The same, active for its one virtual IP.
fn active(slot: u8) -> State {
    let mut state = standby(slot);
    state.virtual_ips[0] = VirtualIp { role: Role::Active, settled: true, ..state.virtual_ips[0].clone() };
    state
}

#[test]
fn a_gap_is_closed_when_all_are_there_and_answer() {
    let other = Claims::from([says(2, 1, Role::Active)]);
    assert_eq!(better(&standby(2), &pair(), &other, 2), Some(Slot(0)));
    assert_eq!(better(&active(2), &pair(), &other, 2), Some(Slot(0)), "without preempt that moves no virtual IP");
    for state in [standby(2), active(2)] {
        assert_eq!(better(&state, &pair(), &Claims::new(), 2), None, "its peer is silent");
        assert_eq!(better(&state, &pair(), &other, 3), None, "somebody is to come");
        assert_eq!(better(&state, &pair()[..1], &other, 2), None, "one read missed its peer");
        let more = [pair(), vec![member("i-c", 3)]].concat();
        assert_eq!(better(&state, &more, &other, 2), None, "there is one more");
        assert_eq!(better(&State { leaving: Some("spot".into()), ..state.clone() }, &pair(), &other, 2), None);
        assert_eq!(better(&State { yielding: true, ..state }, &pair(), &other, 2), None);
    }
    let mut looks = active(2);
    looks.virtual_ips[0].settled = false;
    assert_eq!(better(&looks, &pair(), &other, 2), None, "it may have to yield");
}

/// Nodes of a balancer that all hear each other: the slot of each, and whether it is active.
type World = Vec<(u8, bool)>;

/// Where the node at `place` wants to go.
fn wants(world: &World, place: usize) -> Option<Slot> {
    let members: Vec<Member> =
        (0..world.len()).map(|place| member(["i-a", "i-b", "i-c", "i-d", "i-e"][place], place as u8 + 1)).collect();
    let (slot, is_active) = world[place];
    let mut state = if is_active { active(slot) } else { standby(slot) };
    (state.instance, state.peers) = (members[place].instance.clone(), vec![]);
    let role = |active| if active { Role::Active } else { Role::Standby };
    let others = (0..world.len()).filter(|other| *other != place);
    let claims = others.map(|other| says(other as u8 + 1, world[other].0, role(world[other].1))).collect();
    better(&state, &members, &claims, world.len())
}

/// Moves all that want to, or one after another, until nobody wants to.
fn play(mut world: World, together: bool, backwards: bool) {
    let (start, nodes) = (world.clone(), world.len());
    let mut moved = vec![false; nodes];
    loop {
        let mut moves: Vec<(usize, Slot)> =
            (0..nodes).filter_map(|place| Some((place, wants(&world, place)?))).collect();
        if backwards {
            moves.reverse();
        }
        if !together {
            moves.truncate(1);
        }
        if moves.is_empty() {
            break;
        }
        for (place, slot) in moves {
            assert!(!moved[place], "from {start:?} a node moves twice, by {world:?}");
            (world[place].0, moved[place]) = (slot.0, true);
        }
    }
    let mut slots: Vec<u8> = world.iter().map(|(slot, _)| *slot).collect();
    slots.sort_unstable();
    assert!(slots.into_iter().eq(0..nodes as u8), "from {start:?} it ends as {world:?}");
}

#[test]
fn from_whatever_slots_it_ends_with_one_node_in_each_and_nobody_moves_twice() {
    for nodes in 2..=5_u32 {
        let kinds = nodes + 1;
        for slots in 0..kinds.pow(nodes) {
            // Up to three nodes: whoever may be active.
            for actives in 0..if nodes < 4 { 1 << nodes } else { 1 } {
                let slot = |place: u32| (slots / kinds.pow(place) % kinds) as u8;
                let world: World = (0..nodes).map(|place| (slot(place), (actives >> place) & 1 == 1)).collect();
                play(world.clone(), true, false);
                play(world.clone(), false, false);
                play(world, false, true);
            }
        }
    }
}

#[test]
fn a_node_that_is_given_a_number_takes_it_once_it_is_free() {
    let members = [Member { ordered: Some(Slot(0)), ..pair()[0].clone() }, pair()[1].clone()];
    assert_eq!(better(&standby(2), &members, &Claims::from([says(2, 1, Role::Active)]), 2), Some(Slot(0)));
    let taken = Claims::from([says(2, 0, Role::Active)]);
    assert_eq!(better(&standby(2), &members, &taken, 3), None);
    assert_eq!(better(&standby(2), &members, &taken, 2), Some(Slot(1)), "the tag lies");
}
