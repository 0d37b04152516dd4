//! The world that the decision is let loose on: nodes, keepalived's elections, route tables, the API, and what can go
//! wrong with each. Small numbers stand for ids, so that a state is cheap to keep.

use std::cmp::Reverse;

use agent::ownership::decide::{How, Standing};

/// A node's number; the lower, the higher its priority.
pub type Node = usize;

/// Where a route truly leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truth {
    Nowhere,
    Stranger,
    At(Node),
}

/// What the node's agent is about, as its loop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Collecting what the decision asks for.
    Thinking,
    /// Writes are under way.
    Writing { then_wait: bool },
    /// Reading whether silent peers give signs of life.
    Waiting,
    /// Until the next look is due.
    Resting,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Seen {
    Due,
    Failed,
    Routes(Vec<Truth>),
}

/// A peer as a node knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Heard {
    pub word: agent::ownership::decide::Word,
    pub quiet: u8,
    pub dark: u8,
}

/// How the API answers a node's reads of the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    Whole,
    /// The list shows that node alone; an interface's owner can be looked up.
    Omits,
    /// No read is answered, and no interface's owner is known.
    Fails,
}

/// The faults that a schedule may have beside those of every schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kinds {
    /// Reads of the members that fail, or omit others; nodes that are replaced.
    pub membership: bool,
    /// Machines that hang, and go on.
    pub hangs: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    pub up: bool,
    /// Nothing on it moves; it may go on.
    pub hung: bool,
    pub api: bool,
    pub list: List,
    /// Whether it has ever read the list.
    pub listed: bool,
    /// Bit by node: the members that it knows. It sends them advertisements, and can ask them.
    pub knows: u8,
    pub heard_another: bool,
    pub standing: Standing,
    pub yielding: bool,
    /// All routes lead here as far as it knows, so that it stands above the others in elections.
    pub settled: bool,
    /// It is MASTER because it stood still.
    pub stalled: bool,
    pub phase: Phase,
    pub seen: Seen,
    pub peers: Vec<Heard>,
    /// Where the routes led when it looked last, in this term; a route that has come to lead to a peer since is a sign of
    /// that peer's life.
    pub known: Option<Vec<Truth>>,
    /// Bit by table: another node was its healthy owner when this one last looked, and when it last read the signs of
    /// life, and the time before.
    pub owned: u8,
    pub owned_before: [u8; 2],
    pub writes: Vec<Option<How>>,
    /// Bit by table: what it set out to take and hasn't had since.
    pub owed: u8,
    /// The last look was out of date; the next, later than any answer can be old, is not.
    pub misled: bool,
    /// The same of the signs of life.
    pub misled_by_signs: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub machines: Vec<Machine>,
    /// Bit `a * 4 + b`, a < b: nodes a and b don't hear each other.
    pub cuts: u16,
    pub routes: Vec<Truth>,
    /// Where each led before it was last changed: what an answer out of date says.
    pub before: Vec<Truth>,
    pub kinds: Kinds,
    pub faults_left: u8,
    pub slips_left: u8,
    /// Changes of routes since the last fault.
    pub changes: u8,
    /// A booted node decided to take a route from a healthy owner.
    pub robbed: bool,
}

impl Machine {
    pub fn booted(nodes: usize, tables: usize) -> Machine {
        Machine {
            up: true,
            hung: false,
            api: true,
            list: List::Whole,
            listed: true,
            knows: (1 << nodes) - 1,
            heard_another: false,
            standing: Standing::Aside,
            yielding: false,
            settled: false,
            stalled: false,
            phase: Phase::Resting,
            seen: Seen::Due,
            peers: vec![Heard { word: agent::ownership::decide::Word::Silent(0), quiet: 0, dark: 0 }; nodes],
            known: None,
            owned: 0,
            owned_before: [u8::MAX; 2],
            writes: vec![None; tables],
            owed: 0,
            misled: false,
            misled_by_signs: false,
        }
    }

    pub fn is_master(&self) -> bool {
        self.up && self.standing != Standing::Aside
    }

    /// MASTER, and sure of it.
    pub fn owns(&self) -> bool {
        self.is_master() && matches!(self.standing, Standing::Holding | Standing::Elected)
    }

