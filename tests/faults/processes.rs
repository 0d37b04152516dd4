//! Programs on a node that die, hang or restart.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::observations::priority_falls;
use lab::rig::wait_for;

use crate::stage::{BOOT, Stage, play};

/// How far a node's priority falls while its agent doesn't answer.
pub const NO_AGENT: i32 = 110;

impl Stage {
    /// `systemctl kill`: all of a unit's processes at once.
    fn signal(&self, node: &str, signal: &str, unit: &str) -> Result<()> {
        self.rig.inside(node, &["systemctl", "kill", "--signal", signal, unit]).map(drop)
    }

    /// Waits until the agent of a node runs as another process than `before`.
    fn agent_again(&self, node: &str, before: &str) -> Result<()> {
        wait_for("the agent to run again", BOOT, || {
            let now = self.agent(node)?;
            ensure!(now != before && now.contains("ActiveState=active"), "systemd shows {now}");
            Ok(())
        })
    }

    /// The process and the state of a node's agent, as systemd shows them.
    pub fn agent(&self, node: &str) -> Result<String> {
        self.rig.inside(node, &["systemctl", "show", "--property", "MainPID,ActiveState", "elbow-agent"])
    }

    /// Restarts both agents by `how`: nothing moves, and the standby still takes over.
    fn agent_restarted(&self, how: &[&str], fault: &str) -> Result<()> {
        let (active, standby) = self.pair()?;
        let watch = self.watch()?;
        for node in [&active, &standby] {
            let before = self.agent(node)?;
            self.rig.inside(node, how)?;
            self.agent_again(node, &before)?;
        }
        watch.served(BOOT)?;
        ensure!(self.serving_nodes(BOOT)? == active, "another node is active");
        watch.end(fault)?.nothing_happened()?;

        let watch = self.watch()?;
        self.rig.lab(["kill", &active])?;
        ensure!(self.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        watch.end(&format!("power cut after: {fault}"))?.at_most(Duration::from_millis(1500))
    }
}

#[test]
fn haproxy_that_is_killed_costs_its_node_the_virtual_ip() -> Result<()> {
    play(|stage| {
        let (active, _) = stage.pair()?;
        let watch = stage.watch()?;
        stage.signal(&active, "KILL", "haproxy")?;
        stage.moved(&active, BOOT)?;
        watch.served(BOOT)?;
        watch.end("HAProxy killed")?.at_most(Duration::from_millis(900))
    })
}

#[test]
fn haproxy_that_hangs_costs_its_node_the_virtual_ip() -> Result<()> {
    play(|stage| {
        let (active, _) = stage.pair()?;
        let watch = stage.watch()?;
        stage.signal(&active, "STOP", "haproxy")?;
        stage.moved(&active, BOOT)?;
        watch.served(BOOT)?;
        stage.signal(&active, "CONT", "haproxy")?;
        watch.end("HAProxy hung")?.at_most(Duration::from_secs(3))
    })
}

#[test]
fn keepalived_that_is_killed_moves_the_virtual_ip_without_an_outage() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let watch = stage.watch()?;
        stage.signal(&active, "KILL", "keepalived")?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        stage.serving_nodes(BOOT)?;
        watch.served(BOOT)?;
        let seen = watch.end("keepalived killed")?;
        ensure!(seen.changes().values().all(|changes| *changes == 1), "routes were moved again: {:?}", seen.moves);
        seen.at_most(Duration::from_millis(300))
    })
}

#[test]
fn agents_that_are_killed_cause_no_outage() -> Result<()> {
    play(|stage| stage.agent_restarted(&["systemctl", "kill", "--signal", "KILL", "elbow-agent"], "agent killed"))
}

#[test]
fn an_agent_that_is_restarted_relearns_its_state_without_moving_anything() -> Result<()> {
    play(|stage| stage.agent_restarted(&["systemctl", "restart", "elbow-agent"], "agent restarted"))
}

#[test]
fn an_agent_killed_just_before_the_other_node_is_lost_takes_over_when_it_is_back() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let watch = stage.watch()?;
        stage.signal(&standby, "KILL", "elbow-agent")?;
        stage.rig.lab(["kill", &active])?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        watch.end("standby's agent killed just before the active node's power")?.at_most(Duration::from_secs(6))
    })
}

