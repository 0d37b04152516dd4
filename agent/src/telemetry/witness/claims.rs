//! Which routes are known to have led here: only of those can it be said that somebody else has changed them. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::aws::ids::{InterfaceId, TableId};
use crate::ownership::decide::Lead;

/// Answers of the API may be out of date by seconds: what was pointed here a moment ago may be read as it was before.
const SURE: Duration = Duration::from_secs(15);

/// Routes that lead here, and since when.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<TableId, Instant>);

impl Claims {
    /// This one was pointed here.
    pub(super) fn pointed(&mut self, table: &TableId, now: Instant) {
        self.0.entry(table.clone()).or_insert(now);
    }

    /// A look at the routes: those that led here for long enough and don't any more. Each is said once.
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

    fn look(claims: &mut Claims, lead: Lead, now: Instant) -> usize {
        claims.look(&[("rtb-1".into(), lead)], &"eni-1".into(), now).len()
    }

    #[test]
    fn a_route_that_led_here_and_leads_elsewhere_was_changed_and_that_is_said_once() {
        let (mut claims, start) = (Claims::default(), Instant::now());
        assert_eq!(look(&mut claims, Lead::To("eni-1".into()), start), 0);
        assert_eq!(look(&mut claims, Lead::Nowhere, start + SURE), 1);
        assert_eq!(look(&mut claims, Lead::Nowhere, start + SURE * 2), 0);
    }

    #[test]
    fn a_route_that_never_led_here_was_not_changed() {
        let (mut claims, start) = (Claims::default(), Instant::now());
        assert_eq!(look(&mut claims, Lead::To("eni-2".into()), start), 0);
        assert_eq!(look(&mut claims, Lead::Nowhere, start + SURE), 0);
    }

    #[test]
    fn a_read_that_is_out_of_date_accuses_nobody() {
        let (mut claims, start) = (Claims::default(), Instant::now());
        claims.pointed(&"rtb-1".into(), start);
        assert_eq!(look(&mut claims, Lead::To("eni-2".into()), start + SURE / 2), 0);
    }
}
