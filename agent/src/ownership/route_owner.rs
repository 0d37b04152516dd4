//! Runs a term: collects evidence, decides and moves routes, again and again while this node is MASTER.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::dark_peers::{self, Trace};
use super::evidence::Evidence;
use super::takeover_progress::Progress;
use crate::aws::ids::InterfaceId;
use crate::host::logs::CONSOLE;
use crate::node::members::Member;
use crate::node::state::Board;
use crate::node::tables::{self, Table};
use crate::ownership::decide::{self, How, Lead, Membership, Move, Reading, Standing};
use crate::polling::refresh::{Hints, Latest};
use crate::takeover::{self, Call, Caller, Route};
use crate::telemetry::recorder::Recorder;
use crate::{haproxy, peers};

/// A slow takeover stops for a newer read of the routes after this long, so that one table can't delay repairs of the
/// others. A takeover that waits only for refused tables stops at any newer read.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time limit of a read of the API: at 8 s of latency, a handshake and a call take 24 s.
const READ: Duration = Duration::from_secs(30);
/// The pause between reads of the signs of life: longer than the interval of the signs, and than the API can be stale.
const SIGNS: Duration = Duration::from_secs(25);
/// The pause between questions to a silent peer.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What a term needs.
#[derive(Clone)]
pub(crate) struct RouteOwner {
    pub caller: Caller,
    pub http: reqwest::Client,
    pub board: Board,
    pub tables: watch::Receiver<Latest<Table>>,
    pub members: watch::Receiver<Latest<Member>>,
    pub hints: Arc<Hints>,
    pub recorder: Recorder,
    /// The balancer's subnets, by slot: they stay the same while the node runs.
    pub subnets: Arc<[String]>,
    pub vip: Ipv4Addr,
}

/// What to do before the next look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    Rest,
    Signs,
}

/// Runs a term that began with `known`, until the caller drops it.
pub(crate) async fn serve(mut route_owner: RouteOwner, mut evidence: Evidence) {
    evidence.seen = route_owner.tables.borrow().turn;
    loop {
        let mut news = route_owner.hints.news.subscribe();
        let moves = route_owner.think(&mut evidence).await;
        let pause = route_owner.act(&mut evidence, &moves, &news).await;
        evidence.forget();
        route_owner.pause(&mut evidence, pause, &mut news).await;
    }
}

impl RouteOwner {
    /// Reads and asks until the decision needs no more evidence; returns its moves.
    async fn think(&mut self, evidence: &mut Evidence) -> Vec<Move> {
        loop {
            let (members, membership) = self.known_members();
            let tables = self.tables.borrow().all.iter().map(|table| table.id.clone()).collect();
            let moves = decide::decide(&evidence.observation(tables, &members, membership, &self.subnets));
            if moves.contains(&Move::Look) {
                evidence.targets = haproxy::targets().await;
                let read = newer(&mut self.tables, || self.hints.look.notify_one()).await;
                evidence.seen = self.tables.borrow().turn;
                self.look(evidence, read);
                continue;
            }
            let asked: Vec<&InterfaceId> = moves.iter().filter_map(asks).collect();
            if asked.is_empty() {
                return moves;
            }
            self.ask(evidence, &asked, &members).await;
        }
    }

    fn known_members(&self) -> (Vec<Member>, Membership) {
        let latest = self.members.borrow();
        (latest.all.clone(), if latest.listed { Membership::Listed } else { Membership::Unlisted })
    }

    async fn ask(&self, evidence: &mut Evidence, asked: &[&InterfaceId], members: &[Member]) {
        let peers = members.iter().filter(|member| asked.contains(&&member.interface));
        let answers = peers.map(async |peer| (&peer.interface, peers::ask(&self.http, peer.address).await));
        let answers = futures::future::join_all(answers).await;
        if answers.iter().any(|(_, answer)| answer.is_none()) {
            tokio::time::sleep(ASK_AGAIN).await;
        }
        for (peer, answer) in answers {
            evidence.heard(peer, answer.map(|health| peers::word(&health, evidence.vip)));
        }
    }

