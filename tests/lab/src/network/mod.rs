//! The VPC's network in the kernel: a router, and a card and a namespace for each interface.
//!
//! [`desired`] computes the kernel's desired state and [`script`] the commands that lead to it; both are pure.
//! [`Network`] runs the commands. Only the lab changes these namespaces, so the state that was applied last is the
//! current one.

mod desired;
mod faults;
mod firewall;
pub mod namespace;
mod run;
mod script;
#[cfg(test)]
mod tests;

pub use desired::{Desired, Fixture, Link, Numbers, Services, Setting, Table, Target};
pub use faults::{Faults, Side, Zone};
pub use script::{Script, difference};

use anyhow::{Context, Result};

use namespace::{CARDS, ROUTER};

/// Settings of the forwarding namespaces. They forward everything, answer ARP for all addresses as a VPC does, and send
/// no redirects.
const FORWARDING: [(&str, &str); 8] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/conf/default/proxy_arp", "1"),
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
];

/// Computes the kernel's desired state.
pub fn desired(setting: &Setting, numbers: &mut Numbers) -> Desired {
    let mut wanted = desired::links_and_routes(setting, numbers);
    wanted.cards = firewall::cards(setting, &wanted);
    wanted.router = firewall::router(setting, &wanted);
    wanted
}

/// The network of a running lab.
#[derive(Debug)]
pub struct Network {
    numbers: Numbers,
    applied: Desired,
}

impl Network {
    /// Creates the router's and the cards' namespaces. The caller has swept what a dead lab left.
    pub fn open() -> Result<Network> {
        for name in [ROUTER, CARDS] {
            run::ip(None, &[format!("netns add {name}")]).context("creating the lab's network")?;
            run::settings(name, &FORWARDING)?;
        }
        let lines = [
            // The cards' namespace needs it too: without any address, the kernel treats each next hop as a broadcast
            // address.
            "link set lo up".to_owned(),
            // A packet without a route is dropped, without an ICMP "unreachable" to its sender.
            "rule add pref 200000 blackhole".to_owned(),
            "rule del pref 32766".to_owned(),
            "rule del pref 32767".to_owned(),
        ];
        run::ip(Some(ROUTER), &lines).context("setting up the lab's router")?;
        run::ip(Some(CARDS), &lines).context("setting up the lab's cards")?;
        run::ip(Some(ROUTER), &[format!("rule add pref 100 lookup {}", script::LOCAL)])?;
        Ok(Network { numbers: Numbers::default(), applied: Desired::default() })
    }

    /// Makes the kernel match. Returns whether anything changed. A single route takes a few milliseconds.
    pub fn reconcile(&mut self, setting: &Setting) -> Result<bool> {
        let wanted = desired(setting, &mut self.numbers);
        let script = difference(&self.applied, &wanted);
        if script.is_empty() {
            return Ok(false);
        }
        run::script(&script).context("changing the lab's network")?;
        self.applied = wanted;
        Ok(true)
    }

    /// Replaces an interface's namespace, because a restarted machine keeps no addresses, rules or connections. The old
    /// namespace must have no processes.
    pub fn renew(&mut self, interface: &str) -> Result<()> {
        let without = self.applied.without(interface);
        run::script(&difference(&self.applied, &without)).context("removing a link to renew it")?;
        let result = run::script(&difference(&without, &self.applied)).context("adding a renewed link");
        if result.is_err() {
            self.applied = without;
        }
        result
    }

    /// Whether the interface has a link.
    pub fn has(&self, interface: &str) -> bool {
        self.applied.links.contains_key(interface)
    }

    /// Removes all of the lab's namespaces, and with them its links, routes and rules.
    pub fn close() -> Result<()> {
        let names = namespace::list();
        let lines: Vec<String> = names.iter().map(|name| format!("netns del {name}")).collect();
        run::ip(None, &lines).context("removing the lab's network namespaces")
    }
}
