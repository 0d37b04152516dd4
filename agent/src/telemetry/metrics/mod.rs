//! The agent's Prometheus metrics (docs/metrics.md). Events increment the counters; a request of the page sets the
//! gauges.

mod allowances;
mod endpoint;
mod gauges;
mod kernel;
mod page;

use std::net::Ipv4Addr;

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};

pub use allowances::Allowances;
pub use endpoint::serve;
pub use gauges::Readings;
pub use kernel::Kernel;
pub use page::{Page, Sources};

/// Histogram buckets in seconds, from one round trip of the API to a takeover that is held up.
const DURATIONS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The counter of EC2 API requests.
#[derive(Debug, Clone)]
pub struct Calls(IntCounterVec);

impl Default for Calls {
    fn default() -> Self {
        let help = "HTTP requests to the EC2 API, by result: ok, or the kind of error";
        Calls(counters("api_calls_total", help, &["action", "result"]))
    }
}

impl Calls {
    /// Counts one request.
    pub fn count(&self, action: &str, result: &str) {
        self.0.with_label_values(&[action, result]).inc();
    }

    /// The number of requests counted.
    #[cfg(test)]
    pub fn get(&self, action: &str, result: &str) -> u64 {
        self.0.with_label_values(&[action, result]).get()
    }
}

/// The metrics of takeovers, and of route changes by other programs.
#[derive(Debug, Clone)]
pub struct Takeovers {
    begun: IntCounterVec,
    incomplete: IntCounterVec,
    durations: HistogramVec,
    changed: IntCounterVec,
}

impl Takeovers {
    /// Metrics for these virtual IPs.
    pub fn of(vips: &[Ipv4Addr]) -> Self {
        let durations = HistogramOpts::new(
            "takeover_duration_seconds",
            "Time from the first call of a takeover until all its routes lead to this node",
        );
        let durations = HistogramVec::new(durations.buckets(DURATIONS.to_vec()), &["virtual_ip"]);
        let takeovers = Takeovers {
            begun: counters("takeovers_total", "Takeovers begun, reclaimed routes included", &["virtual_ip"]),
            incomplete: counters(
                "takeovers_incomplete_total",
                "Takeovers that weren't complete after 5 seconds",
                &["virtual_ip"],
            ),
            durations: durations.expect("the name is one"),
            changed: counters(
                "routes_changed_by_others_total",
                "Routes of this node that another program changed: reclaimed, or yielded to a peer",
                &["virtual_ip", "outcome"],
            ),
        };
        takeovers.expect(vips);
        takeovers
    }

    /// Sets the missing counters of these virtual IPs to zero, so that the first event is an increase.
    pub fn expect(&self, vips: &[Ipv4Addr]) {
        for vip in vips.iter().map(Ipv4Addr::to_string) {
            self.begun.with_label_values(&[&vip]);
            self.incomplete.with_label_values(&[&vip]);
            self.durations.with_label_values(&[&vip]);
            self.changed.with_label_values(&[vip.as_str(), "reclaimed"]);
            self.changed.with_label_values(&[vip.as_str(), "yielded"]);
        }
    }

    /// Counts a takeover that begins.
    pub fn begin(&self, vip: Ipv4Addr) {
        self.begun.with_label_values(&[&vip.to_string()]).inc();
    }

    /// Counts a takeover that is incomplete after 5 s.
    pub fn overdue(&self, vip: Ipv4Addr) {
        self.incomplete.with_label_values(&[&vip.to_string()]).inc();
    }

    /// Records the duration of a complete takeover.
    pub fn complete(&self, vip: Ipv4Addr, seconds: f64) {
        self.durations.with_label_values(&[&vip.to_string()]).observe(seconds);
    }

    /// Counts routes that another program had changed.
    pub fn changed(&self, vip: Ipv4Addr, reclaimed: bool, count: u64) {
        let outcome = if reclaimed { "reclaimed" } else { "yielded" };
        self.changed.with_label_values(&[vip.to_string().as_str(), outcome]).inc_by(count);
    }
}

/// The metrics of webhook events.
#[derive(Debug, Clone)]
pub struct Told {
    /// Events that the webhook accepted.
    pub delivered: IntCounter,
    /// Events that are lost.
    pub dropped: IntCounter,
    /// Events in the outbox.
    pub waiting: IntGauge,
    both: IntCounterVec,
}

impl Default for Told {
    fn default() -> Self {
        let both =
            counters("notifications_total", "Events for the webhook, by result: delivered or dropped", &["result"]);
        let waiting = IntGauge::new("notifications_waiting", "Events that wait for the webhook");
        Told {
            delivered: both.with_label_values(&["delivered"]),
            dropped: both.with_label_values(&["dropped"]),
            waiting: waiting.expect("the name is one"),
            both,
        }
    }
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("the name is one")
}

impl Calls {
    fn collectors(&self) -> Vec<Box<dyn Collector>> {
        vec![Box::new(self.0.clone())]
    }
}

impl Takeovers {
    fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let Takeovers { begun, incomplete, durations, changed } = self.clone();
        vec![Box::new(begun), Box::new(incomplete), Box::new(durations), Box::new(changed)]
    }
}

impl Told {
    fn collectors(&self) -> Vec<Box<dyn Collector>> {
        vec![Box::new(self.both.clone()), Box::new(self.waiting.clone())]
    }
}
