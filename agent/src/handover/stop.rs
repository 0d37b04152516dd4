//! `systemctl stop elbow-agent`, a shutdown, a reboot: the agent hands over, waits until the connections that are left
//! have ended, and only then ends itself. A restart and a crash do neither: the agent is back in a moment, and nothing
//! moves. systemd knows which it is.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::drain::drain;
use super::{Handover, active, routed};
use crate::host::logs::CONSOLE;
use crate::host::systemd;
use crate::node::report;

/// The agent's own unit.
const UNIT: &str = "elbow-agent.service";
/// How often systemd is asked what it means, and the pause between.
const QUESTIONS: usize = 4;
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long routes may take to move until the wait for connections begins: throttled ones take their time. The unit's
/// `TimeoutStopSec` is longer than this, the wait and the report together.
const ROUTES: Duration = Duration::from_secs(45);
/// How long the last report of this node's tags may take.
const REPORT: Duration = Duration::from_secs(5);
/// From one look at the routes to the next.
const LOOK: Duration = Duration::from_millis(100);

/// Asks for a stop.
pub struct Stopper {
    asks: mpsc::Sender<oneshot::Sender<()>>,
    heard: watch::Receiver<bool>,
}

/// Hears of a stop.
pub struct Stop {
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    hears: watch::Sender<bool>,
}

/// Both ends.
pub fn channel() -> (Stopper, Stop) {
    let ((asks, asked), (hears, heard)) = (mpsc::channel(1), watch::channel(false));
    (Stopper { asks, heard }, Stop { asked, hears })
}

impl Stopper {
    /// If systemd stops the agent for good: has it hand over and wait for what is left. Nothing to wait for if the agent
    /// isn't so far yet, or is only restarted.
    pub async fn stop(&self) {
        if !*self.heard.borrow() {
            return;
        }
        if !is_for_good().await {
            return;
        }
        let (done, ended) = oneshot::channel();
        if self.asks.send(done).await.is_ok() {
            let _ = ended.await;
        }
    }
}

/// Whether systemd stops the agent rather than restarts it. The question may be killed by the very stop that it is about,
/// where the unit is an older one without `KillMode=mixed`.
async fn is_for_good() -> bool {
    for _ in 0..QUESTIONS {
        match systemd::job(UNIT).await {
            Ok(job) => return job.as_deref() == Some("stop"),
            Err(error) => tracing::warn!("systemd doesn't say why it stops the agent: {error:#}"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
    false
}

impl Stop {
    /// When a stop is asked for; whoever asked waits until the answer is dropped.
    pub(super) async fn asked(&mut self) -> oneshot::Sender<()> {
        let _ = self.hears.send(true);
        match self.asked.recv().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }
}

impl Handover {
    /// Hands over, and waits.
    pub(super) async fn stop(&mut self) {
        self.stopping = true;
        self.board.change(|state| state.leaving = Some("its agent is being stopped".to_owned()));
        loop {
            let given = active(&self.board.read());
            if let Err(why) = self.decide_and_act(None, None).await {
                tracing::warn!(target: CONSOLE, "stops without a handover: {why}; HAProxy and keepalived go on");
                break;
            }
            self.prefer();
            self.until_routed(&given).await;
            // Whom it handed over to may die meanwhile.
            let limit = self.balancer.borrow().failover.drain_timeout().duration();
            if !drain(&self.board, limit).await {
                break;
            }
        }
        self.report().await;
    }

    /// Until the routes of `given` lead to others.
    async fn until_routed(&self, given: &[usize]) {
        let since = Instant::now();
        while !routed(&self.http, &self.board.read().peers, given).await {
            if since.elapsed() > ROUTES || self.board.read().is_active() {
                return tracing::warn!("the routes haven't all moved after {} s", since.elapsed().as_secs());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A node whose agent is gone can't correct what its tags say: they must be right before.
    async fn report(&self) {
        let state = self.board.read();
        match tokio::time::timeout(REPORT, report::report_once(&self.client, &state)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("cannot write this node's tags: {error}"),
            Err(_) => tracing::warn!("cannot write this node's tags within {} s", REPORT.as_secs()),
        }
    }
}
