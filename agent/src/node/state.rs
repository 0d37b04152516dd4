//! The board: the node's shared state. Tasks write what they learn to it; the tags, the health page and `agent status`
//! show it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use templates::balancer::Revision;
use templates::report::Reached;
use templates::{Role, Roles, Slot};
use tokio::sync::watch;

use crate::aws::ids::{InstanceId, TableId};
use crate::haproxy::Serves;
use crate::node::report_tags::Reports;

/// The node's state, as `agent status --output json` and the health page show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The balancer's name.
    pub balancer: String,
    pub instance: InstanceId,
    pub address: Ipv4Addr,
    /// Its availability zone.
    pub zone: String,
    pub slot: Slot,
    /// The revision of the configuration it runs.
    pub revision: Revision,
    /// The virtual IPs, and this node's state for each.
    pub virtual_ips: Vec<VirtualIp>,
    pub haproxy: Serves,
    /// The members it exchanges advertisements with.
    pub peers: Vec<Ipv4Addr>,
    /// The members that HAProxy shares stick tables with, if the balancer has any.
    #[serde(default)]
    pub sharing: Option<Vec<Ipv4Addr>>,
    /// The peers with an agent that answers.
    #[serde(default)]
    pub answering: Vec<Ipv4Addr>,
    /// The members that EC2 says are shutting down.
    #[serde(default)]
    pub ending: Vec<Ipv4Addr>,
    /// The instances of the members that have reported.
    #[serde(default)]
    pub instances: BTreeMap<Ipv4Addr, InstanceId>,
    /// Reports with a tag each.
    #[serde(skip)]
    pub reports: Reports,
    /// Its state in an in-place update.
    #[serde(default)]
    pub change: Change,
    /// The route tables it keeps the virtual IPs' routes in.
    pub route_tables: Vec<TableId>,
    /// Why this node leaves, if it does.
    #[serde(default)]
    pub leaving: Option<String>,
    /// The problems, the gravest first.
    pub problems: BTreeMap<Topic, String>,
    /// The problem with each virtual IP's routes; [`Topic::Routes`] joins them.
    #[serde(skip)]
    pub astray: BTreeMap<Ipv4Addr, String>,
    /// When members and route tables were read last.
    #[serde(skip)]
    pub read: BTreeMap<Topic, Instant>,
}

/// A virtual IP, and this node's state for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualIp {
    pub address: Ipv4Addr,
    /// This node's role.
    pub role: Role,
    /// Whether this active node made or found the routes its own in this term.
    #[serde(default)]
    pub settled: bool,
    /// Whether, as far as this node knows, every route leads to it.
    #[serde(default)]
    pub routed: bool,
    /// Whether a peer has reported that it is active since keepalived's last event.
    #[serde(default)]
    pub followed: bool,
    /// The peer that reports that it is active, if exactly one does.
    #[serde(default)]
    pub served_by: Option<Ipv4Addr>,
    /// Whether this node, as a standby, reaches it through the VPC.
    #[serde(default)]
    pub reached: Reached,
    /// Whether this node is handing it over. keepalived's FAULT is then intended.
    #[serde(default)]
    pub yielding: bool,
    /// Since when this node serves it, if no table had a route to it before.
    #[serde(skip)]
    pub first_served: Option<Instant>,
}

/// A node's state in an in-place update. One node changes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It isn't changing.
    #[default]
    None,
    /// It asks its peers whether it is its turn.
    Asks,
    /// It is changing.
    Runs,
}

impl VirtualIp {
    /// A virtual IP for which keepalived has sent no event yet.
    pub fn unheard(address: Ipv4Addr) -> VirtualIp {
        VirtualIp {
            address,
            role: Role::Fault,
            settled: false,
            routed: false,
            followed: false,
            served_by: None,
            reached: Reached::Unknown,
            yielding: false,
            first_served: None,
        }
    }
}

/// The subject of a problem, the gravest first. Each topic has at most one problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// An order that this node doesn't run. It comes first, as an operator waits for it.
    Update,
    /// A configuration that isn't valid.
    Configuration,
    /// HAProxy is down.
    Haproxy,
    /// keepalived is down.
    Keepalived,
    /// Routes that should lead here don't.
    Routes,
    /// Contention for the routes.
    Contention,
    /// A handover that is due, or was refused.
    Handover,
    /// A lifecycle hook of the Auto Scaling group can't be completed.
    Group,
    /// The interface still drops packets to virtual IPs.
    SourceDestCheck,
    /// The members can't be read.
    Members,
    /// The route tables can't be read.
    Tables,
    /// A virtual IP isn't reachable from this node's subnet.
    Path,
    /// The health page can't be served.
    Health,
    /// A virtual IP isn't on `lo` and can't be put there.
    NodeState,
    /// A kernel setting differs and can't be restored.
    Settings,
    /// HAProxy's user can read the credentials of the node's role.
    Metadata,
    /// The second chance doesn't work: connections are lost when a virtual IP moves.
    SecondChance,
    /// Stick tables aren't shared: clients may get other targets when a virtual IP moves.
    StickTables,
    /// A peer doesn't answer.
    Peers,
}

impl State {
    /// This node's roles, in the order of the virtual IPs.
    pub fn roles(&self) -> Roles {
        Roles(self.virtual_ips.iter().map(|vip| vip.role).collect())
    }

