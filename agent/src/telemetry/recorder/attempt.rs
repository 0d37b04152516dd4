//! A takeover under way: the routes that don't lead to this node yet, and why. Pure.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::aws::ids::TableId;
use crate::telemetry::notify::Stray;

/// Routes that are being moved.
#[derive(Debug)]
pub(super) struct Attempt {
    /// When the attempt began.
    pub since: Instant,
    /// Whether the attempt was reported as incomplete.
    pub overdue: bool,
    /// Routes that another program changed and that lead to this node again.
    pub reclaimed: Vec<Stray>,
    strays: Vec<Stray>,
    missing: BTreeMap<TableId, String>,
}

/// Whether all of an attempt's routes lead to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Complete,
    Missing,
}

impl Attempt {
    pub(super) fn new(now: Instant) -> Attempt {
        Attempt { since: now, overdue: false, reclaimed: Vec::new(), strays: Vec::new(), missing: BTreeMap::new() }
    }

    /// Continues the attempt with these tables. Another program changed those in `strays`.
    pub(super) fn wants(&mut self, tables: &[TableId], strays: Vec<Stray>) {
        let mut before = std::mem::take(&mut self.missing);
        let mut why = |table| before.remove(table).unwrap_or_else(|| "no answer yet".to_owned());
        self.missing = tables.iter().map(|table| (table.clone(), why(table))).collect();
        self.strays.extend(strays);
    }

    /// Sets the reason why a table's route doesn't lead to this node yet.
    pub(super) fn trouble(&mut self, table: &TableId, why: String) {
        if let Some(there) = self.missing.get_mut(table) {
            *there = why;
        }
    }

    /// Removes a table: its route leads to this node (`moved`), or no longer needs to.
    pub(super) fn done(&mut self, table: &TableId, moved: bool) -> Progress {
        self.missing.remove(table);
        if let Some(place) = self.strays.iter().position(|stray| stray.table == *table) {
            let stray = self.strays.remove(place);
            self.reclaimed.extend(moved.then_some(stray));
        }
        if self.missing.is_empty() { Progress::Complete } else { Progress::Missing }
    }

    /// The tables with routes that don't lead to this node yet, and the reasons.
    pub(super) fn missing(&self) -> &BTreeMap<TableId, String> {
        &self.missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::decide::Lead;
    use crate::telemetry::notify::FoundRoute;

    fn stray(table: &str) -> Stray {
        Stray { table: table.into(), found: FoundRoute { lead: Lead::Nowhere, member: None } }
    }

    #[test]
    fn an_attempt_is_complete_when_no_route_is_missing() {
        let mut attempt = Attempt::new(Instant::now());
        attempt.wants(&["rtb-1".into(), "rtb-2".into()], vec![]);
        assert_eq!(attempt.done(&"rtb-1".into(), true), Progress::Missing);
        attempt.trouble(&"rtb-2".into(), "denied".into());
        attempt.trouble(&"rtb-1".into(), "too late to matter".into());
        attempt.wants(&["rtb-2".into(), "rtb-3".into()], vec![]);
        let said: Vec<&str> = attempt.missing().values().map(String::as_str).collect();
        assert_eq!(said, ["denied", "no answer yet"]);
        assert_eq!(attempt.done(&"rtb-3".into(), false), Progress::Missing);
        assert_eq!(attempt.done(&"rtb-2".into(), true), Progress::Complete);
    }

    #[test]
    fn a_stray_is_reclaimed_when_its_route_was_moved() {
        let mut attempt = Attempt::new(Instant::now());
        attempt.wants(&["rtb-1".into(), "rtb-2".into(), "rtb-3".into()], vec![stray("rtb-1"), stray("rtb-2")]);
        attempt.done(&"rtb-1".into(), true);
        attempt.done(&"rtb-2".into(), false);
        attempt.done(&"rtb-3".into(), true);
        assert_eq!(attempt.reclaimed, [stray("rtb-1")]);
    }
}
