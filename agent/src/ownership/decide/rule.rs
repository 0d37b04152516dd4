//! The rule of ownership. It follows VRRP. Where VRRP can't be heard it follows evidence: a peer's answers, the routes
//! that it moved, and its signs of life in the API.

use super::{
    DARK_LOOKS, How, Lead, Membership, Move, Observation, Peer, QUESTIONS, QUIET_READS, Reading, Standing, Targets,
    Word,
};
use crate::aws::ids::{InterfaceId, TableId};

/// What to do about one virtual IP's routes.
pub fn decide(seen: &Observation) -> Vec<Move> {
    match (seen.standing, &seen.reading) {
        (Standing::Aside, _) => vec![],
        (Standing::Elected, _) => seen.tables.iter().map(take).collect(),
        (_, Reading::Due) => vec![Move::Look],
        (_, Reading::Failed) => blind(seen),
        (Standing::First, Reading::Routes(routes)) => first(seen, routes),
        (_, Reading::Routes(routes)) => {
            let astray = astray(seen, routes);
            let concerned = |peer: &&Peer| astray.iter().any(|(_, lead)| leads_to(lead, &peer.interface));
            let questions = ask(seen.peers.iter().filter(concerned));
            if !questions.is_empty() {
                return questions;
            }
            let mut moves: Vec<Move> = astray.iter().map(|(table, lead)| hold(seen, table, lead)).collect();
            if moves.iter().any(|m| matches!(m, Move::Yield(_, to) if is_silent(seen, to))) {
                moves.push(Move::Wait);
            }
            or_rest(moves)
        }
    }
}

/// The tables that `moves` take after an election: no other node serves them. The node owes them to its clients until
/// their routes have led here, however slow the API is.
pub fn owed(standing: Standing, moves: &[Move]) -> impl Iterator<Item = &TableId> {
    let elected = matches!(standing, Standing::Elected | Standing::Resumed);
    let owing = if elected { moves } else { &[] };
    owing.iter().filter_map(|one| if let Move::Point(table, How::Replace) = one { Some(table) } else { None })
}

/// The standing after all `moves` have been carried out.
pub fn standing_after(standing: Standing, moves: &[Move]) -> Standing {
    let settled = |moves: &[Move]| moves.iter().all(|m| matches!(m, Move::Point(_, How::Replace) | Move::Rest));
    match standing {
        Standing::Elected => Standing::Holding,
        Standing::First if settled(moves) => Standing::Holding,
        Standing::Resumed if !moves.iter().any(|m| matches!(m, Move::Look | Move::Ask(_) | Move::Wait)) => {
            Standing::Holding
        }
        unchanged => unchanged,
    }
}

/// The moves while the API can't be read. A holder rests. Any other MASTER takes the routes if no peer can be the
/// owner, as writes may still succeed.
fn blind(seen: &Observation) -> Vec<Move> {
    if seen.standing == Standing::Holding {
        return vec![Move::Rest];
    }
    if seen.membership == Membership::Unlisted {
        let fill = |table: &TableId| Move::Point(table.clone(), How::Fill);
        return seen.tables.iter().map(fill).chain([Move::Wait]).collect();
    }
    let questions = ask(seen.peers.iter());
    if !questions.is_empty() {
        return questions;
    }
    // Earlier reads about a silent peer may be outdated.
    let silent = |peer: &Peer| seen.standing == Standing::First && matches!(peer.word, Word::Silent(_));
    let owner = |peer: &Peer| matches!(peer.word, Word::Owner | Word::Waiting) && may_own(seen, peer);
    if seen.peers.iter().any(|peer| silent(peer) || owner(peer)) {
        return vec![Move::Wait];
    }
    or_rest(seen.tables.iter().map(take).collect())
}

