//! The active node's response to complaints: it reads the routes, which the ownership rule then repairs. If the routes are
//! right, it checks its own virtual IPs and its source/destination check. It hands over only if one of these is wrong and
//! can't be repaired.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use templates::Role;
use tokio::sync::{Notify, mpsc, watch};

use super::Complaint;
use crate::aws::ids::InterfaceId;
use crate::node::members::Member;
use crate::node::state::{Board, State, Topic};
use crate::node::tables::{self, Table};
use crate::ownership::decide::Lead;
use crate::ownership::route_owner::newer;
use crate::polling::refresh::{Hints, Latest};

/// The pause between responses to the same complaint: this, then twice as long each time.
const FIRST: Duration = Duration::from_secs(2);
const MOST: Duration = Duration::from_secs(60);
/// Complaints that are further apart than this aren't repeated ones.
const OVER: Duration = Duration::from_secs(10);
/// The time for a repair of this node's state.
const REPAIR: Duration = Duration::from_secs(3);
/// The shortest time between two handovers because of complaints.
const HANDOVERS: Duration = Duration::from_secs(600);

/// The task that responds.
pub(crate) struct Response {
    pub board: Board,
    pub interface: InterfaceId,
    pub hints: Arc<Hints>,
    pub tables: watch::Receiver<Latest<Table>>,
    pub members: watch::Receiver<Latest<Member>>,
    /// Requests a check of this node's virtual IPs.
    pub restore: Arc<Notify>,
    /// The virtual IP to hand over, and why.
    pub broken: watch::Sender<Option<(Ipv4Addr, String)>>,
}

impl Response {
    /// Responds forever.
    pub(crate) async fn run(mut self, mut complaints: mpsc::Receiver<(Ipv4Addr, Complaint)>) {
        let mut patience: BTreeMap<Ipv4Addr, Patience> = BTreeMap::new();
        let mut handed_over: Option<Instant> = None;
        while let Some((peer, Complaint { virtual_ip: vip })) = complaints.recv().await {
            if !is_active(&self.board.read(), vip) || !patience.entry(vip).or_default().is_due(Instant::now()) {
                continue;
            }
            tracing::info!(%vip, from = %peer, "a standby doesn't reach the virtual IP; checking routes and this node");
            let Some(why) = self.respond(vip).await else { continue };
            let now = Instant::now();
            tracing::error!(%vip, why, "this node can't repair what keeps the virtual IP from being reached");
            if handed_over.is_none_or(|last| now.saturating_duration_since(last) >= HANDOVERS) {
                handed_over = Some(now);
                self.broken.send_replace(Some((vip, why)));
            }
        }
    }

    /// Reads and repairs; returns what is wrong with this node, if it can't be repaired.
    async fn respond(&mut self, vip: Ipv4Addr) -> Option<String> {
        self.restore.notify_one();
        let read = newer(&mut self.tables, || self.hints.look.notify_one()).await?;
        let leads = tables::leads(&read.all, vip);
        if leads.iter().any(|(_, lead)| *lead != Lead::To(self.interface.clone())) {
            return None;
        }
        // This read shows the source/destination check, which is then switched off by its own task.
        newer(&mut self.members, || self.hints.members.notify_one()).await;
        tokio::time::sleep(REPAIR).await;
        let state = self.board.read();
        is_active(&state, vip).then(|| broken(&state)).flatten()
    }
}

fn is_active(state: &State, vip: Ipv4Addr) -> bool {
    state.virtual_ips.iter().any(|known| known.address == vip && known.role == Role::Active)
}

/// What keeps packets for a virtual IP from this node's HAProxy, by its own checks.
fn broken(state: &State) -> Option<String> {
    [Topic::Haproxy, Topic::SourceDestCheck, Topic::NodeState]
        .iter()
        .find_map(|topic| state.problems.get(topic))
        .cloned()
}

/// Responses to one virtual IP's complaints.
#[derive(Debug, Default)]
struct Patience {
    last: Option<Instant>,
    due: Option<Instant>,
    pause: Option<Duration>,
}

impl Patience {
    /// Whether a complaint at `now` gets a response.
    fn is_due(&mut self, now: Instant) -> bool {
        let repeated = self.last.is_some_and(|last| now.saturating_duration_since(last) < OVER);
        self.last = Some(now);
        if !repeated {
            self.pause = None;
        } else if self.due.is_some_and(|due| now < due) {
            return false;
        }
        let pause = self.pause.map_or(FIRST, |pause| (pause * 2).min(MOST));
        (self.pause, self.due) = (Some(pause), Some(now + pause));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::state::tests::state;

    #[test]
    fn repeated_complaints_get_fewer_and_fewer_responses() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        let due = |second: &u64| patience.is_due(start + Duration::from_secs(*second));
        let responses: Vec<u64> = (0..200).filter(due).collect();
        assert_eq!(responses, [0, 2, 6, 14, 30, 62, 122, 182]);
        assert!(patience.is_due(start + Duration::from_secs(220)), "the path worked in between");
    }

    #[test]
    fn only_a_check_of_this_node_that_fails_is_a_reason_to_hand_over() {
        let mut state = state();
        for topic in [Topic::Routes, Topic::Members, Topic::Peers, Topic::Path] {
            state.problems.insert(topic, "a problem".into());
        }
        assert_eq!(broken(&state), None);
        state.problems.insert(Topic::SourceDestCheck, "denied".into());
        assert_eq!(broken(&state).as_deref(), Some("denied"));
    }
}
