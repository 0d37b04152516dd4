//! Renders the metrics page in Prometheus' text format, and checks which addresses may read it.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use prometheus::{Registry, TextEncoder};

use super::gauges::{Gauges, Readings};
use super::{Allowances, Calls, Kernel, Takeovers, Told};
use crate::node::state::State;

/// The page's metrics beside the node's state.
pub struct Sources {
    /// Calls to the API.
    pub calls: Calls,
    pub takeovers: Takeovers,
    /// The kernel's counters.
    pub kernel: Kernel,
    /// The network driver's counters.
    pub allowances: Allowances,
    /// Events for the webhook, if there is one.
    pub told: Option<Told>,
    /// Reads the other values, at each request of the page.
    pub readings: Box<dyn Fn() -> Readings + Send + Sync>,
}

/// The metrics page and the addresses that may read it.
pub struct Page {
    registry: Registry,
    gauges: Gauges,
    readings: Box<dyn Fn() -> Readings + Send + Sync>,
    readers: Vec<Ipv4Net>,
}

impl Page {
    /// The page of a node of `balancer`. Members and `readers` may read it.
    pub fn new(balancer: &str, readers: Vec<Ipv4Net>, sources: Sources) -> anyhow::Result<Page> {
        let named = HashMap::from([("balancer".to_owned(), balancer.to_owned())]);
        let registry = Registry::new_custom(Some("elbow".to_owned()), Some(named))?;
        let gauges = Gauges::default();
        let told = sources.told.iter().flat_map(Told::collectors);
        let counted = sources.calls.collectors().into_iter().chain(sources.takeovers.collectors());
        let counted = counted.chain(sources.kernel.collectors()).chain(sources.allowances.collectors()).chain(told);
        for collector in counted.chain(gauges.collectors()) {
            registry.register(collector)?;
        }
        Ok(Page { registry, gauges, readings: sources.readings, readers })
    }

    /// Whether the address `visitor` may read the page.
    pub fn is_for(&self, visitor: Ipv4Addr, state: &State) -> bool {
        let member = visitor == state.address || state.peers.contains(&visitor);
        member || self.readers.iter().any(|net| net.contains(&visitor))
    }

    /// The page with the current values.
    pub fn text(&self, state: &State) -> anyhow::Result<String> {
        self.gauges.set(state, &(self.readings)());
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::{Duration, UNIX_EPOCH};

    use templates::report::Reached;

    use super::*;
    use crate::haproxy::TargetState;
    use crate::node::state::tests::state;
    use crate::node::state::{Topic, VirtualIp};
    use crate::telemetry::metrics::allowances::tests::exceeded;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 10);

    pub(in crate::telemetry::metrics) fn page() -> Page {
        let sources = Sources {
            calls: Calls::default(),
            takeovers: Takeovers::of(&[VIP]),
            kernel: Kernel::default(),
            allowances: exceeded(5),
            told: Some(Told::default()),
            readings: Box::new(|| Readings {
                wrong: BTreeMap::from([(VIP, 1)]),
                credentials_end: Some(UNIX_EPOCH + Duration::from_secs(1_796_000_000)),
                routes_read: Some(UNIX_EPOCH + Duration::from_millis(1_795_000_000_500)),
                targets: vec![("http".to_owned(), TargetState::Down, 2)],
            }),
        };
        sources.calls.count("ReplaceRoute", "ok");
        sources.takeovers.complete(VIP, 0.04);
        Page::new("web", vec!["10.0.9.0/24".parse().unwrap()], sources).unwrap()
    }

    #[test]
    fn only_members_and_configured_readers_may_read() {
        let (page, state) = (page(), state());
        for visitor in [state.address, state.peers[0], Ipv4Addr::new(10, 0, 9, 7)] {
            assert!(page.is_for(visitor, &state));
        }
        assert!(!page.is_for(Ipv4Addr::new(10, 0, 8, 7), &state));
    }

    #[test]
    fn the_page_shows_the_state_of_the_node() {
        let (page, mut state) = (page(), state());
        state.virtual_ips[0].role = templates::Role::Active;
        state.route_tables = vec!["rtb-1".into(), "rtb-2".into(), "rtb-3".into()];
        state.problems.insert(Topic::Members, "denied".into());
        let text = page.text(&state).unwrap();
        for line in [
            "elbow_role{role=\"active\",virtual_ip=\"10.255.0.10\",balancer=\"web\"} 1",
            "elbow_role{role=\"fault\",virtual_ip=\"10.255.0.10\",balancer=\"web\"} 0",
            "elbow_routes_right{virtual_ip=\"10.255.0.10\",balancer=\"web\"} 2",
            "elbow_routes_wrong{virtual_ip=\"10.255.0.10\",balancer=\"web\"} 1",
            "elbow_haproxy_up{balancer=\"web\"} 1",
            "elbow_targets{state=\"down\",target_group=\"http\",balancer=\"web\"} 2",
            "elbow_problem{topic=\"members\",balancer=\"web\"} 1",
            "elbow_credentials_expiry_timestamp_seconds{balancer=\"web\"} 1796000000",
            "elbow_routes_read_timestamp_seconds{balancer=\"web\"} 1795000000.5",
            "elbow_api_calls_total{action=\"ReplaceRoute\",result=\"ok\",balancer=\"web\"} 1",
            "elbow_takeover_duration_seconds_bucket{virtual_ip=\"10.255.0.10\",balancer=\"web\",le=\"0.05\"} 1",
            "elbow_takeovers_incomplete_total{virtual_ip=\"10.255.0.10\",balancer=\"web\"} 0",
            "elbow_network_allowance_exceeded_total{allowance=\"conntrack\",balancer=\"web\"} 5",
        ] {
            assert!(text.lines().any(|there| there == line), "no {line} in:\n{text}");
        }
        state.virtual_ips[0].role = templates::Role::Standby;
        state.problems.clear();
        let text = page.text(&state).unwrap();
        assert!(!text.contains("elbow_routes_wrong") && !text.contains("elbow_problem"), "{text}");
    }

    /// Compares the page with docs/metrics.md and docs/alerts.yml.
    #[test]
    fn every_metric_is_documented_and_every_documented_one_exists() {
        let mut state = state();
        state.virtual_ips[0].role = templates::Role::Active;
        let other = VirtualIp { reached: Reached::No, ..VirtualIp::unheard(Ipv4Addr::new(10, 255, 0, 11)) };
        state.virtual_ips.push(other);
        state.problems.insert(Topic::Members, "denied".into());
        let text = page().text(&state).unwrap();
        let there: BTreeSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let table = include_str!("../../../../docs/metrics.md");
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(['{', '`']).next());
        let documented: BTreeSet<&str> = rows.filter(|name| name.starts_with("elbow_")).collect();
        assert_eq!(there, documented);

        let alerts = include_str!("../../../../docs/alerts.yml");
        let words = alerts.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let used: BTreeSet<&str> = words.filter(|word| word.starts_with("elbow_")).collect();
        let unknown: Vec<&&str> = used.difference(&there).collect();
        assert!(unknown.is_empty() && used.len() > 8, "docs/alerts.yml uses unknown metrics: {unknown:?}");
    }

    #[test]
    fn every_metric_has_help_and_every_counter_ends_in_total() {
        let text = page().text(&state()).unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        }
    }
}
