//! The target, and the proxies on the active node: Elbow's HAProxy, and the references beside it in services of their
//! own on other ports. Their packets take the same way: the virtual IP's route, the security groups, the node's kernel.

#[allow(dead_code, unused_imports, reason = "as for `report`")]
mod configs;

use anyhow::{Context, Result};
use lab::observations::group_of;
use lab::rig::Rig;

use crate::elbow;
use crate::others::{self, Account};
use crate::results::{Proxy, Traffic};
use crate::usage;
use configs::ports;

/// The example balancer's virtual IP.
const VIP: &str = "10.255.0.10";
/// The ports of the references.
const PORTS: &str = "8110-8159";
/// A comment of the rules by which packets pass none of the second chance's rules. Beside them the agent sees its own.
const MARK: &str = "bench";
const PASS: &str =
    r#"for chain in arrivals departures; do nft insert rule ip elbow $chain accept comment "\"$1\""; done"#;
/// Prints a line for each of them that is still there. The agent loads its rules again every minute, without them.
const PASS_NO_MORE: &str = r#"
for chain in arrivals departures; do
    rule=$(nft --handle list chain ip elbow $chain | sed -n "s/.* comment \"$1\" # handle //p")
    [ -z "$rule" ] || { nft delete rule ip elbow $chain handle "$rule" && echo deleted; }
done"#;
/// A log of 100 MB makes rsyslog run logrotate, which would compress it during a measurement.
const NEW_LOG: &str = "truncate --size=0 /var/log/haproxy.log && systemctl kill --signal=HUP rsyslog";

/// The running proxies and their target.
pub struct Proxies {
    /// The active node.
    node: String,
    /// The target's address.
    target: String,
}

impl Proxies {
    /// Launches the target, creates the balancer, and starts the references on its active node. `clients` is the
    /// network of the clients.
    pub fn start(rig: &Rig, account: &Account, clients: &str) -> Result<Proxies> {
        let target = account.launch(rig, "private-b")?;
        target.write(rig, "/etc/haproxy/haproxy.cfg", configs::TARGET)?;
        rig.inside(&target.id, &["systemctl", "start", "haproxy"]).context("starting the target")?;
        let (example, target) = (rig.lab(["example"])?, target.address);
        rig.create(&rig.file("balancer.toml", &configs::elbow(&example, &target, clients)?)?)?;
        rig.serving_nodes(2, elbow::RECOVERY)?;
        let from = ["--group-id", &group_of(rig, "web")?, "--protocol", "tcp", "--port", PORTS, "--cidr", clients];
        rig.aws(["ec2", "authorize-security-group-ingress"].into_iter().chain(from))?;
        let proxies = Proxies { node: rig.active()?, target };
        let packaged = rig.dir().image().join("etc/haproxy/haproxy.cfg");
        let packaged = std::fs::read_to_string(&packaged).with_context(|| format!("reading {}", packaged.display()))?;
        let target = &proxies.target;
        for (proxy, config) in [
            (Proxy::Minimal, configs::minimal(target)),
            (Proxy::MinimalWithHeaders, configs::minimal_with_headers(&example, target)?),
            (Proxy::Distribution, configs::distribution(&packaged, target)?),
            (Proxy::Nginx, configs::nginx(target)),
            (Proxy::Large, configs::large(&example, target)?),
        ] {
            others::write(rig, &proxies.node, &config_file(proxy), &config)?;
        }
        for proxy in [Proxy::Minimal, Proxy::MinimalWithHeaders, Proxy::Distribution, Proxy::Nginx] {
            proxies.run(rig, proxy)?;
        }
        Ok(proxies)
    }

    /// The active node at the start. The references are only there.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Where clients reach the target through `proxy`.
    pub fn url(&self, proxy: Proxy, traffic: Traffic) -> String {
        let host = if proxy == Proxy::Direct { self.target.as_str() } else { VIP };
        let (http, tcp) = ports(proxy);
        format!("http://{host}:{}/", if traffic == Traffic::Tcp { tcp } else { http })
    }

    /// CPU seconds of the proxy's service since it started.
    pub fn cpu(&self, rig: &Rig, proxy: Proxy) -> Result<Option<f64>> {
        service(proxy).map(|service| usage::cpu(rig, &self.node, &service)).transpose()
    }

    /// Prepares a measurement.
    pub fn begin(&self, rig: &Rig, proxy: Proxy) -> Result<()> {
        rig.inside(&self.node, &["sh", "-c", NEW_LOG]).context("emptying HAProxy's log")?;
        match proxy {
            // Not beside the others: it sends 500 checks a second.
            Proxy::Large => self.run(rig, proxy),
            Proxy::WithoutSecondChance => rig.inside(&self.node, &["sh", "-ec", PASS, "sh", MARK]).map(drop),
            _ => Ok(()),
        }
    }

    /// Ends a measurement. Returns whether it was of `proxy` all the time.
    pub fn end(&self, rig: &Rig, proxy: Proxy) -> Result<bool> {
        match proxy {
            Proxy::Large => rig.inside(&self.node, &["systemctl", "stop", &unit(proxy)]).map(|_| true),
            Proxy::WithoutSecondChance => {
                let deleted = rig.inside(&self.node, &["sh", "-ec", PASS_NO_MORE, "sh", MARK])?;
                Ok(deleted.lines().count() == 2)
            }
            _ => Ok(true),
        }
    }

    /// Starts a reference.
    fn run(&self, rig: &Rig, proxy: Proxy) -> Result<()> {
        let (file, name) = (config_file(proxy), format!("--unit={}", unit(proxy)));
        let command = match proxy {
            Proxy::Nginx => ["--service-type=exec", "nginx", "-c", &file].to_vec(),
            _ => ["--service-type=notify", "haproxy", "-Ws", "-f", &file].to_vec(),
        };
        let command = [&["systemd-run", "--quiet", "--collect", &name][..], &command].concat();
        rig.inside(&self.node, &command).with_context(|| format!("starting {proxy:?}")).map(drop)
    }
}

/// The service of a proxy on the node, if it has one.
fn service(proxy: Proxy) -> Option<String> {
    match proxy {
        Proxy::Direct => None,
        Proxy::Elbow | Proxy::WithoutSecondChance => Some("haproxy".to_owned()),
        reference => Some(unit(reference)),
    }
}

fn unit(reference: Proxy) -> String {
    format!("bench-{reference:?}").to_lowercase()
}

fn config_file(reference: Proxy) -> String {
    format!("/opt/bench/{}.conf", unit(reference))
}
