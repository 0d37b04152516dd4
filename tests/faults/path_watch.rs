//! Clients don't reach a virtual IP although its active node looks well. The standby sees it, through the VPC.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::observations::group_of;
use lab::rig::{Rig, wait_for};
use serde_json::Value;

use crate::stage::{BOOT, Stage, play};
use crate::tables::VIP;

/// The bar is 3 s (docs/faults.md has the figures). The rest is for a busy machine.
const NOTICED: Duration = Duration::from_secs(6);
/// A closed port is named within this time.
const NAMED: Duration = Duration::from_secs(20);

impl Stage {
    /// The tables with a route to the virtual IP.
    fn tables(&self) -> Result<Vec<String>> {
        Ok(self.routes()?.into_iter().map(|(table, _)| table).collect())
    }

    /// Deletes the routes in all `tables` at once.
    fn delete_routes(&self, tables: &[String]) -> Result<()> {
        let delete = |table: &String| {
            self.rig.aws(["ec2", "delete-route", "--route-table-id", table, "--destination-cidr-block", VIP]).map(drop)
        };
        std::thread::scope(|scope| {
            let deletions: Vec<_> = tables.iter().map(|table| scope.spawn(move || delete(table))).collect();
            deletions.into_iter().try_for_each(|one| one.join().expect("it doesn't panic"))
        })
    }

    /// The route table of the node's subnet.
    fn table_of(&self, node: &str) -> Result<String> {
        let query = "Reservations[0].Instances[0].SubnetId";
        let subnet = self.rig.aws(["ec2", "describe-instances", "--instance-ids", node, "--query", query])?;
        let filter = format!("Name=association.subnet-id,Values={}", subnet.as_str().context("its subnet")?);
        let query = "RouteTables[0].RouteTableId";
        let table = self.rig.aws(["ec2", "describe-route-tables", "--filters", &filter, "--query", query])?;
        table.as_str().map(str::to_owned).context("its subnet has the main table")
    }

    /// Closes (`revoke`) or opens (`authorize`) port 9110 between members.
    fn members_port(&self, verb: &str) -> Result<()> {
        let group = group_of(&self.rig, "web")?;
        let rule = format!("IpProtocol=tcp,FromPort=9110,ToPort=9110,UserIdGroupPairs=[{{GroupId={group}}}]");
        let verb = format!("{verb}-security-group-ingress");
        self.rig.aws(["ec2", &verb, "--group-id", &group, "--ip-permissions", &rule]).map(drop)
    }

    /// `launcher status`, whatever it exits with.
    fn status_of(&self, output: &str) -> Result<String> {
        let status = self.rig.launcher(["status", "web", "--output", output])?;
        Ok(String::from_utf8_lossy(&status.stdout).into_owned())
    }

    /// Whether the one standby reaches the virtual IP, as `launcher status` shows it.
    fn reached(&self) -> Result<Option<bool>> {
        let status: Value = serde_json::from_str(&self.status_of("json")?)?;
        let watched = &status["virtual_ips"][0]["watched"];
        ensure!(watched.as_array().is_some_and(|watched| watched.len() == 1), "it is watched from {watched}");
        Ok(watched[0]["reached"].as_bool())
    }

    fn is_reached(&self) -> Result<()> {
        wait_for("the standby to reach the virtual IP", BOOT, || {
            let reached = self.reached()?;
            ensure!(reached == Some(true), "status says {reached:?}");
            Ok(())
        })
    }
}

/// Counts the probes' packets on `node`, and its agent's processor time; notes both. `vips` as nft(8) writes a set.
pub fn note_cost(rig: &Rig, node: &str, vips: &str, what: &str) -> Result<()> {
    const TIME: u64 = 20;
    let rules = format!(
        "table inet cost {{
            counter probes {{ }}
            chain in {{ type filter hook prerouting priority -400; ip daddr {{ {vips} }} tcp dport 9110 counter name probes
                ip saddr {{ {vips} }} tcp sport 9110 counter name probes; }}
            chain out {{ type filter hook postrouting priority 400; ip daddr {{ {vips} }} tcp dport 9110 counter name probes
                ip saddr {{ {vips} }} tcp sport 9110 counter name probes; }}
        }}"
    );
    let script = format!(
        "time() {{ cut -d' ' -f14,15 /proc/$(systemctl show --property MainPID --value elbow-agent)/stat; }}
         printf '%s' '{rules}' | nft -f - && time && sleep {TIME} && time && nft list counter inet cost probes | grep packets
         nft delete table inet cost; getconf CLK_TCK"
    );
    let printed = rig.inside(node, &["sh", "-c", &script])?;
    let words: Vec<f64> = printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [user, system, user_after, system_after, packets, bytes, ticks] = words[..] else {
        anyhow::bail!("the counters were printed as {printed}");
    };
    let share = 100.0 * (user_after + system_after - user - system) / ticks / TIME as f64;
    let each = |count: f64| count / TIME as f64;
    rig.figure(
        what,
        format!("{:.0} packets and {:.0} bytes a second; agent {share:.2} % of a core", each(packets), each(bytes)),
    )?;
    ensure!(packets > 0.0, "no probe was counted");
    Ok(())
}

