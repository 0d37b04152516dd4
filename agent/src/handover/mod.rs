//! Handover: an active node gives its virtual IPs to a standby on purpose and keeps serving its open connections. The
//! triggers are a request in the tag `elbow:drain`, a notice (`notices`), a stop of the agent (`stop`), and a virtual IP
//! that clients don't reach on this node (`path_watch`). A new
//! balancer with several virtual IPs also hands each one to its preferred node when that node comes up.
//!
//! The node asks a peer that can serve to be the successor (`successor`), which raises its priority above all others.
//! Then the node makes keepalived yield (`tracks`): keepalived stays in FAULT until the peer reports that it is active,
//! some milliseconds. The routes move as in any takeover; meanwhile this node carries the virtual IPs and runs HAProxy.
//! A leaving node gets a low priority, so that it serves only if no other node can. `policy` is pure and decides when
//! to hand over, and to which peer.

mod accept;
mod agent_stop;
mod connections;
pub mod drain;
mod handled_requests;
mod notices;
mod policy;
mod request_limit;
mod track_files;
mod triggers;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_ec2::Client;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use templates::handover::{NotARequest, REFUSED, Request};
use templates::report::{Moment, Refusal};
use templates::{Balancer, Role};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::haproxy::Serves;
use crate::host::logs::CONSOLE;
use crate::node::state::{Board, State, Topic};
use crate::peers;
pub use accept::page;
pub use agent_stop::{Stop, Stopper, channel};
use handled_requests::HandledRequests;
use policy::{Answer, Election, Move, Observation, Peer, Prospect, Tenure};
use track_files::Yielding;
pub use track_files::{Preference, prepare};
pub use triggers::{Triggers, watch};

/// Interval between two looks at the triggers.
const EVERY: Duration = Duration::from_secs(1);
/// Interval between two polls of the peers' roles during a handover.
const ASK: Duration = Duration::from_millis(10);
/// The shortest time between two handovers of a node that can't repair itself.
const GIVE_UP: Duration = Duration::from_secs(600);
/// Time that keepalived takes from FAULT to BACKUP. Until then, FAULT is no failure.
const RETURN: Duration = Duration::from_millis(300);

/// The task that hands over this node's virtual IPs.
pub struct Handover {
    client: Client,
    http: reqwest::Client,
    board: Board,
    preference: Arc<Preference>,
    triggers: watch::Receiver<Option<Triggers>>,
    handled: HandledRequests,
    balancer: watch::Receiver<Balancer>,
    broken: watch::Receiver<Option<String>>,
    /// When this node last gave up its virtual IPs because of that.
    gave_up: Option<Instant>,
    stopping: bool,
    /// The refused request, and why.
    refused: Option<(String, String)>,
    /// Why a handover that is due isn't possible.
    stuck: Option<String>,
}

/// The current reasons to hand over.
struct Reasons {
    asked: Option<String>,
    notice: Option<String>,
}

impl Handover {
    /// For a node of `balancer`, which follows in-place updates.
    pub fn new(
        client: Client,
        http: reqwest::Client,
        board: Board,
        balancer: watch::Receiver<Balancer>,
        preference: Arc<Preference>,
        triggers: watch::Receiver<Option<Triggers>>,
        broken: watch::Receiver<Option<String>>,
    ) -> Self {
        let handled = HandledRequests::load();
        // A restarted agent still refuses what it refused before, as long as the tag holds that request.
        let before = board.read().reports.refused_handover;
        let refused = handled.last().zip(before).filter(|(asked, refusal)| id(asked) == refusal.of);
        let refused = refused.map(|(asked, refusal)| (asked.to_owned(), refusal.why));
        Handover {
            client,
            http,
            board,
            preference,
            triggers,
            handled,
            balancer,
            broken,
            gave_up: None,
            stopping: false,
            refused,
            stuck: None,
        }
    }

