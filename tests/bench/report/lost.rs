//! The section on lost nodes: outages as a client saw them.

use anyhow::Result;

use super::plot::{self, Series};
use super::statistics::{figure, greatest, least, median, percentile};
use super::{Part, table};
use crate::results::{Lost, Measured};

const WORDS: &str = "\
## A node loses its power: until clients are served again

![a dot for each loss](bench-lost.svg)

The active node's power is cut: it falls silent at once. A client in a third zone sends a request every 10 ms, each over a
new connection. The outage is the longest time between two good answers.

- **Elbow** at its default interval (VRRPv3, 200 ms).
- **keepalived, tuned**: a pair with keepalived at Elbow's interval, and a `notify_master` script that starts an AWS CLI for
  every table at once.
- **The original's settings**: keepalived at VRRPv2's 1 s, priorities 101 and 100, `pidof haproxy` every 2 s, and
  the CLI loop as `notify_master`. The loop moves the client's table first.

";

/// A table and a dot for each loss.
pub fn render(Measured { data, .. }: &Measured<Lost>) -> Result<Part> {
    let mut section = String::from(WORDS);
    section.push_str(&format!("At {} ms latency, with {} route tables:\n\n", data.latency_ms, data.tables));
    let tools = [
        ("Elbow", plot::BLUE, &data.elbow),
        ("keepalived, tuned", plot::PURPLE, &data.tuned),
        ("the original's settings", plot::ORANGE, &data.original),
    ];
    let rows = tools.map(|(who, _, outages)| {
        let show = |value: Option<f64>| value.map_or("–".to_owned(), figure);
        // With fewer outages the worst one is the 99th percentile, too.
        let high = percentile(outages, 99).filter(|_| outages.len() >= 100);
        let all = [median(outages), high, least(outages), greatest(outages)].map(show);
        [vec![who.to_owned()], all.to_vec(), vec![outages.len().to_string()]].concat()
    });
    section.push_str(&table::markdown(&["", "median", "p99", "best", "worst", "n"], rows));
    let dots = tools.map(|(name, colour, outages)| Series {
        name: name.to_owned(),
        colour,
        points: outages.iter().map(|outage| (*outage, 0.0)).collect(),
    });
    let plot = plot::dots(&dots, "outage as a client sees it, seconds (bar: median)")?;
    Ok(Part { section, plot: Some(plot) })
}
