//! Points routes at this node: up to [`WINDOW`] calls at once, retried without a time limit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::{Config, retry::RetryConfig};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::next_call::Call;
use super::queue::Queue;
use super::rate_limiter::RateLimiter;
use super::{Outcome, Route};
use crate::aws::ec2::{ApiError, Kind};
use crate::aws::ids::InterfaceId;

/// The most calls under way at once: each needs a connection, and memory.
pub(super) const WINDOW: usize = 64;

/// Makes the calls of takeovers. Clones share one rate limiter, as their calls share AWS's token bucket.
#[derive(Debug, Clone)]
pub struct Caller {
    client: Client,
    limiter: Arc<Mutex<RateLimiter>>,
    start: Instant,
}

impl Caller {
    /// Calls through `client`.
    pub fn new(client: Client) -> Caller {
        Caller { client, limiter: Arc::default(), start: Instant::now() }
    }

    fn limiter(&self) -> MutexGuard<'_, RateLimiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call if the rate limiter allows one now; returns whether it did.
    fn may_begin(&self) -> bool {
        let (mut limiter, now) = (self.limiter(), self.start.elapsed());
        let free = limiter.next(now) <= now;
        if free {
            limiter.begin(now, rand::random());
        }
        free
    }

    fn answered(&self, began: Duration, answer: &Result<(), ApiError>) {
        let throttled = answer.as_ref().is_err_and(|error| error.kind == Kind::Throttled);
        let silence = answer.as_ref().is_err_and(|error| error.kind == Kind::Unavailable);
        match (throttled, silence) {
            (true, _) => self.limiter().refused(began, self.start.elapsed(), rand::random()),
            (false, true) => {}
            (false, false) => self.limiter().granted(began),
        }
    }
}

/// Points `routes` at `interface`: all at once, or if the API throttles, in order and as fast as it allows. Returns when
/// each route has an outcome; drop the future to stop earlier. `trouble` receives failed calls, `done` the outcomes.
pub async fn take_over(
    caller: &Caller,
    interface: &InterfaceId,
    routes: Vec<Route>,
    trouble: impl Fn(&Route, &ApiError),
    done: impl Fn(&Route, Outcome),
) {
    let mut queue = Queue::new(routes.iter().map(|route| route.first));
    let mut running = FuturesUnordered::new();
    let now = || caller.start.elapsed();
    loop {
        while running.len() < WINDOW && queue.due().is_some_and(|due| due <= now()) && caller.may_begin() {
            let Some(attempt) = queue.take(now()) else { break };
            let (route, began) = (&routes[attempt.route], now());
            running.push(async move { (attempt, began, make(&caller.client, interface, route, attempt.call).await) });
        }
        let wake = queue.due().filter(|_| running.len() < WINDOW).map(|due| due.max(caller.limiter().next(now())));
        let (attempt, began, answer) = tokio::select! {
            Some(answered) = running.next() => answered,
            () = tokio::time::sleep_until((caller.start + wake.unwrap_or_default()).into()), if wake.is_some() => continue,
            else => return,
        };
        caller.answered(began, &answer);
        let route = &routes[attempt.route];
        let Err(error) = answer else {
            done(route, Outcome::Moved);
            continue;
        };
        // A wrong guess whether the route exists isn't reported.
        if !matches!(error.kind, Kind::NoRoute | Kind::RouteExists) {
            trouble(route, &error);
        }
        if let Some(outcome) = queue.failed(attempt, error.kind, now(), rand::random()) {
            done(route, outcome);
        }
    }
}

/// Makes one call without the SDK's retries, as `next_call` decides about the next one.
async fn make(client: &Client, interface: &InterfaceId, route: &Route, call: Call) -> Result<(), ApiError> {
    let once = || Config::builder().retry_config(RetryConfig::disabled());
    let destination = format!("{}/32", route.vip);
    match call {
        Call::Replace => client
            .replace_route()
            .route_table_id(&route.table.0)
            .destination_cidr_block(destination)
            .network_interface_id(&interface.0)
            .customize()
            .config_override(once())
            .send()
            .await
            .map(drop)
            .map_err(|error| ApiError::of("ReplaceRoute", &error)),
        Call::Create | Call::Fill => client
            .create_route()
            .route_table_id(&route.table.0)
            .destination_cidr_block(destination)
            .network_interface_id(&interface.0)
            .customize()
            .config_override(once())
            .send()
            .await
            .map(drop)
            .map_err(|error| ApiError::of("CreateRoute", &error)),
    }
}

#[cfg(test)]
mod tests;
