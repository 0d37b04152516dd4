//! Completes the lifecycle hooks at which this node's Auto Scaling group waits: at launch until the node can serve, at
//! termination until it has handed over.

use std::time::{Duration, Instant};

use aws_sdk_autoscaling::Client;
use templates::balancer::Launch;
use templates::handover::{LAUNCH_HOOK, LAUNCH_TIMEOUT};
use templates::{Balancer, Role, names};
use tokio::sync::watch;

use crate::aws::ec2::{Api, ApiError, Kind};
use crate::aws::ids::InstanceId;
use crate::haproxy::Serves;
use crate::host::backoff::Backoff;
use crate::host::logs::CONSOLE;
use crate::node::state::{Board, State, Topic};

/// Pauses between attempts.
const AGAIN: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(20));
/// How late the group may begin to wait at the launch hook after the node can serve: EC2 shows an instance as running
/// before Auto Scaling does.
const LAUNCH_LAG: Duration = Duration::from_secs(300);

/// A lifecycle hook.
pub(super) struct Hook {
    pub name: &'static str,
    /// What its completion tells the group, in words.
    pub tells: &'static str,
    /// How late the group may begin to wait at it.
    pub lag: Duration,
    /// The group continues by itself after this time.
    pub timeout: Duration,
}

/// Completes this node's hooks.
#[derive(Clone)]
pub struct Member {
    pub api: Api,
    /// This node.
    pub instance: InstanceId,
    /// The node's shared state.
    pub board: Board,
    /// The group's balancer, as it runs now.
    pub balancer: watch::Receiver<Balancer>,
}

impl Member {
    /// Completes the launch hook once, when this node can serve. A node that can't serve leaves the hook open:
    /// `elbow:message` says why, the group keeps its other nodes, and it launches another after the hook's time-out.
    pub async fn arrive(self) {
        let hook = Hook { name: LAUNCH_HOOK, tells: "serves", lag: LAUNCH_LAG, timeout: LAUNCH_TIMEOUT };
        if self.board.subscribe().wait_for(can_serve).await.is_ok() {
            self.complete(&hook, || true).await;
        }
    }

    /// Completes the hook, retrying while `is_wanted`. Leaves the hooks alone in a group that Elbow didn't make.
    pub(super) async fn complete(&self, hook: &Hook, is_wanted: impl Fn() -> bool) {
        if self.balancer.borrow().launch != Launch::AutoScaling {
            return;
        }
        let group = names::regional(&self.balancer.borrow().name);
        let client = self.api.auto_scaling();
        let (since, mut backoff) = (Instant::now(), AGAIN);
        while is_wanted() {
            let Err(error) = complete(&client, &group, hook.name, &self.instance).await else {
                tracing::info!(target: CONSOLE, group, hook = hook.name, "completed hook: this node {}", hook.tells);
                break;
            };
            match outlook(&error, since.elapsed(), hook) {
                Outlook::Over => {
                    tracing::info!(group, hook = hook.name, %error, "no lifecycle action is pending at this hook; nothing to complete");
                    break;
                }
                Outlook::Early => {
                    tracing::debug!(group, hook = hook.name, %error, "the group hasn't reached this hook yet; retrying")
                }
                Outlook::Troubled => {
                    let problem = format!("cannot tell the group {group} that this node {}: {error}", hook.tells);
                    tracing::warn!(target: CONSOLE, "{problem}");
                    self.board.problem(Topic::Group, Some(problem));
                }
            }
            backoff.wait().await;
        }
        self.board.problem(Topic::Group, None);
    }
}

/// Whether HAProxy serves and no virtual IP is in fault. A standby has heard the active node.
fn can_serve(state: &State) -> bool {
    state.haproxy == Serves::Yes && state.virtual_ips.iter().all(|vip| vip.role != Role::Fault)
}

async fn complete(client: &Client, group: &str, hook: &str, instance: &InstanceId) -> Result<(), ApiError> {
    let call = client.complete_lifecycle_action().auto_scaling_group_name(group).lifecycle_hook_name(hook);
    let call = call.lifecycle_action_result("CONTINUE").instance_id(&instance.0);
    call.send().await.map(drop).map_err(|error| ApiError::of("CompleteLifecycleAction", &error))
}

/// What an error means.
#[derive(Debug, PartialEq, Eq)]
enum Outlook {
    /// The group doesn't wait any more, or there is no such hook.
    Over,
    /// The group may not wait yet.
    Early,
    /// The call failed, and may succeed later.
    Troubled,
}

fn outlook(error: &ApiError, waited: Duration, hook: &Hook) -> Outlook {
    match error.kind {
        Kind::Throttled | Kind::Unavailable | Kind::Denied if waited < hook.timeout => Outlook::Troubled,
        // Auto Scaling has one code for all invalid requests (API reference, CompleteLifecycleAction).
        Kind::Refused if waited < hook.lag && error.message.contains("No active Lifecycle Action") => Outlook::Early,
        _ => Outlook::Over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::state::tests::state;

    const MINUTE: Duration = Duration::from_secs(60);

    fn of(kind: Kind, message: &str, waited: Duration) -> Outlook {
        let error = ApiError { action: "CompleteLifecycleAction", kind, message: message.to_owned() };
        outlook(&error, waited, &Hook { name: "handover", tells: "may end", lag: MINUTE / 2, timeout: MINUTE })
    }

    #[test]
    fn a_failed_call_is_retried_while_the_group_waits() {
        for kind in [Kind::Throttled, Kind::Unavailable, Kind::Denied] {
            assert_eq!(of(kind, "", MINUTE / 2), Outlook::Troubled);
            assert_eq!(of(kind, "", MINUTE), Outlook::Over);
        }
    }

    #[test]
    fn a_hook_at_which_the_group_does_not_wait_yet_is_retried_and_an_absent_hook_is_not() {
        let unknown = "ValidationError: No active Lifecycle Action found with instance ID i-1";
        assert_eq!(of(Kind::Refused, unknown, MINUTE / 4), Outlook::Early);
        assert_eq!(of(Kind::Refused, unknown, MINUTE / 2), Outlook::Over);
        let absent = "ValidationError: No Lifecycle Hook found with name handover";
        assert_eq!(of(Kind::Refused, absent, Duration::ZERO), Outlook::Over);
    }

    #[test]
    fn a_node_in_fault_or_without_haproxy_can_not_serve() {
        let mut state = state();
        assert!(can_serve(&state));
        state.haproxy = Serves::No;
        assert!(!can_serve(&state));
        state.haproxy = Serves::Yes;
        state.virtual_ips[0].role = Role::Fault;
        assert!(!can_serve(&state));
    }
}
