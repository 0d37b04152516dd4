//! Attacks on a node through its network, and programs on it that ask for credentials: the balancer isn't affected.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::daemon::addresses::CLIENT;
use lab::network::namespace;
use lab::observations::{group_of, interface_of};
use lab::rig::wait_for;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::stage::{BOOT, Stage, play};

/// More than a program's default limit of file descriptors.
const MANY: usize = 1100;
const PORT: u16 = 9110;

/// Idle connections, [`MANY`] at a time, until dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    /// Opens connections from the network namespace behind `from` to each of `to`, and reopens them after `every`.
    fn begin(from: &str, to: &[SocketAddr], every: Duration) -> Result<Flood> {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
        let stop = Arc::new(AtomicBool::new(false));
        let threads = to.iter().map(|to| {
            let (stop, to, place) = (stop.clone(), *to, namespace::behind(from));
            std::thread::spawn(move || {
                let stopped = || stop.load(Ordering::Relaxed);
                let flood = || {
                    while !stopped() {
                        let open = |_| TcpStream::connect_timeout(&to, Duration::from_secs(1)).ok();
                        let held: Vec<_> = (0..MANY).take_while(|_| !stopped()).filter_map(open).collect();
                        let end = Instant::now() + every;
                        while !stopped() && Instant::now() < end {
                            std::thread::sleep(Duration::from_millis(50));
                        }
                        drop(held);
                    }
                };
                let _ = namespace::enter(&place, flood);
            })
        });
        let threads = threads.collect();
        Ok(Flood { stop, threads })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Stage {
    fn addresses(&self, nodes: [&String; 2]) -> Result<[SocketAddr; 2]> {
        let all = self.rig.status()?.instances;
        let of = |id: &String| -> Result<SocketAddr> {
            let node = all.iter().find(|node| node.id == *id).with_context(|| format!("{id} isn't in the status"))?;
            Ok(SocketAddr::from((node.address.with_context(|| format!("{id} has no address"))?, PORT)))
        };
        Ok([of(nodes[0])?, of(nodes[1])?])
    }

    /// Opens the agents' port to the client (`authorize`), or closes it (`revoke`).
    fn strangers(&self, verb: &str) -> Result<()> {
        let port = PORT.to_string();
        let rule = ["--protocol", "tcp", "--port", &port, "--cidr", "10.0.3.0/24"];
        let group = group_of(&self.rig, "web")?;
        let verb = format!("{verb}-security-group-ingress");
        self.rig.aws(["ec2", &verb, "--group-id", &group].iter().chain(&rule)).map(drop)
    }

    fn log(&self, node: &str, unit: &str) -> Result<String> {
        self.rig.inside(node, &["journalctl", "-u", unit, "--no-pager", "-o", "cat"])
    }

    /// A node requests another node's health page.
    fn asks(&self, node: &str, other: SocketAddr) -> Result<String> {
        let url = format!("http://{other}/health");
        self.rig.inside(node, &["curl", "--silent", "--show-error", "--fail", "--max-time", "1", &url])
    }

    fn metric(&self, node: &str, own: SocketAddr, name: &str) -> Result<f64> {
        let url = format!("http://{own}/metrics");
        let page = self.rig.inside(node, &["curl", "--silent", "--fail", "--max-time", "2", &url])?;
        let line = page.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
        line.rsplit(' ').next().unwrap_or_default().parse().with_context(|| line.to_owned())
    }
}

#[test]
fn a_thousand_idle_connections_block_no_health_check_and_no_takeover() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let [of_active, of_standby] = stage.addresses([&active, &standby])?;
        let agents = [stage.agent(&active)?, stage.agent(&standby)?];
        let logs = |node: usize, unit| stage.log([&active, &standby][node], unit);
        let keepaliveds = [logs(0, "keepalived")?.len(), logs(1, "keepalived")?.len()];
        stage.strangers("authorize")?;
        let watch = stage.watch()?;
        {
            // Strangers reconnect every second, members connect once.
            let [again, once] = [1, 600].map(Duration::from_secs);
            let _strangers = Flood::begin(CLIENT, &[of_active, of_standby], again)?;
            let card = |node: &String| interface_of(&stage.rig, node);
            let _members = [
                Flood::begin(&card(&active)?, &[of_standby], once)?,
                Flood::begin(&card(&standby)?, &[of_active], once)?,
            ];
            watch.go_on(Duration::from_secs(1));
            // Longer than the agent's watchdog timeout in systemd.
            for _ in 0..12 {
                for (node, other) in [(&active, of_standby), (&standby, of_active)] {
                    stage.asks(node, other)?;
                }
                watch.go_on(Duration::from_secs(1));
            }
            ensure!([stage.agent(&active)?, stage.agent(&standby)?] == agents, "an agent was restarted");
            for (node, own) in [(&active, of_active), (&standby, of_standby)] {
                ensure!(stage.metric(node, own, "elbow_peers_answering")? == 1.0, "{node} counts no answering peer");
            }
            let said = [0, 1].map(|node| logs(node, "keepalived"));
            for (said, before) in said.into_iter().zip(keepaliveds) {
                let said = said?.split_off(before);
                ensure!(!said.contains("agent_answers"), "the agent didn't answer keepalived: {said}");
            }
            watch.end("1,100 idle connections from everywhere to port 9110")?.nothing_happened()?;

            let watch = stage.watch()?;
            stage.rig.lab(["kill", &active])?;
            ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
            watch.served(BOOT)?;
            ensure!(stage.agent(&standby)? == agents[1], "the standby's agent was restarted");
            watch.end("power cut under 1,100 idle connections to port 9110")?.at_most(Duration::from_millis(1500))?;
        }
        stage.strangers("revoke")
    })
}

