//! Follows keepalived's elections: keeps this node's role for each virtual IP, and starts and ends the terms.

mod adopt;
mod standstill;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Context;
use templates::{Balancer, Role};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::aws::ids::InterfaceId;
use crate::config::boot::Node;
use crate::haproxy::Serves;
use crate::host::logs::CONSOLE;
use crate::host::loopback;
use crate::keepalived::{Event, Fifo, VrrpState};
use crate::node::state::{Board, State};
use crate::ownership::decide::Standing;
use crate::ownership::evidence::Evidence;
use crate::ownership::route_owner::{self, RouteOwner};
use crate::peers;
use standstill::Standstill;

/// The virtual IPs, and this node's state for each.
pub(crate) struct Elections {
    interface: InterfaceId,
    board: Board,
    vips: Vec<Vip>,
    /// A node that stays BACKUP for this long hears a MASTER.
    hears_after: Duration,
    standstill: Standstill,
}

struct Vip {
    route_owner: RouteOwner,
    term: Option<Term>,
    /// The last state that keepalived reported.
    state: Option<VrrpState>,
    /// Since when it is BACKUP, if it is.
    backup: Option<Instant>,
    /// Whether this node has been BACKUP to another MASTER since it booted. Before that it is no standby: it couldn't
    /// tell a MASTER that dies from one that it never heard.
    heard_another: bool,
    /// keepalived reported MASTER after a standstill: the agent accepts it at this time, if it still holds.
    doubted: Option<Instant>,
}

impl Vip {
    fn new(route_owner: RouteOwner) -> Vip {
        Vip { route_owner, term: None, state: None, backup: None, heard_another: false, doubted: None }
    }
}

/// A running term. Dropping it stops its task, so that routes move only while this node is MASTER.
struct Term(JoinHandle<()>);

impl Drop for Term {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn standstill(balancer: &Balancer) -> Standstill {
    Standstill::watch(balancer.failover.advertisement_interval.duration(), Instant::now())
}

/// A BACKUP becomes MASTER after three missed advertisements and the skew (RFC 5798 section 6.1).
fn hears_after(balancer: &Balancer) -> Duration {
    balancer.failover.advertisement_interval.duration() * 5
}

impl Elections {
    pub(crate) fn new(node: &Node, route_owner: impl Fn(Ipv4Addr) -> RouteOwner) -> Self {
        let balancer = &node.local.balancer;
        Elections {
            interface: node.facts.interface.clone(),
            board: node.board.clone(),
            vips: balancer.virtual_ips.iter().map(|vip| Vip::new(route_owner(*vip))).collect(),
            hears_after: hears_after(balancer),
            standstill: standstill(balancer),
        }
    }

    /// Follows keepalived forever. If `resumed`, keepalived ran before this agent did and has reported its states
    /// already. A new `balancer` may have other virtual IPs.
    pub(crate) async fn follow(
        mut self,
        mut fifo: Fifo,
        resumed: bool,
        mut balancer: watch::Receiver<Balancer>,
    ) -> anyhow::Result<()> {
        if resumed {
            self.resume().await?;
        }
        let mut board = self.board.subscribe();
        loop {
            let now = self.board.read();
            let news = |state: &State| turns(state) != turns(&now);
            // The borrowed state locks the board until it is dropped.
            let turned = async { board.wait_for(news).await.map(drop) };
            let proven = (0..self.vips.len()).filter_map(|vip| self.proven(vip)).min();
            let believed = self.vips.iter().filter_map(|vip| vip.doubted).min();
            tokio::select! {
                event = fifo.next() => self.hear(event.context("reading keepalived's FIFO")?),
                _ = turned => self.name_faults(),
                () = until(proven) => self.prove(),
                () = until(believed) => self.believe(),
                () = until(Some(self.standstill.next())) => self.standstill.tick(Instant::now()),
                Ok(()) = balancer.changed() => {
                    let balancer = balancer.borrow_and_update().clone();
                    self.adopt(&balancer).await?;
                }
            }
        }
    }

    /// Updates the roles of the virtual IPs in FAULT: standby during a handover, as that FAULT is intended, else fault.
    fn name_faults(&self) {
        self.board.change(|state| {
            for (vip, evidence) in state.virtual_ips.iter_mut().zip(&self.vips) {
                if evidence.state == Some(VrrpState::Fault) {
                    vip.role = role(VrrpState::Fault, vip.yielding);
                }
            }
        });
        (0..self.vips.len()).for_each(|vip| self.tell(vip));
    }

    /// Reports this node's role for a virtual IP to the recorder.
    fn tell(&self, vip: usize) {
        let route_owner = &self.vips[vip].route_owner;
        route_owner.recorder.role(route_owner.vip, self.board.read().virtual_ips[vip].role);
    }

    /// Reads from keepalived's tokens the states that it reported before this agent started.
    async fn resume(&mut self) -> anyhow::Result<()> {
        let mastered = loopback::mastered(self.vips.len()).await?;
        let otherwise = match self.board.read().haproxy {
            Serves::Yes => VrrpState::Backup,
            Serves::No => VrrpState::Fault,
        };
        for vip in 0..self.vips.len() {
            let state = if mastered.contains(&vip) { VrrpState::Master } else { otherwise };
            tracing::info!(vip = %self.vips[vip].route_owner.vip, ?state, "vrrp state at the agent's start");
            self.vips[vip].heard_another = true;
            self.on_event(Event { vip, state }, Standing::Resumed);
        }
        Ok(())
    }

