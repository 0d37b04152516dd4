//! Nodes that can't list the members, and nodes that lose their tags.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::observations::text;
use lab::rig::wait_for;

use crate::stage::{BOOT, Stage, play};

/// Each node reads the routes at least four times in this time: contention would show.
const LOOKS: Duration = Duration::from_secs(120);
/// More calls than a test makes: all of them fail.
const MANY: &str = "1000000";
/// The calls by which a node finds the other members.
const FINDING: [&str; 2] = ["DescribeInstances", "DescribeNetworkInterfaces"];

impl Stage {
    fn fail(&self, calls: &[&str], more: &[&str]) -> Result<()> {
        let fail = |call: &&str| self.rig.lab(["fail", call, "InternalError"].iter().chain(more)).map(drop);
        calls.iter().try_for_each(fail)
    }

    /// Launches a third node and runs `act` with it while `calls` fail; `more` limits the fault.
    fn with_newcomer(&self, calls: &[&str], more: &[&str], act: impl FnOnce(&str) -> Result<()>) -> Result<()> {
        let (_, standby) = self.pair()?;
        let query = "Reservations[0].Instances[0].SubnetId";
        let subnet =
            text(&self.rig.aws(["ec2", "describe-instances", "--instance-ids", &standby, "--query", query])?)?;
        self.fail(calls, more)?;
        let launch =
            ["ec2", "run-instances", "--launch-template", "LaunchTemplateName=elbow-web", "--subnet-id", &subnet];
        let newcomer = text(&self.rig.aws(launch)?["Instances"][0]["InstanceId"])?;
        let seen = act(&newcomer);
        self.fail(calls, &["0"])?;
        self.rig.aws(["ec2", "terminate-instances", "--instance-ids", &newcomer])?;
        seen
    }

    fn agent_says(&self, node: &str, text: &str) -> Result<()> {
        wait_for(&format!("{node} to log {text:?}"), BOOT, || {
            let log = self.rig.inside(node, &["journalctl", "-b", "-u", "elbow-agent", "--no-pager", "-o", "cat"])?;
            ensure!(log.contains(text), "the agent's log doesn't contain it");
            Ok(())
        })
    }
}

#[test]
fn a_node_that_boots_while_a_disrupted_zone_fails_the_list_of_instances_joins_and_moves_no_route() -> Result<()> {
    play(|stage| {
        let (active, _) = stage.pair()?;
        let zone =
            stage.rig.status()?.instances.into_iter().find(|node| node.id == active).context("the active node")?.zone;
        let watch = stage.watch()?;
        stage.with_newcomer(&["DescribeInstances"], &[MANY, "--zone", &zone], |newcomer| {
            stage.joined(newcomer)?;
            watch.go_on(LOOKS);
            ensure!(stage.masters()? == [active.clone()], "MASTER nodes: {:?}", stage.masters()?);
            Ok(())
        })?;
        ensure!(stage.serving_nodes(BOOT)? == active, "the routes have moved");
        watch.end("a node boots while DescribeInstances fails")?.nothing_happened()
    })
}

#[test]
fn a_node_that_boots_and_cannot_find_any_member_takes_no_route_from_a_healthy_owner() -> Result<()> {
    play(|stage| {
        let (active, _) = stage.pair()?;
        let watch = stage.watch()?;
        stage.with_newcomer(&FINDING, &[MANY], |newcomer| {
            stage.agent_says(newcomer, "vrrp MASTER")?;
            watch.go_on(LOOKS);
            let astray: Vec<_> = stage.routes()?.into_iter().filter(|(_, to)| *to != active).collect();
            ensure!(astray.is_empty(), "these routes don't lead to {active}: {astray:?}");
            stage.fail(&FINDING, &["0"])?;
            stage.joined(newcomer)
        })?;
        ensure!(stage.serving_nodes(BOOT)? == active, "the routes have moved");
        watch.end("a node boots while no member can be found")?.nothing_happened()
    })
}

#[test]
fn nodes_without_their_tags_stay_members_and_move_no_route() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let watch = stage.watch()?;
        let tags = |action: &str, tag: &str| {
            stage.rig.aws(["ec2", action, "--resources", &active, &standby, "--tags", tag]).map(drop)
        };
        tags("delete-tags", "Key=elbow:balancer")?;
        watch.go_on(LOOKS);
        let own = stage.rig.inside(&standby, &["/opt/elbow/agent", "status", "--output", "json"])?;
        let own: serde_json::Value = serde_json::from_str(&own).context("reading the agent's status")?;
        ensure!(
            own["peers"].as_array().is_some_and(|peers| peers.len() == 1),
            "peers in the standby's status: {}",
            own["peers"]
        );
        tags("create-tags", "Key=elbow:balancer,Value=web")?;
        ensure!(stage.serving_nodes(BOOT)? == active, "the routes have moved");
        watch.end("tag elbow:balancer deleted from both nodes for two minutes")?.nothing_happened()
    })
}
