//! The routes that led to this node. Only of these the recorder can report a change by another program. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::aws::ids::{InterfaceId, TableId};
use crate::ownership::decide::Lead;

/// Answers of the API may be out of date by seconds, so a route counts as held only after this long.
const SURE: Duration = Duration::from_secs(15);

/// The tables with routes that lead to this node, and since when.
#[derive(Debug, Default)]
pub(super) struct HeldRoutes(BTreeMap<TableId, Instant>);

impl HeldRoutes {
    /// A table's route was pointed at this node.
    pub(super) fn pointed(&mut self, table: &TableId, now: Instant) {
        self.0.entry(table.clone()).or_insert(now);
    }

    /// Returns the routes of a read that led to this node for long enough and no longer do. Each change is returned
    /// once.
    pub(super) fn look(&mut self, routes: &[(TableId, Lead)], me: &InterfaceId, now: Instant) -> Vec<(TableId, Lead)> {
        let mut strayed = Vec::new();
        for (table, lead) in routes {
            if matches!(lead, Lead::To(interface) if interface == me) {
                self.pointed(table, now);
            } else if self.0.remove(table).is_some_and(|since| now - since >= SURE) {
                strayed.push((table.clone(), lead.clone()));
            }
        }
        strayed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(claims: &mut HeldRoutes, lead: Lead, now: Instant) -> usize {
        claims.look(&[("rtb-1".into(), lead)], &"eni-1".into(), now).len()
    }

    #[test]
    fn a_changed_route_is_reported_once() {
        let (mut claims, start) = (HeldRoutes::default(), Instant::now());
        assert_eq!(look(&mut claims, Lead::To("eni-1".into()), start), 0);
        assert_eq!(look(&mut claims, Lead::Nowhere, start + SURE), 1);
        assert_eq!(look(&mut claims, Lead::Nowhere, start + SURE * 2), 0);
    }

    #[test]
    fn a_route_that_never_led_here_was_not_changed() {
        let (mut claims, start) = (HeldRoutes::default(), Instant::now());
        assert_eq!(look(&mut claims, Lead::To("eni-2".into()), start), 0);
        assert_eq!(look(&mut claims, Lead::Nowhere, start + SURE), 0);
    }

    #[test]
    fn a_read_that_is_out_of_date_reports_no_change() {
        let (mut claims, start) = (HeldRoutes::default(), Instant::now());
        claims.pointed(&"rtb-1".into(), start);
        assert_eq!(look(&mut claims, Lead::To("eni-2".into()), start + SURE / 2), 0);
    }
}
