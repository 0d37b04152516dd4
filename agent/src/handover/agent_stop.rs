//! Stops the agent: on `systemctl stop elbow-agent`, a shutdown or a reboot, the agent hands over and drains before it
//! ends. On a restart or a crash nothing moves, as the agent is back in a moment. systemd reports which case it is.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::drain::drain;
use super::{Handover, active, routed};
use crate::host::logs::CONSOLE;
use crate::host::systemd;
use crate::node::report;

/// The agent's own unit.
const UNIT: &str = "elbow-agent.service";
/// How often systemd is asked for its job, and the pause between two attempts.
const QUESTIONS: usize = 4;
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long routes may take to move before the drain begins, as calls may be throttled. The unit's `TimeoutStopSec` is
/// longer than this, the drain and the report together.
const ROUTES: Duration = Duration::from_secs(45);
/// Limit for the last report in this node's tags.
const REPORT: Duration = Duration::from_secs(5);
/// Interval between two looks at the routes.
const LOOK: Duration = Duration::from_millis(100);

/// Asks for a stop.
pub struct Stopper {
    asks: mpsc::Sender<oneshot::Sender<()>>,
    heard: watch::Receiver<bool>,
}

/// Receives the request for a stop.
pub struct Stop {
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    hears: watch::Sender<bool>,
}

/// Connects both ends.
pub fn channel() -> (Stopper, Stop) {
    let ((asks, asked), (hears, heard)) = (mpsc::channel(1), watch::channel(false));
    (Stopper { asks, heard }, Stop { asked, hears })
}

impl Stopper {
    /// Hands over and drains if systemd stops the agent for good. Returns at once if the agent only restarts, or
    /// doesn't serve yet.
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

/// Whether systemd stops the agent rather than restarts it. With an older unit without `KillMode=mixed`, systemd may
/// kill the `systemctl` that asks, so it asks again.
async fn is_for_good() -> bool {
    for _ in 0..QUESTIONS {
        match systemd::job(UNIT).await {
            Ok(job) => return job.as_deref() == Some("stop"),
            Err(error) => tracing::warn!("cannot read from systemd why it stops the agent: {error:#}"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
    false
}

impl Stop {
    /// Waits for a request to stop. The caller that stops the agent waits until the returned sender is dropped.
    pub(super) async fn asked(&mut self) -> oneshot::Sender<()> {
        let _ = self.hears.send(true);
        match self.asked.recv().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }
}

impl Handover {
    /// Hands over and drains.
    pub(super) async fn stop(&mut self) {
        self.stopping = true;
        self.board.change(|state| state.leaving = Some("its agent is being stopped".to_owned()));
        loop {
            let given = active(&self.board.read());
            if let Err(why) = self.decide_and_act(None, None).await {
                tracing::warn!(target: CONSOLE, "stopping without a handover: {why}; HAProxy and keepalived run on");
                break;
            }
            self.prefer();
            self.until_routed(&given).await;
            // The successor may die during the drain.
            let limit = self.balancer.borrow().failover.drain_timeout().duration();
            if !drain(&self.board, limit).await {
                break;
            }
        }
        self.report().await;
    }

    /// Waits until the routes of `given` lead to peers.
    async fn until_routed(&self, given: &[usize]) {
        let since = Instant::now();
        while !routed(&self.http, &self.board.read().peers, given).await {
            if since.elapsed() > ROUTES || self.board.read().is_active() {
                return tracing::warn!(seconds = since.elapsed().as_secs(), "the routes haven't all moved");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Writes this node's tags a last time, as a stopped agent can't correct them.
    async fn report(&self) {
        let state = self.board.read();
        match tokio::time::timeout(REPORT, report::report_once(&self.client, &state)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("cannot write this node's tags: {error}"),
            Err(_) => tracing::warn!("cannot write this node's tags within {} s", REPORT.as_secs()),
        }
    }
}