    fn hear(&mut self, event: Event) {
        let now = Instant::now();
        self.standstill.tick(now);
        let doubts = self.standstill.doubts(now).filter(|_| event.state == VrrpState::Master);
        let Some(vip) = self.vips.get_mut(event.vip) else { return };
        vip.doubted = doubts.filter(|_| vip.term.is_none());
        match vip.doubted {
            Some(_) => {
                tracing::info!(vip = %vip.route_owner.vip, "vrrp state MASTER held back after a standstill")
            }
            None => self.obey(event),
        }
    }

    /// Accepts each held-back MASTER that has lasted.
    fn believe(&mut self) {
        let now = Instant::now();
        for vip in 0..self.vips.len() {
            if self.vips[vip].doubted.take_if(|until| *until <= now).is_some() {
                self.obey(Event { vip, state: VrrpState::Master });
            }
        }
    }

    fn obey(&mut self, event: Event) {
        let address = self.vips[event.vip].route_owner.vip;
        // Logged before anything else is done: measurements count from here.
        match event.state {
            VrrpState::Master => tracing::info!(target: CONSOLE, vip = %address, "vrrp MASTER"),
            VrrpState::Backup => tracing::info!(vip = %address, "vrrp BACKUP"),
            VrrpState::Fault => tracing::info!(vip = %address, "vrrp FAULT"),
            VrrpState::Stop => tracing::warn!(vip = %address, "vrrp STOP: keepalived ended"),
        }
        self.prove();
        let heard = self.vips[event.vip].heard_another;
        self.on_event(event, if heard { Standing::Elected } else { Standing::First });
    }

    /// When a BACKUP is proven to hear another MASTER; `None` if it already is, or if this node isn't BACKUP. A peer
    /// that reports that it is active shortens the wait.
    fn proven(&self, vip: usize) -> Option<Instant> {
        let evidence = &self.vips[vip];
        let more = if self.board.read().virtual_ips[vip].followed { Duration::ZERO } else { Duration::from_secs(1) };
        evidence.backup.filter(|_| !evidence.heard_another).map(|since| since + self.hears_after + more)
    }

    /// Makes a BACKUP that is proven to hear a MASTER a standby.
    fn prove(&mut self) {
        for vip in 0..self.vips.len() {
            if self.proven(vip).is_some_and(|when| when <= Instant::now()) {
                self.vips[vip].heard_another = true;
                self.board.change(|state| state.virtual_ips[vip].role = Role::Standby);
                self.tell(vip);
            }
        }
    }

    fn on_event(&mut self, event: Event, standing: Standing) {
        let master = event.state == VrrpState::Master;
        let vip = &mut self.vips[event.vip];
        vip.state = Some(event.state);
        vip.backup = (event.state == VrrpState::Backup).then(Instant::now);
        if master {
            let priority = self.board.read().slot.priority(event.vip);
            let evidence = Evidence::new(self.interface.clone(), event.vip, priority, standing);
            vip.term = Some(Term(tokio::spawn(route_owner::serve(vip.route_owner.clone(), evidence))));
        }
        let ended = if master { None } else { vip.term.take() };
        vip.heard_another |= ended.is_some() && event.state == VrrpState::Backup;
        let unproven = event.state == VrrpState::Backup && !vip.heard_another;
        self.board.change(|state| {
            let vip = &mut state.virtual_ips[event.vip];
            if !unproven {
                vip.role = role(event.state, vip.yielding);
            }
            vip.settled &= master;
            (vip.routed, vip.followed, vip.first_served) = (false, false, None);
        });
        self.tell(event.vip);
        if ended.is_some() {
            self.end(event.vip);
        }
    }

    /// Ends a term: clears its problem with the routes, and tells the peers.
    fn end(&self, vip: usize) {
        self.board.routes_problem(self.vips[vip].route_owner.vip, None);
        let (http, peers) = (self.vips[vip].route_owner.http.clone(), self.board.read().peers);
        tokio::spawn(async move { peers::tell(&http, &peers).await });
    }
}

/// For each virtual IP, whether another node is known to be active, and whether this node hands it over.
fn turns(state: &State) -> Vec<(bool, bool)> {
    state.virtual_ips.iter().map(|vip| (vip.followed, vip.yielding)).collect()
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

/// The role for a VRRP state: FAULT is intended while this node hands the virtual IP over.
fn role(state: VrrpState, yielding: bool) -> Role {
    match state {
        VrrpState::Fault if yielding => Role::Standby,
        state => state.role(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_hands_over_is_not_at_fault() {
        assert_eq!(role(VrrpState::Fault, true), Role::Standby);
        assert_eq!(role(VrrpState::Fault, false), Role::Fault);
        assert_eq!(role(VrrpState::Stop, true), Role::Fault);
        assert_eq!(role(VrrpState::Master, true), Role::Active);
    }
}
