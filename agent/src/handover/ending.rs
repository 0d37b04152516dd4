//! An Auto Scaling group that ends this node waits for its lifecycle hook, up to the hook's time-out. When the routes have
//! moved and what was open has ended, the node says that the group may go on: it isn't kept, or paid for, any longer.

use std::time::{Duration, Instant};

use aws_sdk_autoscaling::Client;
use templates::balancer::Launch;
use templates::handover::{HOOK, heartbeat};
use templates::{Balancer, names};
use tokio::sync::watch;

use super::drain::drain;
use super::{Wishes, routed};
use crate::backoff::Backoff;
use crate::ec2::{Api, ApiError, Kind};
use crate::ids::InstanceId;
use crate::logs::CONSOLE;
use crate::state::{Board, Topic};

/// From one look at the routes to the next.
const LOOK: Duration = Duration::from_millis(200);
/// How long the group may not know of a wait that IMDS tells of already.
const LAG: Duration = Duration::from_secs(30);

/// What it takes to end in time.
pub struct Ending {
    /// To tell the group.
    pub api: Api,
    /// This node.
    pub instance: InstanceId,
    /// To ask the peers.
    pub http: reqwest::Client,
    /// How this node is.
    pub board: Board,
    /// Whether it is to end.
    pub wishes: watch::Receiver<Option<Wishes>>,
    /// The balancer that the group is of, as it runs now.
    pub balancer: watch::Receiver<Balancer>,
}

impl Ending {
    /// Waits for the end, for ever.
    pub async fn run(mut self) {
        while self.until(true).await {
            self.until_routed().await;
            // Whom it handed over to may die meanwhile.
            if self.is_wanted(false) || drain(&self.board, self.drain_timeout()).await {
                continue;
            }
            // In a group that Elbow doesn't know the hook, if there is one, is somebody else's.
            if self.balancer.borrow().launch == Launch::AutoScaling {
                self.complete().await;
            }
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
            let state = self.board.read();
            let all: Vec<usize> = (0..state.virtual_ips.len()).collect();
            if !state.is_active() && routed(&self.http, &state.peers, &all).await {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn drain_timeout(&self) -> Duration {
        self.balancer.borrow().failover.drain_timeout().duration()
    }

    async fn complete(&self) {
        let group = names::regional(&self.balancer.borrow().name);
        // After so long the group goes on by itself.
        let timeout = heartbeat(self.balancer.borrow().failover.drain_timeout());
        let client = self.api.auto_scaling();
        let since = Instant::now();
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        while self.is_wanted(true) {
            let Err(error) = complete(&client, &group, &self.instance).await else {
                tracing::info!(target: CONSOLE, group, "told the group that this node may end");
                return self.board.problem(Topic::Ending, None);
            };
            let problem = format!("cannot tell the group {group} that this node may end: {error}");
            tracing::warn!(target: CONSOLE, "{problem}");
            self.board.problem(Topic::Ending, Some(problem));
            if !may_pass(&error, since.elapsed(), timeout) {
                return;
            }
            backoff.wait().await;
        }
    }
}

async fn complete(client: &Client, group: &str, instance: &InstanceId) -> Result<(), ApiError> {
    let call = client.complete_lifecycle_action().auto_scaling_group_name(group).lifecycle_hook_name(HOOK);
    let call = call.lifecycle_action_result("CONTINUE").instance_id(&instance.0);
    call.send().await.map(drop).map_err(|error| ApiError::of("CompleteLifecycleAction", &error))
}

/// Whether to say it again after this error.
fn may_pass(error: &ApiError, waited: Duration, timeout: Duration) -> bool {
    match error.kind {
        Kind::Throttled | Kind::Unavailable | Kind::Denied => waited < timeout,
        // Auto Scaling's one code for whatever isn't valid (API reference, CompleteLifecycleAction).
        Kind::Refused => waited < LAG && error.message.contains("No active Lifecycle Action"),
        Kind::NoRoute | Kind::RouteExists | Kind::Gone => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn error(kind: Kind, message: &str) -> ApiError {
        ApiError { action: "CompleteLifecycleAction", kind, message: message.to_owned() }
    }

    #[test]
    fn trouble_is_waited_out_for_as_long_as_the_group_waits() {
        for kind in [Kind::Throttled, Kind::Unavailable, Kind::Denied] {
            assert!(may_pass(&error(kind, ""), MINUTE / 2, MINUTE));
            assert!(!may_pass(&error(kind, ""), MINUTE, MINUTE));
        }
    }

    #[test]
    fn a_wait_that_the_group_does_not_know_yet_is_asked_for_again_and_a_hook_that_is_not_there_is_not() {
        let unknown = error(Kind::Refused, "ValidationError: No active Lifecycle Action found with instance ID i-1");
        assert!(may_pass(&unknown, LAG / 2, MINUTE));
        assert!(!may_pass(&unknown, LAG, MINUTE));
        let absent = error(Kind::Refused, "ValidationError: No Lifecycle Hook found with name handover");
        assert!(!may_pass(&absent, Duration::ZERO, MINUTE));
    }
}