#[test]
fn a_standby_probes_the_virtual_ip() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        stage.is_reached()?;
        for (node, role) in [(active, "active"), (standby, "standby")] {
            note_cost(
                &stage.rig,
                &node,
                "10.255.0.10",
                &format!("path watch, two nodes, one virtual IP, {role} node"),
            )?;
        }
        Ok(())
    })
}

#[test]
fn deleted_routes_are_noticed_by_the_standby_and_restored() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        stage.is_reached()?;
        let (all, own) = (stage.tables()?, stage.table_of(&standby)?);
        for (tables, what) in [(all, "all routes deleted"), (vec![own], "the route of the standby's subnet deleted")] {
            let watch = stage.watch()?;
            stage.delete_routes(&tables)?;
            let began = Instant::now();
            wait_for("the routes", BOOT, || tables.iter().try_for_each(|table| stage.is_routed(table, &active)))?;
            let time = began.elapsed();
            stage.rig.figure(&format!("{what}: restored"), format!("after {:.1} s", time.as_secs_f64()))?;
            ensure!(time <= NOTICED, "{what}: the repair took {time:.1?}");
            watch.served(BOOT)?;
            watch.end(what)?.at_most(NOTICED)?;
            // A response to a complaint is followed by a pause.
            std::thread::sleep(Duration::from_secs(12));
        }
        ensure!(stage.pair()?.0 == active, "another node is active");
        Ok(())
    })
}

#[test]
fn routes_that_are_deleted_after_the_one_that_is_watched_are_restored() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        stage.is_reached()?;
        let (all, own) = (stage.tables()?, stage.table_of(&standby)?);
        stage.delete_routes(std::slice::from_ref(&own))?;
        wait_for("the route of the standby's subnet", BOOT, || stage.is_routed(&own, &active))?;
        let others: Vec<String> = all.into_iter().filter(|table| *table != own).collect();
        stage.delete_routes(&others)?;
        let began = Instant::now();
        wait_for("the other routes", BOOT, || others.iter().try_for_each(|table| stage.is_routed(table, &active)))?;
        let time = began.elapsed();
        let figure = format!("after {:.1} s", time.as_secs_f64());
        stage.rig.figure("routes deleted after that of the standby's subnet: restored", figure)?;
        ensure!(time <= NOTICED, "the repair took {time:.1?}");
        // A response to a complaint is followed by a pause.
        std::thread::sleep(Duration::from_secs(12));
        Ok(())
    })
}

#[test]
fn a_source_destination_check_that_is_switched_on_is_switched_off_again() -> Result<()> {
    play(|stage| {
        let (active, _) = stage.pair()?;
        stage.is_reached()?;
        let watch = stage.watch()?;
        stage.rig.aws(["ec2", "modify-instance-attribute", "--instance-id", &active, "--source-dest-check"])?;
        std::thread::sleep(Duration::from_secs(1));
        watch.served(BOOT)?;
        watch.end("source/destination check switched on")?.at_most(NOTICED)?;
        ensure!(stage.pair()?.0 == active, "another node is active");
        Ok(())
    })
}

#[test]
fn a_node_that_cannot_repair_itself_hands_over() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        stage.is_reached()?;
        let watch = stage.watch()?;
        stage.rig.aws(["ec2", "modify-instance-attribute", "--instance-id", &active, "--source-dest-check"])?;
        stage.rig.lab(["fail", "ModifyInstanceAttribute", "UnauthorizedOperation", "1000"])?;
        let moved = stage.moved(&active, BOOT);
        stage.rig.lab(["fail", "ModifyInstanceAttribute", "UnauthorizedOperation", "0"])?;
        ensure!(moved? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        watch.end("source/destination check that can't be switched off")?.at_most(Duration::from_secs(15))
    })
}

#[test]
fn a_group_that_no_longer_admits_members_is_named_and_causes_no_handover() -> Result<()> {
    play(|stage| {
        let (active, _) = stage.pair()?;
        stage.is_reached()?;
        let watch = stage.watch()?;
        stage.members_port("revoke")?;
        let began = Instant::now();
        let named = wait_for("status to name the closed port", BOOT, || {
            let status = stage.status_of("text")?;
            ensure!(status.contains("admits no new connection on port 9110"), "status says {status}");
            Ok(())
        });
        let time = began.elapsed();
        watch.go_on(Duration::from_secs(10));
        let seen = watch.end("security group no longer admits members");
        stage.members_port("authorize")?;
        named?;
        stage.rig.figure("the closed port was named", format!("after {:.1} s", time.as_secs_f64()))?;
        ensure!(time <= NAMED + Duration::from_secs(5), "it took {time:.1?}");
        seen?.nothing_happened()?;
        ensure!(stage.pair()?.0 == active, "another node is active");
        Ok(())
    })
}
