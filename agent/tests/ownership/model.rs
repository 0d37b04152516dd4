//! The model: its steps, the effect of each, and its properties.

use agent::ownership::decide::{Standing, Word};
use stateright::{Model, Property};

use crate::agent_loop::{self, Decide, Need};
use crate::calm;
use crate::world::{List, Machine, Node, Phase, Seen, Truth, World};

/// The model: the decision of the nodes, the start, and the most changes of routes that a fault may cause.
pub struct Ownership {
    pub decide: Decide,
    pub start: World,
    pub most_changes: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Good,
    /// Out of date, or lost.
    Bad,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    // keepalived
    Elect(Node),
    Retreat(Node),
    Hear(Node),
    // the agent
    Look(Node, Answer),
    Ask(Node, Node, Answer),
    Act(Node),
    Signs(Node, Answer),
    Glance(Node, Answer),
    /// The node reads the list of members.
    List(Node),
    /// The MASTER reads the routes again. As it may do so at any moment, this is also its response to a standby's
    /// complaint that it doesn't reach the virtual IP, true or not.
    Wake(Node),
    Write(Node, usize, Answer),
    Abandon(Node, usize),
    // faults, and their ends
    Crash(Node),
    Restart(Node),
    /// The node restarts, and doesn't hear an existing MASTER for a moment.
    RestartDeaf(Node),
    RestartAgent(Node),
    /// A standby stands still for longer than a MASTER may be silent.
    Stall(Node),
    /// A new node, unknown to all others, replaces a lost one.
    Replace(Node),
    Hang(Node),
    /// A MASTER that can't repair what a complaint is about hands over to another node. It does so at most once in ten
    /// minutes, so it counts as a fault.
    GiveUp(Node, Node),
    GoOn(Node),
    Cut(Node, Node),
    Heal,
    CutApi(Node),
    HealApi,
    SpoilList(Node, List),
    HealLists,
    Meddle(usize, Truth),
}

impl Model for Ownership {
    type State = World;
    type Action = Transition;

    fn init_states(&self) -> Vec<World> {
        vec![self.start.clone()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Transition>) {
        for a in world.nodes() {
            self.of_node(world, a, steps);
        }
        faults(world, steps);
    }

    fn next_state(&self, world: &World, step: Transition) -> Option<World> {
        let mut next = world.clone();
        self.play(&mut next, step);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no schedule changes routes for ever", |model: &Ownership, world: &World| {
                world.changes <= model.most_changes
            }),
            Property::always("a boot takes nothing from a healthy owner", |_, world: &World| !world.robbed),
            Property::always("a stable world ends with every route at the one MASTER", calm::healed),
            Property::always("a node that yields is never the last that could serve", calm::as_it_is),
            Property::sometimes("a node yields", |_, world: &World| {
                world.machines.iter().any(|machine| machine.yielding)
            }),
        ]
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.changes <= self.most_changes + 1
    }
}

