//! An attempt to get routes: which of them don't lead here yet, and why. Pure.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::aws::ids::TableId;
use crate::telemetry::notify::Stray;

/// Routes that are being moved.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Since when.
    pub since: Instant,
    /// Whether it was said that it takes long.
    pub overdue: bool,
    /// Of the routes that somebody else had changed: those that lead here again.
    pub reclaimed: Vec<Stray>,
    strays: Vec<Stray>,
    missing: BTreeMap<TableId, String>,
}

/// Whether all of an attempt's routes lead here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// They do.
    Complete,
    /// Not yet.
    Missing,
}

impl Attempt {
    pub(super) fn new(now: Instant) -> Attempt {
        Attempt { since: now, overdue: false, reclaimed: Vec::new(), strays: Vec::new(), missing: BTreeMap::new() }
    }

    /// It goes on with these tables. Some of them had `strays`.
    pub(super) fn wants(&mut self, tables: &[TableId], strays: Vec<Stray>) {
        let mut before = std::mem::take(&mut self.missing);
        let mut why = |table| before.remove(table).unwrap_or_else(|| "no answer yet".to_owned());
        self.missing = tables.iter().map(|table| (table.clone(), why(table))).collect();
        self.strays.extend(strays);
    }

    /// Why a table's route doesn't lead here yet.
    pub(super) fn trouble(&mut self, table: &TableId, why: String) {
        if let Some(there) = self.missing.get_mut(table) {
            *there = why;
        }
    }

    /// A table's route leads here, or needn't any more.
    pub(super) fn done(&mut self, table: &TableId, moved: bool) -> Progress {
        self.missing.remove(table);
        if let Some(place) = self.strays.iter().position(|stray| stray.table == *table) {
            let stray = self.strays.remove(place);
            self.reclaimed.extend(moved.then_some(stray));
        }
        if self.missing.is_empty() { Progress::Complete } else { Progress::Missing }
    }

    /// The routes that don't lead here yet, and why.
    pub(super) fn missing(&self) -> &BTreeMap<TableId, String> {
        &self.missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::decide::Lead;
    use crate::telemetry::notify::Found;

    fn stray(table: &str) -> Stray {
        Stray { table: table.into(), found: Found { lead: Lead::Nowhere, member: None } }
    }

    #[test]
    fn it_is_complete_when_the_last_route_leads_here_and_says_why_it_is_not() {
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
    fn a_stray_is_reclaimed_when_its_route_leads_here_again() {
        let mut attempt = Attempt::new(Instant::now());
        attempt.wants(&["rtb-1".into(), "rtb-2".into(), "rtb-3".into()], vec![stray("rtb-1"), stray("rtb-2")]);
        attempt.done(&"rtb-1".into(), true);
        attempt.done(&"rtb-2".into(), false);
        attempt.done(&"rtb-3".into(), true);
        assert_eq!(attempt.reclaimed, [stray("rtb-1")]);
    }
}
