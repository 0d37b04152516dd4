//! The model: its steps, the effect of each, and its properties.

use agent::ownership::decide::{Standing, Word};
use stateright::{Model, Property};

use crate::mind::{self, Decide, Need};
use crate::settle;
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
pub enum Step {
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
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![self.start.clone()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for a in world.nodes() {
            self.of_node(world, a, steps);
        }
        faults(world, steps);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
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
            Property::always("a stable world ends with every route at the one MASTER", settle::healed),
            Property::always("a node that yields is never the last that could serve", settle::as_it_is),
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
    fn of_node(&self, world: &World, a: Node, steps: &mut Vec<Step>) {
        let me = &world.machines[a];
        for table in 0..world.routes.len() {
            // A write may arrive late: after the node's term, or after its crash.
            if me.writes[table].is_some() {
                if me.api || !me.is_master() {
                    steps.push(Step::Write(a, table, Answer::Good));
                }
                if world.slips_left > 0 && me.api {
                    steps.push(Step::Write(a, table, Answer::Bad));
                }
                // A MASTER abandons a write to read the routes in between.
                steps.push(Step::Abandon(a, table));
            }
        }
        if !me.lives() {
            return;
        }
        let news = me.list == List::Whole && world.nodes().any(|b| world.machines[b].up && !me.knows(b));
        steps.extend((news || !me.listed && me.list != List::Fails).then_some(Step::List(a)));
        if world.must_step_down(a) {
            steps.push(Step::Retreat(a));
            // The agent doesn't believe this MASTER until it has lasted.
            if me.stalled {
                return;
            }
        }
        if !me.is_master() {
            let hears = world.hears_a_master(a);
            steps.extend((!hears).then_some(Step::Elect(a)));
            steps.extend((hears && !me.heard_another).then_some(Step::Hear(a)));
            return;
        }
        let bad = world.slips_left > 0;
        match me.phase {
            Phase::Thinking => match mind::need(world, a, self.decide) {
                Need::Look => {
                    steps.push(Step::Look(a, Answer::Good));
                    steps.extend((bad && me.api && !me.misled).then_some(Step::Look(a, Answer::Bad)));
                }
                Need::Ask(peers) => {
                    for b in peers {
                        steps.push(Step::Ask(a, b, Answer::Good));
                        steps.extend((bad && world.answers(a, b)).then_some(Step::Ask(a, b, Answer::Bad)));
                    }
                }
                Need::Act(_) => steps.push(Step::Act(a)),
            },
            Phase::Waiting => {
                // Short looks come before the next read of the signs of life.
                let look = if mind::glances(world, a) { Step::Glance } else { Step::Signs };
                steps.push(look(a, Answer::Good));
                steps.extend((bad && me.reads_tags() && !me.misled_by_signs).then_some(look(a, Answer::Bad)));
            }
            Phase::Resting => steps.push(Step::Wake(a)),
            Phase::Writing { .. } => {}
        }
    }

    /// Applies `step` to `world`.
    pub fn play(&self, world: &mut World, step: Step) {
        if let Step::Look(_, Answer::Bad)
        | Step::Ask(_, _, Answer::Bad)
        | Step::Signs(_, Answer::Bad)
        | Step::Glance(_, Answer::Bad)
        | Step::Write(_, _, Answer::Bad) = step
        {
            world.slips_left -= 1;
        }
        match step {
            Step::Elect(a) => world.elect(a),
            Step::Retreat(a) => {
                world.break_ownership(a);
                world.machines[a].end();
            }
            Step::Hear(a) => world.machines[a].heard_another = true,
            Step::Look(a, answer) => {
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
            Step::Ask(a, b, answer) => {
                let said = mind::word(world, b);
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
            Step::Act(a) => {
                if let Need::Act(moves) = mind::need(world, a, self.decide) {
                    mind::act(world, a, &moves);
                }
            }
            Step::Signs(a, answer) => mind::signs(world, a, answer == Answer::Bad),
            Step::Glance(a, answer) => mind::glance(world, a, answer == Answer::Bad),
            Step::List(a) => world.list(a),
            Step::Wake(a) => world.machines[a].phase = Phase::Thinking,
            Step::Write(a, table, answer) => {
                let Some(how) = world.machines[a].writes[table] else { return };
                world.write(a, table, Truth::At(a), how);
                // If the answer is lost, the agent writes again.
                if answer == Answer::Good {
                    world.machines[a].writes[table] = None;
                    world.machines[a].owed &= !(1 << table);
                }
                mind::settle_writes(world, a);
            }
            Step::Abandon(a, table) => {
                world.machines[a].writes[table] = None;
                mind::settle_writes(world, a);
                world.machines[a].settled = false;
            }
            fault => break_or_mend(world, fault),
        }
    }
}

fn faults(world: &World, steps: &mut Vec<Step>) {
    let all: Vec<Node> = world.nodes().collect();
    steps.extend((world.cuts != 0).then_some(Step::Heal));
    steps.extend(all.iter().any(|a| !world.machines[*a].api).then_some(Step::HealApi));
    steps.extend(all.iter().any(|a| world.machines[*a].list != List::Whole).then_some(Step::HealLists));
    steps.extend(all.iter().filter(|a| world.machines[**a].hung).map(|a| Step::GoOn(*a)));
    steps.extend(all.iter().filter(|a| !world.machines[**a].up).map(|a| Step::Restart(*a)));
    if world.faults_left == 0 {
        return;
    }
    for a in all.iter().copied() {
        let me = &world.machines[a];
        if !me.up {
            steps.push(Step::RestartDeaf(a));
            steps.extend(world.kinds.membership.then_some(Step::Replace(a)));
            continue;
        }
        steps.push(Step::Crash(a));
        if me.hung {
            continue;
        }
        steps.extend(world.kinds.hangs.then_some(Step::Hang(a)));
        if world.kinds.membership && me.list == List::Whole {
            steps.extend([Step::SpoilList(a, List::Omits), Step::SpoilList(a, List::Fails)]);
        }
        steps.extend(me.is_master().then_some(Step::RestartAgent(a)));
        steps.extend((!me.is_master() && world.hears_a_master(a)).then_some(Step::Stall(a)));
        steps.extend(me.api.then_some(Step::CutApi(a)));
        let linked = all.iter().copied().filter(|b| a < *b && world.cuts & World::link(a, *b) == 0);
        steps.extend(linked.map(|b| Step::Cut(a, b)));
    }
    for table in 0..world.routes.len() {
        steps.push(Step::Meddle(table, Truth::Nowhere));
        steps.push(Step::Meddle(table, Truth::Stranger));
    }
}

fn break_or_mend(world: &mut World, step: Step) {
    match step {
        Step::Heal => world.cuts = 0,
        Step::HealApi => world.machines.iter_mut().for_each(|machine| machine.api = true),
        Step::HealLists => world.machines.iter_mut().for_each(|machine| machine.list = List::Whole),
        Step::GoOn(a) => world.machines[a].hung = false,
        Step::Restart(a) => restart(world, a),
        _ => world.fault(),
    }
    world.changes = 0;
    if let Step::Crash(a) | Step::Hang(a) | Step::CutApi(a) | Step::RestartAgent(a) = step {
        world.break_ownership(a);
    }
    match step {
        Step::Crash(a) => (world.machines[a].up, world.machines[a].hung) = (false, false),
        Step::Replace(a) => {
            restart(world, a);
            world.machines.iter_mut().for_each(|machine| machine.knows &= !(1 << a));
            (world.machines[a].knows, world.machines[a].listed) = (1 << a, false);
        }
        Step::Hang(a) => world.machines[a].hung = true,
        Step::SpoilList(a, list) => world.machines[a].list = list,
        Step::RestartDeaf(a) => {
            restart(world, a);
            world.elect(a);
        }
        Step::RestartAgent(a) => {
            world.machines[a].writes.fill(None);
            world.machines[a].begin(Standing::Resumed);
        }
        Step::Stall(a) => world.stall(a),
        Step::Cut(a, b) => world.cuts |= World::link(a, b),
        Step::CutApi(a) => world.machines[a].api = false,
        Step::Meddle(table, truth) => {
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
