//! Decides which nodes the launcher asks to hand over, and when the handover is done. Pure: the input is the reports of the
//! nodes and where the routes lead.

use std::net::Ipv4Addr;

use serde::Serialize;
use templates::{Role, Slot};

use crate::assess::{Assessment, NodeHealth, VipHealth, not_reported};
use crate::model::node_selector::NodeSelector;

/// A planned handover. If `from` is empty, there is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The nodes to ask.
    pub from: Vec<Giver>,
    /// The node to make active; none: any other than now.
    pub to: Option<Taker>,
    /// Routes that are wrong beforehand, by virtual IP and table. They aren't waited for: perhaps no node can change them.
    pub astray: Vec<(Ipv4Addr, String)>,
}

/// The node to make active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taker {
    pub instance: String,
    /// Its slot and instance, for messages.
    pub called: String,
}

/// A node that hands virtual IPs over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Giver {
    pub instance: String,
    pub slot: Option<Slot>,
    /// The virtual IPs to hand over.
    pub virtual_ips: Vec<Ipv4Addr>,
}

impl Plan {
    /// The plan in words.
    pub fn change(&self) -> String {
        let from = self.from.iter().map(|giver| {
            let slot = giver.slot.map_or_else(|| "node".to_owned(), |slot| format!("node {slot}"));
            let vips: Vec<String> = giver.virtual_ips.iter().map(ToString::to_string).collect();
            format!("{slot} ({}) hands over {}", giver.instance, vips.join(", "))
        });
        let to = self.to.as_ref().map_or_else(String::new, |taker| format!(" to {}", taker.called));
        format!("{}{to}", from.collect::<Vec<_>>().join("; "))
    }
}

/// Plans to make `to`, or any other node than now, active. Fails with the reasons that prevent just that, a line each. Other
/// problems of the balancer don't prevent a handover: they may be why the operator wants it.
pub fn plan(is: &Assessment, preempt: bool, to: Option<&NodeSelector>) -> Result<Plan, Vec<String>> {
    let first = is.virtual_ips.iter().find_map(|vip| vip.active.first());
    let takes = |node: &&NodeHealth| match to {
        Some(which) => which.is(node.named, &node.instance),
        None => Some(&node.instance) != first,
    };
    let (takers, givers): (Vec<&NodeHealth>, Vec<&NodeHealth>) = is.nodes.iter().partition(takes);
    let mut against = Vec::new();
    if preempt {
        against.push(
            "preempt = true in [failover]: the preferred node would take the virtual IPs back at once".to_owned(),
        );
    }
    if first.is_none() {
        against.push("no node reports that it is active: there is nothing to hand over".to_owned());
    }
    against.extend(is.virtual_ips.iter().filter(|vip| vip.active.len() > 1).map(undecided));
    against.extend(
        givers
            .iter()
            .filter(|node| serves(is, node))
            .filter_map(|node| Some(format!("{}: it can't receive a request to hand over", node.unreachable()?))),
    );
    against.extend(unfit(is, &takers, to));
    if !against.is_empty() {
        return Err(against);
    }
    let from = givers.into_iter().map(|node| giver(is, node)).filter(|giver| !giver.virtual_ips.is_empty());
    let to = takers.first().filter(|_| to.is_some());
    let to = to.map(|node| Taker { instance: node.instance.clone(), called: node.called() });
    Ok(Plan { from: from.collect(), to, astray: is.virtual_ips.iter().flat_map(astray).collect() })
}

/// Problems of the balancer that don't prevent a handover.
pub fn amiss(is: &Assessment) -> impl Iterator<Item = &String> {
    is.problems.iter().chain(&is.messages)
}

fn astray(vip: &VipHealth) -> impl Iterator<Item = (Ipv4Addr, String)> {
    vip.routes.iter().filter(|route| !route.ok).map(|route| (vip.address, route.table.clone()))
}

/// Whether the node is active for a virtual IP.
fn serves(is: &Assessment, node: &NodeHealth) -> bool {
    is.virtual_ips.iter().any(|vip| vip.active.contains(&node.instance))
}

fn giver(is: &Assessment, node: &NodeHealth) -> Giver {
    let given = is.virtual_ips.iter().filter(|vip| vip.active.contains(&node.instance));
    Giver { instance: node.instance.clone(), slot: node.slot, virtual_ips: given.map(|vip| vip.address).collect() }
}

