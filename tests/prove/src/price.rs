//! What a run costs at most. Pure.

use std::time::Duration;

/// A part of the price.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub what: &'static str,
    count: u32,
    /// USD an hour for each, on demand in us-east-1 (AWS's price pages, November 2026).
    hourly: f64,
}

/// The parts of a run, with or without a balancer.
pub fn parts(balancer: bool) -> Vec<Part> {
    let nodes = if balancer { 2 } else { 0 };
    vec![
        Part { what: "t3.micro instances (the probes)", count: 3, hourly: 0.0104 },
        Part { what: "t3.small instances (the balancer's nodes)", count: nodes, hourly: 0.0208 },
        Part { what: "public IPv4 addresses", count: 3 + nodes, hourly: 0.005 },
        // 0.08 a GB and month.
        Part { what: "root volumes of 8 GB", count: 3 + nodes, hourly: 8.0 * 0.08 / 730.0 },
    ]
}

impl Part {
    /// USD for this time.
    pub fn cost(&self, time: Duration) -> f64 {
        f64::from(self.count) * self.hourly * time.as_secs_f64() / 3600.0
    }

    /// A line of the estimate.
    pub fn line(&self, time: Duration) -> String {
        format!("{:.4} USD  {} {}", self.cost(time), self.count, self.what)
    }
}

/// USD for all parts.
pub fn total(parts: &[Part], time: Duration) -> f64 {
    parts.iter().map(|part| part.cost(time)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_costs_less_than_its_limit_even_where_prices_are_twice_as_high() {
        let time = Duration::from_secs(25 * 60);
        let (probes, all) = (total(&parts(false), time), total(&parts(true), time));
        assert!(probes > 0.0 && probes < all && all * 2.0 < 2.0, "{probes} {all}");
        assert_eq!(parts(true)[0].line(Duration::from_secs(3600)), "0.0312 USD  3 t3.micro instances (the probes)");
    }
}
