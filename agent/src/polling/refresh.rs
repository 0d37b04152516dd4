//! Reads the members and the route tables from the API again and again, so that a takeover needs no read.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use templates::Balancer;
use tokio::sync::{Notify, watch};

use super::poll_schedule::{self, Read, Situation};
use super::retries::Retries;
use super::silent_peers::Silence;
use crate::aws::ec2::{Api, ApiError};
use crate::aws::ids::InterfaceId;
use crate::config::boot::{self, Node};
use crate::node::api_snapshot::{self, ApiSnapshot, Keeper};
use crate::node::members::{self, Member, Roster, Sighting};
use crate::node::observe::Observer;
use crate::node::state::{Board, State, Topic};
use crate::node::tables::{self, Table};
use crate::peers::Bells;

/// Reasons to read at once.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    /// Notifications from this node's health page.
    pub bells: Bells,
    /// Requests a read of the route tables.
    pub look: Notify,
    /// Requests a read of the members.
    pub members: Notify,
    /// A peer's answer changed, stopped or came back.
    pub peers: Arc<Notify>,
    /// Counts events that may have changed the owner.
    pub news: watch::Sender<u64>,
}

/// The API's last answer, and how many reads there were.
#[derive(Debug, Clone)]
pub(crate) struct Latest<T> {
    /// The last answer.
    pub all: Vec<T>,
    /// How many reads there were.
    pub turn: u64,
    /// Whether the last one was answered.
    pub answered: bool,
    /// When the last one began. It may not show later changes.
    pub began: Instant,
    /// Whether the whole list was ever read, also before a restart.
    pub listed: bool,
}

impl<T> Latest<T> {
    /// What was known before the first read.
    pub(crate) fn before(all: Vec<T>, listed: bool) -> Self {
        Latest { all, turn: 0, answered: false, began: Instant::now(), listed }
    }

