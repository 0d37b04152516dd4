//! The section on a zone that many balancers lose at once: they share the account's token bucket.

use anyhow::Result;

use super::plot::{self, Series};
use super::statistics::{figure, greatest, least, median, sorted};
use super::{Part, table};
use crate::results::{Measured, Zone, ZoneLoss};

/// A table, and a plot of each balancer's outage.
pub fn render(Measured { data, .. }: &Measured<Zone>) -> Result<Part> {
    let mut section = words(data);
    let rows = [("`\"all\"`", &data.all), ("those of clients in other zones", &data.named)].map(|(which, loss)| {
        let show = |value: Option<f64>| value.map_or("–".to_owned(), figure);
        [
            which.to_owned(),
            loss.tables.to_string(),
            show(least(&loss.outages)),
            show(median(&loss.outages)),
            show(greatest(&loss.outages)),
            figure(loss.serving_nodes),
            loss.throttled.to_string(),
        ]
    });
    let head =
        ["`route_tables`", "tables each", "first served", "median", "last served", "all routes", "throttled calls"];
    section.push_str(&table::markdown(&head, rows));
    let series = [("all tables", plot::ORANGE, &data.all), ("named tables", plot::BLUE, &data.named)];
    let series = series.map(|(name, colour, loss)| Series {
        name: format!("{name} ({} each)", loss.tables),
        colour,
        points: sorted(&loss.outages).into_iter().enumerate().map(|(n, s)| ((n + 1) as f64, s)).collect(),
    });
    let plot = plot::lines(&series, ("balancers served again", "seconds after the loss"))?;
    Ok(Part { section, plot: Some(plot) })
}

fn words(data: &Zone) -> String {
    let Zone { latency_ms, tables, burst, refill, all, .. } = data;
    let balancers = all.outages.len();
    format!(
        "\
## {balancers} balancers of one VPC lose a zone at once

![each balancer's outage](bench-zone.svg)

{balancers} pairs are active in the same zone of a VPC with {tables} route tables. The zone is lost: its nodes' power, its target,
and its address of the API. The API answers after {latency_ms} ms and throttles as EC2 does: {burst} calls of an action at once,
then {refill} a second, **for the whole account**. A client in another zone sends a request to each balancer every 50 ms.

Elbow can't lift this limit: {routes} routes need {routes} calls, which the bucket allows in {bucket} s at best. The {balancers} agents
don't know of each other, and each pauses after a throttled call; together they needed {serving_nodes} s. Each agent moves tables
with subnets first, so most clients wait less; which balancer gets the tokens is chance. Fewer calls help: name the
tables of subnets that have clients (`route_tables = [\"rtb-…\"]`), here two of {tables}. The tables of a lost zone need no
routes.

",
        routes = routes(all),
        serving_nodes = figure(all.serving_nodes),
        bucket = figure((routes(all) as f64 - f64::from(*burst)).max(0.0) / refill),
    )
}

fn routes(loss: &ZoneLoss) -> usize {
    loss.tables * loss.outages.len()
}