    /// Up, and not hanging.
    pub fn lives(&self) -> bool {
        self.up && !self.hung
    }

    pub fn knows(&self, peer: Node) -> bool {
        self.knows & 1 << peer != 0
    }

    /// Whether it can tell whose an interface is.
    pub fn identifies(&self) -> bool {
        self.api && self.list != List::Fails
    }

    /// Whether it can read what members say in their tags.
    pub fn reads_tags(&self) -> bool {
        self.api && self.list == List::Whole
    }

    pub fn writing(&self) -> bool {
        self.writes.iter().any(Option::is_some)
    }

    /// Node `me` looks at the routes.
    pub fn look(&mut self, me: Node, routes: Vec<Truth>) {
        for (table, truth) in routes.iter().enumerate() {
            if let (true, Truth::At(owner)) = (self.identifies(), truth) {
                self.knows |= 1 << owner;
            }
            if *truth == Truth::At(me) {
                self.owed &= !(1 << table);
            }
            let moved = self.known.as_ref().is_some_and(|known| known[table] != *truth);
            if let (true, Truth::At(peer)) = (moved, truth) {
                self.peers[*peer].quiet = 0;
                self.peers[*peer].dark = 0;
            }
        }
        self.known = Some(routes.clone());
        self.seen = Seen::Routes(routes);
    }

    pub fn forget(&mut self) {
        self.owned = 0;
        self.seen = Seen::Due;
        for peer in &mut self.peers {
            peer.word = agent::ownership::decide::Word::Silent(0);
        }
    }

    /// keepalived says MASTER, or the agent is restarted in that state.
    pub fn begin(&mut self, standing: Standing) {
        self.standing = standing;
        self.phase = Phase::Thinking;
        self.yielding = false;
        self.settled = false;
        self.stalled = false;
        self.misled = false;
        self.misled_by_signs = false;
        self.known = None;
        self.owed = 0;
        self.owned_before = [u8::MAX; 2];
        self.peers.iter_mut().for_each(|peer| (peer.quiet, peer.dark) = (0, 0));
        self.forget();
    }

    /// keepalived says BACKUP.
    pub fn end(&mut self) {
        self.begin(Standing::Aside);
        self.phase = Phase::Resting;
        self.heard_another = true;
    }
}

impl World {
    /// Node 0 is MASTER and has the routes; the others hear it.
    pub fn calm(nodes: usize, tables: usize, faults: u8, slips: u8) -> World {
        let mut machines = vec![Machine::booted(nodes, tables); nodes];
        machines.iter_mut().for_each(|machine| machine.heard_another = true);
        machines[0].standing = Standing::Holding;
        machines[0].settled = true;
        World::of(machines, vec![Truth::At(0); tables], faults, slips)
    }

    /// Everybody has just booted, and no route is there.
    pub fn new(nodes: usize, tables: usize, faults: u8, slips: u8) -> World {
        World::of(vec![Machine::booted(nodes, tables); nodes], vec![Truth::Nowhere; tables], faults, slips)
    }

    /// Node 0 is MASTER and has the routes; node 1 was just launched. No read of the members is answered, and neither knows
    /// the other.
    pub fn newcomer(tables: usize, faults: u8, slips: u8) -> World {
        let mut world = World::calm(2, tables, faults, slips);
        world.machines[0].knows = 1;
        world.machines[1] = Machine { listed: false, knows: 2, ..Machine::booted(2, tables) };
        world.machines.iter_mut().for_each(|machine| machine.list = List::Fails);
        world
    }

    /// The same world with these faults, too.
    pub fn with(self, kinds: Kinds) -> World {
        World { kinds, ..self }
    }

    fn of(machines: Vec<Machine>, routes: Vec<Truth>, faults_left: u8, slips_left: u8) -> World {
        let (before, kinds) = (routes.clone(), Kinds { membership: false, hangs: false });
        World { machines, cuts: 0, routes, before, kinds, faults_left, slips_left, changes: 0, robbed: false }
    }

    pub fn nodes(&self) -> std::ops::Range<Node> {
        0..self.machines.len()
    }

