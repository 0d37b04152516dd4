//! Compares the nodes' reports with the routes to find out whether a balancer serves as it should. Pure.
//!
//! If reports contradict each other, reachable nodes ([`reach`]) outrank others. Between nodes that don't reach each
//! other the routes decide.

pub mod reachability;
pub mod silent;
pub mod target_groups;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::Serialize;
use templates::balancer::{Launch, NodeConfig, Revision, RouteTables};
use templates::listener_probe::Answer;
use templates::names::{TAG_MESSAGE, TAG_PROBED, TAG_REACHED, TAG_REFUSED_HANDOVER, TAG_TARGETS};
use templates::report::{Reached, ReachedVips, Refusal};
use templates::targets::{Needs, TargetReport, needs};
use templates::{Order, Role, Roles, Slot};

use crate::model::node::{Node, Unreachable};
use crate::model::node_selector::NodeSelector;
use crate::model::node_status;
use crate::resources::route_tables::{Table, eligible};
use target_groups::{GroupHealth, target_groups};

/// The expected state of a balancer.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The revision of its nodes.
    pub revision: Revision,
    /// The subnets, by slot, that should have a node each.
    pub subnets: Vec<String>,
    /// How its nodes are launched.
    pub launch: Launch,
    pub virtual_ips: Vec<Ipv4Addr>,
    /// The tables of their routes.
    pub route_tables: RouteTables,
    /// What each target group needs, by name.
    pub target_groups: BTreeMap<String, Needs>,
    /// Nodes that may be missing or unreachable.
    pub without: Vec<NodeSelector>,
}

impl From<&NodeConfig> for Expected {
    fn from(config: &NodeConfig) -> Expected {
        Expected {
            revision: config.revision.clone(),
            subnets: config.balancer.subnets.clone(),
            launch: config.balancer.launch,
            virtual_ips: config.balancer.virtual_ips.clone(),
            route_tables: config.balancer.route_tables.clone(),
            target_groups: needs(&config.balancer),
            without: Vec::new(),
        }
    }
}

impl Expected {
    /// Whether the operator goes on without this node.
    pub fn leaves_out(&self, node: &NodeHealth) -> bool {
        self.without.iter().any(|which| which.is(node.named, &node.instance))
    }
}

/// The state of a balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Assessment {
    /// Every live node, by slot.
    pub nodes: Vec<NodeHealth>,
    /// Every virtual IP.
    pub virtual_ips: Vec<VipHealth>,
    /// Every target group. Too few healthy targets are no problem of the balancer itself: `problems` doesn't have them.
    pub target_groups: Vec<GroupHealth>,
    /// Each reason why it doesn't serve as it should.
    pub problems: Vec<String>,
    /// The messages of its reachable nodes.
    pub messages: Vec<String>,
}

/// The state of a node, by EC2 and by its own report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeHealth {
    /// Its slot, if its subnet is one of the balancer's.
    pub slot: Option<Slot>,
    /// The slot that names this node.
    #[serde(skip)]
    pub named: Option<Slot>,
    #[serde(skip)]
    pub subnet: String,
    /// Its id.
    pub instance: String,
    /// Its availability zone.
    pub zone: String,
    /// Its own address.
    pub address: Option<String>,
    /// Its network interface.
    pub interface: Option<String>,
    /// EC2's instance state.
    pub state: String,
    /// Since when it is unreachable. The fields below are its last report then.
    pub unreachable: Option<Unreachable>,
    /// Its role for each virtual IP; none before its first report.
    pub roles: Option<Roles>,
    /// The revision it runs.
    pub running: Option<String>,
    /// Its order, if it doesn't run it (`<version>:<revision>`).
    pub ordered: Option<String>,
    /// Its message to the operator.
    pub message: Option<String>,
    /// For each virtual IP, whether it reaches it through the VPC.
    #[serde(skip)]
    pub reached: ReachedVips,
    /// What it sees of the targets, if it is active.
    #[serde(skip)]
    pub targets: Option<TargetReport>,
    /// The handover request that it refused.
    #[serde(skip)]
    pub refused: Option<Refusal<String>>,
    /// Its answer to a listener probe.
    #[serde(skip)]
    pub probed: Option<Answer>,
    /// When it was launched.
    pub launched: Option<Timestamp>,
}

/// Where a virtual IP is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VipHealth {
    /// The virtual IP.
    pub address: Ipv4Addr,
    /// The instances that are active for it: one, if all is well.
    pub active: Vec<String>,
    /// Its route in each table that should have one.
    pub routes: Vec<RouteHealth>,
    /// The standbys that watch it through the VPC. Without one, no client's path is watched.
    pub watched: Vec<Watch>,
}

/// What a standby's probes through the VPC show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Watch {
    pub instance: String,
    pub subnet: String,
    pub zone: String,
    /// Whether they reach the active node; none if that isn't known yet.
    pub reached: Option<bool>,
}

impl Watch {
    /// Where it watches from, in messages.
    pub fn place(&self) -> String {
        format!("{} ({})", self.subnet, self.zone)
    }
}