impl Ownership {
    fn of_node(&self, world: &World, a: Node, steps: &mut Vec<Transition>) {
        let me = &world.machines[a];
        for table in 0..world.routes.len() {
            // A write may arrive late: after the node's term, or after its crash.
            if me.writes[table].is_some() {
                if me.api || !me.is_master() {
                    steps.push(Transition::Write(a, table, Answer::Good));
                }
                if world.slips_left > 0 && me.api {
                    steps.push(Transition::Write(a, table, Answer::Bad));
                }
                // A MASTER abandons a write to read the routes in between.
                steps.push(Transition::Abandon(a, table));
            }
        }
        if !me.lives() {
            return;
        }
        let news = me.list == List::Whole && world.nodes().any(|b| world.machines[b].up && !me.knows(b));
        steps.extend((news || !me.listed && me.list != List::Fails).then_some(Transition::List(a)));
        if world.must_step_down(a) {
            steps.push(Transition::Retreat(a));
            // The agent doesn't believe this MASTER until it has lasted.
            if me.stalled {
                return;
            }
        }
        if !me.is_master() {
            let hears = world.hears_a_master(a);
            steps.extend((!hears).then_some(Transition::Elect(a)));
            steps.extend((hears && !me.heard_another).then_some(Transition::Hear(a)));
            return;
        }
        let bad = world.slips_left > 0;
        match me.phase {
            Phase::Thinking => match agent_loop::need(world, a, self.decide) {
                Need::Look => {
                    steps.push(Transition::Look(a, Answer::Good));
                    steps.extend((bad && me.api && !me.misled).then_some(Transition::Look(a, Answer::Bad)));
                }
                Need::Ask(peers) => {
                    for b in peers {
                        steps.push(Transition::Ask(a, b, Answer::Good));
                        steps.extend((bad && world.answers(a, b)).then_some(Transition::Ask(a, b, Answer::Bad)));
                    }
                }
                Need::Act(_) => steps.push(Transition::Act(a)),
            },
            Phase::Waiting => {
                // Short looks come before the next read of the signs of life.
                let look = if agent_loop::glances(world, a) { Transition::Glance } else { Transition::Signs };
                steps.push(look(a, Answer::Good));
                steps.extend((bad && me.reads_tags() && !me.misled_by_signs).then_some(look(a, Answer::Bad)));
            }
            Phase::Resting => steps.push(Transition::Wake(a)),
            Phase::Writing { .. } => {}
        }
    }

    /// Applies `step` to `world`.
    pub fn play(&self, world: &mut World, step: Transition) {
        if let Transition::Look(_, Answer::Bad)
        | Transition::Ask(_, _, Answer::Bad)
        | Transition::Signs(_, Answer::Bad)
        | Transition::Glance(_, Answer::Bad)
        | Transition::Write(_, _, Answer::Bad) = step
        {
            world.slips_left -= 1;
        }
        match step {
            Transition::Elect(a) => world.elect(a),
            Transition::Retreat(a) => {
                world.break_ownership(a);
                world.machines[a].end();
            }
            Transition::Hear(a) => world.machines[a].heard_another = true,
            Transition::Look(a, answer) => {
                let routes = if answer == Answer::Bad { world.before.clone() } else { world.routes.clone() };
                let owned = world.owned(a);
                let me = &mut world.machines[a];
                me.owned = owned;
                if me.api {
                    me.look(a, routes)
                } else {
                    me.seen = Seen::Failed
                }
                me.misled = answer == Answer::Bad;
            }
            Transition::Ask(a, b, answer) => {
                let said = agent_loop::word(world, b);
                let answered = world.answers(a, b) && answer == Answer::Good;
                let heard = &mut world.machines[a].peers[b];
                heard.word = match heard.word {
                    _ if answered => said,
                    Word::Silent(times) => Word::Silent(times + 1),
                    word => word,
                };
                if answered {
                    (heard.quiet, heard.dark) = (0, 0);
                }
            }
            Transition::Act(a) => {
                if let Need::Act(moves) = agent_loop::need(world, a, self.decide) {
                    agent_loop::act(world, a, &moves);
                }
            }
            Transition::Signs(a, answer) => agent_loop::signs(world, a, answer == Answer::Bad),
            Transition::Glance(a, answer) => agent_loop::glance(world, a, answer == Answer::Bad),
            Transition::List(a) => world.list(a),
            Transition::Wake(a) => world.machines[a].phase = Phase::Thinking,
            Transition::Write(a, table, answer) => {
                let Some(how) = world.machines[a].writes[table] else { return };
                world.write(a, table, Truth::At(a), how);
                // If the answer is lost, the agent writes again.
                if answer == Answer::Good {
                    world.machines[a].writes[table] = None;
                    world.machines[a].owed &= !(1 << table);
                }
                agent_loop::finish_writes(world, a);
            }
            Transition::Abandon(a, table) => {
                world.machines[a].writes[table] = None;
                agent_loop::finish_writes(world, a);
                world.machines[a].settled = false;
            }
            fault => break_or_mend(world, fault),
        }
    }
}

