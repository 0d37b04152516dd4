//! Keeps what is known of the API fresh: the peers, and the list of route tables that a takeover goes by.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::pace::{self, Read, Situation};
use super::retries::Retries;
use super::silence::Silence;
use crate::configure::{self, Node};
use crate::ec2::{Api, ApiError, Kind};
use crate::health::Bells;
use crate::known::{self, Keeper, Known};
use crate::members::{self, Member, Roster};
use crate::observe::Observer;
use crate::state::{Board, State, Topic};
use crate::tables::Table;

/// What makes a read worth it at once.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// Who visits this node's health page.
    pub bells: Bells,
    /// Somebody wants to know where the routes lead.
    pub look: Notify,
    /// Somebody wants to know the members' signs of life.
    pub members: Notify,
    /// A peer answers something else than before, or no more, or again.
    pub peers: Arc<Notify>,
    /// Counts what may have made another node the owner, or this one.
    pub news: watch::Sender<u64>,
}

/// What the API said last, and how often it was asked.
#[derive(Debug, Clone)]
pub(super) struct Latest<T> {
    /// The last answer.
    pub all: Vec<T>,
    /// How many reads there were.
    pub turn: u64,
    /// Whether the last one was answered.
    pub answered: bool,
    /// When the last one began: it needn't show what was done since.
    pub began: Instant,
}

impl<T> Latest<T> {
    /// What was known before the first read.
    pub(super) fn before(all: Vec<T>) -> Self {
        Latest { all, turn: 0, answered: false, began: Instant::now() }
    }

    /// Whether there was an answer since the `turn`th read.
    pub(super) fn is_answer_after(&self, turn: u64) -> bool {
        self.answered && self.turn > turn
    }

    fn take(&mut self, answer: Option<Vec<T>>, began: Instant) {
        self.turn += 1;
        self.began = began;
        self.answered = answer.is_some();
        if let Some(all) = answer {
            self.all = all;
        }
    }
}

/// Reads the API at a pace that suits the situation.
pub(super) struct Refresher {
    observer: Observer,
    api: Api,
    board: Board,
    me: Ipv4Addr,
    nodes: usize,
    vips: usize,
    roster: Roster,
    known: Known,
    keeper: Keeper,
    tables: watch::Sender<Latest<Table>>,
    heard: watch::Sender<Latest<Member>>,
    tables_read: bool,
    outdated: bool,
    hints: Arc<Hints>,
    missing_since: Option<Instant>,
    doubt_since: Option<Instant>,
    retries: Retries,
}

impl Refresher {
    /// Goes on from what the boot found.
    pub(super) fn new(
        node: &Node,
        tables: watch::Sender<Latest<Table>>,
        heard: watch::Sender<Latest<Member>>,
        hints: Arc<Hints>,
    ) -> Self {
        Refresher {
            observer: node.observer.clone(),
            api: node.api.clone(),
            board: node.board.clone(),
            me: node.facts.address,
            nodes: node.local.balancer.subnets.len(),
            vips: node.local.balancer.virtual_ips.len(),
            roster: node.roster.clone(),
            known: Known {
                instance: node.facts.instance.clone(),
                members: node.members.clone(),
                tables: node.tables.clone().unwrap_or_default(),
            },
            keeper: Keeper::new(known::PATH.into()),
            tables,
            heard,
            tables_read: node.tables.is_some(),
            outdated: node.outdated,
            hints,
            missing_since: None,
            doubt_since: None,
            retries: failed_at_boot(&node.board.read()),
        }
    }