#[test]
fn an_agent_that_hangs_just_before_the_other_node_is_lost_is_restarted_and_takes_over() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let watch = stage.watch()?;
        stage.signal(&standby, "STOP", "elbow-agent")?;
        stage.rig.lab(["kill", &active])?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        ensure!(stage.serving_nodes(BOOT)? == standby, "some routes don't lead to the standby");
        watch.served(BOOT)?;
        // Ten seconds of systemd's watchdog, one second before the restart, and the agent's start on a busy machine.
        watch.end("standby's agent hung just before the active node's power was cut")?.at_most(Duration::from_secs(16))
    })
}

#[test]
fn agents_that_hang_lose_priority_and_are_restarted_without_an_outage() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let nodes = [&active, &standby];
        let before = nodes.map(|node| stage.agent(node)).into_iter().collect::<Result<Vec<_>>>()?;
        let watch = stage.watch()?;
        let since = Instant::now();
        nodes.iter().try_for_each(|node| stage.signal(node, "STOP", "elbow-agent"))?;
        for node in nodes {
            priority_falls(&stage.rig, node, NO_AGENT, BOOT)?;
        }
        let noticed = since.elapsed();
        for (node, before) in nodes.into_iter().zip(&before) {
            stage.agent_again(node, before)?;
        }
        let again = since.elapsed();
        stage.rig.figure(
            "agents hung: both less preferred after, both restarted after",
            format!("{noticed:.1?}, {again:.1?}"),
        )?;
        ensure!(stage.serving_nodes(BOOT)? == active, "another node is active");
        // An agent that moves routes after its start does so when it first reads them.
        watch.go_on(Duration::from_secs(5));
        watch.end("agents of both nodes hung, and restarted")?.nothing_happened()?;

        let watch = stage.watch()?;
        stage.rig.lab(["kill", &active])?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        watch.end("power cut after: agents hung")?.at_most(Duration::from_millis(1500))
    })
}

#[test]
fn an_agent_killed_in_the_middle_of_a_takeover_finishes_it_when_it_is_back() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        // No call is answered before the agent is killed.
        stage.rig.lab(["latency", "1500"])?;
        let watch = stage.watch()?;
        stage.rig.lab(["fail", "ReplaceRoute", "InternalError", "1000"])?;
        stage.rig.lab(["kill", &active])?;
        wait_for("the takeover to begin", BOOT, || {
            ensure!(stage.masters()?.contains(&standby), "{standby} isn't MASTER");
            ensure!(stage.rig.calls()?.iter().any(|call| call["action"] == "ReplaceRoute"), "no ReplaceRoute call");
            Ok(())
        })?;
        stage.signal(&standby, "KILL", "elbow-agent")?;
        stage.rig.lab(["fail", "ReplaceRoute", "InternalError", "0"])?;
        stage.rig.lab(["latency", "0"])?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        ensure!(stage.serving_nodes(BOOT)? == standby, "some routes don't lead to the standby");
        watch.served(BOOT)?;
        watch.end("agent killed in the middle of its takeover")?.at_most(Duration::from_secs(10))
    })
}

/// Debian's HAProxy of another version, with the one that runs kept.
const OLD: &str = r#"mv /usr/sbin/haproxy /usr/sbin/haproxy.new
printf '#!/bin/sh\necho "HAProxy version 2.4.22-0ubuntu0.22.04.3 2023/12/04 - https://haproxy.org/"\n' >/usr/sbin/haproxy
chmod +x /usr/sbin/haproxy"#;

#[test]
fn a_haproxy_that_is_too_old_is_named_and_the_one_that_runs_goes_on() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let watch = stage.watch()?;
        stage.rig.inside(&standby, &["sh", "-ec", OLD])?;
        let restart = || stage.rig.inside(&standby, &["systemctl", "restart", "elbow-agent"]).map(drop);
        let said =
            restart().and_then(|()| stage.shows(3, &[], &["HAProxy 2.4.22 is too old; Elbow needs 2.6 or later"]));
        stage.rig.inside(&standby, &["mv", "/usr/sbin/haproxy.new", "/usr/sbin/haproxy"])?;
        restart()?;
        said?;
        stage.shows(0, &["--strict"], &[])?;
        ensure!(stage.serving_nodes(BOOT)? == active, "the virtual IP moved");
        watch.end("an HAProxy that is too old")?.nothing_happened()
    })
}
