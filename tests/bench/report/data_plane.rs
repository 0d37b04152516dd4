//! The section on the data plane: requests a second, latencies and CPU time.

use anyhow::Result;

use super::plot::{self, Series};
use super::statistics::{figure, greatest, least, median};
use super::{Part, table};
use crate::results::{DataPlane, Measured, Proxy, Sample, Traffic};

/// Of a reference's requests a second.
const BAR: f64 = 0.97;
const COMPARED: [Proxy; 6] =
    [Proxy::Elbow, Proxy::MinimalWithHeaders, Proxy::Minimal, Proxy::Distribution, Proxy::Nginx, Proxy::Direct];
/// What costs CPU time, beside a small balancer with the second chance's rules.
const COSTS: [(Traffic, Proxy); 5] = [
    (Traffic::KeepAlive, Proxy::Elbow),
    (Traffic::KeepAlive, Proxy::Large),
    (Traffic::KeepAlive, Proxy::WithoutSecondChance),
    (Traffic::NewConnections, Proxy::Elbow),
    (Traffic::NewConnections, Proxy::WithoutSecondChance),
];

/// A table for each kind of traffic, one of costs, and a dot for each round's ratio to minimal HAProxy.
pub fn render(Measured { data, .. }: &Measured<DataPlane>) -> Result<Part> {
    let mut section = words(data);
    for traffic in Traffic::ALL {
        section.push_str(&format!("### {}\n\n{}", title(traffic), compared(data, traffic)));
    }
    section.push_str(&verdict(data));
    section.push_str(COST);
    section.push_str(&costs(data));
    let ratios = Traffic::ALL.map(|traffic| Series {
        name: title(traffic).to_owned(),
        colour: plot::BLUE,
        points: ratios(data, traffic, Proxy::Elbow, Proxy::Minimal).into_iter().map(|ratio| (ratio, 0.0)).collect(),
    });
    let plot = plot::dots(&ratios, "Elbow's requests/s ÷ minimal HAProxy's, each round (bar: median)")?;
    Ok(Part { section, plot: Some(plot) })
}