/// Why none of `takers` can become active, by their reports. The active node asks them again itself.
fn unfit(is: &Assessment, takers: &[&NodeHealth], to: Option<&NodeSelector>) -> Vec<String> {
    match (takers, to) {
        ([], Some(NodeSelector::Slot(slot))) => {
            vec![format!("there is no live node {slot}: `launcher status` lists the nodes")]
        }
        ([], Some(NodeSelector::Instance(id))) => {
            vec![format!("{id} is no live node: `launcher status` lists the nodes")]
        }
        ([], None) => vec!["there is no other node to hand over to".to_owned()],
        _ => {
            let mut reasons: Vec<String> = takers.iter().filter_map(|node| cannot_serve(node)).collect();
            if reasons.len() < takers.len() {
                return Vec::new();
            }
            // The operator may want to hand over from a dead node.
            let serving = is.nodes.iter().find(|node| serves(is, node) && node.unreachable.is_none());
            let lost = takers.iter().any(|node| node.unreachable.is_some());
            reasons.extend(serving.filter(|_| lost).map(|node| format!("{} is active already", node.called())));
            reasons
        }
    }
}

fn cannot_serve(node: &NodeHealth) -> Option<String> {
    let called = node.called();
    match &node.roles {
        _ if node.state != "running" => Some(format!("{called} is {}", node.state)),
        None => Some(not_reported(node)),
        Some(_) if node.unreachable.is_some() => node.unreachable(),
        Some(roles) => roles.0.contains(&Role::Fault).then(|| format!("{called} is in fault: it can't serve")),
    }
}

fn undecided(vip: &VipHealth) -> String {
    format!("{}: {} nodes report that they are active", vip.address, vip.active.len())
}

/// The progress of a handover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// What is left, a line each.
    Under(Vec<String>),
    /// The routes lead to the other node.
    Done,
    /// A node refused, and why.
    Refused(String),
}

/// The progress of `plan`, after the nodes were asked by the request of this id.
pub fn progress(plan: &Plan, id: &str, is: &Assessment) -> Progress {
    let refusal = plan.from.iter().find_map(|giver| {
        let node = is.nodes.iter().find(|node| node.instance == giver.instance)?;
        let refusal = node.refused.as_ref().filter(|refusal| refusal.of == id)?;
        Some(format!("{} keeps serving: {}", node.called(), refusal.why))
    });
    if let Some(refusal) = refusal {
        return Progress::Refused(refusal);
    }
    let left: Vec<String> = plan.from.iter().flat_map(|giver| left(plan, giver, is)).collect();
    if left.is_empty() { Progress::Done } else { Progress::Under(left) }
}

fn left(plan: &Plan, giver: &Giver, is: &Assessment) -> Vec<String> {
    let vips = is.virtual_ips.iter().filter(|vip| giver.virtual_ips.contains(&vip.address));
    vips.filter_map(|vip| still(plan, giver, vip, is)).collect()
}

/// What is left for one virtual IP.
fn still(plan: &Plan, giver: &Giver, vip: &VipHealth, is: &Assessment) -> Option<String> {
    let address = vip.address;
    let [active] = &vip.active[..] else { return Some(undecided(vip)) };
    let node = is.nodes.iter().find(|node| node.instance == *active)?;
    if *active == giver.instance {
        return Some(format!("{address}: {} is still active", node.called()));
    }
    if plan.to.as_ref().is_some_and(|taker| taker.instance != node.instance) {
        return Some(format!("{address}: {} is active instead", node.called()));
    }
    let left = astray(vip).filter(|route| !plan.astray.contains(route)).count();
    if left > 0 {
        let all = vip.routes.len();
        return Some(format!("{address}: {} of {all} routes lead to {}", all - left, node.called()));
    }
    let number = is.virtual_ips.iter().position(|other| other.address == address).unwrap_or_default();
    let before = is.nodes.iter().find(|node| node.instance == giver.instance)?;
    let fault = before.roles.as_ref().is_some_and(|roles| roles.0.get(number) == Some(&Role::Fault));
    fault.then(|| format!("{address}: {} isn't standby again", before.called()))
}

#[cfg(test)]
mod tests;