/// A virtual IP's route in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteHealth {
    /// The table's id.
    pub table: String,
    /// The table's name, if it has one.
    pub name: Option<String>,
    /// Where the route leads; none if there is no route.
    pub target: Option<String>,
    /// Whether that is the active node.
    pub ok: bool,
}

/// Assesses a balancer by its nodes and its VPC's route tables.
pub fn assess(expected: &Expected, nodes: &[Node], tables: &[Table]) -> Assessment {
    let nodes: Vec<NodeHealth> = nodes.iter().filter(|node| node.is_live()).map(health).collect();
    let tables = eligible(tables, &expected.route_tables);
    let mut problems = Vec::new();
    problems.extend(match expected.launch {
        Launch::Instances => by_slot(expected, &nodes),
        Launch::AutoScaling => by_number(expected, &nodes).into_iter().collect(),
    });
    problems.extend(nodes.iter().filter_map(unlisted));
    problems.extend(nodes.iter().filter_map(|node| unwell(expected, node)));
    let vips = expected.virtual_ips.iter().enumerate();
    let virtual_ips: Vec<VipHealth> = vips.map(|(vip, address)| served(vip, *address, &nodes, &tables)).collect();
    problems.extend(virtual_ips.iter().flat_map(unserved));
    let heard = nodes.iter().filter(|node| node.unreachable.is_none());
    let messages = heard.clone().filter_map(|node| Some(format!("{}: {}", node.called(), node.message.as_ref()?)));
    let is_active = |node: &&NodeHealth| virtual_ips.iter().any(|vip| vip.active.contains(&node.instance));
    let reports = heard.filter(is_active).filter_map(|node| node.targets.as_ref());
    let target_groups = target_groups(&expected.target_groups, &reports.collect::<Vec<_>>());
    Assessment { messages: messages.collect(), nodes, virtual_ips, target_groups, problems }
}

fn by_slot(expected: &Expected, nodes: &[NodeHealth]) -> Vec<String> {
    let slots = (0..expected.subnets.len()).map(|slot| Slot(slot as u8));
    slots
        .filter_map(|slot| {
            let there = nodes.iter().filter(|node| node.slot == Some(slot)).map(|node| node.instance.as_str());
            match &there.collect::<Vec<_>>()[..] {
                [] if expected.without.contains(&NodeSelector::Slot(slot)) => None,
                [] => Some(format!("node {slot} is missing")),
                [_] => None,
                many => Some(format!("slot {slot} has {} nodes: {}", many.len(), many.join(", "))),
            }
        })
        .collect()
}

/// An Auto Scaling group chooses the subnets, so only the number of nodes counts.
fn by_number(expected: &Expected, nodes: &[NodeHealth]) -> Option<String> {
    let (there, wanted) = (nodes.len(), expected.subnets.len());
    let least = wanted.saturating_sub(expected.without.len());
    (!(least..=wanted).contains(&there)).then(|| format!("there are {there} nodes instead of {wanted}"))
}

/// A node in a subnet that isn't the balancer's. No virtual IP prefers it.
fn unlisted(node: &NodeHealth) -> Option<String> {
    let NodeHealth { instance, slot, subnet, .. } = node;
    (slot.is_none() && !subnet.is_empty()).then(|| {
        format!(
            "{instance} is in {subnet}, which isn't one of the balancer's subnets: terminate it, or add the subnet to the \
             file and run `launcher update`"
        )
    })
}

impl NodeHealth {
    /// The node's name in messages.
    pub fn called(&self) -> String {
        match self.slot {
            Some(slot) => format!("node {slot} ({})", self.instance),
            None => format!("node {}", self.instance),
        }
    }

    /// The line about the node, if it is unreachable.
    pub fn unreachable(&self) -> Option<String> {
        Some(format!("{} is {}", self.called(), self.unreachable.as_ref()?))
    }
}

/// The state of a node.
pub fn health(node: &Node) -> NodeHealth {
    NodeHealth {
        slot: node.slot,
        named: node.named,
        subnet: node.subnet.clone(),
        instance: node.id.clone(),
        zone: node.zone.clone(),
        address: node.address.clone(),
        interface: node.interfaces.first().cloned(),
        state: node.state.clone(),
        unreachable: node.unreachable.clone(),
        roles: node_status::roles(node),
        running: node_status::running(node).map(str::to_owned),
        ordered: node_status::ordered(node),
        message: node.tags.get(TAG_MESSAGE).filter(|tag| !tag.is_empty()).map(str::to_owned),
        reached: node.tags.get(TAG_REACHED).and_then(|tag| tag.parse().ok()).unwrap_or_default(),
        targets: TargetReport::read(TAG_TARGETS.iter().map_while(|key| node.tags.get(key))),
        refused: node.tags.get(TAG_REFUSED_HANDOVER).and_then(|tag| tag.parse().ok()),
        probed: Answer::read(TAG_PROBED.iter().map_while(|key| node.tags.get(key))),
        launched: node.launched,
    }
}

