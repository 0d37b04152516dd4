//! Checks of listeners: names, ports, clients, and keys that need HTTP. Their actions and rules have files of their own.

use super::naming::repeated;
use super::{Checked, Problem, groups, health_check, network, text, within};
use crate::balancer::location::{Path, at};
use crate::balancer::{Balancer, ForwardedFor, Listener, Millis, PortRange, Protocol};
use crate::paths::{HEALTH_PORT, PEERS_PORT, STATS_PORT};

/// AWS's quota for a load balancer (Elastic Load Balancing quotas).
const MAX_LISTENERS: usize = 50;
/// AWS's default quota "Inbound or outbound rules per security group".
const MAX_RULES: usize = 60;
/// Among the nodes: VRRP, health and tunnels. Stick tables need one more.
const MEMBERS_RULES: usize = 3;

/// Ports that HAProxy can't bind on a node. It wouldn't start.
pub(super) const TAKEN: [(u16, &str); 6] = [
    (0, "not a port"),
    (22, "the port of the image's own sshd"),
    (53, "the port of the image's own systemd-resolved"),
    (HEALTH_PORT, "the agent's own port"),
    (PEERS_PORT, "the port by which nodes share stick tables"),
    (STATS_PORT, "the port of HAProxy's stats page"),
];

pub fn all(b: &Balancer) -> Vec<Problem> {
    let mut problems = Vec::new();
    match b.listeners.len() {
        0 => problems.push(Problem::new(at!["listener"], "at least one is needed")),
        1..=MAX_LISTENERS => {}
        n => {
            let message = format!("{n} are too many; write at most {MAX_LISTENERS}");
            problems.push(Problem::new(at!["listener"], message));
        }
    }
    for (i, listener) in b.listeners.iter().enumerate() {
        problems.extend(one(b, listener).into_iter().map(|problem| problem.below(at!["listener", i])));
    }
    let names: Vec<&str> = b.listeners.iter().map(|l| l.name.as_str()).collect();
    if let Some(i) = repeated(&names) {
        problems.push(Problem::new(at!["listener", i, "name"], format!("{:?} is another listener's name", names[i])));
    }
    problems.extend(overlaps(b));
    problems.extend(rules(b));
    problems
}

fn one(b: &Balancer, listener: &Listener) -> Vec<Problem> {
    let mut problems = Vec::new();
    let hours = (Millis(1000), Millis(24 * 3_600_000));
    let checks = [
        text::section(&listener.name).map_err(|message| Problem::new(at!["name"], message)),
        ports(listener),
        network::nets(&at!["clients"], &listener.clients),
        network::nets(&at!["proxy_protocol_from"], &listener.proxy_protocol_from),
        within(at!["idle_timeout"], listener.idle_timeout.as_ref(), hours, "1s to 24h"),
        within(at!["keep_alive"], listener.keep_alive.as_ref(), hours, "1s to 24h"),
        rate(listener),
    ];
    problems.extend(checks.into_iter().filter_map(Result::err));
    problems.extend(headers(listener));
    problems.extend(needs_http(listener));
    match (&listener.targets, &listener.health_check) {
        (Some(targets), check) => {
            let check = check.clone().unwrap_or_default();
            let behind = (listener.ports.is_some(), listener.ports.is_none());
            problems.extend(groups::targets(b, targets, &check, behind));
            problems.extend(health_check::all(&check).into_iter().map(|p| p.below(at!["health_check"])));
        }
        (None, Some(_)) => {
            let message = "belongs to a list of targets; write it in the [[target_group]]";
            problems.push(Problem::new(at!["health_check"], message));
        }
        (None, None) => {}
    }
    problems
}

fn ports(listener: &Listener) -> Checked {
    let key = if listener.ports.is_some() { "ports" } else { "port" };
    match (listener.port, listener.ports) {
        (None, None) => return Err(Problem::new(at!["port"], "is missing")),
        (Some(_), Some(_)) => return Err(Problem::new(at!["ports"], "write either port or ports, not both")),
        _ => {}
    }
    let range = listener.range();
    match TAKEN.iter().find(|(port, _)| range.overlaps((*port).into())) {
        Some((port, what)) if range.first == range.last => {
            Err(Problem::new(at![key], format!("{port} is {what}; choose another port")))
        }
        Some((port, what)) => Err(Problem::new(at![key], format!("{range} contains {port}, {what}; leave it out"))),
        None => Ok(()),
    }
}

/// HAProxy would bind a port twice, and each process would get a part of the connections.
fn overlaps(b: &Balancer) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (i, listener) in b.listeners.iter().enumerate() {
        let range: PortRange = listener.range();
        let Some(other) = b.listeners[..i].iter().find(|other| other.range().overlaps(range)) else { continue };
        // A missing port has an error of its own.
        if range.first == 0 {
            continue;
        }
        let key = if listener.ports.is_some() { "ports" } else { "port" };
        let message = match range == other.range() && range.first == range.last {
            true => format!("{range} is the port of {:?}, too", other.name),
            false => format!("{range} overlaps {} of {:?}", other.range(), other.name),
        };
        problems.push(Problem::new(at!["listener", i, key], message));
    }
    problems
}

fn rate(listener: &Listener) -> Checked {
    let Some(limit) = &listener.rate_limit else { return Ok(()) };
    let at = |key: &str| -> Path { at!["rate_limit", key] };
    within(at("requests"), Some(&limit.requests), (1, 1_000_000), "1 to 1000000")?;
    within(at("per"), Some(&limit.per), (Millis(1000), Millis(3_600_000)), "1s to 1h")
}

fn headers(listener: &Listener) -> Vec<Problem> {
    let wrong = |name: &str, message| Problem::new(at!["response_headers", name], message);
    let of = |(name, value): (&String, &String)| {
        let checked = text::name("header", name).and_then(|()| text::printable(value));
        checked.err().map(|message| wrong(name, message))
    };
    listener.response_headers.iter().filter_map(of).collect()
}

/// HAProxy reads no requests in a stream of bytes.
fn needs_http(listener: &Listener) -> Vec<Problem> {
    if listener.protocol == Protocol::Http {
        return Vec::new();
    }
    let present = [
        ("redirect", listener.redirect.is_some()),
        ("respond", listener.respond.is_some()),
        ("rule", !listener.rules.is_empty()),
        ("forward_sticky", listener.forward_sticky.is_some()),
        ("keep_alive", listener.keep_alive.is_some()),
        ("response_headers", !listener.response_headers.is_empty()),
        ("forwarded_for", listener.forwarded_for != ForwardedFor::default()),
        ("rate_limit", listener.rate_limit.is_some()),
    ];
    let named = present.into_iter().filter(|(_, is_present)| *is_present);
    named.map(|(key, _)| Problem::new(at![key], "needs protocol = \"http\"")).collect()
}

/// AWS refuses a security group with more rules, unless its quota was raised. The VPC's CIDRs count as one.
fn rules(b: &Balancer) -> Option<Problem> {
    let vpc = [ipnet::Ipv4Net::default()];
    let readers = b.metrics.as_ref().map_or(0, |metrics| ipnet::Ipv4Net::aggregate(&metrics.clients).len());
    let number = b.admitted(&vpc).len() + readers + MEMBERS_RULES + usize::from(b.shares_tables());
    let message = || {
        format!(
            "the security group would need {number} rules, and AWS's quota is {MAX_RULES}: list fewer clients, or use \
             consecutive ports"
        )
    };
    (number > MAX_RULES).then(|| Problem::new(at!["listener"], message()))
}
