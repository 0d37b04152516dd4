//! `agent takeover`: an operator points the virtual IPs' routes at this node by hand.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use anstream::println;
use anyhow::{Context, bail};
use templates::paths;
use tokio::time::{Instant, timeout_at};

use super::{Caller, Outcome, Route, take_over};
use crate::aws::ec2;
use crate::aws::ids::TableId;
use crate::aws::imds::{self, Imds};
use crate::config::boot;
use crate::host::http;
use crate::node::observe::Observer;
use crate::node::tables;

/// Points the routes of `vips` (empty: all) at this node, trying for at most `timeout`.
pub async fn command(vips: Vec<Ipv4Addr>, timeout: Duration) -> anyhow::Result<()> {
    let balancer = boot::load()?.balancer;
    let vips = if vips.is_empty() { balancer.virtual_ips.clone() } else { vips };
    if let Some(strange) = vips.iter().find(|vip| !balancer.virtual_ips.contains(vip)) {
        bail!("{strange}: not a virtual IP of this node; {} lists them", paths::BALANCER);
    }
    let deadline = Instant::now() + timeout;
    let found = timeout_at(deadline, async {
        let facts = imds::facts(&Imds::at(imds::ADDRESS, http::client()?)).await?;
        let client = ec2::connect(&facts.region).client;
        let tables = Observer::new(client.clone(), &balancer, &facts).tables().await;
        anyhow::Ok((facts, client, tables.context("reading the route tables")?))
    });
    let Ok(found) = found.await else {
        bail!("route tables not read within {timeout:?}, no route was moved; try a longer --timeout")
    };
    let (facts, client, tables) = found?;
    let routes: Vec<Route> = vips.iter().flat_map(|vip| tables::moves(&tables, *vip)).collect();
    if routes.is_empty() {
        bail!("{}: no eligible route table; check route_tables in the balancer's file", facts.vpc);
    }
    let ended = RefCell::new(BTreeMap::<(Ipv4Addr, TableId), Outcome>::new());
    let errors = RefCell::new(BTreeMap::new());
    let key = |route: &Route| (route.vip, route.table.clone());
    let caller = Caller::new(client);
    let moving = take_over(
        &caller,
        &facts.interface,
        routes.clone(),
        |route, error| drop(errors.borrow_mut().insert(key(route), error.to_string())),
        |route, outcome| {
            println!("{}/32 in {}: {}", route.vip, route.table, word(outcome));
            ended.borrow_mut().insert(key(route), outcome);
        },
    );
    if timeout_at(deadline, moving).await.is_ok() {
        return Ok(());
    }
    for route in routes.iter().filter(|route| !ended.borrow().contains_key(&key(route))) {
        let why = errors.borrow().get(&key(route)).cloned().unwrap_or_else(|| "no answer in time".to_owned());
        println!("{}/32 in {}: not moved: {why}", route.vip, route.table);
    }
    bail!("{} of {} routes not moved within {timeout:?}", routes.len() - ended.borrow().len(), routes.len())
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Moved => "moved",
        Outcome::TableGone => "the table no longer exists",
        Outcome::LeftToOther => "the route exists already",
    }
}