    /// Whether this node is active for any virtual IP.
    pub fn is_active(&self) -> bool {
        self.virtual_ips.iter().any(|vip| vip.role == Role::Active)
    }

    /// The virtual IPs' addresses, in their order.
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        self.virtual_ips.iter().map(|vip| vip.address).collect()
    }

    /// Sets the problem of `topic`, or clears it.
    pub fn problem(&mut self, topic: Topic, problem: Option<String>) {
        match problem {
            Some(text) => drop(self.problems.insert(topic, text)),
            None => drop(self.problems.remove(&topic)),
        }
    }

    /// Sets or clears the problem with the routes of one virtual IP; those of others stay.
    pub fn routes_problem(&mut self, vip: Ipv4Addr, problem: Option<String>) {
        match problem {
            Some(text) => drop(self.astray.insert(vip, text)),
            None => drop(self.astray.remove(&vip)),
        }
        let all: Vec<&str> = self.astray.values().map(String::as_str).collect();
        let joined = (!all.is_empty()).then(|| all.join("; "));
        self.problem(Topic::Routes, joined);
    }

    /// The gravest problem in one line, if there is one.
    pub fn message(&self) -> Option<String> {
        let gravest = self.problems.values().next()?;
        Some(match self.problems.len() {
            1 => gravest.clone(),
            count => format!("{gravest} (and {} more: agent status)", count - 1),
        })
    }
}

/// The node's shared state; clones share it.
#[derive(Debug, Clone)]
pub struct Board(Arc<watch::Sender<State>>);

impl Board {
    /// A board that shows `state`.
    pub fn new(state: State) -> Self {
        Board(Arc::new(watch::Sender::new(state)))
    }

    /// Edits the state. Readers are notified only if it changed.
    pub fn change(&self, edit: impl FnOnce(&mut State)) {
        self.0.send_if_modified(|state| {
            let before = state.clone();
            edit(state);
            *state != before
        });
    }

    /// Sets the problem of `topic`, or clears it. Returns the problem if the board didn't show it before: it is logged
    /// once.
    pub fn problem(&self, topic: Topic, problem: Option<String>) -> Option<String> {
        let new = problem.clone().filter(|problem| self.0.borrow().problems.get(&topic) != Some(problem));
        self.change(|state| state.problem(topic, problem));
        new
    }

    /// Sets or clears the problem with the routes of one virtual IP; those of others stay.
    pub fn routes_problem(&self, vip: Ipv4Addr, problem: Option<String>) {
        self.change(|state| state.routes_problem(vip, problem));
    }

    /// A copy of the current state.
    pub fn read(&self) -> State {
        self.0.borrow().clone()
    }

    /// Receives each change from now on.
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn state() -> State {
        State {
            balancer: "web".into(),
            instance: "i-a".into(),
            address: Ipv4Addr::new(10, 0, 1, 10),
            zone: "eu-west-1a".into(),
            slot: Slot(1),
            revision: Revision("0123456789ab".into()),
            virtual_ips: vec![VirtualIp { role: Role::Standby, ..VirtualIp::unheard(Ipv4Addr::new(10, 255, 0, 10)) }],
            haproxy: Serves::Yes,
            peers: vec![Ipv4Addr::new(10, 0, 2, 10)],
            sharing: None,
            answering: vec![],
            ending: vec![],
            instances: BTreeMap::from([(Ipv4Addr::new(10, 0, 2, 10), "i-b".into())]),
            reports: Reports::default(),
            change: Change::None,
            route_tables: vec!["rtb-1".into()],
            leaving: None,
            problems: BTreeMap::new(),
            astray: BTreeMap::new(),
            read: BTreeMap::new(),
        }
    }

    #[test]
    fn readers_are_notified_of_changes_only() {
        let board = Board::new(state());
        let mut reader = board.subscribe();
        board.change(|state| state.haproxy = Serves::Yes);
        assert!(!reader.has_changed().unwrap());
        board.problem(Topic::Members, Some("denied".into()));
        assert!(reader.has_changed().unwrap());
        reader.mark_unchanged();
        board.problem(Topic::Members, Some("denied".into()));
        assert!(!reader.has_changed().unwrap());
    }

    #[test]
    fn the_gravest_problem_is_the_message() {
        let board = Board::new(state());
        assert_eq!(board.read().message(), None);
        board.problem(Topic::Members, Some("denied".into()));
        assert_eq!(board.read().message().unwrap(), "denied");
        board.problem(Topic::Haproxy, Some("down".into()));
        assert_eq!(board.read().message().unwrap(), "down (and 1 more: agent status)");
        board.problem(Topic::Haproxy, None);
        assert_eq!(board.read().message().unwrap(), "denied");
    }

    #[test]
    fn a_problem_with_one_virtual_ips_routes_stays_when_anothers_is_solved() {
        let board = Board::new(state());
        let [one, other] = [1, 2].map(|last| Ipv4Addr::new(10, 255, 0, last));
        board.routes_problem(one, Some("denied".into()));
        board.routes_problem(other, Some("left to others".into()));
        assert_eq!(board.read().problems[&Topic::Routes], "denied; left to others");
        board.routes_problem(other, None);
        assert_eq!(board.read().problems[&Topic::Routes], "denied");
        board.routes_problem(one, None);
        assert_eq!(board.read().problems, BTreeMap::new());
    }
}
