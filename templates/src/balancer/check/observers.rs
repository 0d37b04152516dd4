//! What webhooks and readers of metrics must be. A webhook's address is a secret: no message repeats it.

use ipnet::Ipv4Net;
use url::{Host, Url};

use super::{Checked, Problem, network};
use crate::balancer::place::at;
use crate::balancer::{Metrics, Notify};

/// More would make a security group of rules for readers.
const MOST_READERS: usize = 16;

pub fn notify(notify: Option<&Notify>) -> Checked {
    let Some(notify) = notify else { return Ok(()) };
    webhook(notify.webhook.reveal()).map_err(|message| Problem::new(at!["notify", "webhook"], message))
}

fn webhook(address: &str) -> Result<(), &'static str> {
    let url = Url::parse(address).map_err(|_| "is not an address: write https://host/path (it isn't shown here)")?;
    let loopback = match url.host() {
        None => return Err("names no host: write https://host/path (it isn't shown here)"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
    };
    match url.scheme() {
        _ if address.len() > 2000 || !address.bytes().all(|b| b.is_ascii_graphic()) => {
            Err("is not an address: write up to 2000 of the characters of RFC 3986 (it isn't shown here)")
        }
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        "http" => Err("is sent in the clear with http://, and is a secret: write https:// (http:// to 127.0.0.1 only)"),
        _ => Err("is not an https:// address (it isn't shown here)"),
    }
}

pub fn metrics(metrics: Option<&Metrics>) -> Checked {
    let Some(metrics) = metrics else { return Ok(()) };
    let at = || at!["metrics", "clients"];
    match &metrics.clients[..] {
        [] => Err(Problem::new(at(), "none are named: leave [metrics] out, and only the nodes read them")),
        many if many.len() > MOST_READERS => {
            Err(Problem::new(at(), format!("{} are too many: {MOST_READERS} at most", many.len())))
        }
        // Two halves are the whole, too.
        named if Ipv4Net::aggregate(&named.to_vec()).contains(&Ipv4Net::default()) => {
            Err(Problem::new(at(), "0.0.0.0/0 is everybody: name who reads them"))
        }
        named => network::nets(&at(), named),
    }
}
