//! The lab that most fault tests share: the balancer `web`, which has the faults, and the bystander `db`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::bystander;
use lab::daemon::protocol::InstanceStatus;
use lab::rig::{Rig, wait_for};
use lab::stage::end_all_faults;
use serde_json::Value;

use crate::watch::Watch;

/// The limit for nodes to boot or to recover.
pub const BOOT: Duration = Duration::from_secs(120);

static STAGE: lab::stage::Stage<Stage> = lab::stage::Stage::new();

/// A lab with two pairs in one VPC.
pub struct Stage {
    pub rig: Rig,
}

/// Runs `fault` on the shared stage, and restores the stage.
pub fn play(fault: impl FnOnce(&Stage) -> Result<()>) -> Result<()> {
    let act = async |stage: &Stage| fault(stage).inspect_err(|_| stage.explain());
    futures::executor::block_on(STAGE.play(Stage::raise, act, |stage| stage.mend().inspect_err(|_| stage.explain())))
}

impl Stage {
    fn raise() -> Result<Stage> {
        let rig = Rig::up()?;
        let web = rig.balancer(|text| text)?;
        let bystander = bystander::file(&rig)?;
        std::thread::scope(|scope| {
            let other = scope.spawn(|| rig.create(&bystander));
            rig.create(&web)?;
            other.join().expect("create doesn't panic")
        })?;
        let stage = Stage { rig };
        stage.mend()?;
        Ok(stage)
    }

    /// The nodes of `web`: the active one, and the other.
    pub fn pair(&self) -> Result<(String, String)> {
        let nodes = self.rig.serving_nodes(2, BOOT)?;
        let (active, standby): (Vec<_>, Vec<_>) =
            nodes.into_iter().partition(|node| node.role.as_deref() == Some("active"));
        Ok((active[0].id.clone(), standby[0].id.clone()))
    }

    /// The bystander's nodes.
    pub fn bystanders(&self) -> Result<Vec<InstanceStatus>> {
        self.rig.serving_nodes_of(bystander::NAME, 2, BOOT)
    }

    /// Clients of both balancers, from now on.
    pub fn watch(&self) -> Result<Watch<'_>> {
        Watch::start(self)
    }

    /// Waits until the main table's route leads to another node than `from`; returns that node.
    pub fn moved(&self, from: &str, patience: Duration) -> Result<String> {
        wait_for(&format!("the route to leave {from}"), patience, || {
            let active = self.rig.active()?;
            ensure!(active != from, "it still leads there");
            Ok(active)
        })
    }

    /// Waits until every route of `web` leads to its one active node; returns that node.
    pub fn serving_nodes(&self, patience: Duration) -> Result<String> {
        wait_for("every route to lead to the one active node", patience, || {
            let (active, _) = self.pair_now()?;
            let astray: Vec<_> = self.routes()?.into_iter().filter(|(_, to)| to != &active).collect();
            ensure!(astray.is_empty(), "{active} is active, but these routes lead elsewhere: {astray:?}");
            Ok(active)
        })
    }

    /// Each of `web`'s routes: its table and its instance (or its state, if it leads to none).
    pub fn routes(&self) -> Result<Vec<(String, String)>> {
        let routes = self.rig.status()?.routes.into_iter().filter(|route| route.destination == "10.255.0.10/32");
        Ok(routes.map(|route| (route.table, route.instance.unwrap_or(route.state))).collect())
    }

    /// Waits until a frozen node runs again.
    pub fn thawed(&self, node: &str) -> Result<()> {
        wait_for("the thaw", BOOT, || {
            let nodes = self.rig.status()?.instances;
            let now = nodes.into_iter().find(|one| one.id == node).map(|one| one.lab);
            ensure!(now.as_deref() == Some("up"), "{node} is {now:?}");
            Ok(())
        })
    }

    /// Waits until a rebooted node's agent and keepalived run and it has been BACKUP.
    pub fn joined(&self, node: &str) -> Result<()> {
        wait_for(&format!("{node} to join"), BOOT, || {
            self.rig.inside(node, &["systemctl", "is-active", "elbow-agent", "keepalived"])?;
            let log = self.rig.inside(node, &["journalctl", "-b", "-u", "elbow-agent", "--no-pager", "-o", "cat"])?;
            ensure!(log.contains("vrrp BACKUP"), "its agent hasn't logged `vrrp BACKUP`");
            Ok(())
        })
    }

    /// Which of `web`'s nodes keepalived has made MASTER.
    pub fn masters(&self) -> Result<Vec<String>> {
        let nodes = self.rig.status()?.instances;
        let ours = nodes.into_iter().filter(|node| node.balancer.as_deref() == Some("web") && node.lab == "up");
        let is_master = |id: &String| {
            let token = self.rig.inside(id, &["ip", "-brief", "address", "show", "dev", "lo"]);
            token.is_ok_and(|token| token.contains("169.254.100.1/32"))
        };
        Ok(ours.map(|node| node.id).filter(is_master).collect())
    }

    fn pair_now(&self) -> Result<(String, Vec<String>)> {
        let nodes = self.rig.status()?.instances;
        let ours = nodes.into_iter().filter(|node| node.balancer.as_deref() == Some("web") && node.lab == "up");
        let (active, others): (Vec<_>, Vec<_>) = ours.partition(|node| node.role.as_deref() == Some("active"));
        ensure!(active.len() == 1, "{} nodes report that they are active", active.len());
        Ok((active[0].id.clone(), others.into_iter().map(|node| node.id).collect()))
    }

    /// Restores the stage; either node may be active.
    fn mend(&self) -> Result<()> {
        end_all_faults(&self.rig)?;
        self.well("web").and_then(|()| self.well(bystander::NAME))?;
        self.serving_nodes(BOOT).map(drop)
    }

    fn well(&self, balancer: &str) -> Result<()> {
        wait_for(&format!("{balancer} to be healthy"), BOOT, || {
            for node in self.rig.serving_nodes_of(balancer, 2, Duration::ZERO)? {
                ensure!(node.message.is_none(), "message of {}: {}", node.id, node.message.unwrap_or_default());
                let own = self.rig.inside(&node.id, &["/opt/elbow/agent", "status", "--output", "json"])?;
                let own: Value = serde_json::from_str(&own).context("reading the agent's status")?;
                ensure!(own["peers"].as_array().is_some_and(|peers| !peers.is_empty()), "{} knows no peer", node.id);
            }
            Ok(())
        })
    }

    /// Prints the lab's status and the agents' logs.
    fn explain(&self) {
        let Ok(status) = self.rig.lab(["status"]) else { return };
        eprintln!("{status}");
        for node in self.rig.status().map(|status| status.instances).unwrap_or_default() {
            if node.balancer.as_deref() == Some("web") && node.lab == "up" {
                let logs = ["journalctl", "-u", "elbow-agent", "-n", "40", "--no-pager", "-o", "short-precise"];
                eprintln!("{}:\n{}", node.id, self.rig.inside(&node.id, &logs).unwrap_or_default());
            }
        }
    }
}
