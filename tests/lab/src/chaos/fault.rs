//! The faults of a chaos run, and how each begins and ends.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::rig::Rig;

/// The node of a fault, chosen when the fault begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The node to which the main table routes the virtual IP.
    Active,
    /// The other node.
    Standby,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The node's power is cut; it boots again at the end.
    PowerCut(Who),
    /// The node is terminated through the API; `launcher create` replaces it at the end.
    Terminated(Who),
    /// The node restarts.
    Reboot(Who),
    /// The node is frozen for this many milliseconds.
    Freeze(Who, u64),
    /// The node's link is down.
    LinkDown(Who),
    /// The node can't reach `api` or `imds`.
    CutOff(Who, &'static str),
    /// The nodes can't reach each other.
    Apart,
    /// A unit's processes are killed.
    Killed(Who, &'static str),
    /// A unit's processes are paused by SIGSTOP.
    Hung(Who, &'static str),
    /// The agent is restarted.
    Restarted(Who),
    /// The node's disk is full.
    DiskFull(Who),
    /// Another member holds 1,100 idle connections to the node's health port.
    IdleConnections(Who),
    /// The API answers after this many milliseconds.
    Latency(u64),
    /// Describe calls answer from the state of this many milliseconds ago.
    Stale(u64),
    /// The API holds all calls.
    Hang,
    /// Each API action is throttled: two calls at once, then one per second.
    Throttle,
    /// An API action fails with this error.
    Fails(&'static str, &'static str),
    /// The route in the main table is deleted.
    RouteDeleted,
    /// The route in the main table is redirected to a stranger's interface.
    RouteStolen,
    /// The tag `elbow:balancer` is deleted from both nodes.
    Untagged,
    /// The nodes' report tags are overwritten.
    Forged,
    /// An operator asks for a handover.
    Handover,
}

/// The thing that a fault acts on. Two faults in one place would undo each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Node(Who),
    Network,
    Api,
    /// The route tables.
    Routes,
    /// The nodes' tags.
    Tags,
    /// An operator's request.
    Operator,
}

/// The lab and the balancer of a run.
pub struct Scene {
    /// The lab.
    pub rig: Rig,
    /// The balancer's file.
    pub file: PathBuf,
}

/// Ends a fault that has begun.
pub type End = Box<dyn FnOnce(&Scene) -> Result<()>>;

impl Fault {
    /// All faults that a run can inject.
    pub fn all() -> Vec<Fault> {
        use Fault::*;
        let on_nodes = [Who::Active, Who::Standby].into_iter().flat_map(|who| {
            let units = ["haproxy", "keepalived", "elbow-agent"];
            let processes = units.into_iter().flat_map(move |unit| [Killed(who, unit), Hung(who, unit)]);
            let others = [
                PowerCut(who),
                Terminated(who),
                Reboot(who),
                Freeze(who, 400),
                Freeze(who, 1_500),
                Freeze(who, 6_000),
                LinkDown(who),
                CutOff(who, "api"),
                CutOff(who, "imds"),
                Restarted(who),
                DiskFull(who),
                IdleConnections(who),
            ];
            processes.chain(others)
        });
        let elsewhere = [
            Apart,
            Latency(300),
            Latency(2_500),
            Stale(5_000),
            Hang,
            Throttle,
            Fails("DescribeInstances", "InternalError"),
            Fails("DescribeRouteTables", "InternalError"),
            Fails("ReplaceRoute", "InternalError"),
            Fails("CreateTags", "UnauthorizedOperation"),
            RouteDeleted,
            RouteStolen,
            Untagged,
            Forged,
            Handover,
        ];
        on_nodes.chain(elsewhere).collect()
    }

    /// The thing that it acts on.
    pub fn place(&self) -> Place {
        use Fault::*;
        match self {
            PowerCut(who) | Terminated(who) | Reboot(who) | Freeze(who, _) | LinkDown(who) => Place::Node(*who),
            Killed(who, _) | Hung(who, _) | Restarted(who) | DiskFull(who) => Place::Node(*who),
            IdleConnections(who) => Place::Node(*who),
            CutOff(..) | Apart => Place::Network,
            Latency(_) | Stale(_) | Hang | Throttle | Fails(..) => Place::Api,
            RouteDeleted | RouteStolen => Place::Routes,
            Untagged | Forged => Place::Tags,
            Handover => Place::Operator,
        }
    }

    /// Begins it. Returns the affected thing, and how to end the fault.
    pub fn begin(&self, scene: &Scene) -> Result<(String, End)> {
        use Fault::*;
        let rig = &scene.rig;
        let on = |who: &Who| scene.node(*who);
        let nothing = || -> End { Box::new(|_| Ok(())) };
        Ok(match self {
            PowerCut(who) => (on(who)?, scene.order(["kill", &on(who)?], ["reboot", &on(who)?])?),
            Reboot(who) => (on(who)?, scene.order(["reboot", &on(who)?], [])?),
            Freeze(who, ms) => (on(who)?, scene.order(["freeze", &on(who)?, &ms.to_string()], [])?),
            DiskFull(who) => (on(who)?, scene.order(["disk", &on(who)?, "0"], ["disk", &on(who)?])?),
            Terminated(who) => {
                let id = on(who)?;
                rig.aws(["ec2", "terminate-instances", "--instance-ids", &id])?;
                (id, Box::new(|scene| scene.rig.create(&scene.file).map(drop)))
            }
            LinkDown(who) => {
                let id = on(who)?;
                let way = rig.inside(&id, &["ip", "route", "show", "default"])?;
                rig.inside(&id, &["ip", "link", "set", "eth0", "down"])?;
                let up = format!("ip link set eth0 up && ip route replace {}", way.trim());
                (id.clone(), Box::new(move |scene| scene.rig.inside(&id, &["sh", "-c", &up]).map(drop)))
            }
            CutOff(who, from) => (on(who)?, scene.order(["partition", &on(who)?, from], ["heal"])?),
            Apart => {
                let (one, other) = (on(&Who::Active)?, on(&Who::Standby)?);
                (format!("{one} and {other}"), scene.order(["partition", &one, &other], ["heal"])?)
            }
            Killed(who, unit) => {
                scene.signal(&on(who)?, "KILL", unit)?;
                (on(who)?, nothing())
            }
            Hung(who, unit) => {
                let (id, unit) = (on(who)?, *unit);
                scene.signal(&id, "STOP", unit)?;
                (id.clone(), Box::new(move |scene| scene.signal(&id, "CONT", unit)))
            }
            Restarted(who) => {
                rig.inside(&on(who)?, &["systemctl", "restart", "--no-block", "elbow-agent"])?;
                (on(who)?, nothing())
            }
            IdleConnections(who) => {
                let other = if *who == Who::Active { Who::Standby } else { Who::Active };
                scene.idle_connections(&on(&other)?, &on(who)?)?
            }
            Latency(ms) => (String::new(), scene.order(["latency", &ms.to_string()], ["latency", "0"])?),
            Stale(ms) => (String::new(), scene.order(["stale", &ms.to_string()], ["stale", "0"])?),
            Hang => (String::new(), scene.order(["hang", "60000"], ["hang", "0"])?),
            Throttle => (String::new(), scene.order(["throttle", "2", "1"], ["throttle", "0", "0"])?),
            Fails(action, code) => {
                (String::new(), scene.order(["fail", action, code, "100000"], ["fail", action, code, "0"])?)
            }
            RouteDeleted => {
                let (table, vip) = scene.main_route()?;
                rig.aws(["ec2", "delete-route", "--route-table-id", &table, "--destination-cidr-block", &vip])?;
                (table, nothing())
            }
            RouteStolen => {
                let (table, vip) = scene.main_route()?;
                let foreign = rig.status()?.routes.into_iter().find(|route| route.destination == "10.255.9.9/32");
                let foreign = foreign.and_then(|route| route.interface).context("the seed has no appliance")?;
                let to = ["--destination-cidr-block", &vip, "--network-interface-id", &foreign];
                rig.aws(["ec2", "replace-route", "--route-table-id", &table].iter().chain(&to))?;
                (table, nothing())
            }
            Untagged => {
                let nodes = scene.nodes()?;
                scene.tags("delete-tags", &nodes, &["Key=elbow:balancer"])?;
                let restore = move |scene: &Scene| scene.tags("create-tags", &nodes, &["Key=elbow:balancer,Value=web"]);
                (String::new(), Box::new(restore))
            }
            Forged => {
                let forged = [
                    "Key=elbow:role,Value=active",
                    "Key=elbow:unreachable,Value=i-0@2026-01-01T00:00:00Z",
                    "Key=elbow:running,Value=x",
                ];
                scene.tags("create-tags", &scene.nodes()?, &forged)?;
                (String::new(), nothing())
            }
            // A refusal is fine: another fault may leave no node to hand over to.
            Handover => {
                let output = rig.launcher(["handover", "web", "--timeout", "20s"])?;
                (if output.status.success() { "done" } else { "refused" }.to_owned(), nothing())
            }
        })
    }
}

impl Scene {
    /// Runs a `lab` command. Returns the command that undoes it.
    fn order<const B: usize, const E: usize>(&self, begin: [&str; B], end: [&str; E]) -> Result<End> {
        self.rig.lab(begin)?;
        let end: Vec<String> = end.into_iter().map(str::to_owned).collect();
        Ok(Box::new(move |scene| if end.is_empty() { Ok(()) } else { scene.rig.lab(&end).map(drop) }))
    }

    fn signal(&self, node: &str, signal: &str, unit: &str) -> Result<()> {
        self.rig.inside(node, &["systemctl", "kill", "--signal", signal, unit]).map(drop)
    }

    /// The balancer's instances that aren't terminated.
    pub fn nodes(&self) -> Result<Vec<String>> {
        let all = self.rig.status()?.instances.into_iter();
        Ok(all.filter(|one| one.balancer.as_deref() == Some("web") && one.api == "running").map(|one| one.id).collect())
    }

    fn node(&self, who: Who) -> Result<String> {
        let active = self.rig.active()?;
        if who == Who::Active {
            return Ok(active);
        }
        let others = self.nodes()?.into_iter().find(|id| *id != active);
        others.context("the balancer has no standby node")
    }

    fn main_route(&self) -> Result<(String, String)> {
        let routes = self.rig.status()?.routes;
        let main = routes.into_iter().find(|route| route.name == "main" && route.destination == "10.255.0.10/32");
        main.map(|route| (route.table, route.destination)).context("the main table has no route to the virtual IP")
    }

    fn tags(&self, call: &str, nodes: &[String], tags: &[&str]) -> Result<()> {
        let words = ["ec2", call, "--resources"].into_iter().chain(nodes.iter().map(String::as_str));
        self.rig.aws(words.chain(["--tags"]).chain(tags.iter().copied())).map(drop)
    }

    fn idle_connections(&self, from: &str, to: &str) -> Result<(String, End)> {
        let address = self.rig.status()?.instances.into_iter().find(|one| one.id == to).and_then(|one| one.address);
        let address = address.with_context(|| format!("{to}: no address"))?;
        let hold =
            format!("ulimit -n 4096; for n in $(seq 1100); do exec {{f}}<>/dev/tcp/{address}/9110; done; sleep 60");
        let unit = ["systemd-run", "--quiet", "--collect", "--unit=chaos-idle", "bash", "-c", &hold];
        self.rig.inside(from, &unit)?;
        let from = from.to_owned();
        let stop = move |scene: &Scene| {
            // The unit has ended already if its node went down or its connections were refused.
            let _ = scene.rig.inside(&from, &["systemctl", "stop", "chaos-idle"]);
            Ok(())
        };
        Ok((format!("{to}, from another member"), Box::new(stop)))
    }

    /// Checks that all routes lead to the one active node and that the other node is standby.
    pub fn is_well(&self) -> Result<()> {
        let status = self.rig.status()?;
        let nodes: Vec<_> = status.instances.iter().filter(|one| one.balancer.as_deref() == Some("web")).collect();
        let with = |role: &str| nodes.iter().filter(|one| one.lab == "up" && one.role.as_deref() == Some(role)).count();
        ensure!(with("active") == 1 && with("standby") == 1, "the nodes are {nodes:?}");
        let active = nodes.iter().find(|one| one.role.as_deref() == Some("active")).map(|one| &one.id);
        for route in status.routes.iter().filter(|route| route.destination == "10.255.0.10/32") {
            ensure!(route.instance.as_ref() == active, "the route in {} leads to {:?}", route.table, route.instance);
        }
        let tables = crate::observations::eligible_tables(&self.rig, &status.vpc)?.len();
        let routes = status.routes.iter().filter(|route| route.destination == "10.255.0.10/32").count();
        ensure!(routes == tables, "{routes} of {tables} tables have a route");
        Ok(())
    }

    /// Starts a lab with a balancer.
    pub fn raise() -> Result<Scene> {
        let rig = Rig::up()?;
        let file = rig.balancer(|text| text)?;
        rig.create(&file)?;
        Ok(Scene { rig, file })
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Who::Active { "active node" } else { "standby" })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Fault::*;
        match self {
            PowerCut(who) => write!(f, "power cut of the {who}"),
            Terminated(who) => write!(f, "{who} terminated"),
            Reboot(who) => write!(f, "{who} rebooted"),
            Freeze(who, ms) => write!(f, "{who} frozen for {ms} ms"),
            LinkDown(who) => write!(f, "link of the {who} down"),
            CutOff(who, from) => write!(f, "{who} cut off from {from}"),
            Apart => write!(f, "nodes cut off from each other"),
            Killed(who, unit) => write!(f, "{unit} killed on the {who}"),
            Hung(who, unit) => write!(f, "{unit} hung on the {who}"),
            Restarted(who) => write!(f, "agent restarted on the {who}"),
            DiskFull(who) => write!(f, "disk full on the {who}"),
            IdleConnections(who) => write!(f, "1,100 idle connections to port 9110 of the {who}"),
            Latency(ms) => write!(f, "API latency {ms} ms"),
            Stale(ms) => write!(f, "Describe answers {ms} ms old"),
            Hang => write!(f, "API hangs"),
            Throttle => write!(f, "API throttled to a call a second"),
            Fails(action, code) => write!(f, "{action} fails with {code}"),
            RouteDeleted => write!(f, "route in the main table deleted"),
            RouteStolen => write!(f, "route in the main table redirected to a stranger's interface"),
            Untagged => write!(f, "elbow:balancer deleted from both nodes"),
            Forged => write!(f, "report tags of both nodes overwritten"),
            Handover => write!(f, "handover requested"),
        }
    }
}
