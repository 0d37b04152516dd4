//! Reports nodes that hang to the Auto Scaling group, which replaces only nodes that EC2 shows as impaired. The owner
//! of the routes reports a node that no other node reaches as unhealthy. `policy` decides when.

mod policy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_autoscaling::Client;
use jiff::Timestamp;
use templates::balancer::Launch;
use templates::{Balancer, Role};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::aws::ec2::{Api, ApiError};
use crate::aws::ids::InstanceId;
use crate::host::logs::CONSOLE;
use crate::node::members::Member;
use crate::node::state::{Board, State};
use crate::node::tables::{self, Table};
use crate::ownership::route_owner::newer;
use crate::polling::refresh::{Hints, Latest};
use policy::{Read, Seen, Verdict};

/// Interval between two looks at the board.
const EVERY: Duration = Duration::from_secs(2);
/// Pause between two reads of the API for a decision, as a safeguard may hold for long.
const AGAIN: Duration = Duration::from_secs(60);
/// Pause between two reports of a node: the group may ignore a report during its grace period.
const REPEAT: Duration = Duration::from_secs(300);

pub(crate) struct Replacing {
    pub api: Api,
    pub board: Board,
    pub balancer: watch::Receiver<Balancer>,
    pub members: watch::Receiver<Latest<Member>>,
    pub tables: watch::Receiver<Latest<Table>>,
    pub hints: Arc<Hints>,
}

impl Replacing {
    pub(crate) async fn run(mut self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reported: Option<(InstanceId, Instant)> = None;
        let mut next = Instant::now();
        loop {
            ticks.tick().await;
            let state = self.board.read();
            let (launch, replace_after) = {
                let balancer = self.balancer.borrow();
                (balancer.launch, balancer.failover.replace_after().duration())
            };
            if launch != Launch::AutoScaling || !has_routes(&state) || Instant::now() < next {
                continue;
            }
            reported = reported.filter(|(_, when)| when.elapsed() < REPEAT);
            let mut seen = Seen {
                me: &state.instance,
                replace_after,
                unreachable: unreachable(&state, Timestamp::now()),
                reported: reported.as_ref().map(|(node, _)| node),
                read: None,
            };
            if policy::decide(&seen) != Verdict::Read {
                continue;
            }
            next = Instant::now() + AGAIN;
            seen.read = self.read(&state).await;
            if let Verdict::Report(node) = policy::decide(&seen) {
                reported = self.report(&node).await.then(|| (node, Instant::now()));
            }
        }
    }

    /// Reads the members and the routes anew; `None` if they can't be read.
    async fn read(&mut self, state: &State) -> Option<Read> {
        let hints = self.hints.clone();
        let (members, tables) = tokio::join!(
            newer(&mut self.members, || hints.members.notify_one()),
            newer(&mut self.tables, || hints.look.notify_one())
        );
        let routes = tables::leads(&tables?.all, state.virtual_ips.first()?.address);
        Some(Read { members: members?.all, routes })
    }

    async fn report(&self, node: &InstanceId) -> bool {
        match set_unhealthy(&self.api.auto_scaling(), node).await {
            Ok(()) => {
                tracing::warn!(target: CONSOLE, %node, "reported an unreachable node to the group as unhealthy");
                true
            }
            Err(error) => {
                tracing::warn!(target: CONSOLE, %node, "cannot report an unreachable node to the group: {error}");
                false
            }
        }
    }
}

/// Whether this node serves the first virtual IP, as far as it knows. Only then is a read of the API worthwhile.
fn has_routes(state: &State) -> bool {
    state.virtual_ips.first().is_some_and(|vip| vip.role == Role::Active && vip.settled && vip.routed)
}

fn unreachable(state: &State, now: Timestamp) -> BTreeMap<InstanceId, Duration> {
    let age = |since: Timestamp| Duration::try_from(now.duration_since(since)).unwrap_or_default();
    let peers = state.reports.unreachable.0.iter();
    peers.map(|(peer, since)| (InstanceId(peer.clone()), age(since.timestamp()))).collect()
}

async fn set_unhealthy(client: &Client, node: &InstanceId) -> Result<(), ApiError> {
    let call = client.set_instance_health().instance_id(&node.0).health_status("Unhealthy");
    call.send().await.map(drop).map_err(|error| ApiError::of("SetInstanceHealth", &error))
}
