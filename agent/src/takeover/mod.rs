//! Takeover: pointing the virtual IPs' routes at this node, every table at once, for as long as it takes.

mod command;
mod pace;
mod queue;
mod step;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::{Config, retry::RetryConfig};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::aws::ec2::{ApiError, Kind};
use crate::aws::ids::{InterfaceId, TableId};
pub use command::command;
use pace::Pace;
use queue::Queue;
pub use step::{Call, Pause, Step};

/// A route to be pointed at this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The table it is in, or is to be in.
    pub table: TableId,
    /// Where it leads to.
    pub vip: Ipv4Addr,
    /// What is tried first.
    pub first: Call,
}

/// How the attempt on one route ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It points at this node.
    Moved,
    /// Its table is no more.
    Gone,
    /// Somebody else has made it meanwhile.
    Left,
}

/// So many calls are under way at most: each needs a connection, and memory.
const WINDOW: usize = 64;

/// The API as takeovers call it. Clones share what was learned of its patience: so do its buckets.
#[derive(Debug, Clone)]
pub struct Caller {
    client: Client,
    pace: Arc<Mutex<Pace>>,
    start: Instant,
}

impl Caller {
    /// Calls through `client`.
    pub fn new(client: Client) -> Caller {
        Caller { client, pace: Arc::default(), start: Instant::now() }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a call may begin now; then it has.
    fn may_begin(&self) -> bool {
        let (mut pace, now) = (self.pace(), self.start.elapsed());
        let free = pace.next(now) <= now;
        if free {
            pace.begin(now, rand::random());
        }
        free
    }

    fn answered(&self, began: Duration, answer: &Result<(), ApiError>) {
        let throttled = answer.as_ref().is_err_and(|error| error.kind == Kind::Throttled);
        let silence = answer.as_ref().is_err_and(|error| error.kind == Kind::Unavailable);
        match (throttled, silence) {
            (true, _) => self.pace().refused(began, self.start.elapsed(), rand::random()),
            (false, true) => {}
            (false, false) => self.pace().granted(began),
        }
    }
}

/// Points `routes` at `interface`, all at once, or, where the API refuses that, the first ones first and as fast as it
/// allows. Ends when each has been moved or has lost its table, and not before: whoever loses interest drops the future.
/// `trouble` hears of every failed call, `done` of every ended route.
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
        let wake = queue.due().filter(|_| running.len() < WINDOW).map(|due| due.max(caller.pace().next(now())));
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
        // Finding out by trying whether the route was there is no trouble.
        if !matches!(error.kind, Kind::NoRoute | Kind::RouteExists) {
            trouble(route, &error);
        }
        if let Some(outcome) = queue.failed(attempt, error.kind, now(), rand::random()) {
            done(route, outcome);
        }
    }
}

/// One attempt: `step` decides about the next, so the SDK must not.
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
