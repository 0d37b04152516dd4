//! What the node counts, and the page that Prometheus reads (docs/metrics.md). Counters are incremented where things
//! happen; everything else is read off when the page is asked for.

mod gauges;
mod kernel;
mod page;
mod served;

use std::net::Ipv4Addr;

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};

pub use gauges::Readings;
pub use kernel::Kernel;
pub use page::{Page, Sources};
pub use served::serve;

/// From a round trip of the API to a takeover that something holds up, in seconds.
const DURATIONS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Calls to the EC2 API, counted where they are made.
#[derive(Debug, Clone)]
pub struct Calls(IntCounterVec);

impl Default for Calls {
    fn default() -> Self {
        let help = "HTTP requests to the EC2 API, by what became of them: ok, or the kind of error";
        Calls(counters("api_calls_total", help, &["action", "result"]))
    }
}

impl Calls {
    /// One more.
    pub fn count(&self, action: &str, result: &str) {
        self.0.with_label_values(&[action, result]).inc();
    }

    /// How many there were.
    #[cfg(test)]
    pub fn get(&self, action: &str, result: &str) -> u64 {
        self.0.with_label_values(&[action, result]).get()
    }
}

/// Takeovers, and what others did to the routes.
#[derive(Debug, Clone)]
pub struct Takeovers {
    begun: IntCounterVec,
    incomplete: IntCounterVec,
    durations: HistogramVec,
    changed: IntCounterVec,
}

impl Takeovers {
    /// For these virtual IPs.
    pub fn of(vips: &[Ipv4Addr]) -> Self {
        let durations = HistogramOpts::new(
            "takeover_duration_seconds",
            "Time from the first call of a takeover to the last route that leads here",
        );
        let durations = HistogramVec::new(durations.buckets(DURATIONS.to_vec()), &["virtual_ip"]);
        let takeovers = Takeovers {
            begun: counters("takeovers_total", "Takeovers begun: routes pointed at this node", &["virtual_ip"]),
            incomplete: counters(
                "takeovers_incomplete_total",
                "Takeovers that weren't complete after 5 seconds",
                &["virtual_ip"],
            ),
            durations: durations.expect("the name is one"),
            changed: counters(
                "routes_changed_by_others_total",
                "Routes that led here and were changed by somebody else: reclaimed, or yielded to a peer",
                &["virtual_ip", "outcome"],
            ),
        };
        takeovers.expect(vips);
        takeovers
    }

    /// What hasn't happened yet to one of these virtual IPs is a zero, so that the first time is an increase.
    pub fn expect(&self, vips: &[Ipv4Addr]) {
        for vip in vips.iter().map(Ipv4Addr::to_string) {
            self.begun.with_label_values(&[&vip]);
            self.incomplete.with_label_values(&[&vip]);
            self.durations.with_label_values(&[&vip]);
            self.changed.with_label_values(&[vip.as_str(), "reclaimed"]);
            self.changed.with_label_values(&[vip.as_str(), "yielded"]);
        }
    }

    /// One has begun.
    pub fn begin(&self, vip: Ipv4Addr) {
        self.begun.with_label_values(&[&vip.to_string()]).inc();
    }

    /// One takes long.
    pub fn overdue(&self, vip: Ipv4Addr) {
        self.incomplete.with_label_values(&[&vip.to_string()]).inc();
    }

    /// One is complete.
    pub fn complete(&self, vip: Ipv4Addr, seconds: f64) {
        self.durations.with_label_values(&[&vip.to_string()]).observe(seconds);
    }

    /// Somebody else had changed so many routes.
    pub fn changed(&self, vip: Ipv4Addr, reclaimed: bool, count: u64) {
        let outcome = if reclaimed { "reclaimed" } else { "yielded" };
        self.changed.with_label_values(&[vip.to_string().as_str(), outcome]).inc_by(count);
    }
}

/// What became of events for the webhook.
#[derive(Debug, Clone)]
pub struct Told {
    /// It has them.
    pub delivered: IntCounter,
    /// It never will.
    pub dropped: IntCounter,
    /// It doesn't have them yet.
    pub waiting: IntGauge,
    both: IntCounterVec,
}

impl Default for Told {
    fn default() -> Self {
        let both = counters("notifications_total", "Events for the webhook, by what became of them", &["result"]);
        let waiting = IntGauge::new("notifications_waiting", "Events that the webhook hasn't taken yet");
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