fn words(data: &DataPlane) -> String {
    let rounds = data.samples.iter().map(|sample| sample.round + 1).max().unwrap_or(0);
    let requests = data.samples.iter().map(|sample| sample.requests).sum::<u64>();
    let failed = data.samples.iter().map(|sample| sample.failed).sum::<u64>();
    let DataPlane { seconds, addresses, connections, .. } = data;
    format!(
        "\
## Data plane: requests through the virtual IP

![a dot for each round's ratio](bench-data-plane.svg)

A client with {addresses} addresses keeps {connections} connections open from each, and sends the next request as soon
as it has an answer (wrk 4.1). The target answers 200 with a hundred bytes. The client, the proxies and the target share
the machine's cores, so a proxy that needs more CPU time serves fewer requests. All proxies run on the balancer's active
node, one of them at a time gets requests, and all packets pass the same route, security groups and rules of the second
chance. A measurement takes {seconds} s. Each of {rounds} rounds measures everything once, in another order.
{failed} of {requests} requests failed.

- **Elbow**: the HAProxy of a balancer with an HTTP and a TCP listener and two targets.
- **minimal HAProxy**: the same program with a short configuration by hand. It has the same targets and checks.
- **minimal, with headers**: that configuration with Elbow's lines for the request's id (`X-Amzn-Trace-Id`, also in the log)
  and for `X-Forwarded-For`, `-Proto` and `-Port`. So it sets the same headers of requests.
- **distribution's**: the same program with Debian's haproxy.cfg and the same frontends and backends.
- **nginx**: Debian 12's 1.22, with open connections to the targets. It has no health checks.
- **direct**: no proxy; the client connects to the target.

All proxies log each request, and each TCP connection, to the node's rsyslog. Figures are medians of the rounds. Ratios
are of the requests/s of one round, so that a slow round slows both. A latency is the time from a request's first byte to
its answer's last, at this full load; it doesn't include the handshake of a new connection. CPU is that of the proxy's
processes for one request.

"
    )
}

const COST: &str = "\
### The cost of rules

- **large**: Elbow's configuration of 200 host rules and 1,000 targets in 50 groups; each request matches the last rule.
  HAProxy sends 500 health checks a second beside the requests.
- **without the second chance**: while it was measured, packets passed none of the nftables rules that keep connections
  through a handover.

The machine's CPU time includes the client, the target, rsyslog and the kernel, which runs the nftables rules.

";

fn compared(data: &DataPlane, traffic: Traffic) -> String {
    let compared = COMPARED.into_iter().filter(|proxy| traffic != Traffic::Tcp || *proxy != Proxy::MinimalWithHeaders);
    let rows = compared.map(|proxy| {
        let ratios = ratios(data, traffic, Proxy::Elbow, proxy);
        let ratio = |value: Option<f64>| match proxy {
            Proxy::Elbow => "–".to_owned(),
            _ => shown(value),
        };
        [
            name(proxy).to_owned(),
            middle(data, traffic, proxy, |sample| Some(sample.requests_a_second)),
            middle(data, traffic, proxy, |sample| Some(sample.p50 * 1e3)),
            middle(data, traffic, proxy, |sample| Some(sample.p99 * 1e3)),
            middle(data, traffic, proxy, |sample| sample.proxy_cpu.map(|cpu| each(cpu, sample))),
            ratio(median(&ratios)),
            ratio(least(&ratios)),
            ratio(greatest(&ratios)),
        ]
    });
    table::markdown(&["", "requests/s", "p50, ms", "p99, ms", "CPU, µs", "Elbow ÷ it", "least", "greatest"], rows)
}

fn costs(data: &DataPlane) -> String {
    let rows = COSTS.map(|(traffic, proxy)| {
        let ratios = ratios(data, traffic, proxy, Proxy::Elbow);
        [
            format!("{}: {}", title(traffic), name(proxy)),
            middle(data, traffic, proxy, |sample| Some(sample.requests_a_second)),
            middle(data, traffic, proxy, |sample| Some(sample.p99 * 1e3)),
            middle(data, traffic, proxy, |sample| sample.proxy_cpu.map(|cpu| each(cpu, sample))),
            middle(data, traffic, proxy, |sample| Some(each(sample.machine_cpu, sample))),
            shown(median(&ratios)),
            shown(least(&ratios)),
            shown(greatest(&ratios)),
        ]
    });
    let head =
        ["", "requests/s", "p99, ms", "HAProxy's CPU, µs", "the machine's, µs", "it ÷ Elbow", "least", "greatest"];
    table::markdown(&head, rows)
}

/// Whether the bar is met with each kind of traffic.
fn verdict(data: &DataPlane) -> String {
    let result = |reference: fn(Traffic) -> Proxy| {
        let ratio = |traffic: Traffic| median(&ratios(data, traffic, Proxy::Elbow, reference(traffic)));
        let below = Traffic::ALL.into_iter().filter(|traffic| ratio(*traffic).is_none_or(|ratio| ratio < BAR));
        let below: Vec<&str> = below.map(title).collect();
        if below.is_empty() { "met".to_owned() } else { format!("**missed**: {}", below.join(", ")) }
    };
    format!(
        "Elbow's bar is a median of at least {BAR} of minimal HAProxy's requests/s with each traffic: {}. Of minimal HAProxy \
         with Elbow's headers (with TCP there are none): {}.\n\n",
        result(|_| Proxy::Minimal),
        result(reference)
    )
}

/// The proxy by hand that sets the same headers.
fn reference(traffic: Traffic) -> Proxy {
    match traffic {
        Traffic::KeepAlive | Traffic::NewConnections => Proxy::MinimalWithHeaders,
        Traffic::Tcp => Proxy::Minimal,
    }
}

/// The requests/s of one proxy, divided by those of another in the same round.
fn ratios(data: &DataPlane, traffic: Traffic, over: Proxy, under: Proxy) -> Vec<f64> {
    let under: Vec<&Sample> = samples(data, traffic, under).collect();
    let pairs = samples(data, traffic, over)
        .filter_map(|sample| Some((sample, under.iter().find(|other| other.round == sample.round)?)));
    pairs.map(|(over, under)| over.requests_a_second / under.requests_a_second).collect()
}

fn samples(data: &DataPlane, traffic: Traffic, proxy: Proxy) -> impl Iterator<Item = &Sample> {
    data.samples.iter().filter(move |sample| sample.traffic == traffic && sample.proxy == proxy)
}

/// The median of the rounds.
fn middle(data: &DataPlane, traffic: Traffic, proxy: Proxy, value: impl Fn(&Sample) -> Option<f64>) -> String {
    let values: Vec<f64> = samples(data, traffic, proxy).filter_map(value).collect();
    shown(median(&values))
}

fn shown(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), figure)
}