    /// Carries out `moves`.
    async fn act(&mut self, evidence: &mut Evidence, moves: &[Move], news: &watch::Receiver<u64>) -> Pause {
        let routes: Vec<Route> = moves.iter().filter_map(|one| self.route(one)).collect();
        let left: Vec<String> = moves.iter().filter_map(left_to).collect();
        if evidence.standing == Standing::First && !routes.is_empty() && leads_nowhere(&evidence.reading) {
            self.board.change(|state| {
                state.virtual_ips[evidence.vip].first_served.get_or_insert_with(Instant::now);
            });
        }
        self.recorder.decided(self.vip, &evidence.me, &evidence.reading, moves, &self.members.borrow().all);
        evidence.decided(moves);
        if evidence.standing == Standing::Elected {
            self.record_standing(Standing::Holding, evidence);
        }
        // A failed read is no news.
        let known_now = !routes.is_empty() || matches!(evidence.reading, Reading::Routes(_));
        let done = if routes.is_empty() { true } else { self.take(evidence, routes, news).await };
        if done && known_now {
            self.say(&left);
        }
        if known_now {
            self.board.change(|state| state.virtual_ips[evidence.vip].routed = done && left.is_empty());
        }
        self.record_standing(decide::standing_after(evidence.standing, moves), evidence);
        if moves.contains(&Move::Wait) { Pause::Signs } else { Pause::Rest }
    }

    fn record_standing(&self, standing: Standing, evidence: &mut Evidence) {
        evidence.standing = standing;
        self.board.change(|state| state.virtual_ips[evidence.vip].settled = standing == Standing::Holding);
    }

    /// Points `routes` at this node. Returns `false` if it stopped early for a new decision.
    async fn take(&self, evidence: &mut Evidence, routes: Vec<Route>, news: &watch::Receiver<u64>) -> bool {
        let (began, vip, count) = (Instant::now(), self.vip, routes.len());
        let progress = Mutex::new(Progress::new(routes.iter().map(|route| &route.table)));
        let progress = || progress.lock().unwrap_or_else(PoisonError::into_inner);
        let stirred = Notify::new();
        let me = evidence.me.clone();
        let trouble = |route: &Route, error: &crate::aws::ec2::ApiError| {
            if let Some(left) = progress().failed(&route.table, error.kind, Instant::now()) {
                tracing::warn!(%vip, table = %route.table, left, %error, "route not moved, retrying");
            }
            let problem = format!("cannot move the route of {vip} in {}: {error}", route.table);
            self.board.routes_problem(vip, Some(problem));
            self.recorder.trouble(vip, &route.table, error);
            stirred.notify_one();
        };
        let done = |route: &Route, outcome| {
            tracing::debug!(%vip, table = %route.table, ?outcome, ms = began.elapsed().as_millis(), "finished a route table");
            self.recorder.ended(vip, &route.table, outcome);
            progress().ended(&route.table, outcome, Instant::now());
            stirred.notify_one();
        };
        let moving = takeover::take_over(&self.caller, &me, routes, trouble, done);
        let all = tokio::select! {
            biased;
            () = moving => true,
            () = self.worth_a_look(evidence.seen, news.clone(), || progress().is_up_to_others(), &stirred) => false,
        };
        progress().moved.iter().for_each(|(table, when)| evidence.pointed(table, *when));
        if all {
            tracing::info!(target: CONSOLE, %vip, tables = count, ms = began.elapsed().as_millis(), "replaced routes");
        }
        all
    }

    /// Returns when a takeover should stop for a new decision. It stops at an answered read newer than `seen` once
    /// [`PATIENCE`] has passed. If only refused tables are left, it stops at any such read or news. `stirred` wakes the
    /// check of `is_up_to_others`.
    async fn worth_a_look(
        &self,
        seen: u64,
        mut news: watch::Receiver<u64>,
        is_up_to_others: impl Fn() -> bool,
        stirred: &Notify,
    ) {
        let (patience, mut tables, mut told) = (Instant::now() + PATIENCE, self.tables.clone(), false);
        loop {
            let (read, patient) = (tables.borrow_and_update().is_answer_after(seen), Instant::now() < patience);
            if (read && !patient) || ((read || told) && is_up_to_others()) {
                return;
            }
            tokio::select! {
                Ok(()) = tables.changed() => {}
                Ok(()) = news.changed() => told = true,
                () = stirred.notified() => {}
                () = tokio::time::sleep_until(patience.into()), if patient => {}
            }
        }
    }

    fn route(&self, one: &Move) -> Option<Route> {
        let Move::Point(table, how) = one else { return None };
        let first = match how {
            How::Replace => Call::Replace,
            How::Fill => Call::Fill,
        };
        Some(Route { table: table.clone(), vip: self.vip, first })
    }

