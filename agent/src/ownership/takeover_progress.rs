//! The progress of a takeover: which tables are left, and whether they are worth waiting for. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::aws::ec2::Kind;
use crate::aws::ids::TableId;
use crate::takeover::Outcome;

/// Each kind of failure is logged once in this time, however many tables have it.
const SAY: Duration = Duration::from_secs(10);

/// The tables of one takeover.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The tables left, and how the last call for each failed, if it did.
    left: BTreeMap<TableId, Option<Kind>>,
    said: BTreeMap<Kind, Instant>,
    /// The tables with a route that leads here now, and since when.
    pub moved: Vec<(TableId, Instant)>,
}

impl Progress {
    pub(crate) fn new<'a>(tables: impl Iterator<Item = &'a TableId>) -> Self {
        Progress { left: tables.map(|table| (table.clone(), None)).collect(), said: BTreeMap::new(), moved: Vec::new() }
    }

    /// Records a failed call. Returns the number of tables left if the failure should be logged.
    pub(crate) fn failed(&mut self, table: &TableId, kind: Kind, now: Instant) -> Option<usize> {
        if let Some(there) = self.left.get_mut(table) {
            *there = Some(kind);
        }
        if self.said.get(&kind).is_some_and(|said| now.saturating_duration_since(*said) < SAY) {
            return None;
        }
        self.said.insert(kind, now);
        Some(self.left.len())
    }

    pub(crate) fn ended(&mut self, table: &TableId, outcome: Outcome, now: Instant) {
        self.left.remove(table);
        if outcome == Outcome::Moved {
            self.moved.push((table.clone(), now));
        }
    }

    /// Whether the API refused every table that is left. The agent can't change that, and other routes shouldn't wait.
    /// A slow or throttled call is worth waiting for.
    pub(crate) fn is_up_to_others(&self) -> bool {
        !self.left.is_empty() && self.left.values().all(|kind| matches!(kind, Some(Kind::Denied | Kind::Refused)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_tables_are_not_waited_for_and_slow_ones_are() {
        let tables: [TableId; 2] = ["rtb-1".into(), "rtb-2".into()];
        let ([denied, slow], now) = (&tables, Instant::now());
        let mut progress = Progress::new(tables.iter());
        assert!(!progress.is_up_to_others());
        progress.failed(denied, Kind::Denied, now);
        for kind in [Kind::Throttled, Kind::Unavailable] {
            progress.failed(slow, kind, now);
            assert!(!progress.is_up_to_others(), "{kind:?}");
        }
        progress.ended(slow, Outcome::Moved, now);
        assert!(progress.is_up_to_others());
        assert_eq!(progress.moved, [(slow.clone(), now)]);
        progress.failed(denied, Kind::Throttled, now);
        assert!(!progress.is_up_to_others(), "it may be granted now");
    }
    #[test]
    fn a_failure_of_many_tables_is_logged_once_in_a_while() {
        let tables: Vec<TableId> = (0..200).map(|n| TableId(format!("rtb-{n}"))).collect();
        let (mut progress, start) = (Progress::new(tables.iter()), Instant::now());
        let mut lines = |kind, at: Duration| {
            tables.iter().filter_map(|table| progress.failed(table, kind, start + at)).collect::<Vec<_>>()
        };
        assert_eq!(lines(Kind::Unavailable, Duration::ZERO), [200]);
        assert!(lines(Kind::Unavailable, SAY / 2).is_empty());
        assert_eq!(lines(Kind::Denied, SAY / 2), [200]);
        assert_eq!(lines(Kind::Unavailable, SAY), [200]);
    }
}
