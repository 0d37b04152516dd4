//! In-place updates of a running node. The tag `elbow:revision` holds an order: a version of the launch template, and
//! the revision that it must hold. The node reads that version once, checks it, and changes to it without dropping a
//! connection. If it can't run the revision, it refuses the order, says why, and serves as before.

mod apply;
mod deregistration;
mod fetch;
mod next_action;
mod system_files;
mod turn;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_ec2::Client;
use templates::balancer::NodeConfig;
use templates::names::TAG_REVISION;
use templates::report::Refusal;
use templates::{Balancer, Order};
use tokio::sync::{Mutex, watch};

use crate::aws::imds::Imds;
use crate::config::boot::Local;
use crate::host::backoff::Backoff;
use crate::host::logs::CONSOLE;
use crate::node::observe::Observer;
use crate::node::state::{Board, Change, Topic};
use crate::peers;
use fetch::Fetched;
use next_action::NextAction;
use turn::Me;

/// Interval between two reads of the tag, as IMDS throttles frequent ones.
const LOOK: Duration = Duration::from_secs(1);
/// How long a new version may be missing (EC2 Developer Guide, "Eventual consistency").
const SPREADING: Duration = Duration::from_secs(30);
/// How long a missing version isn't reported.
const USUAL: Duration = Duration::from_secs(4);
/// Time from when a node shows that it asks for its turn to when it asks: longer than a peer's answer takes.
const SHOWN: Duration = Duration::from_millis(500);
/// The shortest time from one change to the next. Each leaves an old process of HAProxy behind, and the oldest ends at
/// the 50th. Of several orders meanwhile, the last one is carried out.
const CHANGES: Duration = Duration::from_secs(5);
/// Pauses between attempts to read a version, which cost a call each.
const AGAIN: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// Carries out in-place updates.
pub struct Updater {
    /// Reads the tag.
    pub imds: Imds,
    /// Reads the version.
    pub client: Client,
    /// The node's shared state.
    pub board: Board,
    /// Reads members and route tables; an update changes its scope.
    pub observer: Observer,
    /// What the configurations of HAProxy and keepalived are rendered from.
    pub local: Arc<Mutex<Local>>,
    /// Publishes the current balancer to the other tasks.
    pub balancer: watch::Sender<Balancer>,
    /// Triggers a read of the route tables.
    pub look: Box<dyn Fn() + Send + Sync>,
    /// Asks the peers.
    pub http: reqwest::Client,
}

/// An order that is refused, or not carried out yet.
#[derive(Debug)]
struct Tried {
    order: Order,
    since: Instant,
    /// The ordered configuration, checked, while it isn't this node's turn.
    config: Option<Box<NodeConfig>>,
    refused: bool,
    backoff: Backoff,
    again: Instant,
}

/// Why an order isn't carried out.
enum Unfit {
    /// The order names what this node can't run.
    ForGood(String),
    /// The launch template has no such version, or a newer default. This changes when the template does.
    AsTheTemplateIs(String),
}

impl Tried {
    /// An order that isn't tried before `first`.
    fn new(order: Order, first: Instant) -> Tried {
        Tried { order, since: first, config: None, refused: false, backoff: AGAIN, again: first }
    }

    /// Schedules the next attempt.
    fn later(&mut self) {
        self.again = Instant::now() + self.backoff.next_pause();
    }
}

impl Updater {
    /// Follows the tag for ever. Does nothing if the balancer has no in-place updates.
    pub async fn run(self) {
        let mut tried = None;
        let mut changed = None;
        loop {
            if !self.balancer.borrow().updates.in_place {
                self.board.change(|state| state.reports.refused_revision = None);
                return std::future::pending().await;
            }
            tokio::time::sleep(LOOK).await;
            let path = format!("meta-data/tags/instance/{TAG_REVISION}");
            match self.imds.get(&path).await {
                Ok(tag) => self.hear(tag.as_deref(), &mut tried, &mut changed).await,
                Err(error) => tracing::debug!("cannot read the tag {TAG_REVISION}: {error}"),
            }
        }
    }

