//! Handover: a node gives its virtual IPs up on purpose, and goes on serving what it has. It happens on a request in the
//! tag `elbow:drain`, on a notice of AWS's (`notices`), when the agent is stopped (`stop`), and, with one virtual IP of a new
//! balancer, when the node that is preferred for it comes up.
//!
//! A peer that could serve is asked to succeed (`successor`), and stands above all others from then on. Then keepalived
//! is made to yield (`tracks`): FAULT, for as long as it takes until the peer says that it is active, some milliseconds.
//! The routes move as in any takeover; this node carries the virtual IPs and runs HAProxy all the while. A node that is to
//! go away stays the last choice, by priority: better than none. `policy` is pure, and says when, to whom, and when not.

mod connections;
pub mod drain;
mod followed;
mod limit;
mod notices;
mod policy;
mod stop;
mod successor;
mod tracks;
mod wishes;

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
use followed::Followed;
use policy::{Answer, Election, Move, Observation, Peer, Prospect, Tenure};
pub use stop::{Stop, Stopper, channel};
pub use successor::page;
use tracks::Yielding;
pub use tracks::{Preference, prepare};
pub use wishes::{Wishes, watch};

/// How often a node that should hand over and can't looks again.
const EVERY: Duration = Duration::from_secs(1);
/// From one question for who is active to the next.
const ASK: Duration = Duration::from_millis(10);
/// keepalived's way from FAULT to BACKUP, until which FAULT is no failure.
const RETURN: Duration = Duration::from_millis(300);

/// What a handover needs.
pub struct Handover {
    client: Client,
    http: reqwest::Client,
    board: Board,
    preference: Arc<Preference>,
    wishes: watch::Receiver<Option<Wishes>>,
    followed: Followed,
    balancer: watch::Receiver<Balancer>,
    stopping: bool,
    /// The request that was refused, and why.
    refused: Option<(String, String)>,
    /// Why a node that should hand over can't.
    stuck: Option<String>,
}

/// What a node is told to give its virtual IPs up for, at this moment.
struct Reasons {
    asked: Option<String>,
    notice: Option<String>,
}

impl Handover {
    /// For a node of `balancer`, as it is at each moment.
    pub fn new(
        client: Client,
        http: reqwest::Client,
        board: Board,
        balancer: watch::Receiver<Balancer>,
        preference: Arc<Preference>,
        wishes: watch::Receiver<Option<Wishes>>,
    ) -> Self {
        let followed = Followed::load();
        // An agent that is started again still refuses what it refused, for as long as it is asked for.
        let before = board.read().reports.refused_handover;
        let refused = followed.last().zip(before).filter(|(asked, refusal)| id(asked) == refusal.of);
        let refused = refused.map(|(asked, refusal)| (asked.to_owned(), refusal.why));
        Handover { client, http, board, preference, wishes, followed, balancer, stopping: false, refused, stuck: None }
    }

