//! Metrics of the instance's network allowances: packets that EC2 queued or dropped beyond them. The ENA driver counts them
//! (EC2 user guide, "Monitor network performance for ENA settings on your EC2 instance"); other drivers have no sample.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::IntCounterVec;
use prometheus::core::Collector;

use super::counters;
use crate::host::ethtool;

const EVERY: Duration = Duration::from_secs(10);
/// The end of each counter's name. Before it: `bw_in`, `bw_out`, `pps`, `conntrack`, `linklocal`.
const EXCEEDED: &str = "_allowance_exceeded";

/// The counter of each allowance.
#[derive(Debug, Clone)]
pub struct Allowances(IntCounterVec);

impl Default for Allowances {
    fn default() -> Self {
        let help = "Packets beyond a network allowance of the instance, which EC2 queued or dropped";
        Allowances(counters("network_allowance_exceeded_total", help, &["allowance"]))
    }
}

type Counts = BTreeMap<String, u64>;

impl Allowances {
    /// Reads the driver's counters at each interval; never returns.
    pub async fn follow(self, interface: String) {
        let (mut before, mut failed) = (Counts::new(), false);
        loop {
            let device = interface.clone();
            // The driver asks the device, which may take milliseconds.
            match tokio::task::spawn_blocking(move || ethtool::counters(&device)).await {
                Ok(Ok(now)) => before = self.take(&before, now),
                Ok(Err(error)) if !failed => {
                    failed = true;
                    tracing::warn!("cannot read the counters of {interface}'s driver: {error}");
                }
                Ok(Err(_)) | Err(_) => {}
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Adds what came since `before`. The first read counts since the boot.
    fn take(&self, before: &Counts, now: Counts) -> Counts {
        for (allowance, count) in now.iter().filter_map(|(name, count)| Some((name.strip_suffix(EXCEEDED)?, *count))) {
            let before = before.get(&format!("{allowance}{EXCEEDED}")).copied().unwrap_or_default();
            // A driver that was reset counts from zero.
            let more = if count < before { count } else { count - before };
            self.0.with_label_values(&[allowance]).inc_by(more);
        }
        now
    }

    pub(super) fn collectors(&self) -> Vec<Box<dyn Collector>> {
        vec![Box::new(self.0.clone())]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The metrics after this many packets beyond the allowance of tracked connections.
    pub fn exceeded(count: u64) -> Allowances {
        let allowances = Allowances::default();
        allowances.take(&Counts::new(), ena(count));
        allowances
    }

    /// A part of what `ethtool -S` shows of ENA.
    fn ena(conntrack: u64) -> Counts {
        let counters = [
            ("tx_timeout", 3),
            ("conntrack_allowance_exceeded", conntrack),
            ("conntrack_allowance_available", 136_812),
            ("pps_allowance_exceeded", 0),
        ];
        counters.map(|(name, count)| (name.to_owned(), count)).into()
    }

    #[test]
    fn packets_beyond_an_allowance_add_up_and_other_counters_are_no_metric() {
        let allowances = exceeded(5);
        let count = |allowance: &str| allowances.0.with_label_values(&[allowance]).get();
        let before = allowances.take(&ena(5), ena(7));
        assert_eq!((count("conntrack"), count("pps")), (7, 0));
        allowances.take(&before, ena(2));
        assert_eq!(count("conntrack"), 9, "after the driver was reset");
        let families = allowances.0.collect();
        assert_eq!(families[0].get_metric().len(), 2, "{families:?}");
    }

    #[test]
    fn a_driver_without_allowances_has_no_sample() {
        let allowances = Allowances::default();
        allowances.take(&Counts::new(), [("rx_queue_0_drops".to_owned(), 4)].into());
        assert!(allowances.0.collect()[0].get_metric().is_empty());
    }
}