    /// Reads for ever.
    pub(super) async fn run(mut self) {
        self.remember();
        self.api.prepare_for(self.known.tables.len() * self.vips);
        if self.outdated {
            self.read(Read::Tables).await;
            self.read(Read::Members).await;
        }
        // Whoever asks for something between doesn't put off what is due.
        let (mut turn, mut chance, mut since) = (0, rand::random(), Instant::now());
        let mut silence = Silence::of(&self.board);
        loop {
            let situation = self.situation();
            let due = since + pace::pause(situation, chance);
            let again = self.retries.next();
            let reads = tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {
                    turn += 1;
                    (chance, since) = (rand::random(), Instant::now());
                    pace::reads(situation, turn).to_vec()
                }
                () = tokio::time::sleep_until(again.unwrap_or(due).into()), if again.is_some() => {
                    self.retries.due(Instant::now())
                }
                () = self.hints.bells.stranger.notified() => vec![Read::Members],
                () = self.hints.members.notified() => vec![Read::Members],
                () = silence.asks() => vec![Read::Members],
                () = self.hints.look.notified() => {
                    since = Instant::now();
                    vec![Read::Tables]
                }
                () = elected(&self.board), if !situation.active => {
                    since = Instant::now();
                    vec![]
                }
            };
            for read in reads {
                self.read(read).await;
            }
        }
    }

    async fn read(&mut self, read: Read) {
        let began = Instant::now();
        match read {
            Read::Members => {
                let members = self.observer.members().await;
                self.note(read, &members);
                let members = members.ok().map(|members| self.take_members(members));
                self.heard.send_modify(|latest| latest.take(members, began));
            }
            Read::Tables => {
                let tables = self.observer.tables().await;
                self.note(read, &tables);
                tables.iter().for_each(|tables| self.take_tables(tables.clone()));
                self.tables.send_modify(|latest| latest.take(tables.ok(), began));
            }
        }
    }

    /// Whoever was there a moment ago is looked for anew, however long another has been missing.
    fn situation(&mut self) -> Situation {
        let missing = !self.roster.complete(self.nodes) || !self.tables_read;
        let missing_for = lasts(&mut self.missing_since, missing);
        let doubt = lasts(&mut self.doubt_since, self.roster.doubts());
        Situation { active: self.board.read().is_active(), missing_for: doubt.or(missing_for) }
    }

    /// Takes in a read; those who belong to the balancer by this and the reads before.
    fn take_members(&mut self, members: Vec<Member>) -> Vec<Member> {
        if self.roster.update(&members, self.me) {
            tracing::info!(peers = ?self.roster.peers(), "peers have changed");
            self.board.change(|state| state.peers = self.roster.peers());
        }
        // An agent that is started again shouldn't forget a peer that one read missed, either.
        let members = self.roster.with_missed(members, &self.known.members);
        let ending = members.iter().filter(|member| member.ending).map(|member| member.address).collect();
        self.board.change(|state| (state.ending, state.instances) = (ending, members::instances(&members)));
        if self.known.members != members {
            self.known.members = members.clone();
            self.remember();
        }
        members
    }

    fn take_tables(&mut self, tables: Vec<Table>) {
        self.tables_read = true;
        self.api.prepare_for(tables.len() * self.vips);
        self.board.change(|state| state.route_tables = tables.iter().map(|table| table.id.clone()).collect());
        if self.known.tables != tables {
            self.known.tables = tables;
            self.remember();
        }
    }

    fn note<T>(&mut self, read: Read, answer: &Result<T, ApiError>) {
        self.retries.note(read, answer.is_ok(), Instant::now());
        let problem = answer.as_ref().err().map(configure::unreadable);
        if let Some(problem) = &problem {
            tracing::warn!("{problem}");
        }
        let throttled = answer.as_ref().is_err_and(|error| error.kind == Kind::Throttled);
        self.board.change(|state| {
            if throttled {
                state.throttled.insert(topic(read))
            } else {
                state.throttled.remove(&topic(read))
            };
        });
        self.board.problem(topic(read), problem);
    }

    fn remember(&self) {
        self.keeper.keep(&self.known);
    }
}

fn topic(read: Read) -> Topic {
    match read {
        Read::Members => Topic::Members,
        Read::Tables => Topic::Tables,
    }
}

/// What couldn't be read at boot is read again soon.
fn failed_at_boot(state: &State) -> Retries {
    let mut retries = Retries::default();
    let failed = |read: &Read| state.problems.contains_key(&topic(*read));
    let reads = [Read::Members, Read::Tables].into_iter().filter(failed);
    reads.for_each(|read| retries.note(read, false, Instant::now()));
    retries
}

/// For how long something `holds`; `since` remembers.
fn lasts(since: &mut Option<Instant>, holds: bool) -> Option<Duration> {
    *since = holds.then(|| since.unwrap_or_else(Instant::now));
    since.map(|since| since.elapsed())
}

/// Until this node is active: what it would have slept as a standby is longer than its routes may be wrong.
async fn elected(board: &Board) {
    // The board lives as long as the agent.
    let _ = board.subscribe().wait_for(State::is_active).await;
}
