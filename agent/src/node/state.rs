//! What the agent knows about itself, in one place: the board. Whoever learns something writes it there; the tags, the
//! health page and `agent status` are read off it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use templates::balancer::Revision;
use templates::{Role, Roles, Slot};
use tokio::sync::watch;

use crate::aws::ids::{InstanceId, TableId};
use crate::haproxy::Serves;
use crate::node::reports::Reports;

/// The agent's knowledge of itself, as `agent status --output json` and the health page show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The balancer's name.
    pub balancer: String,
    /// This instance.
    pub instance: InstanceId,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its availability zone.
    pub zone: String,
    /// Its slot.
    pub slot: Slot,
    /// The revision of the configuration it runs.
    pub revision: Revision,
    /// The virtual IPs, and what this node is for each.
    pub virtual_ips: Vec<VirtualIp>,
    /// Whether HAProxy serves.
    pub haproxy: Serves,
    /// The members it exchanges advertisements with.
    pub peers: Vec<Ipv4Addr>,
    /// Those of them whose agents answer this one.
    #[serde(default)]
    pub answering: Vec<Ipv4Addr>,
    /// The members that EC2 says are shutting down.
    #[serde(default)]
    pub ending: Vec<Ipv4Addr>,
    /// The instances of the members that have reported.
    #[serde(default)]
    pub instances: BTreeMap<Ipv4Addr, InstanceId>,
    /// What it reports in tags of their own.
    #[serde(skip)]
    pub reports: Reports,
    /// Whether it changes to another revision at this moment.
    #[serde(default)]
    pub change: Change,
    /// The route tables it keeps the virtual IPs' routes in.
    pub route_tables: Vec<TableId>,
    /// Why it is to go away, if it is.
    #[serde(default)]
    pub leaving: Option<String>,
    /// What is wrong, the gravest first.
    pub problems: BTreeMap<Topic, String>,
    /// What is wrong with each virtual IP's routes; together they are the problem about routes.
    #[serde(skip)]
    pub astray: BTreeMap<Ipv4Addr, String>,
    /// When members and route tables were read last.
    #[serde(skip)]
    pub read: BTreeMap<Topic, Instant>,
}

/// A virtual IP, and what this node is for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualIp {
    /// The address.
    pub address: Ipv4Addr,
    /// This node's role.
    pub role: Role,
    /// Whether it is past its first look at who has the routes.
    #[serde(default)]
    pub settled: bool,
    /// Whether, as far as this node knows, every route leads to it.
    #[serde(default)]
    pub routed: bool,
    /// Whether a peer has said that it is active since keepalived last spoke.
    #[serde(default)]
    pub followed: bool,
    /// Whether this node is handing it over at this moment: then keepalived's FAULT is meant.
    #[serde(default)]
    pub yielding: bool,
    /// Since when this node serves it, if it is the first that ever did: no table had a route to it.
    #[serde(skip)]
    pub first_served: Option<Instant>,
}

/// How far a node is with a change to another revision. Of several nodes that are told at once one changes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It changes to nothing.
    #[default]
    None,
    /// It asks its peers whether it is its turn.
    Asks,
    /// It changes.
    Runs,
}

impl VirtualIp {
    /// One of which keepalived has said nothing yet.
    pub fn unheard(address: Ipv4Addr) -> VirtualIp {
        VirtualIp {
            address,
            role: Role::Fault,
            settled: false,
            routed: false,
            followed: false,
            yielding: false,
            first_served: None,
        }
    }
}

/// What a problem is about, the gravest first. There is one problem for each at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// A revision that this node was told to run, and doesn't. Somebody waits to hear of it.
    Update,
    /// A configuration that isn't valid.
    Configuration,
    /// HAProxy is down.
    Haproxy,
    /// keepalived is down.
    Keepalived,
    /// Routes that should lead here don't.
    Routes,
    /// Somebody else wants the routes, too.
    Rivals,
    /// A handover that is due, or was refused.
    Handover,
    /// The Auto Scaling group can't be told that this node serves, or may end.
    Group,
    /// The interface still drops packets to virtual IPs.
    SourceDestCheck,
    /// Who the peers are can't be read.
    Members,
    /// Which route tables there are can't be read.
    Tables,
    /// Peers can't ask how this node is.
    Health,
    /// HAProxy's user can read the credentials of the node's role.
    Metadata,
    /// Connections are lost when a virtual IP moves.
    SecondChance,
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

    /// Shows what is wrong with the routes of one virtual IP, whatever is wrong with others'.
    pub fn routes_problem(&mut self, vip: Ipv4Addr, problem: Option<String>) {
        match problem {
            Some(text) => drop(self.astray.insert(vip, text)),
            None => drop(self.astray.remove(&vip)),
        }
        let all: Vec<&str> = self.astray.values().map(String::as_str).collect();
        match all[..] {
            [] => drop(self.problems.remove(&Topic::Routes)),
            _ => drop(self.problems.insert(Topic::Routes, all.join("; "))),
        }
    }

    /// What is wrong, in one line: the gravest problem; nothing if nothing is wrong.
    pub fn message(&self) -> Option<String> {
        let gravest = self.problems.values().next()?;
        Some(match self.problems.len() {
            1 => gravest.clone(),
            count => format!("{gravest} (and {} more: agent status)", count - 1),
        })
    }
}

/// The board that everybody reads from and writes to.
#[derive(Debug, Clone)]
pub struct Board(Arc<watch::Sender<State>>);

impl Board {
    /// A board that shows `state`.
    pub fn new(state: State) -> Self {
        Board(Arc::new(watch::Sender::new(state)))
    }

    /// Changes what it shows; readers hear of it only if it did change.
    pub fn change(&self, edit: impl FnOnce(&mut State)) {
        self.0.send_if_modified(|state| {
            let before = state.clone();
            edit(state);
            *state != before
        });
    }

    /// Shows a problem, or that it is solved.
    pub fn problem(&self, topic: Topic, problem: Option<String>) {
        self.change(|state| match problem {
            Some(text) => drop(state.problems.insert(topic, text)),
            None => drop(state.problems.remove(&topic)),
        });
    }

    /// Shows what is wrong with the routes of one virtual IP, or that nothing is any more.
    pub fn routes_problem(&self, vip: Ipv4Addr, problem: Option<String>) {
        self.change(|state| state.routes_problem(vip, problem));
    }

    /// What it shows now.
    pub fn read(&self) -> State {
        self.0.borrow().clone()
    }

    /// Hears of every change from now on.
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
    fn readers_hear_of_changes_only() {
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
    fn what_is_wrong_with_one_virtual_ip_s_routes_is_not_solved_by_another_s_being_right() {
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
