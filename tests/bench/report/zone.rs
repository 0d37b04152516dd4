//! The section on a zone that many balancers lose together: the account's bucket is one for all of them.

use anyhow::Result;

use super::plot::{self, Series};
use super::statistics::{figure, greatest, least, median, sorted};
use super::{Part, table};
use crate::results::{Measured, Zone, ZoneLoss};

/// A table and each balancer's outage.
pub fn render(Measured { data, .. }: &Measured<Zone>) -> Result<Part> {
    let mut section = words(data);
    let rows = [("`\"all\"`", &data.all), ("those with clients in living zones", &data.named)].map(|(which, loss)| {
        let show = |value: Option<f64>| value.map_or("–".to_owned(), figure);
        [
            which.to_owned(),
            loss.tables.to_string(),
            show(least(&loss.outages)),
            show(median(&loss.outages)),
            show(greatest(&loss.outages)),
            figure(loss.settled),
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
## {balancers} balancers of one VPC lose a zone together

![each balancer's outage](bench-zone.svg)

{balancers} pairs, each active in the same zone, in a VPC of {tables} route tables. The zone is lost: its nodes' power, its target,
its address of the API. The API answers after {latency_ms} ms and throttles as EC2 does: {burst} calls of an action at once,
{refill} a second after that, **for the whole account**. A client in a living zone asks every balancer every 50 ms.

This is a limit, and not Elbow's to lift: {routes} routes are {routes} calls, and the bucket gives them out in {bucket} s
at best; {balancers} agents that know nothing of each other, each pausing after a refusal, needed {settled} s for all of them.
Tables with subnets go first, so most clients wait less than that; but which balancer gets the tokens is
chance. What helps is asking for less: naming the tables whose subnets have clients (`route_tables = [\"rtb-…\"]`). Here
those are two of {tables}. A zone that is lost needs no routes; the tables of the living ones do.

",
        routes = routes(all),
        settled = figure(all.settled),
        bucket = figure((routes(all) as f64 - f64::from(*burst)).max(0.0) / refill),
    )
}

fn routes(loss: &ZoneLoss) -> usize {
    loss.tables * loss.outages.len()
}