/// Microseconds of a measurement's CPU time for each request.
fn each(cpu: f64, sample: &Sample) -> f64 {
    cpu * 1e6 / sample.requests as f64
}

fn title(traffic: Traffic) -> &'static str {
    match traffic {
        Traffic::KeepAlive => "keep-alive",
        Traffic::NewConnections => "new connections",
        Traffic::Tcp => "TCP",
    }
}

fn name(proxy: Proxy) -> &'static str {
    match proxy {
        Proxy::Elbow => "Elbow",
        Proxy::Minimal => "minimal HAProxy",
        Proxy::MinimalWithHeaders => "minimal, with headers",
        Proxy::Distribution => "distribution's",
        Proxy::Nginx => "nginx",
        Proxy::Direct => "direct",
        Proxy::Large => "large",
        Proxy::WithoutSecondChance => "without the second chance",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(round: usize, proxy: Proxy, requests_a_second: f64) -> Sample {
        Sample {
            round,
            traffic: Traffic::KeepAlive,
            proxy,
            requests: 10_000,
            failed: 0,
            requests_a_second,
            p50: 0.004,
            p99: 0.012,
            proxy_cpu: Some(0.3),
            machine_cpu: 1.0,
        }
    }

    fn data(elbow: [f64; 3]) -> DataPlane {
        let minimal = [10_000.0, 5000.0, 10_000.0];
        let rounds = elbow.into_iter().zip(minimal).enumerate();
        let samples = rounds.flat_map(|(n, (elbow, other))| {
            let with_headers = sample(n, Proxy::MinimalWithHeaders, other * 0.9);
            [sample(n, Proxy::Elbow, elbow), sample(n, Proxy::Minimal, other), with_headers]
        });
        DataPlane { seconds: 5.0, addresses: 8, connections: 8, samples: samples.collect() }
    }

    #[test]
    fn ratios_are_of_one_round_each() {
        let data = data([9900.0, 4900.0, 9700.0]);
        assert_eq!(ratios(&data, Traffic::KeepAlive, Proxy::Elbow, Proxy::Minimal), [0.99, 0.98, 0.97]);
        let row = "| minimal HAProxy | 10000 | 4.00 | 12.0 | 30.0 | 0.980 | 0.970 | 0.990 |";
        let text = compared(&data, Traffic::KeepAlive);
        assert!(text.contains(row) && text.contains("| nginx | – | – | – | – | – | – | – |"), "{text}");
    }

    #[test]
    fn the_bar_is_missed_without_a_figure_or_with_a_low_one() {
        let with = |ratio: f64| {
            let mut all = data([10_000.0 * ratio, 5000.0 * ratio, 10_000.0 * ratio]);
            let tcp = all.samples.iter().map(|sample| Sample { traffic: Traffic::Tcp, ..sample.clone() });
            let tcp: Vec<Sample> = tcp.collect();
            all.samples.extend(tcp);
            verdict(&all)
        };
        let one = "each traffic: **missed**: new connections. Of minimal HAProxy with Elbow's headers";
        assert!(with(0.98).contains(one), "{}", with(0.98));
        let all = "each traffic: **missed**: keep-alive, new connections, TCP. Of minimal HAProxy with Elbow's headers (with \
                   TCP there are none): **missed**: new connections, TCP.";
        assert!(with(0.96).contains(all), "{}", with(0.96));
    }
}