    /// `changed` is the end of the last change.
    async fn hear(&self, tag: Option<&str>, tried: &mut Option<Tried>, changed: &mut Option<Instant>) {
        let refused = tried.as_ref().filter(|tried| tried.refused).map(|tried| &tried.order);
        match next_action::step(tag, &self.board.read().revision, refused) {
            NextAction::Rest => {}
            NextAction::Well => {
                *tried = None;
                self.well();
            }
            NextAction::Complain(problem) => self.say(problem),
            NextAction::Take(order) => {
                if tried.as_ref().is_none_or(|tried| tried.order != order) {
                    tracing::info!(target: CONSOLE, %order, "received an order");
                    *tried = None;
                }
                let now = Instant::now();
                let first = changed.map_or(now, |changed| now.max(changed + CHANGES));
                let tried = tried.get_or_insert_with(|| Tried::new(order, first));
                if now >= tried.again && self.run_order(tried).await {
                    *changed = Some(Instant::now());
                }
            }
        }
    }

    /// Returns whether it changed the node, or tried to.
    async fn run_order(&self, tried: &mut Tried) -> bool {
        if tried.config.is_none() {
            match self.read(tried).await {
                Ok(config) => tried.config = config,
                Err(Unfit::ForGood(why)) => {
                    self.refuse(tried, why);
                    return false;
                }
                Err(Unfit::AsTheTemplateIs(why)) => {
                    tried.later();
                    self.report_refusal(&tried.order, why);
                    return false;
                }
            }
        }
        let Some(config) = &tried.config else { return false };
        if !self.is_next(tried).await {
            return false;
        }
        let outcome = apply::apply(self, config).await;
        self.board.change(|state| state.change = Change::None);
        match outcome {
            Ok(()) => {
                tracing::info!(target: CONSOLE, order = %tried.order, "carried out the order");
                self.well();
            }
            Err(error) => self.refuse(tried, format!("{error:#}")),
        }
        true
    }

    /// Reads and checks the ordered configuration; `None` if that has to be tried again.
    async fn read(&self, tried: &mut Tried) -> Result<Option<Box<NodeConfig>>, Unfit> {
        let order = &tried.order;
        let name = self.balancer.borrow().name.clone();
        match fetch::fetch(&self.client, &name, order).await {
            Fetched::Config(config) => {
                let checked = apply::check(self, &config).await;
                return checked.map(|()| Some(config)).map_err(|error| Unfit::ForGood(format!("{error:#}")));
            }
            Fetched::Missing(why) if tried.since.elapsed() >= SPREADING => return Err(Unfit::AsTheTemplateIs(why)),
            Fetched::Unreadable(why) => return Err(Unfit::ForGood(why)),
            Fetched::Missing(_) if tried.since.elapsed() < USUAL => {}
            Fetched::Missing(why) | Fetched::NotNow(why) => {
                self.say(format!("cannot read revision {} yet: {why}", order.revision));
            }
        }
        tried.later();
        Ok(None)
    }

    fn refuse(&self, tried: &mut Tried, why: String) {
        tried.refused = true;
        self.report_refusal(&tried.order, why);
    }

    fn report_refusal(&self, order: &Order, why: String) {
        self.say(order.refusal(&why));
        let refusal = Refusal { of: order.clone(), why };
        self.board.change(|state| state.reports.refused_revision = Some(refusal));
    }

    /// Whether it is this node's turn, by the peers' answers. If so, the node shows them that it changes.
    async fn is_next(&self, tried: &Tried) -> bool {
        let state = self.board.read();
        if state.peers.is_empty() {
            return true;
        }
        self.board.change(|state| state.change = Change::Asks);
        tokio::time::sleep(SHOWN).await;
        let answers = state.peers.iter().map(|peer| peers::ask(&self.http, *peer));
        let peers: Vec<_> = futures::future::join_all(answers).await.into_iter().flatten().collect();
        let (active, waited) = (state.is_active(), tried.since.elapsed());
        let me = Me { slot: state.slot, instance: state.instance, active, waited };
        let mine = turn::is_mine(&me, &peers, &tried.order.revision);
        self.board.change(|state| state.change = if mine { Change::Runs } else { Change::None });
        mine
    }

    fn well(&self) {
        self.board.change(|state| state.reports.refused_revision = None);
        self.board.problem(Topic::Update, None);
    }

    fn say(&self, problem: String) {
        if let Some(problem) = self.board.problem(Topic::Update, Some(problem)) {
            tracing::error!(target: CONSOLE, "{problem}");
        }
    }
}
