//! keepalived elects; the routes follow, from the moment its word is read.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use aws_sdk_ec2::Client;
use templates::Role;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::refresh::Hints;
use crate::configure::Node;
use crate::haproxy::Serves;
use crate::ids::InterfaceId;
use crate::keepalived::{Event, Fifo, VrrpState};
use crate::logs::CONSOLE;
use crate::loopback;
use crate::state::{Board, Topic};
use crate::tables::{self, Table};
use crate::takeover::{self, Route};

/// The virtual IPs, and who is being moved where.
pub(super) struct Elections {
    client: Client,
    interface: InterfaceId,
    board: Board,
    vips: Vec<Ipv4Addr>,
    tables: watch::Receiver<Vec<Table>>,
    hints: Arc<Hints>,
    running: Vec<Option<Running>>,
}

/// A takeover under way. Dropped, it ends: routes are moved for as long as this node is MASTER, and not longer.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Elections {
    pub(super) fn new(node: &Node, tables: watch::Receiver<Vec<Table>>, hints: Arc<Hints>) -> Self {
        let vips = node.local.balancer.virtual_ips.clone();
        Elections {
            client: node.api.client.clone(),
            interface: node.facts.interface.clone(),
            board: node.board.clone(),
            running: vips.iter().map(|_| None).collect(),
            vips,
            tables,
            hints,
        }
    }

    /// Follows keepalived for ever. `reloaded` is woken when its configuration has changed; `resumed` says that it
    /// ran before this agent did, and has said everything already.
    pub(super) async fn follow(mut self, mut fifo: Fifo, reloaded: Arc<Notify>, resumed: bool) -> anyhow::Result<()> {
        if resumed {
            self.resume().await?;
        }
        loop {
            tokio::select! {
                biased;
                event = fifo.next() => self.hear(event.context("reading keepalived's FIFO")?),
                // While keepalived learned of a peer, that peer may have thought itself alone.
                () = reloaded.notified() => self.each_active(Self::take_over),
                changed = self.tables.changed() => {
                    changed.context("nobody reads the route tables any more")?;
                    self.each_active(Self::fill_in);
                }
            }
        }
    }

    /// Learns from keepalived's tokens what it said before this agent started.
    async fn resume(&mut self) -> anyhow::Result<()> {
        let mastered = loopback::mastered(self.vips.len()).await?;
        let otherwise = match self.board.read().haproxy {
            Serves::Yes => VrrpState::Backup,
            Serves::No => VrrpState::Fault,
        };
        for vip in 0..self.vips.len() {
            let state = if mastered.contains(&vip) { VrrpState::Master } else { otherwise };
            tracing::info!(vip = %self.vips[vip], "vrrp was {state:?} when the agent started");
            self.follow_one(Event { vip, state });
        }
        Ok(())
    }

    fn hear(&mut self, event: Event) {
        let Some(address) = self.vips.get(event.vip).copied() else { return };
        // The first thing after the word was read: measurements count from here.
        match event.state {
            VrrpState::Master => tracing::info!(target: CONSOLE, vip = %address, "vrrp MASTER"),
            VrrpState::Backup => tracing::info!(vip = %address, "vrrp BACKUP"),
            VrrpState::Fault => tracing::info!(vip = %address, "vrrp FAULT"),
            VrrpState::Stop => tracing::warn!(vip = %address, "vrrp STOP: keepalived has ended"),
        }
        self.follow_one(event);
    }

    fn follow_one(&mut self, event: Event) {
        match event.state {
            VrrpState::Master => self.take_over(event.vip),
            _ => self.running[event.vip] = None,
        }
        self.board.change(|state| state.virtual_ips[event.vip].role = event.state.role());
    }

    fn each_active(&mut self, act: fn(&mut Self, usize)) {
        let state = self.board.read();
        let active = (0..self.vips.len()).filter(|vip| state.virtual_ips[*vip].role == Role::Active);
        active.for_each(|vip| act(self, vip));
    }

    /// Moves the routes of a virtual IP in every table.
    fn take_over(&mut self, vip: usize) {
        let (work, hints) = (self.work(vip), self.hints.clone());
        self.start(vip, async move {
            work.run(tables::moves).await;
            hints.taken_over.notify_one();
        });
    }

    /// Makes the routes of a virtual IP in tables that have none. A takeover under way is left to finish first.
    fn fill_in(&mut self, vip: usize) {
        let busy = self.running[vip].as_ref().is_some_and(|running| !running.0.is_finished());
        if !busy && !tables::missing(&self.tables.borrow(), self.vips[vip]).is_empty() {
            let work = self.work(vip);
            self.start(vip, work.run(tables::missing));
        }
    }

    fn start(&mut self, vip: usize, work: impl Future<Output = ()> + Send + 'static) {
        self.running[vip] = Some(Running(tokio::spawn(work)));
    }

    fn work(&self, vip: usize) -> Work {
        Work {
            client: self.client.clone(),
            interface: self.interface.clone(),
            board: self.board.clone(),
            tables: self.tables.clone(),
            vip: self.vips[vip],
        }
    }
}

/// What one takeover needs.
struct Work {
    client: Client,
    interface: InterfaceId,
    board: Board,
    tables: watch::Receiver<Vec<Table>>,
    vip: Ipv4Addr,
}

impl Work {
    async fn run(mut self, routes: fn(&[Table], Ipv4Addr) -> Vec<Route>) {
        let (started, vip) = (Instant::now(), self.vip);
        if self.tables.borrow().is_empty() {
            tracing::warn!(%vip, "no route table is known yet, waiting for one");
        }
        let routes = match self.tables.wait_for(|tables| !tables.is_empty()).await {
            Ok(tables) => routes(&tables, vip),
            Err(_) => return,
        };
        let count = routes.len();
        let trouble = |route: &Route, error: &crate::ec2::ApiError| {
            let problem = format!("cannot move the route of {vip} in {}: {error}", route.table);
            tracing::warn!("{problem}, trying again");
            self.board.problem(Topic::Routes, Some(problem));
        };
        let done = |route: &Route, outcome| {
            tracing::debug!(%vip, table = %route.table, ms = started.elapsed().as_millis(), "{outcome:?}");
        };
        takeover::take_over(&self.client, &self.interface, routes, trouble, done).await;
        self.board.problem(Topic::Routes, None);
        tracing::info!(target: CONSOLE, %vip, tables = count, ms = started.elapsed().as_millis(), "routes lead here");
    }
}