    /// Whether the last read came after the `turn`th, and was answered.
    pub(crate) fn is_answer_after(&self, turn: u64) -> bool {
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

/// Reads the API on a schedule that suits the situation.
pub(crate) struct Refresher {
    observer: Observer,
    api: Api,
    board: Board,
    me: Ipv4Addr,
    interface: InterfaceId,
    nodes: usize,
    vips: usize,
    roster: Roster,
    known: ApiSnapshot,
    keeper: Keeper,
    listed: bool,
    tables: watch::Sender<Latest<Table>>,
    heard: watch::Sender<Latest<Member>>,
    tables_read: bool,
    outdated: bool,
    hints: Arc<Hints>,
    balancer: watch::Receiver<Balancer>,
    missing_since: Option<Instant>,
    doubt_since: Option<Instant>,
    retries: Retries,
}

impl Refresher {
    /// Starts from what was read at boot.
    pub(crate) fn new(
        node: &Node,
        tables: watch::Sender<Latest<Table>>,
        heard: watch::Sender<Latest<Member>>,
        hints: Arc<Hints>,
        balancer: watch::Receiver<Balancer>,
    ) -> Self {
        Refresher {
            observer: node.observer.clone(),
            api: node.api.clone(),
            board: node.board.clone(),
            me: node.facts.address,
            interface: node.facts.interface.clone(),
            nodes: node.local.balancer.subnets.len(),
            vips: node.local.balancer.virtual_ips.len(),
            roster: node.roster.clone(),
            known: ApiSnapshot {
                instance: node.facts.instance.clone(),
                members: node.members.clone(),
                tables: node.tables.clone().unwrap_or_default(),
            },
            keeper: Keeper::new(api_snapshot::PATH.into()),
            listed: node.listed,
            tables,
            heard,
            tables_read: node.tables.is_some(),
            outdated: node.outdated,
            hints,
            balancer,
            missing_since: None,
            doubt_since: None,
            retries: failed_at_boot(&node.board.read()),
        }
    }

    pub(crate) async fn run(mut self) {
        self.remember();
        self.api.prepare_for(self.known.tables.len() * self.vips);
        if self.outdated {
            self.read(Read::Tables).await;
            self.read(Read::Members).await;
        }
        // A requested read of the members doesn't delay the scheduled read.
        let (mut turn, mut chance, mut since) = (0, rand::random(), Instant::now());
        let mut silence = Silence::of(&self.board);
        loop {
            let situation = self.situation();
            let due = since + poll_schedule::pause(situation, chance);
            let again = self.retries.next();
            let reads = tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {
                    turn += 1;
                    (chance, since) = (rand::random(), Instant::now());
                    poll_schedule::reads(situation, turn).to_vec()
                }
                () = tokio::time::sleep_until(again.unwrap_or(due).into()), if again.is_some() => {
                    self.retries.due(Instant::now())
                }
                () = self.hints.bells.stranger.notified() => vec![Read::Members],
                () = self.hints.members.notified() => vec![Read::Members],
                () = silence.asks() => vec![Read::Members],
                () = self.hints.look.notified() => {
                    // However often looks are requested, the members get their turn.
                    turn += 1;
                    since = Instant::now();
                    let scheduled = poll_schedule::reads(situation, turn).iter().filter(|read| **read == Read::Members);
                    [Read::Tables].into_iter().chain(scheduled.copied()).collect()
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
                let sighting = self.observer.members(&self.known.members).await;
                self.note(read, sighting.as_ref().map_or_else(Some, |sighting| sighting.trouble.as_ref()));
                let sighting = match sighting {
                    Ok(sighting) => Some(self.with_found(sighting).await),
                    Err(_) => None,
                };
                let whole = sighting.as_ref().is_some_and(|sighting| sighting.whole);
                self.listed |= whole;
                let members = sighting.map(|sighting| self.take_members(sighting));
                self.heard.send_modify(|latest| {
                    latest.take(members, began);
                    latest.listed |= whole;
                });
            }
            Read::Tables => {
                let tables = self.observer.tables().await;
                self.note(read, tables.as_ref().err());
                let tables = match tables {
                    Ok(tables) => Some(self.take_tables(tables).await),
                    Err(_) => None,
                };
                self.tables.send_modify(|latest| latest.take(tables, began));
            }
        }
    }

    /// A member that a read has just missed restarts the fast reads, however long another one has been missing.
    fn situation(&mut self) -> Situation {
        let missing = !self.roster.complete(self.nodes) || !self.tables_read;
        let missing_for = lasts(&mut self.missing_since, missing);
        let doubt = lasts(&mut self.doubt_since, self.roster.doubts());
        let route_check = self.balancer.borrow().failover.route_check().duration();
        Situation { active: self.board.read().is_active(), missing_for: doubt.or(missing_for), route_check }
    }

    /// Takes in a read; returns the members by this read and the ones before.
    fn take_members(&mut self, sighting: Sighting) -> Vec<Member> {
        if self.roster.update(&sighting, self.me) {
            tracing::info!(peers = ?self.roster.peers(), "peers changed");
            self.board.change(|state| state.peers = self.roster.peers());
        }
        // A restarted agent mustn't forget a peer that one read missed, either.
        let members = self.roster.with_missed(sighting.members, &self.known.members);
        let ending = members.iter().filter(|member| member.ending).map(|member| member.address).collect();
        self.board.change(|state| (state.ending, state.instances) = (ending, members::instances(&members)));
        if self.known.members != members {
            self.known.members = members.clone();
            self.remember();
        }
        members
    }

    async fn take_tables(&mut self, mut tables: Vec<Table>) -> Vec<Table> {
        self.tables_read = true;
        self.identify(&mut tables).await;
        self.api.prepare_for(tables.len() * self.vips);
        self.board.change(|state| state.route_tables = tables.iter().map(|table| table.id.clone()).collect());
        if self.known.tables != tables {
            self.known.tables = tables.clone();
            self.remember();
        }
        tables
    }

    /// Adds members that a list lacks although their interfaces exist: their security groups changed, or the list is
    /// wrong. Without them, two nodes that don't know each other could become active.
    async fn with_found(&self, mut sighting: Sighting) -> Sighting {
        let seen = |one: &Member| sighting.members.iter().any(|other| other.instance == one.instance);
        let missed = self.known.members.iter().filter(|one| one.address != self.me && !seen(one));
        let missed: Vec<InterfaceId> = missed.map(|one| one.interface.clone()).collect();
        if sighting.whole && !missed.is_empty() {
            match self.observer.identify(&missed, &self.known.members).await {
                Ok(identified) => sighting.members.extend(identified.ours),
                Err(error) => {
                    tracing::warn!(interfaces = ?missed, %error, "cannot look up members that the list lacks")
                }
            }
        }
        sighting
    }

    /// Looks up the unknown interfaces that routes lead to. A node's interface makes the node a member, any other is
    /// marked as a stranger. A route to an interface that the API doesn't show is left alone.
    async fn identify(&mut self, tables: &mut [Table]) {
        let members = &self.known.members;
        let known = |to: &InterfaceId| *to == self.interface || members.iter().any(|one| one.interface == *to);
        let unknown = tables::unknown(tables, known);
        if unknown.is_empty() {
            return;
        }
        match self.observer.identify(&unknown, members).await {
            Ok(identified) => {
                tables::mark(tables, &identified.strangers);
                if !identified.ours.is_empty() {
                    let members = self.take_members(Sighting::of(identified.ours));
                    self.heard.send_modify(|latest| latest.all = members);
                }
            }
            Err(error) => {
                tracing::warn!(interfaces = ?unknown, %error, "cannot look up interfaces in routes; leaving these routes alone")
            }
        }
    }

    /// Records that a read was answered, or failed with `trouble`.
    fn note(&mut self, read: Read, trouble: Option<&ApiError>) {
        self.retries.note(read, trouble.is_none(), Instant::now());
        let problem = trouble.map(boot::unreadable);
        match &problem {
            Some(problem) => tracing::warn!("{problem}"),
            None => self.board.change(|state| state.read.extend([(topic(read), Instant::now())])),
        }
        self.board.problem(topic(read), problem);
    }

    /// Saves the members and tables, once the list of members was read: a restarted agent takes a saved list as read.
    fn remember(&self) {
        if self.listed {
            self.keeper.keep(&self.known);
        }
    }
}

fn topic(read: Read) -> Topic {
    match read {
        Read::Members => Topic::Members,
        Read::Tables => Topic::Tables,
    }
}

/// Retries of the reads that failed at boot.
fn failed_at_boot(state: &State) -> Retries {
    let mut retries = Retries::default();
    let failed = |read: &Read| state.problems.contains_key(&topic(*read));
    let reads = [Read::Members, Read::Tables].into_iter().filter(failed);
    reads.for_each(|read| retries.note(read, false, Instant::now()));
    retries
}

/// How long a condition has held; `since` stores when it began.
fn lasts(since: &mut Option<Instant>, holds: bool) -> Option<Duration> {
    *since = holds.then(|| since.unwrap_or_else(Instant::now));
    since.map(|since| since.elapsed())
}

/// Waits until this node is active: its pause as a standby is longer than its routes may be wrong.
async fn elected(board: &Board) {
    // The board lives as long as the agent.
    let _ = board.subscribe().wait_for(State::is_active).await;
}
