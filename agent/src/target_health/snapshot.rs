//! The targets at a moment, and what is shown of them.

use std::collections::BTreeMap;

use serde::Serialize;
use templates::report::Moment;
use templates::targets::{Count, DownTarget, Reason, TargetReport};

use crate::haproxy::TargetState;

/// The targets of each group, as HAProxy's statistics showed them last. `GET /targets` serves it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Snapshot {
    /// When they were read; none if HAProxy doesn't answer.
    pub read: Option<Moment>,
    pub target_groups: BTreeMap<String, Group>,
}

/// The targets of a group, by name.
pub type Group = BTreeMap<String, Target>;

/// A target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    pub state: TargetState,
    pub since: Moment,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl Snapshot {
    /// The report of the targets. A group without a checked target isn't known yet and has no part in it.
    pub fn report(&self) -> TargetReport {
        let known = |(_, group): &(&String, &Group)| in_state(group, &[TargetState::Unchecked]) < group.len();
        let known = self.target_groups.iter().filter(known);
        let groups = known.map(|(name, group)| (name.clone(), count(group))).collect();
        let down = self.target_groups.iter().flat_map(|(name, group)| down(name, group)).collect();
        TargetReport { groups, down, ..TargetReport::default() }
    }

    /// How many targets of each group are in each state.
    pub fn counts(&self) -> Vec<(String, TargetState, usize)> {
        use TargetState::{Down, Draining, Maintenance, Unchecked, Up};
        let states = |group: &Group| {
            [Up, Down, Draining, Maintenance, Unchecked].map(|state| (state, in_state(group, &[state])))
        };
        let groups = self.target_groups.iter();
        groups.flat_map(|(name, group)| states(group).map(|(state, count)| (name.clone(), state, count))).collect()
    }
}

/// The healthy targets of `group`, and all that should be healthy.
pub(super) fn count(group: &Group) -> Count {
    use TargetState::{Down, Unchecked, Up};
    Count { healthy: in_state(group, &[Up]), targets: in_state(group, &[Up, Down, Unchecked]) }
}

/// The targets of `group` that are down.
pub(super) fn down(name: &str, group: &Group) -> Vec<DownTarget> {
    let down = group.iter().filter(|(_, target)| target.state == TargetState::Down);
    let shown = down.filter_map(|(target, Target { since, reason, .. })| {
        Some(DownTarget { group: name.to_owned(), target: target.clone(), since: *since, reason: reason.clone()? })
    });
    shown.collect()
}

fn in_state(group: &Group, states: &[TargetState]) -> usize {
    group.values().filter(|target| states.contains(&target.state)).count()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A group with a target in each of these states, named by its position.
    pub(crate) fn group(states: &[TargetState]) -> Group {
        let target = |state: TargetState| Target {
            state,
            since: "2026-11-29T14:03:12Z".parse().unwrap(),
            reason: (state == TargetState::Down).then(|| "L4CON".parse().unwrap()),
        };
        states.iter().enumerate().map(|(name, state)| (format!("10.0.1.{name}:80"), target(*state))).collect()
    }

    pub(crate) fn snapshot() -> Snapshot {
        use TargetState::{Down, Draining, Maintenance, Unchecked, Up};
        let groups = [("api", vec![Up]), ("web", vec![Up, Down, Draining, Maintenance, Unchecked])];
        Snapshot {
            read: Some("2026-11-29T14:05:00Z".parse().unwrap()),
            target_groups: groups.map(|(name, states)| (name.to_owned(), group(&states))).into(),
        }
    }

    #[test]
    fn targets_that_are_drained_or_disabled_on_purpose_are_not_missed() {
        let report = snapshot().report();
        assert_eq!(report.values(), ["web=1/3 api=1/1 web/10.0.1.1:80@2026-11-29T14:03:12Z=L4CON"]);
        let counts = snapshot().counts();
        assert_eq!(counts.len(), 10);
        for (state, count) in [(TargetState::Up, 1), (TargetState::Down, 0)] {
            assert!(counts.contains(&("api".to_owned(), state, count)));
        }
    }

    #[test]
    fn a_group_is_reported_once_a_check_has_ended() {
        let mut snapshot = snapshot();
        snapshot.target_groups.insert("api".to_owned(), group(&[TargetState::Unchecked, TargetState::Unchecked]));
        snapshot.target_groups.insert("db".to_owned(), group(&[TargetState::Unchecked, TargetState::Up]));
        let report = snapshot.report();
        assert_eq!(report.groups.keys().collect::<Vec<_>>(), ["db", "web"]);
        assert_eq!(report.groups["db"], Count { healthy: 1, targets: 2 });
    }

    #[test]
    fn the_page_names_each_target_with_its_state() {
        let page = serde_json::to_value(snapshot()).unwrap();
        let web = &page["target_groups"]["web"];
        let down = serde_json::json!({"state": "down", "since": "2026-11-29T14:03:12Z", "reason": "L4CON"});
        assert_eq!((&web["10.0.1.1:80"], web.as_object().unwrap().len()), (&down, 5));
        assert_eq!(web["10.0.1.0:80"], serde_json::json!({"state": "up", "since": "2026-11-29T14:03:12Z"}));
    }
}
