//! The active node's response to complaints: it reads the routes, which the ownership rule then repairs. If the routes are
//! right, it checks its own virtual IPs and its source/destination check. It hands over only if one of these is wrong and
//! can't be repaired.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use templates::Role;
use tokio::sync::{Notify, mpsc, watch};

use super::complaints::Complaint;
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
/// After a read that showed a wrong route, the routes are read this many times more, with this pause.
const MORE_READS: usize = 2;
const MORE: Duration = Duration::from_secs(2);
/// The time for a repair of this node's state.
const REPAIR: Duration = Duration::from_secs(3);

/// The task that responds.
pub(crate) struct Response {
    pub board: Board,
    pub interface: InterfaceId,
    pub hints: Arc<Hints>,
    pub tables: watch::Receiver<Latest<Table>>,
    pub members: watch::Receiver<Latest<Member>>,
    /// Requests a check of this node's virtual IPs.
    pub restore: Arc<Notify>,
    /// Why this node should hand over.
    pub broken: watch::Sender<Option<String>>,
}

impl Response {
    /// Responds forever.
    pub(crate) async fn run(mut self, mut complaints: mpsc::Receiver<Complaint>) {
        let mut patience: BTreeMap<(Ipv4Addr, Ipv4Addr), Patience> = BTreeMap::new();
        while let Some(first) = complaints.recv().await {
            // One response serves all complaints that wait.
            let mut waiting = vec![first];
            waiting.extend(std::iter::from_fn(|| complaints.try_recv().ok()));
            let (began, state) = (Instant::now(), self.board.read());
            waiting.retain(|one| is_active(&state, one.virtual_ip));
            waiting.retain(|one| patience.entry((one.from, one.virtual_ip)).or_default().is_due(began));
            let vips: BTreeSet<Ipv4Addr> = waiting.iter().map(|one| one.virtual_ip).collect();
            if vips.is_empty() {
                continue;
            }
            let from: BTreeSet<Ipv4Addr> = waiting.iter().map(|one| one.from).collect();
            tracing::info!(?vips, ?from, "standbys don't reach virtual IPs; checking routes and this node");
            if let Some(why) = self.respond(&vips).await {
                tracing::error!(?vips, why, "this node can't repair what keeps the virtual IPs from being reached");
                self.broken.send_replace(Some(why));
            }
            patience.values_mut().for_each(|one| one.was_busy(began.elapsed()));
        }
    }

    /// Reads and repairs; returns what is wrong with this node, if it can't be repaired.
    async fn respond(&mut self, vips: &BTreeSet<Ipv4Addr>) -> Option<String> {
        self.restore.notify_one();
        let right = self.rightly_routed(vips).await?;
        if right.len() < vips.len() {
            // A program that deletes one route deletes others soon after, also in tables that no standby watches.
            for _ in 0..MORE_READS {
                tokio::time::sleep(MORE).await;
                if self.rightly_routed(vips).await?.len() == vips.len() {
                    break;
                }
            }
        }
        if right.is_empty() {
            return None;
        }
        // This read shows the source/destination check, which is then switched off by its own task.
        newer(&mut self.members, || self.hints.members.notify_one()).await;
        tokio::time::sleep(REPAIR).await;
        let state = self.board.read();
        right.iter().any(|vip| is_active(&state, *vip)).then(|| broken(&state)).flatten()
    }

    /// Reads the routes, which the ownership rule then repairs; returns those of `vips` that have all routes here.
    async fn rightly_routed(&mut self, vips: &BTreeSet<Ipv4Addr>) -> Option<Vec<Ipv4Addr>> {
        let read = newer(&mut self.tables, || self.hints.look.notify_one()).await?;
        let mine = Lead::To(self.interface.clone());
        let is_right = |vip: &Ipv4Addr| tables::leads(&read.all, *vip).iter().all(|(_, lead)| *lead == mine);
        Some(vips.iter().copied().filter(is_right).collect())
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

/// Responses to one standby's complaints about one virtual IP.
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

    /// Complaints waited for this long, while this node responded.
    fn was_busy(&mut self, time: Duration) {
        self.last = self.last.map(|last| last + time);
        self.due = self.due.map(|due| due + time);
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
    fn a_slow_response_is_no_pause_of_the_standby() {
        let (mut patience, mut now, mut responses) = (Patience::default(), Instant::now(), 0);
        let end = now + Duration::from_secs(600);
        while now < end {
            if patience.is_due(now) {
                responses += 1;
                now += OVER * 2;
                patience.was_busy(OVER * 2);
            }
            now += Duration::from_secs(1);
        }
        assert!(responses <= 11, "{responses} responses in ten minutes");
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
