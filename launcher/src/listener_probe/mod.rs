//! Decides which nodes the launcher asks for a listener probe, and what their answers mean. Pure: the input is the
//! reports of the nodes. [`run`] acts, [`show`] renders.

pub mod run;
pub mod show;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::Serialize;
use templates::Balancer;
use templates::balancer::{Action, Listener, Rule};
use templates::listener_probe::{Answer, Failure, ListenerAnswer, Outcome, RequestId};
use templates::report::Moment;

use crate::assess::{Assessment, NodeHealth, VipHealth, Watch};

/// How long a node may take: it reads the request within two seconds, and asks for five at most.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The nodes that were asked, by instance, with the request that each had answered before.
pub type Asked = BTreeMap<String, Option<RequestId>>;

/// The result of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Probed {
    /// In the order of the file, by virtual IP.
    pub listeners: Vec<Heard>,
    /// How many listeners the nodes' tags had no room for.
    pub left_out: usize,
    /// Why a client wouldn't be served, a line each.
    pub problems: Vec<String>,
    /// Whether standbys reach each virtual IP through the VPC, a line each.
    #[serde(skip)]
    pub reached: Vec<String>,
}

/// How a listener answered on a virtual IP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Heard {
    pub virtual_ip: Ipv4Addr,
    pub listener: String,
    /// The port that was asked; none if the file has no such listener.
    pub port: Option<u16>,
    /// The node that asked.
    pub instance: String,
    /// When it asked, by its clock.
    pub asked: Moment,
    /// `http`, `taken`, `connected`, or why there was no answer.
    pub answer: &'static str,
    /// The status of an HTTP response.
    pub status: Option<u16>,
    /// The target that answered, or that has the connection.
    pub target: Option<String>,
    /// The time until the head of the response.
    pub ms: Option<u32>,
    /// Why a client wouldn't be served.
    pub problem: Option<String>,
}

/// How far the probe of one virtual IP is.
#[derive(Debug, PartialEq, Eq)]
pub enum Stage<'a> {
    /// No node is active for it.
    Unserved,
    /// This node is to be asked.
    Ask(&'a NodeHealth),
    /// This node was asked, and hasn't answered.
    Waits(&'a NodeHealth),
    Answered(&'a NodeHealth, &'a Answer),
}

impl Probed {
    /// The result of a probe that couldn't be made.
    pub fn failed(problem: String) -> Probed {
        Probed { problems: vec![problem], ..Probed::default() }
    }
}

/// The stage of the probe of a virtual IP. A node that answered before it was active is asked again. Any answer that is new
/// since the request counts: of several launchers' requests, a node may see only the last.
pub fn stage<'a>(vip: &VipHealth, is: &'a Assessment, asked: &Asked) -> Stage<'a> {
    let active = vip.active.first().and_then(|id| is.nodes.iter().find(|node| node.instance == *id));
    let Some(node) = active else { return Stage::Unserved };
    let Some(before) = asked.get(&node.instance) else { return Stage::Ask(node) };
    match &node.probed {
        Some(answer) if Some(&answer.to) == before.as_ref() => Stage::Waits(node),
        Some(answer) if covers(answer, vip.address) => Stage::Answered(node, answer),
        Some(_) => Stage::Ask(node),
        None => Stage::Waits(node),
    }
}

/// An answer without room for all listeners may lack every one of a virtual IP.
fn covers(answer: &Answer, vip: Ipv4Addr) -> bool {
    answer.more > 0 || answer.listeners.iter().any(|one| one.virtual_ip == vip)
}

/// What the answers mean, for a node's balancer.
pub fn judge(balancer: &Balancer, is: &Assessment, asked: &Asked) -> Probed {
    let mut probed = Probed { reached: is.virtual_ips.iter().map(reached).collect(), ..Probed::default() };
    probed.problems.extend(is.virtual_ips.iter().flat_map(unreached));
    if balancer.listeners.is_empty() {
        return probed;
    }
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    for vip in &is.virtual_ips {
        let address = vip.address;
        match stage(vip, is, asked) {
            Stage::Answered(node, answer) => {
                left_out.insert(&node.instance, answer.more);
                probed.listeners.extend(heard(balancer, address, node, answer));
            }
            Stage::Unserved => {
                probed.problems.push(format!("{address}: no node is active, so its listeners can't be asked"));
            }
            Stage::Ask(node) => {
                probed.problems.push(format!("{address} moved to {} during the probe: probe again", node.called()));
            }
            Stage::Waits(node) => probed.problems.push(silent(address, node)),
        }
    }
    probed.left_out = left_out.into_values().sum();
    probed.problems.extend(probed.listeners.iter().filter_map(|heard| heard.problem.clone()));
    probed
}

