//! The state of the modelled world: nodes, keepalived's elections, route tables, the API, and the faults of each. Ids
//! are small numbers, so that a state takes little memory.

use std::cmp::Reverse;

use agent::ownership::decide::{How, Standing};

/// A node's number. A lower number has a higher priority.
pub type Node = usize;

/// Where a route truly leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truth {
    Nowhere,
    Stranger,
    At(Node),
}

/// The phase of the agent's loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It collects what the decision needs.
    Thinking,
    /// Writes are under way.
    Writing { then_wait: bool },
    /// It reads the signs of life of silent peers.
    Waiting,
    /// It waits for the next read of the routes.
    Resting,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Seen {
    Due,
    Failed,
    Routes(Vec<Truth>),
}

/// A node's evidence about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Heard {
    pub word: agent::ownership::decide::Word,
    pub quiet: u8,
    pub dark: u8,
}

/// The API's answers to a node's reads of the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    Whole,
    /// The list shows only that node, but it can look up an interface's owner.
    Omits,
    /// No read is answered, so no interface's owner is known.
    Fails,
}

/// Optional kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kinds {
    /// Reads of the members fail or omit others, and nodes are replaced.
    pub membership: bool,
    /// Machines hang and continue.
    pub hangs: bool,
    /// A MASTER that gets complaints about its path hands over, whether they are true or not.
    pub complaints: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    pub up: bool,
    /// The machine hangs, and may continue.
    pub hung: bool,
    pub api: bool,
    pub list: List,
    /// Whether it has ever read the list.
    pub listed: bool,
    /// One bit per node: the members that it knows. It sends them advertisements, and can ask them.
    pub knows: u8,
    pub heard_another: bool,
    pub standing: Standing,
    pub yielding: bool,
    /// As far as it knows all routes lead here, so it wins elections.
    pub settled: bool,
    /// It became MASTER because it stood still.
    pub stalled: bool,
    pub phase: Phase,
    pub seen: Seen,
    pub peers: Vec<Heard>,
    /// The routes of the last read in this term. A route that moved to a peer since is that peer's sign of life.
    pub known: Option<Vec<Truth>>,
    /// One bit per table: another node was its healthy owner at the last read of the routes.
    pub owned: u8,
    /// The same at the last two reads of the signs of life.
    pub owned_before: [u8; 2],
    pub writes: Vec<Option<How>>,
    /// One bit per table: the node decided to take its route, and hasn't had it since.
    pub owed: u8,
    /// The last read was out of date, so the next one isn't: it is later than any answer can be old.
    pub misled: bool,
    /// The same for reads of the signs of life.
    pub misled_by_signs: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub machines: Vec<Machine>,
    /// Bit `a * 4 + b`, a < b: nodes a and b don't hear each other.
    pub cuts: u16,
    pub routes: Vec<Truth>,
    /// The routes before their last changes: the content of an answer that is out of date.
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

    /// Whether it is MASTER and reports itself as the owner.
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

    /// Whether it can look up an interface's owner.
    pub fn identifies(&self) -> bool {
        self.api && self.list != List::Fails
    }

    /// Whether it can read the members' tags.
    pub fn reads_tags(&self) -> bool {
        self.api && self.list == List::Whole
    }

    pub fn writing(&self) -> bool {
        self.writes.iter().any(Option::is_some)
    }

    /// Node `me` reads the routes.
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

    /// keepalived reports MASTER, or the agent restarts in that state.
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

    /// keepalived reports BACKUP.
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

    /// All nodes have just booted, and there are no routes.
    pub fn new(nodes: usize, tables: usize, faults: u8, slips: u8) -> World {
        World::of(vec![Machine::booted(nodes, tables); nodes], vec![Truth::Nowhere; tables], faults, slips)
    }

    /// Node 0 is MASTER and has the routes; node 1 was just launched. Neither knows the other, and no read of the
    /// members is answered.
    pub fn newcomer(tables: usize, faults: u8, slips: u8) -> World {
        let mut world = World::calm(2, tables, faults, slips);
        world.machines[0].knows = 1;
        world.machines[1] = Machine { listed: false, knows: 2, ..Machine::booted(2, tables) };
        world.machines.iter_mut().for_each(|machine| machine.list = List::Fails);
        world
    }

    /// The same world with these kinds of faults.
    pub fn with(self, kinds: Kinds) -> World {
        World { kinds, ..self }
    }

    fn of(machines: Vec<Machine>, routes: Vec<Truth>, faults_left: u8, slips_left: u8) -> World {
        let (before, kinds) = (routes.clone(), Kinds { membership: false, hangs: false, complaints: false });
        World { machines, cuts: 0, routes, before, kinds, faults_left, slips_left, changes: 0, robbed: false }
    }

    pub fn nodes(&self) -> std::ops::Range<Node> {
        0..self.machines.len()
    }

    /// Whether `a` and `b` are live and packets pass between them.
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

    /// Whether `a` reads a sign of life of `b`. An owner shows one while a peer that it knows is silent.
    pub fn shows(&self, a: Node, b: Node) -> bool {
        let (reader, owner) = (&self.machines[a], &self.machines[b]);
        reader.reads_tags() && owner.lives() && owner.owns() && owner.api && owner.knows(a)
    }

    /// Whether `table` leads to a live owner other than `a` that reaches the API, and `a` can learn that: it reaches
    /// the owner, or reads its sign of life.
    pub fn has_healthy_owner(&self, table: usize, a: Node) -> bool {
        let healthy = |b: Node| b != a && self.machines[b].lives() && self.machines[b].owns() && self.machines[b].api;
        matches!(self.routes[table], Truth::At(b) if healthy(b) && (self.reaches(a, b) || self.shows(a, b)))
    }

    /// The tables, as bits, that have a healthy owner other than `a`.
    pub fn owned(&self, a: Node) -> u8 {
        let owned = (0..self.routes.len()).filter(|table| self.has_healthy_owner(*table, a));
        owned.fold(0, |bits, table| bits | 1 << table)
    }

    /// Interrupts the ownership of `owner`: no other node has seen it as the healthy owner all the while.
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

    /// Node `a` reads the list, which shows every running machine. It looks up known members that the list omits, and
    /// keeps them.
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

    /// Node `a` becomes MASTER because it stood still and heard no advertisements.
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
