//! The gauges, set from the node's state at each request of the page. An unknown value has no sample.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::{GaugeVec, Opts};
use serde::Serialize;
use templates::Role;
use templates::report::Reached;

use crate::haproxy::{Serves, TargetState};
use crate::node::state::State;

/// Values for gauges that aren't in the node's state.
#[derive(Debug, Clone, Default)]
pub struct Readings {
    /// How many routes should lead to this node and don't, for each virtual IP that it is active for and has decided
    /// on.
    pub wrong: BTreeMap<Ipv4Addr, usize>,
    /// When the credentials expire.
    pub credentials_end: Option<SystemTime>,
    /// When the routes were last read.
    pub routes_read: Option<SystemTime>,
    /// How many targets of each group are in each state.
    pub targets: Vec<(String, TargetState, usize)>,
}

/// Name, help text, labels.
type Family = (&'static str, &'static str, &'static [&'static str]);

const NODE: Family = (
    "node_info",
    "Identity, revision and agent version of this node; the value is always 1",
    &["instance_id", "zone", "slot", "revision", "agent_version"],
);
const ROLE: Family =
    ("role", "1 for the role that this node has for a virtual IP, 0 for others", &["virtual_ip", "role"]);
const RIGHT: Family = ("routes_right", "On the active node: routes that lead to it", &["virtual_ip"]);
const WRONG: Family = ("routes_wrong", "On the active node: routes that don't lead to it", &["virtual_ip"]);
const REACHED: Family = (
    "vip_reached",
    "On a standby: whether its probes through the VPC reach the virtual IP's active node",
    &["virtual_ip", "from"],
);
const READ: Family = ("routes_read_timestamp_seconds", "Time of the last read of the route tables", &[]);
const HAPROXY: Family = ("haproxy_up", "Whether HAProxy answers on this node", &[]);
const TARGETS: Family =
    ("targets", "Targets of a group in each state, as this node's HAProxy checks them", &["target_group", "state"]);
const PEERS: Family = ("peers", "Other nodes that this one exchanges advertisements with", &[]);
const ANSWERING: Family = ("peers_answering", "Peers with an agent that answers this one", &[]);
const CREDENTIALS: Family =
    ("credentials_expiry_timestamp_seconds", "Expiry time of the credentials of the node's role", &[]);
const PROBLEM: Family = ("problem", "1 for each problem on this node, see agent status", &["topic"]);

const ALL: [Family; 12] =
    [NODE, ROLE, RIGHT, WRONG, REACHED, READ, HAPROXY, TARGETS, PEERS, ANSWERING, CREDENTIALS, PROBLEM];

/// The gauge of each family, by name.
pub(super) struct Gauges(BTreeMap<&'static str, GaugeVec>);

impl Default for Gauges {
    fn default() -> Self {
        let family =
            |(name, help, labels): Family| GaugeVec::new(Opts::new(name, help), labels).expect("the name is one");
        Gauges(ALL.map(|one| (one.0, family(one))).into())
    }
}

impl Gauges {
    pub(super) fn collectors(&self) -> Vec<Box<dyn Collector>> {
        self.0.values().map(|family| Box::new(family.clone()) as Box<dyn Collector>).collect()
    }

    pub(super) fn set(&self, state: &State, readings: &Readings) {
        self.0.values().for_each(GaugeVec::reset);
        for (family, labels, value) in samples(state, readings) {
            self.0[family.0].with_label_values(&labels).set(value);
        }
    }
}

type Sample = (Family, Vec<String>, f64);

fn samples(state: &State, readings: &Readings) -> Vec<Sample> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let State { instance, zone, slot, revision, .. } = state;
    let node = vec![instance.to_string(), zone.clone(), slot.to_string(), revision.to_string(), version];
    let mut samples = vec![
        (NODE, node, 1.0),
        (HAPROXY, vec![], number(state.haproxy == Serves::Yes)),
        (PEERS, vec![], state.peers.len() as f64),
        (ANSWERING, vec![], state.answering.len() as f64),
    ];
    for vip in &state.virtual_ips {
        let address = vip.address.to_string();
        for role in [Role::Active, Role::Standby, Role::Fault] {
            samples.push((ROLE, vec![address.clone(), role.to_string()], number(vip.role == role)));
        }
        if vip.reached != Reached::Unknown {
            samples.push((REACHED, vec![address.clone(), zone.clone()], number(vip.reached == Reached::Yes)));
        }
        if let (Role::Active, Some(wrong)) = (vip.role, readings.wrong.get(&vip.address)) {
            let right = state.route_tables.len().saturating_sub(*wrong);
            samples.push((RIGHT, vec![address.clone()], right as f64));
            samples.push((WRONG, vec![address], *wrong as f64));
        }
    }
    samples.extend(readings.routes_read.map(|time| (READ, vec![], seconds(time))));
    samples.extend(readings.credentials_end.map(|time| (CREDENTIALS, vec![], seconds(time))));
    samples.extend(state.problems.keys().map(|topic| (PROBLEM, vec![name(topic)], 1.0)));
    let targets = readings.targets.iter();
    samples.extend(targets.map(|(group, state, count)| (TARGETS, vec![group.clone(), name(state)], *count as f64)));
    samples
}

/// The name of a topic or of a target's state in JSON.
fn name(word: &impl Serialize) -> String {
    serde_json::to_value(word).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
}

fn number(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