/// The line about a node that doesn't answer.
fn silent(vip: Ipv4Addr, node: &NodeHealth) -> String {
    let (called, seconds) = (node.called(), PATIENCE.as_secs());
    let why = "its agent doesn't run, can't read or write its tags, or is older than this launcher";
    format!("{vip}: {called} hasn't answered the probe within {seconds} s: {why}; see journalctl -u elbow-agent there")
}

/// The answers on one virtual IP, in the order of the file.
fn heard(balancer: &Balancer, vip: Ipv4Addr, node: &NodeHealth, answer: &Answer) -> Vec<Heard> {
    let place = |name: &str| balancer.listeners.iter().position(|listener| listener.name == name);
    let mut all: Vec<&ListenerAnswer> = answer.listeners.iter().filter(|one| one.virtual_ip == vip).collect();
    all.sort_by_key(|one| place(&one.listener).unwrap_or(usize::MAX));
    let heard = |one: &&ListenerAnswer| {
        let listener = place(&one.listener).map(|place| &balancer.listeners[place]);
        let port = listener.map(|listener| listener.range().first);
        let at = port.map_or_else(|| vip.to_string(), |port| format!("{vip}:{port}"));
        let (status, target, ms) = match &one.outcome {
            Outcome::Http { status, target, ms } => (Some(*status), target.clone(), Some(*ms)),
            Outcome::Taken { target } => (None, Some(target.clone()), None),
            Outcome::Connected | Outcome::Failed(_) => (None, None, None),
        };
        Heard {
            virtual_ip: vip,
            listener: one.listener.clone(),
            port,
            instance: node.instance.clone(),
            asked: answer.asked,
            answer: match &one.outcome {
                Outcome::Http { .. } => "http",
                Outcome::Taken { .. } => "taken",
                Outcome::Connected => "connected",
                Outcome::Failed(failure) => failure.word(),
            },
            status,
            target,
            ms,
            problem: trouble(listener, &one.outcome).map(|why| format!("listener {} on {at}: {why}", one.listener)),
        }
    };
    all.iter().map(heard).collect()
}

/// Why a client of this listener wouldn't be served. A status that HAProxy responds with by the file is no problem, nor is
/// a target's own.
fn trouble(listener: Option<&Listener>, outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Http { status, target: None, .. } if listener.is_some_and(|listener| responds(listener, *status)) => {
            None
        }
        Outcome::Http { status: 502, target: None, .. } => {
            Some("502: a target closed the connection, or its response is invalid")
        }
        Outcome::Http { status: 503, target: None, .. } => Some("503: no target serves it"),
        Outcome::Http { status: 504, target: None, .. } => Some("504: a target didn't respond in time"),
        Outcome::Failed(Failure::Refused) => Some("the connection was refused: HAProxy doesn't listen there"),
        Outcome::Failed(Failure::Silent) => Some("there was no response in time"),
        Outcome::Failed(Failure::Closed) => Some("the connection was closed without a response: no target serves it"),
        Outcome::Failed(Failure::Waiting) => Some("no target took the connection in time"),
        Outcome::Failed(Failure::Unasked) => {
            Some("not asked, as the node has no descriptor, memory or port left: probe again")
        }
        Outcome::Http { .. } | Outcome::Taken { .. } | Outcome::Connected => None,
    }
}

/// Whether HAProxy itself responds with this status to some requests, by the file.
fn responds(listener: &Listener, status: u16) -> bool {
    let mut actions = listener.rules.iter().map(Rule::action).chain([listener.action()]);
    actions.any(|action| matches!(action, Action::Respond(respond) if respond.status == status))
}

fn unreached(vip: &VipHealth) -> Vec<String> {
    let lost = vip.watched.iter().filter(|watch| watch.reached == Some(false));
    lost.map(|watch| format!("{} isn't reachable through the VPC from {}", vip.address, watch.place())).collect()
}

/// What the standbys of a virtual IP see, in words.
fn reached(vip: &VipHealth) -> String {
    let seen = |watch: &Watch| match watch.reached {
        Some(true) => format!("{} reaches it", watch.place()),
        Some(false) => format!("{} doesn't reach it", watch.place()),
        None => format!("whether {} reaches it isn't known yet", watch.place()),
    };
    match &vip.watched[..] {
        [] => format!("{} isn't watched through the VPC: no other node is standby", vip.address),
        watched => {
            let seen: Vec<String> = watched.iter().map(seen).collect();
            format!("{} through the VPC: {}", vip.address, seen.join(", "))
        }
    }
}

#[cfg(test)]
mod tests;