    /// Does what is asked of this node, for ever; ends a stop that was asked for by `stop`, and goes on.
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
                Ok(()) = self.wishes.changed() => {}
            }
            self.consider().await;
        }
    }

    /// One look at what is asked for, and what follows from it.
    async fn consider(&mut self) {
        // Before IMDS was heard nothing is known, not even that an earlier agent's notice is over.
        let Some(wishes) = self.wishes.borrow_and_update().clone() else { return };
        let now = Timestamp::now();
        let due = wishes.notices().find(|notice| notice.is_due(now)).map(|notice| notice.what.clone());
        let reasons = Reasons { asked: wishes.asked, notice: due };
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
            // Followed or refused: in either case it was heard, and is not to be heard again.
            self.refused = outcome.err().zip(reasons.asked.clone()).map(|(why, asked)| (asked, why));
        } else {
            self.stuck = outcome.err();
        }
        self.say(&reasons);
        if reasons.notice.is_none() {
            self.place().await;
        }
    }

    /// Spreads a new balancer's virtual IPs: hands each that is another node's by preference over to that node.
    async fn place(&mut self) {
        let (preempt, nodes) = {
            let balancer = self.balancer.borrow();
            (balancer.failover.preempt, balancer.subnets.len())
        };
        let state = self.board.read();
        // With `preempt` keepalived does it.
        let misplaced = if preempt { Vec::new() } else { policy::misplaced(&state, nodes, Instant::now()) };
        for (vip, preferred) in misplaced {
            let to = policy::at_home(preferred, &self.peers(vip).await);
            let why = format!("{} is new, and slot {preferred} is preferred for it", state.virtual_ips[vip].address);
            if !to.is_empty()
                && let Err(why) = self.hand_over(&to, vec![vip], &why).await
            {
                tracing::debug!("a new virtual IP stays for now: {why}");
            }
        }
    }

    /// A request that is news; or one that isn't followed, and why: it can't be understood, or too many came before it.
    /// From here on it counts as followed, whatever comes of it.
    async fn request(&mut self, reasons: &Reasons) -> Result<Option<Request>, (String, String)> {
        let Some(asked) = reasons.asked.as_ref().filter(|asked| self.followed.is_new(asked)) else { return Ok(None) };
        let request = asked.parse().map_err(|error: NotARequest| error.to_string());
        let allowed = match &request {
            Ok(_) if self.board.read().is_active() => self.followed.limit.take(Timestamp::now()),
            _ => Ok(()),
        };
        self.followed.note(asked).await;
        let request = request.and_then(|request| allowed.map(|()| request).map_err(too_many));
        request.map(Some).map_err(|why| (asked.clone(), why))
    }

    /// Asks whom it takes to decide, and does what is decided. An error says why this node keeps its virtual IPs.
    async fn decide_and_act(&mut self, request: Option<Request>, notice: Option<String>) -> Result<(), String> {
        let why = match (&request, &notice) {
            _ if self.stopping => "the agent is being stopped".to_owned(),
            (Some(_), _) => "as asked".to_owned(),
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

    /// The peers as they answer now, with their priorities for the virtual IP at position `vip`.
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
            match successor::ask(&self.http, *peer, &vips).await {
                Ok(()) => {
                    successor = Some(*peer);
                    break;
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        let successor = successor.ok_or_else(|| refusals.join("; "))?;
        tracing::info!(target: CONSOLE, %successor, ?vips, "hands over: {why}");
        self.yields(&vips, true);
        let election = self.yield_until_taken(&given, &vips).await;
        self.yields(&vips, false);
        match election {
            Ok(Election::Won) => Ok(()),
            Ok(_) => Err("no other node was elected: this one goes on".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    /// Notes on the board whether these virtual IPs are handed over at this moment. A new one that was isn't so again.
    fn yields(&self, vips: &[Ipv4Addr], yielding: bool) {
        self.board.change(|state| {
            for vip in state.virtual_ips.iter_mut().filter(|vip| vips.contains(&vip.address)) {
                (vip.yielding, vip.first_served) = (yielding, None);
            }
        });
    }

    /// Makes keepalived yield `vips`, and lets it take part again as soon as others are active for them (at the positions
    /// `given`), or no node wants to be.
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
                Election::Nobody => break Election::Nobody,
            }
        };
        // Before it takes part again, so that it doesn't win back what it just gave.
        self.prefer();
        yielding.end().await;
        tokio::time::sleep(RETURN).await;
        Ok(election)
    }

    /// Says to keepalived how much this node wants to be elected.
    fn prefer(&self) {
        let state = self.board.read();
        let prospect = if state.leaving.is_some() { Prospect::Leaves } else { Prospect::Stays };
        let preempt = self.balancer.borrow().failover.preempt;
        let tenures = state.virtual_ips.iter().map(|vip| (vip.address, Tenure::of(vip, preempt)));
        if let Err(error) = self.preference.keep(tenures, prospect) {
            tracing::error!("keepalived cannot be told this node's preference: {error:#}");
        }
    }

    /// Says on the board what is asked for and can't be done.
    fn say(&mut self, reasons: &Reasons) {
        self.refused = self.refused.take().filter(|(asked, _)| reasons.asked.as_ref() == Some(asked));
        let refusal = self.refused.as_ref().map(|(asked, why)| Refusal { of: id(asked), why: why.clone() });
        self.board.change(|state| state.reports.refused_handover = refusal);
        let refused = self.refused.as_ref().map(|(_, why)| format!("{REFUSED}{why}"));
        let notice = reasons.notice.as_ref().map(|notice| match &self.stuck {
            Some(why) => format!("{notice} is near and nobody can take over: {why}"),
            None => format!("{notice} is near: this node is the last choice"),
        });
        let parts: Vec<String> = refused.into_iter().chain(notice).collect();
        let problem = (!parts.is_empty()).then(|| parts.join("; "));
        if self.board.read().problems.get(&Topic::Handover) != problem.as_ref()
            && let Some(problem) = &problem
        {
            tracing::warn!(target: CONSOLE, "{problem}");
        }
        self.board.problem(Topic::Handover, problem);
    }
}

/// What a request is called by: its id, or the first word of what is no request.
fn id(asked: &str) -> String {
    asked.split_whitespace().next().unwrap_or("none").to_owned()
}

fn too_many(due: Timestamp) -> String {
    format!("there were too many requests: the next is followed from {} on, and one a minute", Moment::of(due))
}

/// Whether for each of `given` a peer says of itself that `holds`.
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
        // A silent third isn't waited for.
        if left.is_empty() {
            return true;
        }
    }
    left.is_empty()
}

/// Whether the routes of `given` lead to peers, as they say.
pub(crate) async fn routed(http: &reqwest::Client, peers: &[Ipv4Addr], given: &[usize]) -> bool {
    taken(http, peers, given, |health, vip| health.routed.get(vip) == Some(&true)).await
}

/// The virtual IPs, by number, that this node is active for.
fn active(state: &State) -> Vec<usize> {
    let vips = state.virtual_ips.iter().enumerate();
    vips.filter(|(_, vip)| vip.role == Role::Active).map(|(number, _)| number).collect()
}
