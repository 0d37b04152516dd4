//! Checks of `[notify]`, `[metrics]` and `[logs]`. A webhook's address is a secret: no message repeats it.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use url::{Host, Url};

use super::{Checked, Problem, network};
use crate::balancer::location::at;
use crate::balancer::{Logs, Metrics, Notify};

/// Each reader takes a rule of the security group.
const MOST_READERS: usize = 16;

pub fn notify(notify: Option<&Notify>) -> Checked {
    let Some(notify) = notify else { return Ok(()) };
    webhook(notify.webhook.reveal()).map_err(|message| Problem::new(at!["notify", "webhook"], message))
}

fn webhook(address: &str) -> Result<(), &'static str> {
    let url = Url::parse(address).map_err(|_| "is not a URL; write https://host/path (the value isn't shown here)")?;
    let loopback = match url.host() {
        None => return Err("has no host; write https://host/path (the value isn't shown here)"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
    };
    match url.scheme() {
        _ if address.len() > 2000 || !address.bytes().all(|b| b.is_ascii_graphic()) => {
            Err("is not a URL; use at most 2000 of the characters of RFC 3986 (the value isn't shown here)")
        }
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        "http" => Err("is a secret that http:// would send unencrypted; write https:// (http:// only to 127.0.0.1)"),
        _ => Err("is not an https:// URL (the value isn't shown here)"),
    }
}

pub fn metrics(metrics: Option<&Metrics>) -> Checked {
    let Some(metrics) = metrics else { return Ok(()) };
    let at = || at!["metrics", "clients"];
    match &metrics.clients[..] {
        [] => Err(Problem::new(at(), "the list is empty; write at least one CIDR, or remove [metrics]")),
        many if many.len() > MOST_READERS => {
            Err(Problem::new(at(), format!("{} are too many; write at most {MOST_READERS}", many.len())))
        }
        // Aggregated, as the two halves of the address space admit every address, too.
        named if Ipv4Net::aggregate(&named.to_vec()).contains(&Ipv4Net::default()) => {
            Err(Problem::new(at(), "0.0.0.0/0 admits every address; write the CIDRs of the readers"))
        }
        named => network::nets(&at(), named),
    }
}

/// Refuses a receiver that is the node itself, or no host.
pub fn logs(logs: Option<&Logs>, vips: &[Ipv4Addr]) -> Checked {
    let Some(Logs { syslog }) = logs else { return Ok(()) };
    let what = match syslog.host.parse::<Ipv4Addr>() {
        // Each node has the virtual IPs on `lo`.
        Ok(address) if vips.contains(&address) => Some("a virtual IP of this balancer"),
        Ok(address) => network::unusable(address),
        Err(_) => syslog.host.eq_ignore_ascii_case("localhost").then_some("the node itself"),
    };
    match what {
        Some(what) => {
            let message = format!("{} is {what}; write the address or the name of a syslog server", syslog.host);
            Err(Problem::new(at!["logs", "syslog"], message))
        }
        None => Ok(()),
    }
}
