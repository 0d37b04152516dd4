//! Checks of listeners and their targets.

use std::net::SocketAddrV4;

use super::naming::{is_label, repeated};
use super::{Checked, Problem, network};
use crate::balancer::location::at;
use crate::balancer::{Balancer, HealthCheck, Listener};
use crate::paths::{HEALTH_PORT, STATS_PORT};

/// AWS's quota for a load balancer (Elastic Load Balancing quotas).
const MAX_LISTENERS: usize = 50;
/// AWS's default quota for a listener. 16 KB of user-data hold fewer anyway.
const MAX_TARGETS: usize = 1000;

pub fn all(b: &Balancer) -> Checked {
    match b.listeners.len() {
        0 => return Err(Problem::new(at!["listener"], "at least one is needed")),
        1..=MAX_LISTENERS => {}
        n => return Err(Problem::new(at!["listener"], format!("{n} are too many; write at most {MAX_LISTENERS}"))),
    }
    for (i, listener) in b.listeners.iter().enumerate() {
        one(b, listener).map_err(|p| Problem { path: [at!["listener", i], p.path].concat(), ..p })?;
    }
    let names: Vec<&str> = b.listeners.iter().map(|l| l.name.as_str()).collect();
    if let Some(i) = repeated(&names) {
        return Err(Problem::new(at!["listener", i, "name"], format!("{:?} is another listener's name", names[i])));
    }
    let ports: Vec<u16> = b.listeners.iter().map(|l| l.port).collect();
    if let Some(i) = repeated(&ports) {
        let first = &b.listeners.iter().find(|l| l.port == ports[i]).unwrap_or(&b.listeners[i]).name;
        return Err(Problem::new(at!["listener", i, "port"], format!("{} is the port of {first:?}, too", ports[i])));
    }
    Ok(())
}

fn one(b: &Balancer, listener: &Listener) -> Checked {
    if !is_label(&listener.name, 32) {
        let message = format!(
            "{:?} is not a valid name; use up to 32 of a-z, 0-9 and -, starting with a letter and not ending with -",
            listener.name
        );
        return Err(Problem::new(at!["name"], message));
    }
    if let Some(what) = taken(listener.port) {
        return Err(Problem::new(at!["port"], format!("{} is {what}; choose another port", listener.port)));
    }
    if listener.targets.is_empty() {
        return Err(Problem::new(at!["targets"], "at least one is needed"));
    }
    if listener.targets.len() > MAX_TARGETS {
        let message = format!("{} are too many; write at most {MAX_TARGETS}", listener.targets.len());
        return Err(Problem::new(at!["targets"], message));
    }
    for (i, target) in listener.targets.iter().enumerate() {
        usable(b, target).map_err(|what| Problem::new(at!["targets", i], format!("{target} {what}")))?;
    }
    if let Some(i) = repeated(&listener.targets) {
        return Err(Problem::new(at!["targets", i], format!("{} is listed twice", listener.targets[i])));
    }
    health_check(&listener.health_check)
}

/// Why HAProxy can't bind this port on a node, if it can't. It wouldn't start.
fn taken(port: u16) -> Option<&'static str> {
    match port {
        0 => Some("not a port"),
        22 => Some("the port of the image's own sshd"),
        53 => Some("the port of the image's own systemd-resolved"),
        HEALTH_PORT => Some("the agent's own port"),
        STATS_PORT => Some("the port of HAProxy's stats page"),
        _ => None,
    }
}

fn usable(b: &Balancer, target: &SocketAddrV4) -> Result<(), String> {
    if target.port() == 0 {
        return Err("has port 0; write 1 to 65535".to_owned());
    }
    if let Some(what) = network::unusable(*target.ip()) {
        return Err(format!("is {what}; write the address of a host"));
    }
    if b.virtual_ips.contains(target.ip()) {
        return Err("is a virtual IP of this balancer, which can't be its own target".to_owned());
    }
    Ok(())
}

fn health_check(check: &HealthCheck) -> Checked {
    if let Some(path) = &check.path {
        // haproxy.cfg contains the path without quotes: no spaces, quotes, backslashes or #.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&()*+,;=:@%?".contains(&b);
        if !path.starts_with('/') || path.len() > 200 || !path.bytes().all(plain) {
            let message =
                format!("{path:?} is not a path; write / and up to 199 of the characters of a URL's path and query");
            return Err(Problem::new(at!["health_check", "path"], message));
        }
    }
    if !(100..=300_000).contains(&check.interval.0) {
        let message = format!("{} is out of range; write 100ms to 300s", check.interval);
        return Err(Problem::new(at!["health_check", "interval"], message));
    }
    Ok(())
}
