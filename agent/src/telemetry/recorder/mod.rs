//! The recorder: other modules report changes of roles and routes to it. It counts them for the metrics, and puts
//! events into the outbox for the webhook. It never waits and makes no calls.

mod attempt;
mod contention;
mod held_routes;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use templates::Role;

use crate::aws::ec2::ApiError;
use crate::aws::ids::{InterfaceId, TableId};
use crate::node::members::Member;
use crate::node::state::{Board, Topic};
use crate::ownership::decide::{Lead, Move, Reading};
use crate::takeover::Outcome;
use crate::telemetry::metrics::Takeovers;
use crate::telemetry::notify::{Event, FoundRoute, Outbox, Stray, What};
use attempt::{Attempt, Progress};
use contention::Contention;
use held_routes::HeldRoutes;

/// A takeover that takes longer is reported as incomplete.
const OVERDUE: Duration = Duration::from_secs(5);

/// The recorder. Clones share its state.
#[derive(Clone)]
pub struct Recorder(Arc<Seen>);

struct Seen {
    board: Board,
    outbox: Outbox,
    takeovers: Takeovers,
    terms: Mutex<BTreeMap<Ipv4Addr, Term>>,
    roles: Mutex<BTreeMap<Ipv4Addr, Role>>,
    contention: Mutex<Contention>,
}

/// The record of a term as the active node.
#[derive(Default)]
struct Term {
    claims: HeldRoutes,
    attempt: Option<Attempt>,
    /// How many routes were yielded to peers.
    left: usize,
}

impl Recorder {
    /// A recorder for the node on `board`.
    pub fn new(board: Board, outbox: Outbox, takeovers: Takeovers) -> Self {
        let (terms, roles, contention) = (Mutex::default(), Mutex::default(), Mutex::default());
        Recorder(Arc::new(Seen { board, outbox, takeovers, terms, roles, contention }))
    }

    /// Records the node's role for `vip`, changed or not.
    pub fn role(&self, vip: Ipv4Addr, now: Role) {
        if now != Role::Active {
            self.terms().remove(&vip);
            self.name_contention(|contention| contention.forget(vip));
        }
        let before = self.0.roles.lock().unwrap_or_else(PoisonError::into_inner).insert(vip, now);
        if before != Some(now) {
            self.tell(vip, What::Role { before, now });
        }
    }

    /// Records an update to `vips`. The terms of virtual IPs that `left` their places, or the balancer, end.
    pub fn adopt(&self, vips: &[Ipv4Addr], left: &[Ipv4Addr]) {
        self.0.takeovers.expect(vips);
        self.terms().retain(|vip, _| !left.contains(vip));
        self.0.roles.lock().unwrap_or_else(PoisonError::into_inner).retain(|vip, _| vips.contains(vip));
        self.name_contention(|contention| left.iter().for_each(|vip| contention.forget(*vip)));
    }

    /// Records a decision about the routes of `vip`, by the active node with interface `me` and these `members`.
    pub fn decided(&self, vip: Ipv4Addr, me: &InterfaceId, reading: &Reading, moves: &[Move], members: &[Member]) {
        let point = |one: &Move| if let Move::Point(table, _) = one { Some(table.clone()) } else { None };
        let wanted: Vec<TableId> = moves.iter().filter_map(point).collect();
        let mut terms = self.terms();
        let term = terms.entry(vip).or_default();
        let strayed = match reading {
            Reading::Routes(routes) => term.claims.look(routes, me, Instant::now()),
            Reading::Due | Reading::Failed => Vec::new(),
        };
        term.left = moves.iter().filter(|one| matches!(one, Move::Yield(..))).count();
        let (back, gone) = strayed.into_iter().partition(|(table, _)| wanted.contains(table));
        let strays =
            |list: Vec<(TableId, Lead)>| list.into_iter().map(|(table, lead)| stray(table, lead, members)).collect();
        let (back, gone): (Vec<Stray>, Vec<Stray>) = (strays(back), strays(gone));
        let stranger = back.iter().find_map(|stray| stray.found.stranger());
        self.name_contention(|contention| {
            stranger.into_iter().for_each(|one| contention.seen(vip, one.clone(), Instant::now()))
        });
        let left = term.left;
        let ended = match reading {
            // A failed read ends no attempt.
            Reading::Due | Reading::Failed if wanted.is_empty() => None,
            _ => self.attempt(vip, term, &wanted, back),
        };
        drop(terms);
        match ended {
            Some(attempt) if left == 0 => self.complete(vip, attempt),
            Some(attempt) => self.tell_strays(vip, true, attempt.reclaimed),
            None => {}
        }
        self.tell_strays(vip, false, gone);
    }

