//! Checks of ids, addresses and networks that need no call to AWS.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::naming::has_prefix;
use super::{Checked, Problem, once};
use crate::balancer::RouteTables;
use crate::balancer::location::{Path, at};

/// [`crate::Slot::priority`] covers 16 virtual IPs.
const MAX_VIRTUAL_IPS: usize = 16;
/// An inline policy holds 10,240 characters (IAM quotas), and each listed table takes about 80.
const MAX_ROUTE_TABLES: usize = 80;

pub fn vpc(vpc: &str) -> Checked {
    id(vpc, "vpc-").map_err(|message| Problem::new(at!["vpc"], message))
}

pub fn subnets(subnets: &[String]) -> Checked {
    ids("subnets", subnets, "subnet-")?;
    match subnets.len() {
        0 | 1 => {
            Err(Problem::new(at!["subnets"], "at least two are needed, in two availability zones: one node in each"))
        }
        2..=5 => Ok(()),
        n => Err(Problem::new(at!["subnets"], format!("{n} are too many; write at most five"))),
    }
}

pub fn virtual_ips(vips: &[Ipv4Addr]) -> Checked {
    for (i, vip) in vips.iter().enumerate() {
        if let Some(what) = unusable(*vip) {
            return Err(Problem::new(
                at!["virtual_ips", i],
                format!("{vip} is {what}; choose an address outside the VPC"),
            ));
        }
    }
    once(&at!["virtual_ips"], vips)?;
    match vips.len() {
        0 => Err(Problem::new(at!["virtual_ips"], "at least one is needed")),
        1..=MAX_VIRTUAL_IPS => Ok(()),
        n => Err(Problem::new(at!["virtual_ips"], format!("{n} are too many; write at most {MAX_VIRTUAL_IPS}"))),
    }
}

pub fn clients(clients: &[Ipv4Net]) -> Checked {
    nets(&at!["clients"], clients)
}

/// Refuses networks with host bits, and a network that is listed twice. The list is at `path`.
pub fn nets(path: &Path, nets: &[Ipv4Net]) -> Checked {
    for (i, net) in nets.iter().enumerate() {
        if *net != net.trunc() {
            let path = [path.clone(), at![i]].concat();
            return Err(Problem::new(path, format!("{net} has host bits set; write {}", net.trunc())));
        }
    }
    once(path, nets)
}

pub fn route_tables(tables: &RouteTables) -> Checked {
    let RouteTables::Only(tables) = tables else { return Ok(()) };
    ids("route_tables", tables, "rtb-")?;
    match tables.len() {
        0 => Err(Problem::new(at!["route_tables"], "the list is empty; write \"all\" or at least one id")),
        1..=MAX_ROUTE_TABLES => Ok(()),
        n => Err(Problem::new(
            at!["route_tables"],
            format!("{n} are too many; write at most {MAX_ROUTE_TABLES}, or \"all\""),
        )),
    }
}

/// Why this can't be the address of a host in a VPC (RFC 6890), if it can't.
pub fn unusable(address: Ipv4Addr) -> Option<&'static str> {
    match address {
        a if a.octets()[0] == 0 => Some("not the address of a host"),
        a if a.is_loopback() => Some("a loopback address"),
        a if a.is_link_local() => Some("a link-local address"),
        a if a.is_multicast() => Some("a multicast address"),
        a if a.is_broadcast() => Some("the broadcast address"),
        a if a.octets()[0] >= 240 => Some("a reserved address"),
        _ => None,
    }
}

fn ids(key: &str, ids: &[String], prefix: &str) -> Checked {
    for (i, one) in ids.iter().enumerate() {
        id(one, prefix).map_err(|message| Problem::new(at![key, i], message))?;
    }
    once(&at![key], ids)
}

fn id(id: &str, prefix: &str) -> Result<(), String> {
    if has_prefix(id, prefix) { Ok(()) } else { Err(format!("{id:?} is not an id; write {prefix} and hex digits")) }
}
