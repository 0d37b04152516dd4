//! Metrics from nftables counters: remembered handshakes, limited packets, and refused connections to IMDS.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{IntCounter, IntGauge};
use serde::Deserialize;

use crate::host::process;
use crate::second_chance;

/// The interval of reads, equal to the time that a handshake is remembered. So the number noted since the last read is
/// an upper bound of those remembered now.
const EVERY: Duration = Duration::from_secs(10);

/// The metrics of the kernel's counters.
#[derive(Debug, Clone)]
pub struct Kernel {
    noted: IntGauge,
    room: IntGauge,
    unnoted: IntCounter,
    limited: IntCounter,
    refused: IntCounter,
}

impl Default for Kernel {
    fn default() -> Self {
        let gauge = |name, help| IntGauge::new(name, help).expect("the name is one");
        let counter = |name, help| IntCounter::new(name, help).expect("the name is one");
        let kernel = Kernel {
            noted: gauge(
                "handshakes_noted",
                "Handshakes remembered for the second chance: those of the last 10 seconds",
            ),
            room: gauge("handshakes_noted_limit", "How many handshakes can be remembered at once"),
            unnoted: counter("handshakes_unnoted_total", "Handshakes that weren't remembered, as there was no room"),
            limited: counter(
                "unknown_packets_limited_total",
                "Packets of unknown connections that weren't forwarded, as their source sends too many",
            ),
            refused: counter(
                "metadata_refused_total",
                "Refused connections to the instance metadata service by users without access",
            ),
        };
        kernel.room.set(i64::from(second_chance::handshakes()));
        kernel
    }
}

/// nft's counters, by table and name.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    noted: u64,
    unnoted: u64,
    limited: u64,
    refused: u64,
}

impl Kernel {
    /// Reads the kernel's counters at each interval; never returns.
    pub async fn follow(self) {
        let mut before = None;
        loop {
            // Without `--terse`, nft reads every element of every set, which takes seconds if a set is full. Another
            // task reports a node without nft.
            if let Ok(text) = process::run("nft", &["--terse", "--json", "list", "ruleset"]).await
                && let Ok(now) = parse(&text)
            {
                self.take(before.unwrap_or(now), now);
                before = Some(now);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn take(&self, before: Counts, now: Counts) {
        // A table that was created again counts from zero.
        let more = |before: u64, now: u64| if now < before { now } else { now - before };
        self.noted.set(more(before.noted, now.noted).min(self.room.get() as u64) as i64);
        self.unnoted.inc_by(more(before.unnoted, now.unnoted));
        self.limited.inc_by(more(before.limited, now.limited));
        self.refused.inc_by(more(before.refused, now.refused));
    }

    pub(super) fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let Kernel { noted, room, unnoted, limited, refused } = self.clone();
        vec![Box::new(noted), Box::new(room), Box::new(unnoted), Box::new(limited), Box::new(refused)]
    }
}

/// libnftables-json(5).
fn parse(json: &str) -> serde_json::Result<Counts> {
    #[derive(Deserialize)]
    struct Listing {
        nftables: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        counter: Option<Counter>,
    }
    #[derive(Deserialize)]
    struct Counter {
        table: String,
        name: String,
        packets: u64,
    }
    let counters = serde_json::from_str::<Listing>(json)?.nftables.into_iter().filter_map(|item| item.counter);
    Ok(counters.fold(Counts::default(), |mut counts, Counter { table, name, packets }| {
        match (table.as_str(), name.as_str()) {
            ("elbow", "noted") => counts.noted = packets,
            ("elbow", "unnoted") => counts.unnoted = packets,
            ("elbow", "limited") => counts.limited = packets,
            ("elbow_metadata", "refused") => counts.refused = packets,
            _ => {}
        }
        counts
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_as_nft_lists_them() {
        let json = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
            {"table": {"family": "ip", "name": "elbow", "handle": 1}},
            {"counter": {"family": "ip", "name": "noted", "table": "elbow", "handle": 8, "packets": 12, "bytes": 720}},
            {"counter": {"family": "ip", "name": "unnoted", "table": "elbow", "handle": 9, "packets": 3, "bytes": 0}},
            {"counter": {"family": "inet", "name": "refused", "table": "another", "handle": 3, "packets": 9, "bytes": 0}},
            {"counter": {"family": "inet", "name": "refused", "table": "elbow_metadata", "handle": 3, "packets": 1, "bytes": 60}}]}"#;
        assert_eq!(parse(json).unwrap(), Counts { noted: 12, unnoted: 3, limited: 0, refused: 1 });
    }

    #[test]
    fn handshakes_are_a_gauge_and_refusals_add_up() {
        let kernel = Kernel::default();
        let at = |noted, refused| Counts { noted, refused, ..Counts::default() };
        kernel.take(at(100, 2), at(150, 4));
        kernel.take(at(150, 4), at(160, 5));
        assert_eq!((kernel.noted.get(), kernel.refused.get()), (10, 3));
        kernel.take(at(160, 5), at(7, 1));
        assert_eq!((kernel.noted.get(), kernel.refused.get()), (7, 4), "after the tables were created again");
        kernel.take(at(0, 1), at(u64::MAX >> 1, 1));
        assert_eq!(kernel.noted.get(), kernel.room.get(), "at most the limit");
    }
}