    /// Applies `learned`, then updates the board's problem about contention.
    fn name_contention(&self, learned: impl FnOnce(&mut Contention)) {
        let mut contention = self.0.contention.lock().unwrap_or_else(PoisonError::into_inner);
        learned(&mut contention);
        self.0.board.problem(Topic::Contention, contention.complaint(Instant::now()));
    }

    /// Continues or begins the attempt. If no table is wanted, returns the attempt that is over.
    fn attempt(&self, vip: Ipv4Addr, term: &mut Term, wanted: &[TableId], strays: Vec<Stray>) -> Option<Attempt> {
        if wanted.is_empty() {
            return term.attempt.take();
        }
        let attempt = term.attempt.get_or_insert_with(|| {
            self.0.takeovers.begin(vip);
            self.remind(vip, Attempt::new(Instant::now()))
        });
        attempt.wants(wanted, strays);
        None
    }

    /// Records that a call for one of `vip`'s routes failed and will be retried.
    pub fn trouble(&self, vip: Ipv4Addr, table: &TableId, error: &ApiError) {
        if let Some(attempt) = self.terms().get_mut(&vip).and_then(|term| term.attempt.as_mut()) {
            attempt.trouble(table, error.to_string());
        }
    }

    /// Records the outcome for one of `vip`'s routes.
    pub fn ended(&self, vip: Ipv4Addr, table: &TableId, outcome: Outcome) {
        let mut terms = self.terms();
        let Some(term) = terms.get_mut(&vip) else { return };
        let moved = outcome == Outcome::Moved;
        if moved {
            term.claims.pointed(table, Instant::now());
        }
        let progress = term.attempt.as_mut().map(|attempt| attempt.done(table, moved));
        let complete = if progress == Some(Progress::Complete) { term.attempt.take() } else { None };
        drop(terms);
        if let Some(attempt) = complete {
            self.complete(vip, attempt);
        }
    }

    /// Records that all routes of an attempt lead to this node.
    fn complete(&self, vip: Ipv4Addr, attempt: Attempt) {
        let time = attempt.since.elapsed();
        self.0.takeovers.complete(vip, time.as_secs_f64());
        if attempt.overdue {
            self.tell(vip, What::TakeoverComplete { ms: millis(time) });
        }
        self.tell_strays(vip, true, attempt.reclaimed);
    }

    /// How many routes should lead to this node and don't, for each virtual IP that it has decided about as active.
    pub fn wrong(&self) -> BTreeMap<Ipv4Addr, usize> {
        let missing = |term: &Term| term.attempt.as_ref().map_or(0, |attempt| attempt.missing().len());
        self.terms().iter().map(|(vip, term)| (*vip, missing(term) + term.left)).collect()
    }

    /// Starts the timer that reports the attempt if it is incomplete after [`OVERDUE`].
    fn remind(&self, vip: Ipv4Addr, attempt: Attempt) -> Attempt {
        let (recorder, since) = (self.clone(), attempt.since);
        tokio::spawn(async move {
            tokio::time::sleep(OVERDUE).await;
            recorder.overdue(vip, since);
        });
        attempt
    }

    fn overdue(&self, vip: Ipv4Addr, since: Instant) {
        let mut terms = self.terms();
        let attempt = terms.get_mut(&vip).and_then(|term| term.attempt.as_mut());
        let Some(attempt) = attempt.filter(|attempt| attempt.since == since) else { return };
        attempt.overdue = true;
        let missing = attempt.missing().iter().map(|(table, why)| (table.clone(), why.clone())).collect();
        let ms = millis(attempt.since.elapsed());
        drop(terms);
        self.0.takeovers.overdue(vip);
        self.tell(vip, What::TakeoverIncomplete { ms, missing });
    }

    fn tell_strays(&self, vip: Ipv4Addr, reclaimed: bool, strays: Vec<Stray>) {
        if !strays.is_empty() {
            self.0.takeovers.changed(vip, reclaimed, strays.len() as u64);
            self.tell(vip, What::Routes { reclaimed, strays });
        }
    }

    fn tell(&self, vip: Ipv4Addr, what: What) {
        let problems = self.0.board.read().problems.into_values().collect();
        self.0.outbox.put(Event::now(vip, what, problems));
    }

    fn terms(&self) -> MutexGuard<'_, BTreeMap<Ipv4Addr, Term>> {
        self.0.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stray(table: TableId, lead: Lead, members: &[Member]) -> Stray {
    let member = members.iter().find(|member| matches!(&lead, Lead::To(interface) if *interface == member.interface));
    Stray { table, found: FoundRoute { member: member.map(|member| member.instance.clone()), lead } }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