/// Why a node isn't as expected, if so.
pub fn unwell(expected: &Expected, node: &NodeHealth) -> Option<String> {
    let called = node.called();
    if node.state != "running" {
        return Some(format!("{called} is {}", node.state));
    }
    let (Some(roles), Some(running)) = (&node.roles, &node.running) else {
        return Some(not_reported(node));
    };
    if let Some(unreachable) = node.unreachable() {
        return (!expected.leaves_out(node)).then(|| format!("{unreachable}: {}", remedy(expected.launch)));
    }
    if let Some(ordered) = &node.ordered
        && ordered.parse().map(|order: Order| order.revision).as_ref() != Ok(&expected.revision)
    {
        return Some(format!(
            "{called} has an order for {ordered}, but nodes boot another revision: run `launcher update` with the file \
             that is to run"
        ));
    }
    if *running != expected.revision.0 {
        return Some(format!("{called} runs revision {running} instead of {}", expected.revision));
    }
    if roles.0.len() != expected.virtual_ips.len() {
        return Some(format!(
            "{called} reports {} roles for {} virtual IPs",
            roles.0.len(),
            expected.virtual_ips.len()
        ));
    }
    roles.0.contains(&Role::Fault).then(|| format!("{called} is in fault: it can't serve"))
}

/// The problem of a running node without a report.
pub fn not_reported(node: &NodeHealth) -> String {
    format!("{} has not reported yet", node.called())
}

/// What an operator can do about an unreachable node.
pub fn remedy(launch: Launch) -> &'static str {
    match launch {
        Launch::Instances => "reboot it, or terminate it and run `launcher create` with the balancer's file",
        Launch::AutoScaling => "reboot it, or terminate it and its Auto Scaling group launches another",
    }
}

fn served(vip: usize, address: Ipv4Addr, nodes: &[NodeHealth], tables: &[&Table]) -> VipHealth {
    let is_active = |node: &&NodeHealth| {
        node.state == "running" && node.roles.as_ref().is_some_and(|roles| roles.0.get(vip) == Some(&Role::Active))
    };
    let active = believed(address, nodes.iter().filter(is_active).collect(), tables);
    let owner = if let [only] = active[..] { only.interface.as_ref() } else { None };
    let routes = tables.iter().map(|table| {
        let route = table.route(address);
        let target = route.and_then(|route| route.target.clone());
        let ok = route.is_some_and(|route| !route.blackhole) && target.is_some() && target.as_ref() == owner;
        RouteHealth { table: table.id.clone(), name: table.name.clone(), target, ok }
    });
    let is_standby = |node: &&NodeHealth| {
        node.state == "running"
            && node.unreachable.is_none()
            && node.roles.as_ref().is_some_and(|roles| roles.0.get(vip) == Some(&Role::Standby))
    };
    let watched = nodes.iter().filter(is_standby).map(|node| Watch {
        instance: node.instance.clone(),
        subnet: node.subnet.clone(),
        zone: node.zone.clone(),
        reached: match node.reached.0.get(vip) {
            Some(Reached::Yes) => Some(true),
            Some(Reached::No) => Some(false),
            Some(Reached::Unknown) | None => None,
        },
    });
    let active = active.iter().map(|node| node.instance.clone()).collect();
    VipHealth { address, routes: routes.collect(), active, watched: watched.collect() }
}

/// The nodes that count as active: of those that report it the reachable ones, or else the one with the most routes.
fn believed<'a>(address: Ipv4Addr, say: Vec<&'a NodeHealth>, tables: &[&Table]) -> Vec<&'a NodeHealth> {
    let (reached, lost): (Vec<_>, Vec<_>) = say.into_iter().partition(|node| node.unreachable.is_none());
    if !reached.is_empty() {
        return reached;
    }
    let targets = || tables.iter().filter_map(|table| table.route(address)?.target.as_ref());
    let routes = |node: &NodeHealth| targets().filter(|target| node.interface.as_ref() == Some(target)).count();
    let most = lost.iter().map(|node| routes(node)).max();
    lost.into_iter().filter(|node| Some(routes(node)) == most).collect()
}

fn unserved(vip: &VipHealth) -> Vec<String> {
    let VipHealth { address, active, routes, watched: _ } = vip;
    match &active[..] {
        [] => vec![format!("virtual IP {address}: no node is active")],
        [only] => {
            let wrong = routes.iter().filter(|route| !route.ok).map(|route| match &route.target {
                Some(target) => {
                    format!("virtual IP {address}: the route in {} leads to {target}, not to {only}; the active node corrects it at its next read of the routes", route.table)
                }
                None => format!("virtual IP {address}: there is no route in {}", route.table),
            });
            wrong.collect()
        }
        many => vec![format!(
            "virtual IP {address}: {} are active at once; if this lasts, VRRP between them is blocked: check the security group and network ACLs",
            many.join(" and ")
        )],
    }
}

#[cfg(test)]
pub(crate) mod tests;