#[test]
fn an_agent_without_file_descriptors_reports_no_fault() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let nodes = [&active, &standby];
        let agents = [stage.agent(&active)?, stage.agent(&standby)?];
        // Sets the soft limit to `soft`, which may name the hard limit.
        let limit = |node: &str, soft: &str| {
            let agent = "prlimit --pid=$(systemctl show --property MainPID --value elbow-agent)";
            let hard = format!("hard=$({agent} --nofile --output HARD --noheadings | tr -d ' ')");
            stage.rig.inside(node, &["sh", "-c", &format!("{hard}; {agent} --nofile={soft}:")]).map(drop)
        };
        let before = [stage.log(&active, "elbow-agent")?.len(), stage.log(&standby, "elbow-agent")?.len()];
        let watch = stage.watch()?;
        nodes.iter().try_for_each(|node| limit(node, "8"))?;
        // Longer than the agent's watchdog timeout in systemd.
        watch.go_on(Duration::from_secs(12));
        nodes.iter().try_for_each(|node| limit(node, "$hard"))?;
        ensure!(stage.serving_nodes(BOOT)? == active, "another node is active");
        ensure!([stage.agent(&active)?, stage.agent(&standby)?] == agents, "an agent was restarted");
        for (node, before) in nodes.into_iter().zip(before) {
            let said = stage.log(node, "elbow-agent")?.split_off(before);
            ensure!(!said.contains("HAProxy doesn't answer") && !said.contains("vrrp"), "{node} logged:\n{said}");
        }
        watch.end("both agents without a descriptor for 12 s")?.nothing_happened()
    })
}

#[test]
fn haproxys_user_reads_no_credentials_and_root_does() -> Result<()> {
    const ASK: &str = "token=$(curl -sS --max-time 2 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' \
        http://169.254.169.254/latest/api/token) && curl -sS --max-time 2 -H \"X-aws-ec2-metadata-token: $token\" \
        http://169.254.169.254/latest/meta-data/iam/security-credentials/";
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let as_user = |node: &str, user: &str| {
            let ask = format!(
                "setpriv --reuid {user} --clear-groups sh -c '{}' 2>&1 || echo refused",
                ASK.replace('\'', "'\\''")
            );
            stage.rig.inside(node, &["sh", "-c", &ask])
        };
        let closed = |node: &str| -> Result<()> {
            for user in ["haproxy", "nobody"] {
                let said = as_user(node, user)?;
                ensure!(said.contains("(7)") && said.ends_with("refused\n"), "answer to {user} on {node}: {said}");
            }
            Ok(())
        };
        let [own, _] = stage.addresses([&standby, &active])?;
        for node in [&active, &standby] {
            closed(node)?;
            let root = as_user(node, "root")?;
            ensure!(root.contains("elbow-eu-west-1-web"), "answer to root on {node}: {root}");
        }
        wait_for("elbow_metadata_refused_total to count the requests", Duration::from_secs(15), || {
            ensure!(stage.metric(&standby, own, "elbow_metadata_refused_total")? >= 2.0, "it is less than 2");
            Ok(())
        })?;
        // HAProxy's start restores the rules that another program has deleted.
        stage.rig.inside(&standby, &["nft", "delete", "table", "inet", "elbow_metadata"])?;
        ensure!(as_user(&standby, "haproxy")?.contains("elbow-"), "no credentials without the rules");
        stage.rig.inside(&standby, &["systemctl", "restart", "haproxy"])?;
        closed(&standby)
    })
}
