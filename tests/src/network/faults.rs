//! What is broken on purpose: machines without power, and pairs that don't hear each other.

use std::collections::BTreeSet;

/// Faults in force. Machines go by their interface's id or the fixture's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    dark: BTreeSet<String>,
    apart: BTreeSet<(String, String)>,
    without_api: BTreeSet<String>,
    alone: BTreeSet<String>,
}

/// The other side of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// Another machine, by interface id or fixture name.
    Machine(String),
    /// The AWS API.
    Api,
    /// Everything but IMDS, which on AWS isn't across the network.
    All,
}

impl Faults {
    /// A machine goes silent: without power, stopped or frozen. Not even a reset comes from it.
    pub fn darken(&mut self, machine: &str) {
        self.dark.insert(machine.to_owned());
    }

    /// A machine is heard again.
    pub fn light(&mut self, machine: &str) {
        self.dark.remove(machine);
    }

    /// Cuts a machine off from the other side, silently and both ways.
    pub fn partition(&mut self, machine: &str, from: Side) {
        match from {
            Side::Machine(other) => {
                self.apart.insert((machine.to_owned(), other));
            }
            Side::Api => {
                self.without_api.insert(machine.to_owned());
            }
            Side::All => {
                self.alone.insert(machine.to_owned());
            }
        }
    }

    /// Ends every partition. Machines without power stay without.
    pub fn heal(&mut self) {
        self.apart.clear();
        self.without_api.clear();
        self.alone.clear();
    }

    /// Forgets a machine that is gone for good.
    pub fn forget(&mut self, machine: &str) {
        self.dark.remove(machine);
        self.without_api.remove(machine);
        self.alone.remove(machine);
        self.apart.retain(|(a, b)| a != machine && b != machine);
    }

    pub(super) fn dark(&self) -> impl Iterator<Item = &str> {
        self.dark.iter().map(String::as_str)
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

    /// The partitions in force, for people: `eni-1 | eni-2`, `eni-1 | api`.
    pub fn describe(&self) -> Vec<String> {
        let apart = self.apart.iter().map(|(a, b)| format!("{a} | {b}"));
        let api = self.without_api.iter().map(|a| format!("{a} | api"));
        let alone = self.alone.iter().map(|a| format!("{a} | all"));
        apart.chain(api).chain(alone).collect()
    }
}
