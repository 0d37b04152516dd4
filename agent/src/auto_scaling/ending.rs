//! An Auto Scaling group that ends this node waits for its lifecycle hook, up to the hook's time-out. When the routes have
//! moved and what was open has ended, the node says that the group may go on: it isn't kept, or paid for, any longer.

use std::time::Duration;

use templates::handover::{HOOK, heartbeat};
use tokio::sync::watch;

use super::hooks::{Hook, Member};
use crate::handover::drain::{close, drain};
use crate::handover::{Wishes, routed};

/// From one look at the routes to the next.
const LOOK: Duration = Duration::from_millis(200);
/// How long the group may not know of a wait that IMDS tells of already.
const LAG: Duration = Duration::from_secs(30);

/// What it takes to end in time.
pub struct Ending {
    /// To tell the group.
    pub member: Member,
    /// To ask the peers.
    pub http: reqwest::Client,
    /// Whether it is to end.
    pub wishes: watch::Receiver<Option<Wishes>>,
}

impl Ending {
    /// Waits for the end, for ever.
    pub async fn run(mut self) {
        while self.until(true).await {
            self.until_routed().await;
            // Whom it handed over to may die meanwhile.
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
        self.wishes.borrow().as_ref().is_some_and(|wishes| wishes.ending) == ending
    }

    async fn until(&mut self, ending: bool) -> bool {
        let wanted = |wishes: &Option<Wishes>| wishes.as_ref().is_some_and(|wishes| wishes.ending) == ending;
        self.wishes.wait_for(wanted).await.is_ok()
    }

    /// Until others have the routes of every virtual IP; if nobody takes them, until the group goes on by itself.
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