    /// Shows on the board which routes this node yields to which interfaces, and logs each new list once.
    fn say(&self, left: &[String]) {
        let problem = (!left.is_empty()).then(|| format!("routes of {} yielded: {}", self.vip, left.join(", ")));
        let news = problem.is_some() && self.board.read().astray.get(&self.vip) != problem.as_ref();
        if let (true, Some(problem)) = (news, &problem) {
            tracing::warn!(target: CONSOLE, "{problem}");
        }
        self.board.routes_problem(self.vip, problem);
    }

    /// Waits for the next read of the routes, or news. With [`Pause::Signs`] it waits for the next look for signs.
    async fn pause(&mut self, evidence: &mut Evidence, pause: Pause, news: &mut watch::Receiver<u64>) {
        if pause == Pause::Signs {
            // Two reads that are closer together prove nothing, even after news.
            let signs = evidence.signs_read.map_or(Instant::now(), |read| read + SIGNS);
            let boots = matches!(evidence.standing, Standing::First | Standing::Resumed) && !evidence.silent.is_empty();
            let due = if boots { signs.min(evidence.dark.due(Instant::now())) } else { signs };
            let early = tokio::time::timeout_at(due.into(), news.changed()).await;
            if early.is_err() {
                self.look_for_signs(evidence, signs).await;
            }
            return;
        }
        let seen = evidence.seen;
        let read = tokio::select! {
            biased;
            // A read from before the news doesn't show it.
            _ = news.changed() => None,
            read = self.tables.wait_for(|latest| latest.turn > seen) => read.ok().map(|read| read.clone()),
        };
        if let Some(read) = read {
            evidence.targets = haproxy::targets().await;
            evidence.seen = read.turn;
            self.look(evidence, Some(read).filter(|read| read.answered));
        }
    }

    /// Looks for traces of the silent peers, on every path and in the API. From `signs` on, it also compares the tags
    /// of all members with the last read.
    async fn look_for_signs(&mut self, evidence: &mut Evidence, signs: Instant) {
        let read = newer(&mut self.members, || self.hints.members.notify_one()).await;
        let read = read.as_ref().map(|read| &read.all[..]);
        let known_now = self.members.borrow().all.clone();
        let silent = known_now.iter().filter(|member| evidence.silent.contains(&member.interface));
        let traces = silent.map(async |peer| {
            let answers = peers::machine_answers(peer.address).await;
            let seen = read.and_then(|read| read.iter().find(|member| member.interface == peer.interface));
            let shown = dark_peers::trace(seen, Timestamp::now());
            (&peer.interface, shown, if answers { Trace::Alive } else { shown })
        });
        let now = Instant::now();
        for (peer, shown, found) in futures::future::join_all(traces).await {
            evidence.glanced(peer, shown, found, now);
        }
        evidence.dark.looked(now);
        if signs <= now {
            evidence.signs(read);
            evidence.signs_read = Some(now);
        }
    }

    fn look(&self, evidence: &mut Evidence, read: Option<Latest<Table>>) {
        let began = read.as_ref().map_or_else(Instant::now, |read| read.began);
        evidence.look(read.map(|read| tables::leads(&read.all, self.vip)), began);
    }
}

/// Requests a read and returns its answer; `None` if it failed or took longer than [`READ`].
pub(crate) async fn newer<T: Clone>(latest: &mut watch::Receiver<Latest<T>>, hint: impl Fn()) -> Option<Latest<T>> {
    let turn = latest.borrow_and_update().turn;
    hint();
    let read = tokio::time::timeout(READ, latest.wait_for(|latest| latest.turn > turn)).await.ok()?.ok()?;
    read.answered.then(|| read.clone())
}

/// Whether no table has a route to the virtual IP.
fn leads_nowhere(reading: &Reading) -> bool {
    matches!(reading, Reading::Routes(routes) if routes.iter().all(|(_, lead)| *lead == Lead::Nowhere))
}

fn asks(one: &Move) -> Option<&InterfaceId> {
    if let Move::Ask(peer) = one { Some(peer) } else { None }
}

fn left_to(one: &Move) -> Option<String> {
    if let Move::Yield(table, peer) = one { Some(format!("{table} to {peer}")) } else { None }
}
