//! The VPC's network in the kernel: a router, a card for every interface, a namespace behind it.
//!
//! [`desired`] decides what the kernel should look like, [`script`] what leads there from what it looks like now, both
//! without touching anything; [`Network`] carries it out. The lab is the only one to change these namespaces, so what
//! was carried out last is what there is.

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

/// Settings of the namespaces that forward: everything is passed on, ARP is answered for everybody (a VPC's
/// network does too), and nobody is told of better ways.
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

/// Decides what the kernel should look like.
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
    /// Makes the router and the cards' namespace; what a dead lab left must have been swept away.
    pub fn open() -> Result<Network> {
        for name in [ROUTER, CARDS] {
            run::ip(None, &[format!("netns add {name}")]).context("making the lab's network")?;
            run::settings(name, &FORWARDING)?;
        }
        let lines = [
            // In the cards' namespace too: without any address, the kernel takes every next hop for a broadcast.
            "link set lo up".to_owned(),
            // Without a route a packet vanishes; "unreachable" would be told to its sender.
            "rule add pref 200000 blackhole".to_owned(),
            "rule del pref 32766".to_owned(),
            "rule del pref 32767".to_owned(),
        ];
        run::ip(Some(ROUTER), &lines).context("setting up the lab's router")?;
        run::ip(Some(CARDS), &lines).context("setting up the lab's cards")?;
        run::ip(Some(ROUTER), &[format!("rule add pref 100 lookup {}", script::LOCAL)])?;
        Ok(Network { numbers: Numbers::default(), applied: Desired::default() })
    }

    /// Makes the kernel follow; says whether anything had to change. A route alone takes a few milliseconds.
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

    /// Puts a fresh namespace behind an interface, as a machine that is switched on again finds no address, rule or
    /// connection of its last life. No process may be in the old one.
    pub fn renew(&mut self, interface: &str) -> Result<()> {
        let without = self.applied.without(interface);
        run::script(&difference(&self.applied, &without)).context("taking a link away to renew it")?;
        let result = run::script(&difference(&without, &self.applied)).context("putting a link back");
        if result.is_err() {
            self.applied = without;
        }
        result
    }

    /// Whether the interface has its namespace and its link.
    pub fn has(&self, interface: &str) -> bool {
        self.applied.links.contains_key(interface)
    }

    /// Removes every namespace of the lab, and with them all else that is the network's.
    pub fn close() -> Result<()> {
        let names = namespace::list();
        let lines: Vec<String> = names.iter().map(|name| format!("netns del {name}")).collect();
        run::ip(None, &lines).context("removing the lab's network namespaces")
    }
}
