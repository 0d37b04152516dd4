//! The schedule for reads of the API: fast while a member or the tables are missing, then within a budget (three calls
//! a minute on an active node, one on a standby).

use std::time::Duration;

/// What the schedule depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Situation {
    /// Whether this node is active for any virtual IP.
    pub active: bool,
    /// How long a member or the tables have been missing; `None` if all are known.
    pub missing_for: Option<Duration>,
    /// How often an active node reads its tables (`route_check`).
    pub route_check: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Read {
    Members,
    Tables,
}

/// A member that is missing for less than this may appear at any moment.
const SOON: Duration = Duration::from_secs(60);
/// A member that is missing for longer than this is given up: the budget applies again.
const GIVEN_UP: Duration = Duration::from_secs(600);

/// The pause before the next read; `chance` in 0..1 keeps nodes from reading in step.
pub(crate) fn pause(situation: Situation, chance: f64) -> Duration {
    let usual = if situation.active { 0.9 * situation.route_check.as_secs_f64() } else { 62.0 };
    let seconds = match situation.missing_for {
        Some(time) if time < SOON => 1.6,
        Some(time) if time < GIVEN_UP => usual.min(20.0),
        _ => usual,
    };
    Duration::from_secs_f64(seconds * (1.0 + 0.2 * chance))
}

/// What the `turn`th read covers. While a member is missing, most reads are of the members. An active node reads its
/// tables at every turn, or every few seconds while turns are short. A standby takes turns.
pub(crate) fn reads(situation: Situation, turn: u64) -> &'static [Read] {
    match (situation.missing_for, situation.active) {
        (Some(time), _) if time < SOON && turn % 5 != 4 => &[Read::Members],
        (Some(time), true) if SOON <= time && time < GIVEN_UP => &[Read::Tables, Read::Members],
        (_, true) if turn % 3 == 2 => &[Read::Tables, Read::Members],
        (Some(_), false) if turn % 5 != 4 => &[Read::Members],
        (None, false) if turn % 3 == 2 => &[Read::Members],
        _ => &[Read::Tables],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active() -> Situation {
        Situation { active: true, missing_for: None, route_check: Duration::from_secs(30) }
    }

    fn per_minute(situation: Situation) -> f64 {
        let calls: usize = (0..30).map(|turn| reads(situation, turn).len()).sum();
        calls as f64 / 30.0 * 60.0 / pause(situation, 0.0).as_secs_f64()
    }

    #[test]
    fn the_budget_is_kept_once_all_are_there() {
        assert!(per_minute(Situation { missing_for: None, ..active() }) <= 3.0);
        assert!(per_minute(Situation { active: false, missing_for: None, ..active() }) <= 1.0);
    }

    #[test]
    fn a_short_route_check_holds_whichever_member_is_missing() {
        for missing in [None, Some(100), Some(3600)] {
            let route_check = Duration::from_secs(2);
            let situation = Situation { missing_for: missing.map(Duration::from_secs), route_check, ..active() };
            assert!(pause(situation, 1.0) < Duration::from_millis(2200), "{missing:?}");
            assert!((0..9).all(|turn| reads(situation, turn).contains(&Read::Tables)), "{missing:?}");
        }
    }

    #[test]
    fn a_member_that_stays_missing_is_given_up() {
        let alone = |seconds| Situation { active: false, missing_for: Some(Duration::from_secs(seconds)), ..active() };
        assert!(pause(alone(1), 0.0) < Duration::from_secs(2));
        assert!(pause(alone(100), 0.0) > Duration::from_secs(10));
        assert!(per_minute(alone(3600)) <= 1.0);
    }

    #[test]
    fn members_and_tables_take_turns() {
        let standby = Situation { active: false, missing_for: None, ..active() };
        assert_eq!([0, 1, 2].map(|turn| reads(standby, turn)[0]), [Read::Tables, Read::Tables, Read::Members]);
        let alone = Situation { missing_for: Some(Duration::ZERO), ..standby };
        assert_eq!((0..10).filter(|turn| reads(alone, *turn) == [Read::Tables]).count(), 2);
    }

    #[test]
    fn an_active_node_can_repair_its_routes_within_35_seconds_whichever_member_is_missing() {
        for missing in [None, Some(1), Some(100), Some(3600)] {
            let situation = Situation { missing_for: missing.map(Duration::from_secs), ..active() };
            let mut unseen = Duration::ZERO;
            for turn in 0..30 {
                unseen += pause(situation, 1.0);
                assert!(unseen < Duration::from_secs(33), "{missing:?}: {unseen:?} without a look");
                if reads(situation, turn).contains(&Read::Tables) {
                    unseen = Duration::ZERO;
                }
            }
        }
    }

    #[test]
    fn an_active_node_keeps_to_its_budget_once_a_missing_member_is_given_up() {
        let active = |seconds| Situation { missing_for: Some(Duration::from_secs(seconds)), ..active() };
        assert!(per_minute(active(600)) <= 3.0);
        assert!(per_minute(active(100)) <= 6.0);
        assert!((0..3).any(|turn| reads(active(3600), turn).contains(&Read::Members)), "it may come back");
    }
}
