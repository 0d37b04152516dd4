//! Checks of target groups and their targets.

use std::collections::BTreeSet;

use super::naming::repeated;
use super::{Checked, Problem, health_check, network, text, within};
use crate::balancer::location::at;
use crate::balancer::{Balancer, HealthCheck, Millis, Protocol, Sticky, Target, TargetGroup};

/// ALB's default quota (Elastic Load Balancing quotas).
const MAX_GROUPS: usize = 100;
/// AWS's default quota for a target group. 16 KB of user-data hold fewer anyway.
const MAX_TARGETS: usize = 1000;

pub fn all(b: &Balancer) -> Vec<Problem> {
    let mut problems = Vec::new();
    if b.target_groups.len() > MAX_GROUPS {
        let message = format!("{} are too many; write at most {MAX_GROUPS}", b.target_groups.len());
        problems.push(Problem::new(at!["target_group"], message));
    }
    let used: BTreeSet<&str> = b.listeners.iter().flat_map(|listener| listener.forwards_to()).collect();
    for (i, group) in b.target_groups.iter().enumerate() {
        let path = at!["target_group", i];
        problems.extend(one(b, group).into_iter().map(|problem| problem.below(&path)));
        if !used.contains(group.name.as_str()) {
            let message = format!("no listener forwards to {:?}; its targets get no traffic", group.name);
            problems.push(Problem::warning(path, message));
        }
    }
    problems.extend(names(b));
    problems
}

/// A shorthand listener's name is that of a group, too.
fn names(b: &Balancer) -> Vec<Problem> {
    let shorthand: Vec<&str> = b
        .listeners
        .iter()
        .filter(|listener| listener.targets.is_some())
        .map(|listener| listener.name.as_str())
        .collect();
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for (i, group) in b.target_groups.iter().enumerate() {
        let path = at!["target_group", i, "name"];
        if shorthand.contains(&group.name.as_str()) {
            let message = format!("{:?} is the group of the listener's targets; choose another name", group.name);
            problems.push(Problem::new(path, message));
        } else if !seen.insert(&group.name) {
            problems.push(Problem::new(path, format!("{:?} is another target group's name", group.name)));
        }
    }
    problems
}

fn one(b: &Balancer, group: &TargetGroup) -> Vec<Problem> {
    let mut problems = targets(b, &group.targets, &group.health_check, ports_of(b, &group.name));
    problems.extend(health_check::all(&group.health_check).into_iter().map(|p| p.below(at!["health_check"])));
    let (second, hour) = (Millis(1000), Millis(3_600_000));
    // HAProxy counts only these; of backup targets one, and only while no other is healthy.
    let number = group.weighted_targets().filter(|target| !target.backup).count();
    let number = u32::try_from(number).unwrap_or(u32::MAX).max(1);
    let checks = [
        text::section(&group.name).map_err(|message| Problem::new(at!["name"], message)),
        sticky(group),
        within(at!["deregistration_delay"], group.deregistration_delay.as_ref(), (Millis(0), hour), "0s to 1h"),
        within(at!["slow_start"], group.slow_start.as_ref(), (second, hour), "1s to 1h"),
        within(at!["connections_per_target"], group.connections_per_target.as_ref(), (1, 1_000_000), "1 to 1000000"),
        within(
            at!["minimum_healthy"],
            group.minimum_healthy.as_ref(),
            (1, number),
            &format!("1 to {number}, the number of targets that have a weight and aren't backup"),
        ),
        match group.retry && group.protocol != Protocol::Http {
            true => Err(Problem::new(at!["retry"], "only requests can be sent again; write protocol = \"http\"")),
            false => Ok(()),
        },
    ];
    problems.extend(checks.into_iter().filter_map(Result::err));
    problems
}

/// Whether a listener with a range of ports, and one with a single port, forward to this group.
fn ports_of(b: &Balancer, group: &str) -> (bool, bool) {
    let of = b.listeners.iter().filter(|listener| listener.forwards_to().contains(&group));
    of.fold((false, false), |(range, single), listener| match listener.ports {
        Some(_) => (true, single),
        None => (range, true),
    })
}

fn sticky(group: &TargetGroup) -> Checked {
    let wrong = |key: &str, message: String| Err(Problem::new(at!["sticky", key], message));
    let (key, name, unused) = match &group.sticky {
        None => return Ok(()),
        Some(Sticky::Cookie { name, unused }) => ("cookie", Some(name), unused),
        Some(Sticky::AppCookie { name, unused }) => ("app_cookie", Some(name), unused),
        Some(Sticky::Source { unused }) => ("source", None, unused),
    };
    if let Some(name) = name {
        if let Err(message) = text::name("cookie", name) {
            return wrong(key, message);
        }
        if group.protocol != Protocol::Http {
            return wrong(key, "a TCP stream has no cookies; write sticky = { source = true }".to_owned());
        }
    }
    // ALB's limit.
    let week = Millis(7 * 24 * 3_600_000);
    within(at!["sticky", "for"], unused.as_ref(), (Millis(1000), week), "1s to 168h")
}

/// Problems of a list of targets, below the table with the key `targets`. `ports`: whether they are behind a range of
/// ports, and behind a single port.
pub fn targets(b: &Balancer, targets: &[Target], check: &HealthCheck, ports: (bool, bool)) -> Vec<Problem> {
    let mut problems = Vec::new();
    match targets.len() {
        0 => problems
            .push(Problem::warning(at!["targets"], "the list is empty: HAProxy answers 503, or ends connections")),
        1..=MAX_TARGETS => {}
        n => problems.push(Problem::new(at!["targets"], format!("{n} are too many; write at most {MAX_TARGETS}"))),
    }
    for (i, target) in targets.iter().enumerate() {
        if let Err(what) = usable(b, target, check, ports) {
            problems.push(Problem::new(at!["targets", i], format!("{} {what}", target.address)));
        }
    }
    let addresses: Vec<_> = targets.iter().map(|target| target.address).collect();
    if let Some(i) = repeated(&addresses) {
        problems.push(Problem::new(at!["targets", i], format!("{} is listed twice", addresses[i])));
    }
    problems
}

fn usable(b: &Balancer, target: &Target, check: &HealthCheck, (range, single): (bool, bool)) -> Result<(), String> {
    let address = target.address;
    match address.port {
        Some(0) => return Err("has port 0; write 1 to 65535".to_owned()),
        Some(_) if range && !single => {
            return Err("is behind a range of ports; leave the port out, and the target gets the client's".to_owned());
        }
        None if single || !range => return Err("has no port; write it, such as \"10.0.1.20:8080\"".to_owned()),
        None if check.port.is_none() => {
            return Err("has no port to check; write health_check = { port = 8080 }".to_owned());
        }
        _ => {}
    }
    if let Some(what) = network::unusable(address.ip) {
        return Err(format!("is {what}; write the address of a host"));
    }
    if b.virtual_ips.contains(&address.ip) {
        return Err("is a virtual IP of this balancer, which can't be its own target".to_owned());
    }
    match target.weight {
        Some(weight) if weight > 256 => Err(format!("has the weight {weight}; write 0 to 256")),
        _ => Ok(()),
    }
}
