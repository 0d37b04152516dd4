//! The routes that wait for their next call, and which goes next. Pure: the caller passes the time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Outcome;
use super::next_call::{self, Call, NextCall};
use crate::aws::ec2::Kind;

/// The next call about one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    /// The index of the route.
    pub route: usize,
    pub call: Call,
    failures: u32,
}

/// The waiting routes: when each is due, and its next call.
#[derive(Debug)]
pub(super) struct Queue(BTreeMap<usize, (Duration, Attempt)>);

impl Queue {
    /// All routes, due at once, each with its first call.
    pub(super) fn new(first: impl Iterator<Item = Call>) -> Queue {
        Queue(
            first
                .enumerate()
                .map(|(route, call)| (route, (Duration::ZERO, Attempt { route, call, failures: 0 })))
                .collect(),
        )
    }

    /// When the next route is due.
    pub(super) fn due(&self) -> Option<Duration> {
        self.0.values().map(|(due, _)| *due).min()
    }

    /// Takes the next route that is due at `now`: the one with the fewest failures, then the first in order. So routes
    /// that are refused repeatedly don't delay the others.
    pub(super) fn take(&mut self, now: Duration) -> Option<Attempt> {
        let due = self.0.values().filter(|(due, _)| *due <= now).map(|(_, attempt)| *attempt);
        let next = due.min_by_key(|attempt| (attempt.failures, attempt.route))?;
        self.0.remove(&next.route).map(|(_, attempt)| attempt)
    }

    /// Queues a route again after its `attempt` failed at `now`, or returns its outcome. `chance` is in 0..1.
    pub(super) fn failed(&mut self, attempt: Attempt, kind: Kind, now: Duration, chance: f64) -> Option<Outcome> {
        let failures = attempt.failures + 1;
        let (due, call, failures) = match next_call::next(attempt.call, kind, failures) {
            NextCall::Now(call) => (now, call, failures),
            NextCall::After(pause, call) => (now + pause.length(failures, chance), call, failures),
            // The rate limiter sets the pause, and throttling isn't a failure of this route.
            NextCall::Paced => (now, attempt.call, attempt.failures),
            NextCall::Gone => return Some(Outcome::TableGone),
            NextCall::Left => return Some(Outcome::LeftToOther),
        };
        self.0.insert(attempt.route, (due, Attempt { call, failures, ..attempt }));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn queue(routes: usize) -> Queue {
        Queue::new(std::iter::repeat_n(Call::Replace, routes))
    }

    fn order(queue: &mut Queue, now: Duration) -> Vec<usize> {
        std::iter::from_fn(|| queue.take(now)).map(|attempt| attempt.route).collect()
    }

    #[test]
    fn routes_go_in_the_order_of_their_tables_and_a_throttled_one_keeps_its_place() {
        let mut queue = queue(3);
        let first = queue.take(NOW).unwrap();
        assert_eq!(queue.failed(first, Kind::Throttled, NOW, 0.5), None);
        assert_eq!(queue.due(), Some(Duration::ZERO));
        assert_eq!(order(&mut queue, NOW), [0, 1, 2]);
        assert_eq!(queue.due(), None);
    }

    #[test]
    fn a_refused_route_waits_and_then_lets_the_others_go_first() {
        let mut queue = queue(3);
        let first = queue.take(NOW).unwrap();
        assert_eq!(queue.failed(first, Kind::Denied, NOW, 1.0), None);
        assert_eq!(order(&mut queue, NOW), [1, 2]);
        assert_eq!(queue.due(), Some(NOW + Duration::from_millis(500)));
        let mut queue = self::queue(3);
        let first = queue.take(NOW).unwrap();
        queue.failed(first, Kind::Denied, NOW, 1.0);
        assert_eq!(order(&mut queue, NOW * 2), [1, 2, 0]);
    }

    #[test]
    fn a_table_that_is_gone_ends_the_attempt() {
        let mut queue = queue(1);
        let only = queue.take(NOW).unwrap();
        assert_eq!(queue.failed(only, Kind::Gone, NOW, 0.5), Some(Outcome::TableGone));
        assert_eq!(queue.due(), None);
    }
}
