//! Calls the agent's decision and carries it out, as the agent's own loop (`ownership/owner.rs`) does.

use agent::aws::ids::{InterfaceId, TableId};
use agent::ownership::decide::{
    self, How, Lead, Membership, Move, Observation, Peer, Reading, Standing, Targets, Word,
};

use crate::world::{Node, Phase, Seen, Truth, World};

/// The decision under test: the agent's, or one with a deliberate bug.
pub type Decide = fn(&Observation) -> Vec<Move>;

pub fn interface(node: Node) -> InterfaceId {
    InterfaceId(node.to_string())
}

fn table(number: usize) -> TableId {
    TableId(number.to_string())
}

fn number(id: &str) -> usize {
    id.parse().expect("ids here are numbers")
}

/// What node `a` knows.
pub fn observation(world: &World, a: Node) -> Observation {
    let me = &world.machines[a];
    let lead = |truth: &Truth| match truth {
        Truth::Nowhere => Lead::Nowhere,
        Truth::Stranger if me.identifies() => Lead::Stranger("stranger".into()),
        Truth::Stranger => Lead::To("stranger".into()),
        Truth::At(node) => Lead::To(interface(*node)),
    };
    let priority = |node: Node| 200 - 3 * node as u8;
    Observation {
        me: interface(a),
        standing: me.standing,
        priority: priority(a),
        targets: Targets::Up,
        tables: (0..world.routes.len()).map(table).collect(),
        owed: (0..world.routes.len()).filter(|n| me.owed & 1 << n != 0).map(table).collect(),
        reading: match &me.seen {
            Seen::Due => Reading::Due,
            Seen::Failed => Reading::Failed,
            Seen::Routes(routes) => {
                Reading::Routes(routes.iter().enumerate().map(|(n, truth)| (table(n), lead(truth))).collect())
            }
        },
        membership: if me.listed { Membership::Listed } else { Membership::Unlisted },
        peers: (world.nodes().filter(|b| *b != a && me.knows(*b)))
            .map(|b| Peer {
                interface: interface(b),
                priority: priority(b),
                word: me.peers[b].word,
                quiet: me.peers[b].quiet,
                dark: me.peers[b].dark,
            })
            .collect(),
    }
}

/// A peer's answer to the question for its role.
pub fn word(world: &World, b: Node) -> Word {
    let peer = &world.machines[b];
    match (peer.owns(), peer.is_master()) {
        (true, _) => Word::Owner,
        (false, true) => Word::Waiting,
        (false, false) => Word::Aside,
    }
}

/// What the decision needs before it can act.
pub enum Need {
    Look,
    Ask(Vec<Node>),
    /// Nothing: these are its moves.
    Act(Vec<Move>),
}

pub fn need(world: &World, a: Node, decide: Decide) -> Need {
    let moves = decide(&observation(world, a));
    let asked: Vec<Node> =
        moves.iter().filter_map(|m| if let Move::Ask(peer) = m { Some(number(&peer.0)) } else { None }).collect();
    if moves.contains(&Move::Look) {
        Need::Look
    } else if asked.is_empty() {
        Need::Act(moves)
    } else {
        Need::Ask(asked)
    }
}

/// Starts to carry out the moves of node `a`.
pub fn act(world: &mut World, a: Node, moves: &[Move]) {
    for one in moves {
        if let Move::Point(table, how) = one {
            let table = number(&table.0);
            world.robbed |= *how == How::Replace
                && world.machines[a].standing == Standing::First
                && world.machines[a].owned_before.iter().fold(world.machines[a].owned, |all, one| all & one)
                    & 1 << table
                    != 0
                && world.has_healthy_owner(table, a);
            world.machines[a].writes[table] = Some(*how);
        }
    }
    let me = &mut world.machines[a];
    decide::owed(me.standing, moves).for_each(|table| me.owed |= 1 << number(&table.0));
    me.yielding = moves.iter().any(|m| matches!(m, Move::Yield(..)));
    me.standing = decide::standing_after(me.standing, moves);
    let then_wait = moves.contains(&Move::Wait);
    me.phase = Phase::Writing { then_wait };
    finish_writes(world, a);
}

/// Ends the writing phase if all writes have been answered.
pub fn finish_writes(world: &mut World, a: Node) {
    let me = &mut world.machines[a];
    if let (false, Phase::Writing { then_wait }) = (me.writing(), me.phase) {
        me.phase = if then_wait { Phase::Waiting } else { Phase::Resting };
        me.settled = me.is_master() && !me.yielding;
        me.forget();
    }
}

/// Reads the peers' signs of life. An `old` answer doesn't show them yet.
pub fn signs(world: &mut World, a: Node, old: bool) {
    world.list(a);
    for b in world.nodes().filter(|b| *b != a) {
        let shown = world.shows(a, b) && !old;
        let alive = shown || !world.machines[a].reads_tags();
        let peer = &mut world.machines[a].peers[b];
        peer.quiet = if alive { 0 } else { (peer.quiet + 1).min(decide::QUIET_READS) };
        peer.dark = if shown { 0 } else { peer.dark };
    }
    looked(world, a, old);
}

/// A short look for any trace of the peers. If their tags can't be read, a long silence makes a peer dark.
pub fn glance(world: &mut World, a: Node, old: bool) {
    world.list(a);
    for b in world.nodes().filter(|b| *b != a) {
        let (reached, shown) = (world.reaches(a, b), world.shows(a, b) && !old);
        let peer = &mut world.machines[a].peers[b];
        peer.dark = if reached || shown { 0 } else { (peer.dark + 1).min(decide::DARK_LOOKS) };
        peer.quiet = if shown { 0 } else { peer.quiet };
    }
    looked(world, a, old);
}

/// Whether a short look can change what the node knows: it boots, and a known peer's darkness would change.
pub fn glances(world: &World, a: Node) -> bool {
    let me = &world.machines[a];
    let boots = matches!(me.standing, Standing::First | Standing::Resumed);
    let new = |b: Node| if world.reaches(a, b) { me.peers[b].dark > 0 } else { me.peers[b].dark < decide::DARK_LOOKS };
    boots && world.nodes().any(|b| b != a && me.knows(b) && new(b))
}

fn looked(world: &mut World, a: Node, old: bool) {
    world.machines[a].owned_before = [world.owned(a), world.machines[a].owned_before[0]];
    world.machines[a].misled_by_signs = old;
    world.machines[a].phase = Phase::Resting;
}