/// The moves of a MASTER that has heard no other since boot: it takes the routes that no peer may be serving.
fn first(seen: &Observation, routes: &[(TableId, Lead)]) -> Vec<Move> {
    let questions = ask(seen.peers.iter());
    if !questions.is_empty() {
        return questions;
    }
    let astray = astray(seen, routes);
    let owners = || seen.peers.iter().filter(|peer| may_own(seen, peer));
    let Some(owner) = owners().next() else {
        let mut moves: Vec<Move> = astray.iter().map(|(table, lead)| free(seen, table, lead)).collect();
        if moves.iter().any(|one| matches!(one, Move::Yield(..))) {
            moves.push(Move::Wait);
        }
        return or_rest(moves);
    };
    // An owner that answered goes before a silent one.
    let owner = owners().find(|peer| !matches!(peer.word, Word::Silent(_))).unwrap_or(owner);
    let certain = !matches!(owner.word, Word::Silent(_));
    let mut moves: Vec<Move> = astray
        .iter()
        .map(|(table, lead)| match lead {
            // A missing route serves no client, so creating it takes nothing from a silent owner.
            Lead::Nowhere if !certain => Move::Point(table.clone(), How::Fill),
            _ => Move::Yield(table.clone(), owner.interface.clone()),
        })
        .collect();
    moves.push(Move::Wait);
    moves
}

/// Whether `peer` may be serving, from the view of a node that doesn't hold the routes.
fn may_own(seen: &Observation, peer: &Peer) -> bool {
    match peer.word {
        Word::Owner => true,
        Word::Waiting => peer.priority > seen.priority,
        Word::Aside => false,
        Word::Silent(_) => peer.quiet < QUIET_READS && peer.dark < DARK_LOOKS,
    }
}

/// The move for a route that no peer can claim. It may lead to a node that this one doesn't know: two such nodes would
/// take the route from each other forever.
fn free(seen: &Observation, table: &TableId, lead: &Lead) -> Move {
    let known = |to: &InterfaceId| seen.peers.iter().any(|peer| peer.interface == *to);
    match lead {
        Lead::To(to) if !known(to) => Move::Yield(table.clone(), to.clone()),
        Lead::Stranger(to) if seen.membership == Membership::Unlisted => Move::Yield(table.clone(), to.clone()),
        Lead::Nowhere if seen.membership == Membership::Unlisted => Move::Point(table.clone(), How::Fill),
        _ => take(table),
    }
}

/// The move for a route that should lead to this node and doesn't.
fn hold(seen: &Observation, table: &TableId, lead: &Lead) -> Move {
    let Some(peer) = seen.peers.iter().find(|peer| leads_to(lead, &peer.interface)) else {
        return free(seen, table, lead);
    };
    let above = seen.priority > peer.priority;
    let ours = match peer.word {
        Word::Aside => true,
        Word::Owner => false,
        Word::Waiting => above,
        Word::Silent(_) if peer.quiet >= QUIET_READS => true,
        // The peer moved the route after this node had it, so it was alive: the priority decides, or both go on.
        Word::Silent(_) if seen.standing == Standing::Holding && !seen.owed.contains(table) => {
            above && seen.targets == Targets::Up
        }
        Word::Silent(_) if seen.membership == Membership::Listed || seen.owed.contains(table) => true,
        Word::Silent(_) => seen.standing == Standing::Resumed && peer.dark >= DARK_LOOKS,
    };
    if ours { take(table) } else { Move::Yield(table.clone(), peer.interface.clone()) }
}

fn ask<'a>(peers: impl Iterator<Item = &'a Peer>) -> Vec<Move> {
    let silent = peers.filter(|peer| matches!(peer.word, Word::Silent(times) if times < QUESTIONS));
    silent.map(|peer| Move::Ask(peer.interface.clone())).collect()
}

fn take(table: &TableId) -> Move {
    Move::Point(table.clone(), How::Replace)
}

fn astray<'a>(seen: &Observation, routes: &'a [(TableId, Lead)]) -> Vec<&'a (TableId, Lead)> {
    routes.iter().filter(|(_, lead)| !leads_to(lead, &seen.me)).collect()
}

fn is_silent(seen: &Observation, peer: &InterfaceId) -> bool {
    seen.peers.iter().any(|p| &p.interface == peer && matches!(p.word, Word::Silent(_)))
}

fn leads_to(lead: &Lead, interface: &InterfaceId) -> bool {
    matches!(lead, Lead::To(to) if to == interface)
}

fn or_rest(moves: Vec<Move>) -> Vec<Move> {
    if moves.is_empty() { vec![Move::Rest] } else { moves }
}
