//! What the active node reports of the targets, in up to eight tags: for each target group how many targets are healthy,
//! then the targets that are down, as far as they fit.
//!
//! The tags hold words with a space between them, and no word spans two tags:
//!
//! - `web=1/2`: of the group `web`, 1 of 2 targets is healthy. Drained targets and those in maintenance don't count.
//!   Groups with an unhealthy target come first.
//! - `web/10.0.1.20:8080@2026-11-29T14:03:12Z=L4CON`: this target is down since then, for this [`Reason`].
//! - `+3`: three more targets are down. `+2-groups`: two more groups, which are healthy unless all tags are full of others.

mod reason;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::balancer::{Balancer, Listener, TargetGroup};
use crate::names::TAG_TARGETS;
use crate::report::Moment;
use crate::tag_words::{TagWords, is_name};
pub use reason::{NotAReason, Reason};

/// Room for the last words, at the end of the last tag.
const LAST_WORDS: usize = " +1000000 +1000000-groups".len();

/// What a target group of the file needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The group is degraded if fewer of its targets are healthy; 0 for a group without a target that has a weight, and for
    /// one that no listener forwards to.
    pub minimum_healthy: usize,
    /// The port that HAProxy checks, if it isn't each target's own.
    pub check_port: Option<u16>,
}

/// What each target group of the file needs, by name. Groups of an operator's own sections aren't among them.
pub fn needs(balancer: &Balancer) -> BTreeMap<String, Needs> {
    let used: BTreeSet<&str> = balancer.listeners.iter().flat_map(Listener::forwards_to).collect();
    let needs = |group: &TargetGroup| {
        // An operator's own sections may use any group.
        let is_used = balancer.haproxy.extra.is_some() || used.contains(group.name.as_str());
        let minimum = (group.minimum_healthy() as usize).min(group.weighted_targets().count());
        Needs { minimum_healthy: if is_used { minimum } else { 0 }, check_port: group.health_check.port }
    };
    balancer.groups().iter().map(|group| (group.name.clone(), needs(group))).collect()
}

/// How many targets of a group are healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Count {
    pub healthy: usize,
    /// All that should be healthy.
    pub targets: usize,
}

/// A target that is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownTarget {
    pub group: String,
    /// HAProxy's name of it: its address and port.
    pub target: String,
    pub since: Moment,
    pub reason: Reason,
}

/// The report of an active node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetReport {
    pub groups: BTreeMap<String, Count>,
    pub down: Vec<DownTarget>,
    /// Targets that are down, too.
    pub more_down: usize,
    /// Groups without a count here.
    pub more_groups: usize,
}

impl TargetReport {
    /// The values of the first tags of [`TAG_TARGETS`]. Groups take turns, so that a group with many failures leaves room
    /// for the others.
    pub fn values(&self) -> Vec<String> {
        let mut values = TagWords::new(TAG_TARGETS.len());
        let mut groups: Vec<(&String, &Count)> = self.groups.iter().collect();
        groups.sort_by_key(|(_, count)| count.healthy == count.targets);
        let left_out = groups.iter().filter(|(name, count)| !values.add(&group_word(name, count), LAST_WORDS)).count();
        let mut rounds: BTreeMap<&str, usize> = BTreeMap::new();
        let mut down: Vec<(usize, &DownTarget)> = Vec::new();
        for target in &self.down {
            let round = rounds.entry(&target.group).or_default();
            down.push((*round, target));
            *round += 1;
        }
        down.sort_by_key(|(round, _)| *round);
        let unnamed = down.iter().filter(|(_, target)| !values.add(&down_word(target), LAST_WORDS)).count();
        let more = [(self.more_down + unnamed, ""), (self.more_groups + left_out, "-groups")];
        for (count, what) in more.into_iter().filter(|(count, _)| *count > 0) {
            values.add(&format!("+{count}{what}"), 0);
        }
        values.into_values()
    }

    /// Reads the tags' values; none if there are none. Words that aren't readable are left out: a later version may write
    /// more kinds of them.
    pub fn read<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<TargetReport> {
        let mut values = values.into_iter().peekable();
        values.peek()?;
        let mut report = TargetReport::default();
        for word in values.flat_map(str::split_whitespace) {
            report.take(word);
        }
        Some(report)
    }

    fn take(&mut self, word: &str) {
        if let Some(more) = word.strip_prefix('+') {
            let (count, sum) = match more.strip_suffix("-groups") {
                Some(count) => (count, &mut self.more_groups),
                None => (more, &mut self.more_down),
            };
            *sum = sum.saturating_add(count.parse().unwrap_or(0));
        } else if word.contains('@') {
            self.down.extend(read_down(word));
        } else if let Some((name, count)) = read_group(word) {
            self.groups.insert(name, count);
        }
    }
}

fn group_word(name: &str, count: &Count) -> String {
    format!("{name}={}/{}", count.healthy, count.targets)
}

fn read_group(word: &str) -> Option<(String, Count)> {
    let (name, counts) = word.split_once('=')?;
    let (healthy, targets) = counts.split_once('/')?;
    let count = Count { healthy: healthy.parse().ok()?, targets: targets.parse().ok()? };
    (is_name(name) && count.healthy <= count.targets).then(|| (name.to_owned(), count))
}

fn down_word(down: &DownTarget) -> String {
    format!("{}/{}@{}={}", down.group, down.target, down.since, down.reason)
}

fn read_down(word: &str) -> Option<DownTarget> {
    let (name, state) = word.split_once('@')?;
    let (group, target) = name.split_once('/').filter(|(group, target)| is_name(group) && is_name(target))?;
    let (since, reason) = state.split_once('=')?;
    Some(DownTarget {
        group: group.to_owned(),
        target: target.to_owned(),
        since: since.parse().ok()?,
        reason: reason.parse().ok()?,
    })
}

#[cfg(test)]
mod tests;