    /// Whether packets pass between two nodes that live.
    pub fn reaches(&self, a: Node, b: Node) -> bool {
        a != b && self.machines[a].lives() && self.machines[b].lives() && self.cuts & World::link(a, b) == 0
    }

    /// Whether `a` gets an answer from `b`.
    pub fn answers(&self, a: Node, b: Node) -> bool {
        self.reaches(a, b) && self.machines[a].knows(b)
    }

    /// Whether `a` hears the advertisements of `b`.
    pub fn hears(&self, a: Node, b: Node) -> bool {
        self.reaches(a, b) && self.machines[b].knows(a)
    }

    /// Whether `a` reads a sign of life of `b`: an owner gives one if a peer that it knows is silent.
    pub fn shows(&self, a: Node, b: Node) -> bool {
        let (reader, owner) = (&self.machines[a], &self.machines[b]);
        reader.reads_tags() && owner.lives() && owner.owns() && owner.api && owner.knows(a)
    }

    /// Whether `table` leads to a node other than `a` that is MASTER, serves, and reaches the API, and `a` can find that
    /// out: one way leads between them, or they know each other through the API.
    pub fn has_healthy_owner(&self, table: usize, a: Node) -> bool {
        let healthy = |b: Node| b != a && self.machines[b].lives() && self.machines[b].owns() && self.machines[b].api;
        matches!(self.routes[table], Truth::At(b) if healthy(b) && (self.reaches(a, b) || self.shows(a, b)))
    }

    /// The tables, as bits, that have a healthy owner other than `a`.
    pub fn owned(&self, a: Node) -> u8 {
        let owned = (0..self.routes.len()).filter(|table| self.has_healthy_owner(*table, a));
        owned.fold(0, |bits, table| bits | 1 << table)
    }

    /// What `owner` has owned so far it hasn't owned all the while.
    pub fn break_ownership(&mut self, owner: Node) {
        for table in (0..self.routes.len()).filter(|table| self.routes[*table] == Truth::At(owner)) {
            for machine in &mut self.machines {
                machine.owned &= !(1 << table);
                machine.owned_before.iter_mut().for_each(|bits| *bits &= !(1 << table));
            }
        }
    }

    pub fn link(a: Node, b: Node) -> u16 {
        1 << (a.min(b) * 4 + a.max(b))
    }

    pub fn hears_a_master(&self, a: Node) -> bool {
        self.nodes().any(|b| self.hears(a, b) && self.machines[b].is_master())
    }

    /// Node `a` reads the list: it shows every machine that EC2 calls running. One that it knows and the list omits it looks
    /// up, and keeps.
    pub fn list(&mut self, a: Node) {
        let all = (1 << self.machines.len()) - 1;
        let me = &mut self.machines[a];
        match me.list {
            List::Whole => (me.knows, me.listed) = (all, true),
            List::Omits => me.listed = true,
            List::Fails => {}
        }
    }

    /// VRRP: the higher priority wins.
    pub fn must_step_down(&self, a: Node) -> bool {
        let priority = |node: Node| (self.machines[node].settled, Reverse(node));
        let above = |b| self.hears(a, b) && self.machines[b].is_master() && priority(b) > priority(a);
        self.machines[a].is_master() && self.nodes().any(above)
    }

    /// A node becomes MASTER as it stood still and thinks that it heard nobody.
    pub fn stall(&mut self, a: Node) {
        self.elect(a);
        self.machines[a].stalled = true;
    }

    pub fn elect(&mut self, a: Node) {
        let standing = if self.machines[a].heard_another { Standing::Elected } else { Standing::First };
        self.machines[a].begin(standing);
    }

    /// A write of `a` reaches the API.
    pub fn write(&mut self, a: Node, table: usize, to: Truth, how: How) {
        let filled = how == How::Fill && self.routes[table] != Truth::Nowhere;
        if self.routes[table] != to && !filled {
            self.before[table] = self.routes[table];
            self.routes[table] = to;
            self.changes += 1;
        }
        if let (true, Some(known)) = (self.routes[table] == to, &mut self.machines[a].known) {
            known[table] = to;
        }
    }

    pub fn fault(&mut self) {
        self.faults_left -= 1;
        self.changes = 0;
    }
}
