//! Completes the termination hook. An Auto Scaling group that terminates this node waits at the hook, up to its
//! time-out. The node completes the hook when the routes have moved and the connections are drained, so that it isn't
//! paid for any longer.

use std::time::Duration;

use templates::handover::{HOOK, heartbeat};
use tokio::sync::watch;

use super::hook_completion::{Hook, Member};
use crate::handover::drain::{close, drain};
use crate::handover::{Triggers, routed};

/// Interval between two looks at the routes.
const LOOK: Duration = Duration::from_millis(200);
/// How long IMDS may show the termination before the group waits at the hook.
const LAG: Duration = Duration::from_secs(30);

/// Completes this node's termination hook.
pub struct TerminationHook {
    /// Completes the hook.
    pub member: Member,
    /// Asks the peers.
    pub http: reqwest::Client,
    /// Shows whether the group terminates this node.
    pub triggers: watch::Receiver<Option<Triggers>>,
}

impl TerminationHook {
    /// Waits for terminations, for ever.
    pub async fn run(mut self) {
        while self.until(true).await {
            self.until_routed().await;
            // The successor may die during the drain.
            if self.is_wanted(false) || drain(&self.member.board, self.drain_timeout()).await {
                continue;
            }
            close(&self.member.board).await;
            let timeout = heartbeat(self.member.balancer.borrow().failover.drain_timeout());
            let hook = Hook { name: HOOK, tells: "may end", lag: LAG, timeout };
            self.member.complete(&hook, || self.is_wanted(true)).await;
            if !self.until(false).await {
                return;
            }
        }
    }

    fn is_wanted(&self, ending: bool) -> bool {
        self.triggers.borrow().as_ref().is_some_and(|triggers| triggers.ending) == ending
    }

    async fn until(&mut self, ending: bool) -> bool {
        let wanted = |triggers: &Option<Triggers>| triggers.as_ref().is_some_and(|triggers| triggers.ending) == ending;
        self.triggers.wait_for(wanted).await.is_ok()
    }

    /// Waits until peers have the routes of every virtual IP. If no peer takes them, the group stops waiting at the
    /// hook's time-out.
    async fn until_routed(&self) {
        while self.is_wanted(true) {
            let state = self.member.board.read();
            let all: Vec<usize> = (0..state.virtual_ips.len()).collect();
            if !state.is_active() && routed(&self.http, &state.peers, &all).await {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn drain_timeout(&self) -> Duration {
        self.member.balancer.borrow().failover.drain_timeout().duration()
    }
}
