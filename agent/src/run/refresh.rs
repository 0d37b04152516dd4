//! Keeps what is known of the API fresh: the peers, and the list of route tables that a takeover goes by.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, watch};

use super::pace::{self, Read, Situation};
use crate::configure::{self, Node};
use crate::ec2::{Api, ApiError};
use crate::health::Bells;
use crate::known::{self, Keeper, Known};
use crate::members::{Member, Roster};
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
}

impl<T> Latest<T> {
    /// What was known before the first read.
    pub(super) fn before(all: Vec<T>) -> Self {
        Latest { all, turn: 0, answered: false }
    }

    /// Whether there was an answer since the `turn`th read.
    pub(super) fn is_answer_after(&self, turn: u64) -> bool {
        self.answered && self.turn > turn
    }

    fn take(&mut self, answer: Option<Vec<T>>) {
        self.turn += 1;
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
        for turn in 0.. {
            let situation = self.situation();
            let reads: &[Read] = tokio::select! {
                () = tokio::time::sleep(pace::pause(situation, rand::random())) => pace::reads(situation, turn),
                () = self.hints.bells.stranger.notified() => &[Read::Members],
                () = self.hints.members.notified() => &[Read::Members],
                () = self.hints.look.notified() => &[Read::Tables],
                () = elected(&self.board), if !situation.active => &[],
            };
            for read in reads {
                self.read(*read).await;
            }
        }
    }

    async fn read(&mut self, read: Read) {
        match read {
            Read::Members => {
                let members = self.observer.members().await;
                self.note(Topic::Members, &members);
                members.iter().for_each(|members| self.take_members(members.clone()));
                self.heard.send_modify(|latest| latest.take(members.ok()));
            }
            Read::Tables => {
                let tables = self.observer.tables().await;
                self.note(Topic::Tables, &tables);
                tables.iter().for_each(|tables| self.take_tables(tables.clone()));
                self.tables.send_modify(|latest| latest.take(tables.ok()));
            }
        }
    }

    fn situation(&mut self) -> Situation {
        let missing = !self.roster.complete(self.nodes) || !self.tables_read;
        let since = if missing { Some(*self.missing_since.get_or_insert_with(Instant::now)) } else { None };
        self.missing_since = since;
        Situation { active: self.board.read().is_active(), missing_for: since.map(|since| since.elapsed()) }
    }

    fn take_members(&mut self, members: Vec<Member>) {
        if self.roster.update(&members, self.me) {
            tracing::info!(peers = ?self.roster.peers(), "peers have changed");
            self.board.change(|state| state.peers = self.roster.peers());
        }
        // A peer that one read missed isn't forgotten yet, nor should an agent that is started again forget it.
        let peers = self.roster.peers();
        let missed = |member: &&Member| {
            peers.contains(&member.address) && !members.iter().any(|seen| seen.address == member.address)
        };
        let missed: Vec<Member> = self.known.members.iter().filter(missed).cloned().collect();
        let members = [members, missed].concat();
        if self.known.members != members {
            self.known.members = members;
            self.remember();
        }
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

    fn note<T>(&self, topic: Topic, answer: &Result<T, ApiError>) {
        let problem = answer.as_ref().err().map(configure::unreadable);
        if let Some(problem) = &problem {
            tracing::warn!("{problem}");
        }
        self.board.problem(topic, problem);
    }

    fn remember(&self) {
        self.keeper.keep(&self.known);
    }
}

/// Until this node is active: what it would have slept as a standby is longer than its routes may be wrong.
async fn elected(board: &Board) {
    // The board lives as long as the agent.
    let _ = board.subscribe().wait_for(State::is_active).await;
}