    /// Follows the triggers until `stop` asks for a stop; then hands over, drains and returns.
    pub async fn run(mut self, mut stop: Stop) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                done = stop.asked() => {
                    self.stop().await;
                    drop(done);
                    return;
                }
                _ = ticks.tick() => {}
                Ok(()) = self.triggers.changed() => {}
                Ok(()) = self.broken.changed() => self.give_up().await,
            }
            self.consider().await;
        }
    }

    /// Reads the triggers once and acts on them.
    async fn consider(&mut self) {
        // No decision before the first reads of IMDS: an earlier agent's notice may still be pending.
        let Some(triggers) = self.triggers.borrow_and_update().clone() else { return };
        let now = Timestamp::now();
        let due = triggers.notices().find(|notice| notice.is_due(now)).map(|notice| notice.what.clone());
        let reasons = Reasons { asked: triggers.asked, notice: due };
        self.board.change(|state| state.leaving = reasons.notice.clone());
        self.prefer();
        let request = self.request(&reasons).await;
        let request = request.unwrap_or_else(|refusal| {
            self.refused = Some(refusal);
            None
        });
        let for_request = request.is_some();
        let outcome = self.decide_and_act(request, reasons.notice.clone()).await;
        if for_request {
            // A request is handled once: a failure is its refusal.
            self.refused = outcome.err().zip(reasons.asked.clone()).map(|(why, asked)| (asked, why));
        } else {
            self.stuck = outcome.err();
        }
        self.say(&reasons);
        if reasons.notice.is_none() {
            self.place().await;
        }
    }

    /// Hands over all virtual IPs, as their packets can't reach this node's HAProxy. At most once in [`GIVE_UP`]; with
    /// `preempt` they would come back at once.
    async fn give_up(&mut self) {
        let broken = self.broken.borrow_and_update().clone();
        let Some(why) = broken.filter(|_| !self.balancer.borrow().failover.preempt) else { return };
        let given = active(&self.board.read());
        let Some(first) = given.first().filter(|_| self.gave_up.is_none_or(|last| last.elapsed() >= GIVE_UP)) else {
            return;
        };
        let to = policy::able(&self.peers(*first).await, |_| true);
        match self.hand_over(&to, given, &why).await {
            Ok(()) => self.gave_up = Some(Instant::now()),
            Err(refusal) => tracing::error!(target: CONSOLE, "cannot hand over: {refusal}"),
        }
    }

    /// Spreads a new balancer's virtual IPs: hands each one over to its preferred node.
    async fn place(&mut self) {
        let (preempt, nodes) = {
            let balancer = self.balancer.borrow();
            (balancer.failover.preempt, balancer.subnets.len())
        };
        let state = self.board.read();
        // With `preempt`, keepalived does it.
        let misplaced = if preempt { Vec::new() } else { policy::misplaced(&state, nodes, Instant::now()) };
        for (vip, preferred) in misplaced {
            let to = policy::at_home(preferred, &self.peers(vip).await);
            let why = format!("{} is new, and slot {preferred} is preferred for it", state.virtual_ips[vip].address);
            if !to.is_empty()
                && let Err(why) = self.hand_over(&to, vec![vip], &why).await
            {
                tracing::debug!("cannot hand a new virtual IP to its preferred node yet: {why}");
            }
        }
    }

    /// A new request, or why a new request is refused: it is unreadable, or too many came before it. It counts as
    /// handled from here on, whatever the outcome.
    async fn request(&mut self, reasons: &Reasons) -> Result<Option<Request>, (String, String)> {
        let Some(asked) = reasons.asked.as_ref().filter(|asked| self.handled.is_new(asked)) else { return Ok(None) };
        let request = asked.parse().map_err(|error: NotARequest| error.to_string());
        let allowed = match &request {
            Ok(_) if self.board.read().is_active() => self.handled.limit.take(Timestamp::now()),
            _ => Ok(()),
        };
        self.handled.note(asked).await;
        let request = request.and_then(|request| allowed.map(|()| request).map_err(too_many));
        request.map(Some).map_err(|why| (asked.clone(), why))
    }

    /// Asks the peers if the decision needs it, and carries the decision out. An error says why this node keeps its
    /// virtual IPs.
    async fn decide_and_act(&mut self, request: Option<Request>, notice: Option<String>) -> Result<(), String> {
        let why = match (&request, &notice) {
            _ if self.stopping => "the agent is being stopped".to_owned(),
            (Some(_), _) => "requested by the tag elbow:drain".to_owned(),
            (None, notice) => notice.clone().unwrap_or_default(),
        };
        let mut seen = Observation {
            active: self.board.read().is_active(),
            stopping: self.stopping,
            request,
            notice,
            preempt: self.balancer.borrow().failover.preempt,
            peers: None,
        };
        loop {
            match policy::decide(&seen) {
                Move::Rest | Move::Done => return Ok(()),
                Move::Ask => {
                    let first = active(&self.board.read()).first().copied().unwrap_or_default();
                    seen.peers = Some(self.peers(first).await);
                }
                Move::Refuse(why) => return Err(why),
                Move::HandOver(to) => {
                    let given = active(&self.board.read());
                    return self.hand_over(&to, given, &why).await;
                }
            }
        }
    }

    /// Asks all peers for their state and their priority for the virtual IP at position `vip`.
    async fn peers(&self, vip: usize) -> Vec<Peer> {
        let state = self.board.read();
        let ask = async |address: &Ipv4Addr| {
            let answer = peers::ask(&self.http, *address).await.map(|health| Answer {
                slot: health.slot,
                priority: health.slot.priority(vip),
                well: health.haproxy == Serves::Yes && !health.roles.0.contains(&Role::Fault),
                instance: health.instance,
            });
            Peer { address: *address, answer }
        };
        futures::future::join_all(state.peers.iter().map(ask)).await
    }

    /// Hands the virtual IPs at the positions `given` over to the first of `to` that agrees.
    async fn hand_over(&mut self, to: &[Ipv4Addr], given: Vec<usize>, why: &str) -> Result<(), String> {
        let known = self.board.read().virtual_ips;
        let vips: Vec<Ipv4Addr> = given.iter().filter_map(|vip| Some(known.get(*vip)?.address)).collect();
        let mut refusals = Vec::new();
        let mut successor = None;
        for peer in to {
            match accept::ask(&self.http, *peer, &vips).await {
                Ok(()) => {
                    successor = Some(*peer);
                    break;
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        let successor = successor.ok_or_else(|| refusals.join("; "))?;
        tracing::info!(target: CONSOLE, %successor, ?vips, "handing over: {why}");
        self.yields(&vips, true);
        let election = self.yield_until_taken(&given, &vips).await;
        self.yields(&vips, false);
        match election {
            Ok(Election::Won) => Ok(()),
            Ok(_) => Err("no peer became active in time".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    /// Marks these virtual IPs on the board as being handed over or not. Either way they no longer count as new.
    fn yields(&self, vips: &[Ipv4Addr], yielding: bool) {
        self.board.change(|state| {
            for vip in state.virtual_ips.iter_mut().filter(|vip| vips.contains(&vip.address)) {
                (vip.yielding, vip.first_served) = (yielding, None);
            }
        });
    }

    /// Makes keepalived yield `vips` (at the positions `given`) until peers are active for all of them, or the election
    /// times out.
    async fn yield_until_taken(&mut self, given: &[usize], vips: &[Ipv4Addr]) -> anyhow::Result<Election> {
        let yielding = Yielding::begin(vips).await?;
        let since = Instant::now();
        let election = loop {
            let peers = self.board.read().peers;
            let taken =
                taken(&self.http, &peers, given, |health, vip| health.roles.0.get(vip) == Some(&Role::Active)).await;
            match policy::election(since.elapsed(), taken) {
                Election::Open => tokio::time::sleep(ASK).await,
                Election::Won => {
                    tracing::info!(target: CONSOLE, ms = since.elapsed().as_millis(), "handed over");
                    break Election::Won;
                }
                Election::Lost => break Election::Lost,
            }
        };
        // Before keepalived takes part again, so that it doesn't win back what it just gave.
        self.prefer();
        yielding.end().await;
        tokio::time::sleep(RETURN).await;
        Ok(election)
    }

    /// Writes this node's preferences for keepalived.
    fn prefer(&self) {
        let state = self.board.read();
        let prospect = if state.leaving.is_some() { Prospect::Leaves } else { Prospect::Stays };
        let preempt = self.balancer.borrow().failover.preempt;
        let tenures = state.virtual_ips.iter().map(|vip| (vip.address, Tenure::of(vip, preempt)));
        if let Err(error) = self.preference.keep(tenures, prospect) {
            tracing::error!("cannot write this node's preference for keepalived: {error:#}");
        }
    }

    /// Shows a refused request and a due notice on the board.
    fn say(&mut self, reasons: &Reasons) {
        self.refused = self.refused.take().filter(|(asked, _)| reasons.asked.as_ref() == Some(asked));
        let refusal = self.refused.as_ref().map(|(asked, why)| Refusal { of: id(asked), why: why.clone() });
        self.board.change(|state| state.reports.refused_handover = refusal);
        let refused = self.refused.as_ref().map(|(_, why)| format!("{REFUSED}{why}"));
        let notice = reasons.notice.as_ref().map(|notice| match &self.stuck {
            Some(why) => format!("{notice} is due and no other node can take over: {why}"),
            None => format!("{notice} is due: other nodes are preferred"),
        });
        let parts: Vec<String> = refused.into_iter().chain(notice).collect();
        let problem = (!parts.is_empty()).then(|| parts.join("; "));
        if let Some(problem) = self.board.problem(Topic::Handover, problem) {
            tracing::warn!(target: CONSOLE, "{problem}");
        }
    }
}

/// A request's id, or the first word of an unreadable one.
fn id(asked: &str) -> String {
    asked.split_whitespace().next().unwrap_or("none").to_owned()
}

fn too_many(due: Timestamp) -> String {
    format!("too many requests: the next one is accepted from {} on, then one a minute", Moment::of(due))
}

/// Whether, for each of `given`, some peer's answer satisfies `holds`.
async fn taken(
    http: &reqwest::Client,
    peers: &[Ipv4Addr],
    given: &[usize],
    holds: impl Fn(&peers::Health, usize) -> bool,
) -> bool {
    let mut answers: FuturesUnordered<_> = peers.iter().map(|peer| peers::ask(http, *peer)).collect();
    let mut left = given.to_vec();
    while let Some(answer) = answers.next().await {
        left.retain(|vip| !answer.as_ref().is_some_and(|health| holds(health, *vip)));
        // Silent peers aren't waited for.
        if left.is_empty() {
            return true;
        }
    }
    left.is_empty()
}

/// Whether peers report that the routes of `given` lead to them.
pub(crate) async fn routed(http: &reqwest::Client, peers: &[Ipv4Addr], given: &[usize]) -> bool {
    taken(http, peers, given, |health, vip| health.routed.get(vip) == Some(&true)).await
}

/// The virtual IPs, by number, that this node is active for.
fn active(state: &State) -> Vec<usize> {
    let vips = state.virtual_ips.iter().enumerate();
    vips.filter(|(_, vip)| vip.role == Role::Active).map(|(number, _)| number).collect()
}