fn faults(world: &World, steps: &mut Vec<Transition>) {
    let all: Vec<Node> = world.nodes().collect();
    steps.extend((world.cuts != 0).then_some(Transition::Heal));
    steps.extend(all.iter().any(|a| !world.machines[*a].api).then_some(Transition::HealApi));
    steps.extend(all.iter().any(|a| world.machines[*a].list != List::Whole).then_some(Transition::HealLists));
    steps.extend(all.iter().filter(|a| world.machines[**a].hung).map(|a| Transition::GoOn(*a)));
    steps.extend(all.iter().filter(|a| !world.machines[**a].up).map(|a| Transition::Restart(*a)));
    if world.faults_left == 0 {
        return;
    }
    for a in all.iter().copied() {
        let me = &world.machines[a];
        if !me.up {
            steps.push(Transition::RestartDeaf(a));
            steps.extend(world.kinds.membership.then_some(Transition::Replace(a)));
            continue;
        }
        steps.push(Transition::Crash(a));
        if me.hung {
            continue;
        }
        steps.extend(world.kinds.hangs.then_some(Transition::Hang(a)));
        if world.kinds.complaints && me.standing == Standing::Holding {
            let to = all.iter().filter(|b| world.answers(a, **b) && !world.machines[**b].is_master());
            steps.extend(to.map(|b| Transition::GiveUp(a, *b)));
        }
        if world.kinds.membership && me.list == List::Whole {
            steps.extend([Transition::SpoilList(a, List::Omits), Transition::SpoilList(a, List::Fails)]);
        }
        steps.extend(me.is_master().then_some(Transition::RestartAgent(a)));
        steps.extend((!me.is_master() && world.hears_a_master(a)).then_some(Transition::Stall(a)));
        steps.extend(me.api.then_some(Transition::CutApi(a)));
        let linked = all.iter().copied().filter(|b| a < *b && world.cuts & World::link(a, *b) == 0);
        steps.extend(linked.map(|b| Transition::Cut(a, b)));
    }
    for table in 0..world.routes.len() {
        steps.push(Transition::Meddle(table, Truth::Nowhere));
        steps.push(Transition::Meddle(table, Truth::Stranger));
    }
}

fn break_or_mend(world: &mut World, step: Transition) {
    match step {
        Transition::Heal => world.cuts = 0,
        Transition::HealApi => world.machines.iter_mut().for_each(|machine| machine.api = true),
        Transition::HealLists => world.machines.iter_mut().for_each(|machine| machine.list = List::Whole),
        Transition::GoOn(a) => world.machines[a].hung = false,
        Transition::Restart(a) => restart(world, a),
        _ => world.fault(),
    }
    world.changes = 0;
    if let Transition::Crash(a) | Transition::Hang(a) | Transition::CutApi(a) | Transition::RestartAgent(a) = step {
        world.break_ownership(a);
    }
    match step {
        Transition::Crash(a) => (world.machines[a].up, world.machines[a].hung) = (false, false),
        Transition::Replace(a) => {
            restart(world, a);
            world.machines.iter_mut().for_each(|machine| machine.knows &= !(1 << a));
            (world.machines[a].knows, world.machines[a].listed) = (1 << a, false);
        }
        Transition::Hang(a) => world.machines[a].hung = true,
        Transition::GiveUp(a, b) => {
            world.break_ownership(a);
            world.machines[a].end();
            world.elect(b);
        }
        Transition::SpoilList(a, list) => world.machines[a].list = list,
        Transition::RestartDeaf(a) => {
            restart(world, a);
            world.elect(a);
        }
        Transition::RestartAgent(a) => {
            world.machines[a].writes.fill(None);
            world.machines[a].begin(Standing::Resumed);
        }
        Transition::Stall(a) => world.stall(a),
        Transition::Cut(a, b) => world.cuts |= World::link(a, b),
        Transition::CutApi(a) => world.machines[a].api = false,
        Transition::Meddle(table, truth) => {
            world.before[table] = world.routes[table];
            world.routes[table] = truth;
        }
        _ => {}
    }
}

/// Restarts a node, which keeps the members that it knew.
fn restart(world: &mut World, a: Node) {
    let Machine { api, list, listed, knows, .. } = world.machines[a];
    let booted = Machine::booted(world.machines.len(), world.routes.len());
    world.machines[a] = Machine { api, list, listed, knows, ..booted };
}
