//! Runs a world without further faults until it is stable: each node acts in turn, and each answer is good.

use crate::agent_loop::{self, Need};
use crate::model::{Answer, Ownership, Transition};
use crate::world::{List, Node, Phase, Truth, World};

/// More rounds than any world needs to become stable.
const ROUNDS: usize = 16;

/// Whether every route ends at the one MASTER after all faults are repaired.
pub fn healed(model: &Ownership, world: &World) -> bool {
    let mut world = world.clone();
    world.cuts = 0;
    world
        .machines
        .iter_mut()
        .for_each(|machine| (machine.api, machine.hung, machine.list) = (true, false, List::Whole));
    let end = calm(model, world);
    let masters: Vec<Node> = end.nodes().filter(|a| end.machines[*a].is_master()).collect();
    match masters[..] {
        [] => end.machines.iter().all(|machine| !machine.up),
        [master] => end.routes.iter().all(|route| *route == Truth::At(master)),
        _ => false,
    }
}

/// Whether every route ends at a live node with the cuts as they are. Also true if no live MASTER reaches the API, or if
/// one of those can't read the members.
pub fn as_it_is(model: &Ownership, world: &World) -> bool {
    let end = calm(model, world.clone());
    let mut masters =
        end.machines.iter().filter(|machine| machine.is_master() && machine.lives() && machine.api).peekable();
    let able = masters.peek().is_some() && masters.all(|machine| machine.reads_tags());
    !able || end.routes.iter().all(|route| matches!(route, Truth::At(a) if end.machines[*a].lives()))
}

fn calm(model: &Ownership, mut world: World) -> World {
    for _ in 0..ROUNDS {
        let before = world.clone();
        for a in world.nodes() {
            turn(model, &mut world, a);
        }
        world.changes = 0;
        if world == before {
            break;
        }
    }
    world
}

/// Runs node `a`'s keepalived, and the agent's loop once.
fn turn(model: &Ownership, world: &mut World, a: Node) {
    for table in 0..world.routes.len() {
        if world.machines[a].writes[table].is_some() && (world.machines[a].api || !world.machines[a].is_master()) {
            model.play(world, Transition::Write(a, table, Answer::Good));
        }
    }
    if !world.machines[a].lives() {
        return;
    }
    model.play(world, Transition::List(a));
    if world.must_step_down(a) {
        return model.play(world, Transition::Retreat(a));
    }
    if !world.machines[a].is_master() {
        let step = if world.hears_a_master(a) { Transition::Hear(a) } else { Transition::Elect(a) };
        return model.play(world, step);
    }
    if world.machines[a].phase == Phase::Resting {
        model.play(world, Transition::Wake(a));
    }
    while world.machines[a].phase == Phase::Thinking {
        match agent_loop::need(world, a, model.decide) {
            Need::Look => model.play(world, Transition::Look(a, Answer::Good)),
            Need::Ask(peers) => peers.into_iter().for_each(|b| model.play(world, Transition::Ask(a, b, Answer::Good))),
            Need::Act(_) => model.play(world, Transition::Act(a)),
        }
    }
    for table in 0..world.routes.len() {
        if world.machines[a].writes[table].is_some() && world.machines[a].api {
            model.play(world, Transition::Write(a, table, Answer::Good));
        }
    }
    if world.machines[a].phase == Phase::Waiting {
        let step = if agent_loop::glances(world, a) { Transition::Glance } else { Transition::Signs };
        model.play(world, step(a, Answer::Good));
    }
}
