//! The whole policy of a takeover: what to do about a route after a failed call. Pure.

use std::time::Duration;

use crate::aws::ec2::Kind;
use crate::host::backoff;

/// A call that points a route at this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// ReplaceRoute: the table has a route for the virtual IP.
    Replace,
    /// CreateRoute: the table has none.
    Create,
    /// CreateRoute, which gives up if the table has one after all.
    Fill,
}

impl Call {
    fn other(self) -> Call {
        match self {
            Call::Replace => Call::Create,
            Call::Create | Call::Fill => Call::Replace,
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextCall {
    /// Make this call at once.
    Now(Call),
    /// Make this call after a pause.
    After(Pause, Call),
    /// Make the same call as soon as the rate limiter allows.
    Paced,
    /// Give up: the table no longer exists.
    Gone,
    /// Give up: the route exists already, and stays as it is.
    Left,
}

/// The reason for a pause, which decides its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// No answer: the next attempt may get one, and clients are waiting.
    Unavailable,
    /// A refusal that the agent can't change: permissions that aren't effective yet, a quota, a missing interface.
    Refused,
}

impl Pause {
    /// The length of the pause after `failures` failures in a row; `chance` in 0..1.
    pub fn length(self, failures: u32, chance: f64) -> Duration {
        let (first, most) = match self {
            Pause::Unavailable => (50, 1_000),
            Pause::Refused => (500, 10_000),
        };
        backoff::pause(Duration::from_millis(first), Duration::from_millis(most), failures.saturating_sub(1), chance)
    }
}

/// The step after `call` failed as `kind`, for the `failures`th time in a row.
pub fn next(call: Call, kind: Kind, failures: u32) -> NextCall {
    // Reads and writes of AWS may disagree about a route for a moment: the third failure in a row makes a pause.
    let switched = if failures < 3 { NextCall::Now } else { |call| NextCall::After(Pause::Unavailable, call) };
    match (kind, call) {
        (Kind::NoRoute, Call::Replace) | (Kind::RouteExists, Call::Create) => switched(call.other()),
        (Kind::Gone, _) => NextCall::Gone,
        (Kind::RouteExists, Call::Fill) => NextCall::Left,
        (Kind::Throttled, _) => NextCall::Paced,
        (Kind::Unavailable, call) => NextCall::After(Pause::Unavailable, call),
        (Kind::Denied | Kind::Refused | Kind::NoRoute | Kind::RouteExists, call) => {
            NextCall::After(Pause::Refused, call)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_route_is_created_and_a_present_one_replaced_at_once() {
        assert_eq!(next(Call::Replace, Kind::NoRoute, 1), NextCall::Now(Call::Create));
        assert_eq!(next(Call::Create, Kind::RouteExists, 1), NextCall::Now(Call::Replace));
    }

    #[test]
    fn a_route_that_exists_by_now_is_left() {
        assert_eq!(next(Call::Fill, Kind::RouteExists, 1), NextCall::Left);
        assert_eq!(next(Call::Fill, Kind::Throttled, 1), NextCall::Paced);
    }

    #[test]
    fn an_api_that_contradicts_itself_is_given_time() {
        assert_eq!(next(Call::Replace, Kind::NoRoute, 3), NextCall::After(Pause::Unavailable, Call::Create));
    }

    #[test]
    fn nothing_but_a_table_that_is_gone_ends_the_attempt() {
        let kinds = [Kind::NoRoute, Kind::RouteExists, Kind::Throttled, Kind::Denied, Kind::Unavailable, Kind::Refused];
        for call in [Call::Replace, Call::Create] {
            assert_eq!(next(call, Kind::Gone, 1), NextCall::Gone);
            for kind in kinds {
                for failures in [1, 10, 1000] {
                    assert_ne!(next(call, kind, failures), NextCall::Gone, "{call:?} {kind:?}");
                }
            }
        }
    }

    #[test]
    fn a_throttled_or_denied_call_is_made_again_later() {
        assert_eq!(next(Call::Replace, Kind::Throttled, 1), NextCall::Paced);
        assert_eq!(next(Call::Create, Kind::Denied, 1), NextCall::After(Pause::Refused, Call::Create));
    }

    #[test]
    fn pauses_grow_and_have_an_end() {
        let ms = Duration::from_millis;
        assert_eq!(Pause::Unavailable.length(1, 1.0), ms(50));
        assert_eq!(Pause::Unavailable.length(2, 1.0), ms(100));
        assert_eq!(Pause::Refused.length(1000, 1.0), ms(10_000));
    }
}
