//! A handover as the launcher sees it: whom to ask, and when it is done. Pure: what the nodes say and where the routes lead
//! goes in.

use std::net::Ipv4Addr;

use serde::Serialize;
use templates::handover::REFUSED;
use templates::{Role, Slot};

use crate::assess::{Assessment, NodeHealth, VipHealth};

/// Whom to ask to hand over, and what is to come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The instances to ask, with their slots.
    pub from: Vec<Giver>,
    /// Who is to be active; any other than now, if none.
    pub to: Option<Slot>,
}

/// A node that is to give virtual IPs up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Giver {
    /// Its instance.
    pub instance: String,
    /// Its slot.
    pub slot: Option<Slot>,
    /// What it is to give up.
    pub virtual_ips: Vec<Ipv4Addr>,
}

impl Plan {
    /// What it would do, for people.
    pub fn change(&self) -> String {
        let from = self.from.iter().map(|giver| {
            let slot = giver.slot.map_or_else(|| "node".to_owned(), |slot| format!("node {slot}"));
            let vips: Vec<String> = giver.virtual_ips.iter().map(ToString::to_string).collect();
            format!("{slot} ({}) hands over {}", giver.instance, vips.join(", "))
        });
        let to = self.to.map_or_else(String::new, |slot| format!(" to node {slot}"));
        format!("{}{to}", from.collect::<Vec<_>>().join("; "))
    }
}

/// What to do so that `to`, or any other node than now, is active; all that stands against it, a line each. An empty plan
/// is one that is done.
pub fn plan(is: &Assessment, preempt: bool, to: Option<Slot>) -> Result<Plan, Vec<String>> {
    let mut against = Vec::new();
    if preempt {
        against.push(
            "preempt = true in [failover]: the preferred node would take the virtual IPs back at once".to_owned(),
        );
    }
    if let Some(slot) = to
        && !is.nodes.iter().any(|node| node.slot == Some(slot))
    {
        against.push(format!("there is no live node {slot}: `launcher status` shows which there are"));
    }
    against.extend(is.problems.iter().chain(&is.messages).cloned());
    if against.is_empty() && is.nodes.len() < 2 {
        against.push("there is no other node to hand over to".to_owned());
    }
    if !against.is_empty() {
        return Err(against);
    }
    let first = is.virtual_ips.first().and_then(|vip| vip.active.first());
    let gives = |node: &&NodeHealth| match to {
        Some(slot) => node.slot != Some(slot),
        None => Some(&node.instance) == first,
    };
    let giver = |node: &NodeHealth| Giver {
        instance: node.instance.clone(),
        slot: node.slot,
        virtual_ips: is
            .virtual_ips
            .iter()
            .filter(|vip| vip.active.contains(&node.instance))
            .map(|vip| vip.address)
            .collect(),
    };
    let from = is.nodes.iter().filter(gives).map(giver).filter(|giver| !giver.virtual_ips.is_empty());
    Ok(Plan { from: from.collect(), to })
}

/// How far a handover is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// This is still to come, a line each.
    Under(Vec<String>),
    /// The routes lead to the other node.
    Done,
    /// A node says that it doesn't, and why.
    Refused(String),
}

/// How far `plan` is, given how things are now.
pub fn progress(plan: &Plan, is: &Assessment) -> Progress {
    let refusal = plan.from.iter().find_map(|giver| {
        let node = is.nodes.iter().find(|node| node.instance == giver.instance)?;
        // Other things may be wrong with it as well, and stand before or behind.
        let why = node.message.as_deref()?.split_once(REFUSED)?.1;
        Some(format!("{} keeps serving: {why}", node.called()))
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

/// What is still to come for one virtual IP.
fn still(plan: &Plan, giver: &Giver, vip: &VipHealth, is: &Assessment) -> Option<String> {
    let address = vip.address;
    let [active] = &vip.active[..] else {
        return Some(format!("{address}: {} nodes say that they are active", vip.active.len()));
    };
    let node = is.nodes.iter().find(|node| node.instance == *active)?;
    if *active == giver.instance {
        return Some(format!("{address}: {} is still active", node.called()));
    }
    if plan.to.is_some() && node.slot != plan.to {
        return Some(format!("{address}: {} is active instead", node.called()));
    }
    let right = vip.routes.iter().filter(|route| route.ok).count();
    if right < vip.routes.len() {
        return Some(format!("{address}: {right} of {} routes lead to {}", vip.routes.len(), node.called()));
    }
    let number = is.virtual_ips.iter().position(|other| other.address == address).unwrap_or_default();
    let before = is.nodes.iter().find(|node| node.instance == giver.instance)?;
    let fault = before.roles.as_ref().is_some_and(|roles| roles.0.get(number) == Some(&Role::Fault));
    fault.then(|| format!("{address}: {} isn't standby again", before.called()))
}

#[cfg(test)]
mod tests;
