//! The health of the target groups, by the reports of the active nodes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use templates::report::Moment;
use templates::targets::{Count, Needs, Reason, TargetReport};

use crate::model::node::clock;

/// The health of a target group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupHealth {
    pub name: String,
    /// How many targets are healthy; none if no active node reports it.
    pub healthy: Option<usize>,
    /// How many should be healthy.
    pub targets: Option<usize>,
    /// How many must be healthy.
    pub minimum_healthy: usize,
    /// The targets that are down, as far as the nodes' tags have room.
    pub down: Vec<Down>,
    /// The port that HAProxy checks, if it isn't each target's own.
    #[serde(skip)]
    pub check_port: Option<u16>,
    /// Whether the tags had no room for its count, which they have first for groups with an unhealthy target.
    #[serde(skip)]
    left_out: bool,
}

/// A target that is down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Down {
    pub target: String,
    pub since: Moment,
    pub reason: Reason,
    /// The reason in words.
    pub why: String,
}

/// The groups of the file, and those in `reports`: an operator's own sections of haproxy.cfg have others, which need one
/// healthy target. If two active nodes see different states, the worse one is shown.
pub fn target_groups(needs: &BTreeMap<String, Needs>, reports: &[&TargetReport]) -> Vec<GroupHealth> {
    let reported = reports.iter().flat_map(|report| report.groups.keys());
    let names: BTreeSet<&String> = needs.keys().chain(reported).collect();
    let left_out = reports.iter().any(|report| report.more_groups > 0);
    let group = |name: &String| {
        let counts = reports.iter().filter_map(|report| Some((*report, report.groups.get(name)?)));
        let worst = counts.min_by_key(|(_, count)| count.healthy);
        let (report, count): (Option<&TargetReport>, Option<&Count>) = worst.unzip();
        let needs = needs.get(name);
        GroupHealth {
            name: name.clone(),
            healthy: count.map(|count| count.healthy),
            targets: count.map(|count| count.targets),
            minimum_healthy: needs.map_or(1, |needs| needs.minimum_healthy),
            check_port: needs.and_then(|needs| needs.check_port),
            down: report.map(|report| down(name, report)).unwrap_or_default(),
            left_out: left_out && count.is_none(),
        }
    };
    names.into_iter().map(group).collect()
}

fn down(name: &str, report: &TargetReport) -> Vec<Down> {
    let down = report.down.iter().filter(|down| down.group == name);
    let shown = down.map(|down| Down {
        target: down.target.clone(),
        since: down.since,
        reason: down.reason.clone(),
        why: down.reason.words(None),
    });
    shown.collect()
}

impl GroupHealth {
    /// Whether enough targets are known to be healthy.
    pub fn is_enough(&self) -> bool {
        self.healthy.map_or(self.left_out || self.minimum_healthy == 0, |healthy| healthy >= self.minimum_healthy)
    }

    /// How many targets are healthy, for people.
    pub fn shown(&self) -> String {
        match (self.healthy, self.targets) {
            (Some(healthy), Some(targets)) => format!("{healthy} of {targets}"),
            _ if self.minimum_healthy == 0 => "no targets".to_owned(),
            _ if self.left_out => "all".to_owned(),
            _ => "not reported".to_owned(),
        }
    }

    /// The same as a sentence.
    pub fn said(&self) -> String {
        match self.healthy {
            Some(_) => format!("{} targets are healthy", self.shown()),
            None => "no active node reports its targets".to_owned(),
        }
    }

    /// The problem, if too few targets are healthy.
    pub fn shortage(&self) -> Option<String> {
        let GroupHealth { name, minimum_healthy, .. } = self;
        (self.healthy.is_some() && !self.is_enough())
            .then(|| format!("target group {name}: {}, and minimum_healthy is {minimum_healthy}", self.said()))
    }

    /// The warning, if enough targets are healthy, but not all.
    pub fn warning(&self) -> Option<String> {
        (self.is_enough() && self.healthy < self.targets)
            .then(|| format!("target group {}: {}", self.name, self.said()))
    }

