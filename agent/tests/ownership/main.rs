//! Checks the agent's route decision against every schedule of faults in a small world: crashes, restarts, partitions,
//! a lost API, routes changed by other programs, and answers that are lost, late, stale or reordered. ARCHITECTURE.md
//! explains the properties.

mod agent_loop;
mod calm;
mod model;
mod world;

use agent::ownership::decide::{
    self, DARK_LOOKS, How, Lead, Membership, Move, Observation, QUIET_READS, Reading, Standing, Word,
};
use stateright::{Checker, HasDiscoveries, Model};

use agent_loop::Decide;
use model::Ownership;
use world::{Kinds, World};

/// The most changes of routes that one fault may cause.
const MOST_CHANGES: u8 = 12;

/// Explores all reachable states, and returns the properties that don't hold. With `expected` properties, the search
/// ends when all of them are broken.
fn check(name: &str, start: World, decide: Decide, expected: &[&'static str]) -> Vec<&'static str> {
    let began = std::time::Instant::now();
    let model = Ownership { decide, start, most_changes: MOST_CHANGES };
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(4);
    let found = HasDiscoveries::AllOf(expected.iter().copied().collect());
    let until = if expected.is_empty() { HasDiscoveries::All } else { found };
    let checker = model.checker().threads(threads).finish_when(until).spawn_bfs().join();
    println!(
        "{name}: {} states ({} visits) in {:.1?}",
        checker.unique_state_count(),
        checker.state_count(),
        began.elapsed()
    );
    let mut broken = Vec::new();
    for (property, path) in checker.discoveries() {
        if property == "a node yields" {
            continue;
        }
        println!("{name}: broken: {property}, by {:?}\nends as {:?}", path.clone().into_actions(), path.last_state());
        broken.push(property);
    }
    broken
}

#[test]
fn two_nodes_in_operation() {
    assert_eq!(check("two nodes, one table, bad answers", World::calm(2, 1, 2, 2), decide::decide, &[]), [""; 0]);
}

#[test]
fn two_nodes_and_more_faults() {
    assert_eq!(check("two nodes, one table", World::calm(2, 1, 3, 0), decide::decide, &[]), [""; 0]);
}

#[test]
fn two_nodes_with_two_tables() {
    assert_eq!(check("two nodes, two tables", World::calm(2, 2, 2, 0), decide::decide, &[]), [""; 0]);
}

const MEMBERSHIP: Kinds = Kinds { membership: true, hangs: false, complaints: false };
const HANGS: Kinds = Kinds { membership: false, hangs: true, complaints: false };
const COMPLAINTS: Kinds = Kinds { membership: false, hangs: false, complaints: true };

#[test]
fn two_nodes_that_read_no_members_or_not_all() {
    let start = World::calm(2, 1, 2, 1).with(MEMBERSHIP);
    assert_eq!(check("two nodes, members unread", start, decide::decide, &[]), [""; 0]);
}

#[test]
fn two_nodes_that_do_not_know_each_other() {
    let start = World::newcomer(1, 1, 1).with(MEMBERSHIP);
    assert_eq!(check("two nodes, unknown to each other", start, decide::decide, &[]), [""; 0]);
}

#[test]
fn two_nodes_of_which_one_hangs() {
    let start = World::calm(2, 1, 2, 1).with(HANGS);
    assert_eq!(check("two nodes, hanging", start, decide::decide, &[]), [""; 0]);
}

#[test]
fn nodes_that_hand_over_because_of_complaints() {
    let two = World::calm(2, 1, 2, 1).with(COMPLAINTS);
    assert_eq!(check("two nodes, complaints", two, decide::decide, &[]), [""; 0]);
    let three = World::calm(3, 1, 1, 1).with(COMPLAINTS);
    assert_eq!(check("three nodes, complaints", three, decide::decide, &[]), [""; 0]);
}

#[test]
fn two_nodes_that_boot_together() {
    assert_eq!(check("two nodes, booting", World::new(2, 1, 2, 0), decide::decide, &[]), [""; 0]);
}

#[test]
fn three_nodes_in_operation() {
    assert_eq!(check("three nodes, one table", World::calm(3, 1, 2, 1), decide::decide, &[]), [""; 0]);
}

/// Gives the nodes the same priority, as in one subnet. VRRP then compares their addresses.
fn of_one_subnet(seen: &Observation) -> Vec<Move> {
    let mut seen = seen.clone();
    seen.peers.iter_mut().for_each(|peer| peer.priority = seen.priority);
    decide::decide(&seen)
}

#[test]
fn two_nodes_of_one_subnet() {
    assert_eq!(check("two nodes, one priority", World::calm(2, 1, 2, 1), of_one_subnet, &[]), [""; 0]);
    assert_eq!(check("two nodes, one priority, booting", World::new(2, 1, 2, 0), of_one_subnet, &[]), [""; 0]);
}

/// The bug: a node takes routes that it should yield to a peer.
fn without_yielding(seen: &Observation) -> Vec<Move> {
    let take = |one| match one {
        Move::Yield(table, _) => Move::Point(table, How::Replace),
        other => other,
    };
    decide::decide(seen).into_iter().map(take).collect()
}

/// The bug: a node reclaims every route that leads elsewhere, without asking a peer.
fn always_reclaiming(seen: &Observation) -> Vec<Move> {
    match &seen.reading {
        Reading::Routes(routes) if seen.standing != Standing::Aside => routes
            .iter()
            .filter(|(_, lead)| *lead != Lead::To(seen.me.clone()))
            .map(|(table, _)| Move::Point(table.clone(), How::Replace))
            .chain([Move::Rest])
            .collect(),
        _ => decide::decide(seen),
    }
}

/// The bug: one read without a sign of life counts as two.
fn believing_one_stale_read(seen: &Observation) -> Vec<Move> {
    let mut seen = seen.clone();
    for peer in seen.peers.iter_mut().filter(|peer| peer.quiet > 0) {
        peer.quiet = QUIET_READS;
    }
    decide::decide(&seen)
}

/// The bug: an unidentified interface counts as a stranger's, also on a node that never read the list of members.
fn taking_what_is_unknown(seen: &Observation) -> Vec<Move> {
    let mut seen = Observation { membership: Membership::Listed, ..seen.clone() };
    let known: Vec<Lead> = seen.peers.iter().map(|peer| Lead::To(peer.interface.clone())).collect();
    if let Reading::Routes(routes) = &mut seen.reading {
        for (_, lead) in
            routes.iter_mut().filter(|(_, lead)| *lead != Lead::To(seen.me.clone()) && !known.contains(lead))
        {
            if let Lead::To(to) = lead {
                *lead = Lead::Stranger(to.clone());
            }
        }
    }
    decide::decide(&seen)
}

/// The bug: an owner, too, takes a silent peer for dead without reading its signs of life.
fn owners_that_take_silence_for_death(seen: &Observation) -> Vec<Move> {
    let mut seen = seen.clone();
    for peer in seen.peers.iter_mut().filter(|peer| matches!(peer.word, Word::Silent(_))) {
        peer.quiet = QUIET_READS;
    }
    decide::decide(&seen)
}

/// The bug: one short look without a trace counts as two.
fn believing_one_short_look(seen: &Observation) -> Vec<Move> {
    let mut seen = seen.clone();
    for peer in seen.peers.iter_mut().filter(|peer| peer.dark > 0) {
        peer.dark = DARK_LOOKS;
    }
    decide::decide(&seen)
}

const FIGHT: &str = "no schedule changes routes for ever";
const ROBBERY: &str = "a boot takes nothing from a healthy owner";

#[test]
fn not_yielding_is_found() {
    let broken = check("bug: no yielding", World::calm(2, 1, 2, 0), without_yielding, &[FIGHT, ROBBERY]);
    assert!(broken.contains(&FIGHT) && broken.contains(&ROBBERY), "{broken:?}");
}

#[test]
fn always_reclaiming_is_found() {
    let broken = check("bug: always reclaiming", World::calm(2, 1, 2, 0), always_reclaiming, &[FIGHT, ROBBERY]);
    assert!(broken.contains(&FIGHT) && broken.contains(&ROBBERY), "{broken:?}");
}

#[test]
fn believing_one_stale_read_is_found() {
    let broken = check("bug: one stale read", World::calm(2, 1, 3, 1), believing_one_stale_read, &[ROBBERY]);
    assert!(broken.contains(&ROBBERY), "{broken:?}");
}

#[test]
fn a_route_war_between_nodes_that_do_not_know_each_other_is_found() {
    let start = World::newcomer(1, 1, 0).with(MEMBERSHIP);
    let broken = check("bug: taking what is unknown", start, taking_what_is_unknown, &[FIGHT, ROBBERY]);
    assert!(broken.contains(&FIGHT) && broken.contains(&ROBBERY), "{broken:?}");
}

#[test]
fn a_route_war_between_nodes_that_are_cut_off_is_found() {
    let start = World::calm(2, 1, 2, 0);
    let broken = check("bug: silence is death", start, owners_that_take_silence_for_death, &[FIGHT]);
    assert!(broken.contains(&FIGHT), "{broken:?}");
}

#[test]
fn believing_one_short_look_is_found() {
    let broken = check("bug: one short look", World::calm(2, 1, 3, 1), believing_one_short_look, &[ROBBERY]);
    assert!(broken.contains(&ROBBERY), "{broken:?}");
}
