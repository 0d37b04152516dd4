//! Measures requests through the virtual IP: Elbow's HAProxy, references on the same node, and no proxy at all. The
//! client, the proxies and the target share this machine's cores. So measurements are short, each round has one of each,
//! and the order changes from round to round.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::network::namespace::{self, CARDS};
use lab::rig::{Rig, wait_for};

use crate::arena::{Arena, say};
use crate::client::{ADDRESSES, CONNECTIONS, Client, NETWORK};
use crate::others::Account;
use crate::proxies::Proxies;
use crate::results::{DataPlane, Proxy, Sample, Traffic};
use crate::usage::machine_cpu;

/// Many short rounds, because the speed of a shared machine varies from minute to minute.
const ROUNDS: usize = 21;
const SECONDS: u32 = 2;
/// In a test run.
const FEW_ROUNDS: usize = 2;
const FEW_SECONDS: u32 = 1;
/// The limit for a started proxy to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a measurement is repeated that something else has disturbed.
const ATTEMPTS: usize = 4;
/// At most one request of so many may fail: more would make the others faster.
const REQUESTS_OF_A_FAILURE: u64 = 1000;

/// Measures 21 rounds, or two if the arena is `quick`.
pub fn run(arena: &Arena) -> Result<DataPlane> {
    let rig = arena.rig()?;
    let account = Account::prepare(&rig)?;
    let client = Client::launch(&rig, &account)?;
    let proxies = Proxies::start(&rig, &account, NETWORK)?;
    forget_ended_connections()?;
    let (rounds, seconds) = if arena.quick { (FEW_ROUNDS, FEW_SECONDS) } else { (ROUNDS, SECONDS) };
    let bench = Bench { rig: &rig, client, proxies, seconds };
    let mut samples = Vec::new();
    for round in 0..rounds {
        for (traffic, proxy) in order(round) {
            samples.push(bench.measure(round, traffic, proxy)?);
        }
        let active = rig.active()?;
        ensure!(active == bench.proxies.node(), "{active} became active during a measurement");
    }
    Ok(DataPlane { seconds: seconds.into(), addresses: ADDRESSES, connections: CONNECTIONS, samples })
}

/// The measurements of a round. The first of each traffic's is another one in each round, and the direction alternates,
/// so that a proxy doesn't always come after the same one.
fn order(round: usize) -> Vec<(Traffic, Proxy)> {
    let of = |traffic| {
        let mut proxies = vec![Proxy::Elbow, Proxy::Minimal, Proxy::Distribution, Proxy::Nginx, Proxy::Direct];
        proxies.extend_from_slice(match traffic {
            Traffic::KeepAlive => &[Proxy::MinimalWithHeaders, Proxy::Large, Proxy::WithoutSecondChance],
            Traffic::NewConnections => &[Proxy::MinimalWithHeaders, Proxy::WithoutSecondChance],
            Traffic::Tcp => &[],
        });
        let first = round % proxies.len();
        proxies.rotate_left(first);
        if round % 2 == 1 {
            proxies.reverse();
        }
        proxies.into_iter().map(move |proxy| (traffic, proxy))
    };
    Traffic::ALL.into_iter().flat_map(of).collect()
}

struct Bench<'a> {
    rig: &'a Rig,
    client: Client,
    proxies: Proxies,
    seconds: u32,
}

impl Bench<'_> {
    fn measure(&self, round: usize, traffic: Traffic, proxy: Proxy) -> Result<Sample> {
        for _ in 0..ATTEMPTS {
            let sample = self.attempt(round, traffic, proxy)?;
            if self.proxies.end(self.rig, proxy)? {
                say(format!(
                    "round {}, {traffic:?}, {proxy:?}: {:.0} requests/s, p99 {:.1} ms",
                    round + 1,
                    sample.requests_a_second,
                    sample.p99 * 1000.0
                ));
                return Ok(sample);
            }
            say(format!("round {}, {traffic:?}, {proxy:?}: the agent loaded its rules meanwhile; again", round + 1));
        }
        bail!("{traffic:?}, {proxy:?}: disturbed {ATTEMPTS} times")
    }

    fn attempt(&self, round: usize, traffic: Traffic, proxy: Proxy) -> Result<Sample> {
        let Bench { rig, client, proxies, seconds } = self;
        proxies.begin(rig, proxy)?;
        let url = proxies.url(proxy, traffic);
        wait_for(&format!("{proxy:?} to answer"), PATIENCE, || client.ask(rig, &url))?;
        let (proxy_before, machine_before) = (proxies.cpu(rig, proxy)?, machine_cpu()?);
        let figures = client.load(rig, &url, traffic, *seconds)?;
        let (machine_after, proxy_after) = (machine_cpu()?, proxies.cpu(rig, proxy)?);
        ensure!(
            figures.failed * REQUESTS_OF_A_FAILURE <= figures.requests,
            "{traffic:?}, {proxy:?}: {} of {} requests failed",
            figures.failed,
            figures.requests
        );
        Ok(Sample {
            round,
            traffic,
            proxy,
            requests: figures.requests,
            failed: figures.failed,
            requests_a_second: figures.requests_a_second,
            p50: figures.p50,
            p99: figures.p99,
            proxy_cpu: proxy_after.zip(proxy_before).map(|(after, before)| after - before),
            machine_cpu: machine_after - machine_before,
        })
    }
}

/// The lab's firewall remembers ended connections for two minutes by default, and has room for 262,144 in all.
fn forget_ended_connections() -> Result<()> {
    namespace::enter(CARDS, || {
        for state in ["fin_wait", "close_wait", "last_ack", "time_wait", "close"] {
            let path = format!("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_{state}");
            fs::write(&path, "2").with_context(|| format!("setting {path} in {CARDS}"))?;
        }
        Ok(())
    })?
}
