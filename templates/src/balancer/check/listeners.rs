//! What listeners and their targets must be.

use std::net::SocketAddrV4;

use super::words::{is_label, repeated};
use super::{Checked, Problem, network};
use crate::balancer::place::at;
use crate::balancer::{Balancer, HealthCheck, Listener};
use crate::paths::{HEALTH_PORT, STATS_PORT};

/// As many as AWS allows a load balancer (Elastic Load Balancing quotas).
const MAX_LISTENERS: usize = 50;
/// As many targets as a listener of AWS's has by default, and more than 16 KB of user-data hold anyway.
const MAX_TARGETS: usize = 1000;

pub fn all(b: &Balancer) -> Checked {
    match b.listeners.len() {
        0 => return Err(Problem::new(at!["listener"], "at least one is needed")),
        1..=MAX_LISTENERS => {}
        n => return Err(Problem::new(at!["listener"], format!("{n} are too many: {MAX_LISTENERS} at most"))),
    }
    for (i, listener) in b.listeners.iter().enumerate() {
        one(b, listener).map_err(|p| Problem { path: [at!["listener", i], p.path].concat(), ..p })?;
    }
    let names: Vec<&str> = b.listeners.iter().map(|l| l.name.as_str()).collect();
    if let Some(i) = repeated(&names) {
        return Err(Problem::new(at!["listener", i, "name"], format!("{:?} is another listener's, too", names[i])));
    }
    let ports: Vec<u16> = b.listeners.iter().map(|l| l.port).collect();
    if let Some(i) = repeated(&ports) {
        let first = &b.listeners.iter().find(|l| l.port == ports[i]).unwrap_or(&b.listeners[i]).name;
        return Err(Problem::new(at!["listener", i, "port"], format!("{} is {first:?}'s, too", ports[i])));
    }
    Ok(())
}

fn one(b: &Balancer, listener: &Listener) -> Checked {
    if !is_label(&listener.name, 32) {
        let message =
            format!("{:?} can't be one: write up to 32 of a-z, 0-9 and -, from a letter to no -", listener.name);
        return Err(Problem::new(at!["name"], message));
    }
    if let Some(whose) = taken(listener.port) {
        return Err(Problem::new(at!["port"], format!("{} is {whose}: choose another", listener.port)));
    }
    if listener.targets.is_empty() {
        return Err(Problem::new(at!["targets"], "at least one is needed"));
    }
    if listener.targets.len() > MAX_TARGETS {
        let message = format!("{} are too many: {MAX_TARGETS} at most", listener.targets.len());
        return Err(Problem::new(at!["targets"], message));
    }
    for (i, target) in listener.targets.iter().enumerate() {
        usable(b, target).map_err(|what| Problem::new(at!["targets", i], format!("{target} {what}")))?;
    }
    if let Some(i) = repeated(&listener.targets) {
        return Err(Problem::new(at!["targets", i], format!("{} is there twice", listener.targets[i])));
    }
    health_check(&listener.health_check)
}

/// Ports of a node that aren't HAProxy's to bind: it would find them taken, and not start.
fn taken(port: u16) -> Option<&'static str> {
    match port {
        0 => Some("no port"),
        22 => Some("the port of the image's own sshd"),
        53 => Some("the port of the image's own systemd-resolved"),
        HEALTH_PORT => Some("the agent's own port"),
        STATS_PORT => Some("the port of HAProxy's stats page"),
        _ => None,
    }
}

fn usable(b: &Balancer, target: &SocketAddrV4) -> Result<(), String> {
    if target.port() == 0 {
        return Err("has no port".to_owned());
    }
    if let Some(what) = network::unusable(*target.ip()) {
        return Err(format!("is {what}"));
    }
    if b.virtual_ips.contains(target.ip()) {
        return Err("is a virtual IP of this balancer: it would be its own target".to_owned());
    }
    Ok(())
}

fn health_check(check: &HealthCheck) -> Checked {
    if let Some(path) = &check.path {
        // It stands unquoted in haproxy.cfg: no spaces, quotes, backslashes or #.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&()*+,;=:@%?".contains(&b);
        if !path.starts_with('/') || path.len() > 200 || !path.bytes().all(plain) {
            let message = format!(
                "{path:?} can't be asked for: write / and up to 199 of the characters of a URL's path and query"
            );
            return Err(Problem::new(at!["health_check", "path"], message));
        }
    }
    if !(100..=300_000).contains(&check.interval.0) {
        let message = format!("{} can't be one: write 100ms to 300s", check.interval);
        return Err(Problem::new(at!["health_check", "interval"], message));
    }
    Ok(())
}