    /// A line for each target that is down, and one that counts other unhealthy targets. `nodes` is the id of the
    /// nodes' security group.
    pub fn lines(&self, nodes: Option<&str>, now: Timestamp) -> Vec<String> {
        let GroupHealth { name, healthy, targets, down, .. } = self;
        let line = |Down { target, since, reason, .. }: &Down| {
            format!("{name}: {target} is down since {}: {}", clock(since.timestamp(), now), reason.words(nodes))
        };
        let unhealthy = targets.unwrap_or(0).saturating_sub(healthy.unwrap_or(0));
        let more = unhealthy.checked_sub(down.len()).filter(|more| *more > 0).map(|more| {
            format!("{name}: {more} more unhealthy; GET /targets on port 9110 of the active node lists all targets")
        });
        down.iter().map(line).chain(more).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The groups that the nodes with these tags report, of which `web` needs one healthy target and `db` two.
    pub(crate) fn groups(tags: &[&str]) -> Vec<GroupHealth> {
        let needs = [("db", 2), ("web", 1)]
            .map(|(name, minimum_healthy)| (name.to_owned(), Needs { minimum_healthy, check_port: None }));
        of(needs.into(), tags)
    }

    fn of(needs: BTreeMap<String, Needs>, tags: &[&str]) -> Vec<GroupHealth> {
        let reports: Vec<TargetReport> = tags.iter().map(|tag| TargetReport::read([*tag]).unwrap()).collect();
        target_groups(&needs, &reports.iter().collect::<Vec<_>>())
    }

    fn now() -> Timestamp {
        "2026-11-29T15:00:00Z".parse().unwrap()
    }

    fn shown(tags: &[&str]) -> Vec<(String, String, bool)> {
        groups(tags).iter().map(|group| (group.name.clone(), group.shown(), group.is_enough())).collect()
    }

    fn row(name: &str, shown: &str, is_enough: bool) -> (String, String, bool) {
        (name.to_owned(), shown.to_owned(), is_enough)
    }

    #[test]
    fn a_group_with_too_few_healthy_targets_is_a_problem_and_one_with_some_a_warning() {
        let some = groups(&["db=1/3 web=1/2"]);
        let [db, web] = &some[..] else { panic!("{some:?}") };
        let problem = "target group db: 1 of 3 targets are healthy, and minimum_healthy is 2";
        assert_eq!((db.shortage().as_deref(), db.warning()), (Some(problem), None));
        let warning = "target group web: 1 of 2 targets are healthy";
        assert_eq!((web.shortage(), web.warning().as_deref()), (None, Some(warning)));
        let all = groups(&["db=2/2 web=3/3"]);
        assert!(all.iter().all(|group| group.shortage().is_none() && group.warning().is_none()));
    }

    #[test]
    fn a_group_that_no_node_reports_is_not_enough_and_no_problem() {
        assert_eq!(shown(&[]), [row("db", "not reported", false), row("web", "not reported", false)]);
        assert!(groups(&[]).iter().all(|group| group.shortage().is_none() && group.warning().is_none()));
        let crowded = [row("db", "all", true), row("web", "0 of 2", false)];
        assert_eq!(shown(&["web=0/2 +1-groups"]), crowded);
    }

    #[test]
    fn a_group_without_targets_lacks_none_and_one_of_an_operators_section_needs_one() {
        let empty = BTreeMap::from([("api".to_owned(), Needs { minimum_healthy: 0, check_port: None })]);
        let shown = |tags: &[&str]| -> Vec<(String, bool)> {
            of(empty.clone(), tags).iter().map(|group| (group.shown(), group.is_enough())).collect()
        };
        assert_eq!(shown(&[]), [("no targets".to_owned(), true)]);
        assert_eq!(shown(&["api=0/0"]), [("0 of 0".to_owned(), true)], "all have the weight 0");
        let both = [("no targets".to_owned(), true), ("0 of 2".to_owned(), false)];
        assert_eq!(shown(&["redis-master=0/2"]), both);
    }

    #[test]
    fn of_two_active_nodes_the_one_that_sees_less_is_believed() {
        let tags = ["db=2/2 web=2/2", "db=2/2 web=1/2 web/10.0.1.20:8080@2026-11-29T14:03:12Z=L4TOUT"];
        let web = &groups(&tags)[1];
        assert_eq!((web.shown().as_str(), web.down.len()), ("1 of 2", 1));
        assert_eq!(shown(&["x=1/1 db=2/2 web=2/2"]).len(), 3, "a group that isn't in the file");
    }

    #[test]
    fn each_target_that_is_down_has_a_line() {
        let [silent, failing] =
            ["10.0.1.20:8080@2026-11-29T14:03:12Z=L4TOUT", "10.0.2.20:8080@2026-11-28T14:03:12Z=L7STS:503"];
        let lines = groups(&[&format!("web=0/4 web/{silent} web/{failing} +1")])[1].lines(Some("sg-1"), now());
        assert_eq!(
            lines,
            [
                "web: 10.0.1.20:8080 is down since 14:03:12Z: timeout at layer 4: does its security group admit sg-1?",
                "web: 10.0.2.20:8080 is down since 2026-11-28 14:03:12Z: HTTP status 503",
                "web: 2 more unhealthy; GET /targets on port 9110 of the active node lists all targets",
            ]
        );
        assert_eq!(groups(&["web=2/2"])[1].lines(None, now()), [] as [&str; 0]);
    }
}
