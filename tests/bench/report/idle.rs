//! The section on the cost of an idle pair, and on the API calls of many such pairs.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{Part, table};
use crate::results::{Build, Cost, Idle, Measured};

/// The original's author ran about ten pairs in each of 10-15 deployments.
const PAIRS: f64 = 150.0;
/// EC2's refill per second for an action that reads, for the whole account (EC2 Developer Guide, "Request throttling").
const READS_A_SECOND: f64 = 20.0;

/// Two tables, no plot.
pub fn render(Measured { data, conditions }: &Measured<Idle>) -> Result<Part> {
    let build = match conditions.agent {
        Build::Dist => "the shipped agent (`make dist`)",
        Build::Release => "the tests' agent (`make build`); the shipped agent is smaller",
    };
    let mut section = format!(
        "## Idle: the cost of a pair while nothing happens\n\nMeasured for {:.0} minutes with {build}.\n\n",
        data.seconds / 60.0
    );
    let row = |name: &str, cost: &Cost| {
        let percent = |cpu: f64| format!("{:.2} %", 100.0 * cpu / data.seconds);
        let megabytes = |kb: u64| format!("{:.1} MB", kb as f64 / 1000.0);
        [
            name.to_owned(),
            format!("{:.1}", minute(cost, data)),
            percent(cost.agent_cpu),
            percent(cost.keepalived_cpu),
            megabytes(cost.rss_kb),
            megabytes(cost.peak_kb),
        ]
    };
    let head =
        ["", "EC2 calls a minute", "CPU of a core: agent", "keepalived and its checks", "agent's memory", "its peak"];
    section.push_str(&table::markdown(&head, [row("active", &data.active), row("standby", &data.standby)]));
    section.push_str(&many(data));
    Ok(Part { section, plot: None })
}

fn minute(cost: &Cost, data: &Idle) -> f64 {
    cost.calls.values().sum::<usize>() as f64 * 60.0 / data.seconds
}

/// The API calls of 150 pairs in one account and Region, computed from these figures.
fn many(data: &Idle) -> String {
    let mut actions: BTreeMap<&str, f64> = BTreeMap::new();
    for cost in [&data.active, &data.standby] {
        for (action, count) in &cost.calls {
            *actions.entry(action).or_default() += *count as f64 * PAIRS / data.seconds;
        }
    }
    let total: f64 = actions.values().sum();
    let rows = actions.iter().map(|(action, rate)| {
        let share = if action.starts_with("Describe") {
            format!("{:.0} % of {READS_A_SECOND}", 100.0 * rate / READS_A_SECOND)
        } else {
            "–".to_owned()
        };
        [format!("`{action}`"), format!("{rate:.2}"), share]
    });
    format!(
        "150 such pairs in one account and Region (computed) would make {total:.1} calls a second:\n\n{}",
        table::markdown(&["action", "calls a second", "of EC2's refill, a second"], rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(action: &str, calls: usize) -> Cost {
        let calls = BTreeMap::from([(action.to_owned(), calls)]);
        Cost { calls, agent_cpu: 0.6, keepalived_cpu: 1.2, rss_kb: 7500, peak_kb: 8000 }
    }

    #[test]
    fn calls_of_many_pairs_are_proportional() {
        let (active, standby) = (cost("DescribeRouteTables", 20), cost("DescribeRouteTables", 4));
        let text = many(&Idle { seconds: 600.0, active, standby });
        assert!(text.contains("would make 6.0 calls a second"), "{text}");
        assert!(text.contains("| `DescribeRouteTables` | 6.00 | 30 % of 20 |"), "{text}");
    }
}
