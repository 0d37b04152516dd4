//! Takeover: pointing the virtual IPs' routes at this node, every table at once, for as long as it takes.

mod command;
mod step;

use std::net::Ipv4Addr;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::{Config, retry::RetryConfig};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::ec2::{ApiError, Kind};
use crate::ids::{InterfaceId, TableId};
pub use command::command;
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

/// Points `routes` at `interface`, all at once. Ends when each has been moved or has lost its table, and not before:
/// whoever loses interest drops the future. `trouble` hears of every failed call, `done` of every ended route.
pub async fn take_over(
    client: &Client,
    interface: &InterfaceId,
    routes: Vec<Route>,
    trouble: impl Fn(&Route, &ApiError),
    done: impl Fn(&Route, Outcome),
) {
    let trouble = &trouble;
    let mut running: FuturesUnordered<_> = routes
        .into_iter()
        .map(|route| async move {
            let outcome = take_one(client, interface, &route, trouble).await;
            (route, outcome)
        })
        .collect();
    while let Some((route, outcome)) = running.next().await {
        done(&route, outcome);
    }
}

async fn take_one(
    client: &Client,
    interface: &InterfaceId,
    route: &Route,
    trouble: &impl Fn(&Route, &ApiError),
) -> Outcome {
    let mut call = route.first;
    let mut failures = 0;
    loop {
        let Err(error) = make(client, interface, route, call).await else {
            return Outcome::Moved;
        };
        failures += 1;
        // Finding out by trying whether the route was there is no trouble.
        if !matches!(error.kind, Kind::NoRoute | Kind::RouteExists) {
            trouble(route, &error);
        }
        match step::next(call, error.kind, failures) {
            Step::Now(next) => call = next,
            Step::After(pause, next) => {
                tokio::time::sleep(pause.length(failures, rand::random())).await;
                call = next;
            }
            Step::Gone => return Outcome::Gone,
            Step::Left => return Outcome::Left,
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
