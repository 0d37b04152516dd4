//! Faults of the network: silent machines, partitions, lost zones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// The faults that are set. A machine is named by its interface's ID or the fixture's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    dark: BTreeSet<String>,
    apart: BTreeSet<(String, String)>,
    without_api: BTreeSet<String>,
    without_metadata: BTreeSet<String>,
    alone: BTreeSet<String>,
    lost: BTreeMap<String, Zone>,
}

/// The parts of an availability zone that aren't instances.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    /// Machines that aren't in the API.
    pub fixtures: BTreeSet<String>,
    /// The AWS API's addresses in the zone.
    pub api: BTreeSet<Ipv4Addr>,
}

/// The other side of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// Another machine, by interface ID or fixture name.
    Machine(String),
    /// The AWS API.
    Api,
    /// The instance metadata service.
    Metadata,
    /// Everything but IMDS, which isn't reached over the network on AWS.
    All,
}

impl Faults {
    /// Silences a machine without power, stopped or frozen. It sends no TCP resets either.
    pub fn darken(&mut self, machine: &str) {
        self.dark.insert(machine.to_owned());
    }

    /// Ends a machine's silence.
    pub fn light(&mut self, machine: &str) {
        self.dark.remove(machine);
    }

    /// Drops all packets between a machine and the other side.
    pub fn partition(&mut self, machine: &str, from: Side) {
        match from {
            Side::Machine(other) => {
                self.apart.insert((machine.to_owned(), other));
            }
            Side::Api => {
                self.without_api.insert(machine.to_owned());
            }
            Side::Metadata => {
                self.without_metadata.insert(machine.to_owned());
            }
            Side::All => {
                self.alone.insert(machine.to_owned());
            }
        }
    }

    /// Silences a zone's network. The caller cuts its instances' power.
    pub fn lose(&mut self, name: &str, zone: Zone) {
        self.lost.insert(name.to_owned(), zone);
    }

    /// Ends all partitions and zone losses. Machines without power stay silent.
    pub fn heal(&mut self) {
        self.lost.clear();
        self.without_metadata.clear();
        self.apart.clear();
        self.without_api.clear();
        self.alone.clear();
    }

    /// Removes the faults of a machine that no longer exists.
    pub fn forget(&mut self, machine: &str) {
        self.dark.remove(machine);
        self.without_api.remove(machine);
        self.without_metadata.remove(machine);
        self.alone.remove(machine);
        self.apart.retain(|(a, b)| a != machine && b != machine);
    }

    pub(super) fn dark(&self) -> impl Iterator<Item = &str> {
        let lost = self.lost.values().flat_map(|zone| &zone.fixtures);
        self.dark.iter().chain(lost).map(String::as_str)
    }

    pub(super) fn lost_api(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.lost.values().flat_map(|zone| zone.api.iter().copied())
    }

    pub(super) fn without_metadata(&self) -> impl Iterator<Item = &str> {
        self.without_metadata.iter().map(String::as_str)
    }

    pub(super) fn without_api(&self) -> impl Iterator<Item = &str> {
        self.without_api.iter().map(String::as_str)
    }

    pub(super) fn alone(&self) -> impl Iterator<Item = &str> {
        self.alone.iter().map(String::as_str)
    }

    pub(super) fn apart(&self) -> impl Iterator<Item = (&str, &str)> {
        self.apart.iter().map(|(a, b)| (a.as_str(), b.as_str()))
    }

    /// The partitions and zone losses for `lab status`: `partition: eni-1 | api`, `lost: eu-west-1a`.
    pub fn describe(&self) -> Vec<String> {
        let apart = self.apart.iter().map(|(a, b)| format!("partition: {a} | {b}"));
        let from = |machine: &String, side: &str| format!("partition: {machine} | {side}");
        let api = self.without_api.iter().map(|a| from(a, "api"));
        let metadata = self.without_metadata.iter().map(|a| from(a, "imds"));
        let alone = self.alone.iter().map(|a| from(a, "all"));
        let lost = self.lost.keys().map(|zone| format!("lost: {zone}"));
        apart.chain(api).chain(metadata).chain(alone).chain(lost).collect()
    }
}
