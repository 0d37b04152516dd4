//! Five nodes with three virtual IPs survive the loss of two nodes. The test has a lab of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::clients::Kind;
use lab::observations::priority_falls;
use lab::prober::{self, Prober};
use lab::rig::{Rig, printed, wait_for};
use serde_json::Value;

use crate::path_watch::note_cost;
use crate::processes::NO_AGENT;
use crate::stage::BOOT;

/// In the file's order: the first prefers the node in slot 0, the second slot 1, the third slot 2.
const VIPS: [&str; 3] = ["10.255.0.10", "10.255.0.11", "10.255.0.12"];
const MOVES: [&str; 2] = ["ReplaceRoute", "CreateRoute"];

#[tokio::test]
async fn five_nodes_with_three_virtual_ips_survive_the_loss_of_two() -> Result<()> {
    let rig = Rig::up()?;
    let subnets = five_subnets(&rig)?;
    let three = file(&rig, &subnets, &VIPS)?;
    let began = Instant::now();
    rig.create(&three)?;
    rig.figure("five nodes, three virtual IPs: create", format!("{:.1?}", began.elapsed()))?;
    let nodes = nodes(&rig)?;
    wait_for("each virtual IP to be at the node that is preferred for it", BOOT, || {
        ensure!(owners(&rig)? == nodes[..3], "the virtual IPs are at {:?}, the slots at {nodes:?}", owners(&rig)?);
        Ok(())
    })?;

    watched_by_all_others(&rig, &nodes)?;
    note_cost(&rig, &nodes[0], &VIPS.join(", "), "path watch, five nodes, three virtual IPs")?;
    let three = web_sockets_survive_an_update(&rig, &three).await?;

    rig.lab(["latency", "100"])?;
    let mut lost = Vec::new();
    for round in 0..2 {
        let active = owners(&rig)?[0].clone();
        // In the second round the agent of the next preferred node hangs: that node can't move a route.
        let next = nodes.iter().find(|node| **node != active && !lost.contains(*node));
        let hangs = next.filter(|_| round == 1);
        if let Some(hangs) = hangs {
            rig.inside(hangs, &["systemctl", "kill", "--signal", "STOP", "elbow-agent"])?;
            priority_falls(&rig, hangs, NO_AGENT, BOOT)?;
        }
        power_cut(&rig, &active).await?;
        lost.push(active);
        wait_for("every route to lead to a live node", BOOT, || {
            let now = owners(&rig)?;
            ensure!(lost.iter().all(|node| !now.contains(node)), "{now:?} are active, of {nodes:?}");
            ensure!(hangs != Some(&now[0]), "a node with a hung agent was elected");
            Ok(())
        })?;
    }
    for node in nodes.iter().filter(|node| !lost.contains(node)) {
        forwards_no_probe(&rig, node)?;
    }
    rig.lab(["latency", "0"])?;
    let said = rig.launcher(["status", "web"])?;
    ensure!(said.status.code() == Some(3), "two of five nodes are lost, and status exits with {}", said.status);

    let before = owners(&rig)?;
    rig.aws(["ec2", "terminate-instances", "--instance-ids", &lost[0], &lost[1]])?;
    rig.create(&three)?;
    ensure!(owners(&rig)? == before, "a virtual IP moved without preempt");
    let one = file(&rig, &subnets, &VIPS[..1])?;
    let prober = rig.prober_of(&format!("{}:80", VIPS[0]), 10)?;
    printed(&rig.launcher(["update".as_ref(), one.as_os_str()])?)?;
    wait_for("the rules of the removed virtual IPs to be gone", BOOT, || left_nothing(&rig, &VIPS[1..]))?;
    let failed: Vec<_> = prober.finish()?.into_iter().filter(|probe| probe.outcome.is_err()).collect();
    ensure!(failed.is_empty(), "requests to the remaining virtual IP failed: {failed:?}");
    printed(&rig.launcher(["status", "web"])?)?;
    note_cost(&rig, &owners_of(&rig, &VIPS[..1])?[0], VIPS[0], "path watch, five nodes, one virtual IP, active node")?;
    rig.destroy("web").map(drop)
}

/// Fails unless the four other nodes reach each virtual IP through the VPC, and no packet of a probe is forwarded by the
/// second chance.
fn watched_by_all_others(rig: &Rig, nodes: &[String]) -> Result<()> {
    let status: Value = serde_json::from_str(&printed(&rig.launcher(["status", "web", "--output", "json"])?)?)?;
    for vip in status["virtual_ips"].as_array().context("the virtual IPs")? {
        let watched = vip["watched"].as_array().context("who watches it")?;
        let reached = watched.iter().filter(|watch| watch["reached"] == true).count();
        ensure!((watched.len(), reached) == (4, 4), "{} is watched by {watched:?}", vip["address"]);
    }
    nodes.iter().try_for_each(|node| forwards_no_probe(rig, node))
}

/// Fails if the second chance forwarded a packet of a probe: the set keeps connections for 30 s.
fn forwards_no_probe(rig: &Rig, node: &str) -> Result<()> {
    let passed = rig.inside(node, &["nft", "list", "set", "ip", "elbow", "passed"])?;
    ensure!(!passed.contains("9110"), "{node} forwarded packets of probes: {passed}");
    Ok(())
}

/// Cuts a node's power, and notes each virtual IP's outage and the number of route changes.
async fn power_cut(rig: &Rig, node: &str) -> Result<()> {
    let owned: Vec<bool> = owners(rig)?.iter().map(|owner| owner == node).collect();
    rig.lab(["calls", "--clear"])?;
    let probers = VIPS.iter().map(|vip| rig.prober_of(&format!("{vip}:80"), 10)).collect::<Result<Vec<_>>>()?;
    answered(&probers, "before the power cut").await?;
    rig.lab(["kill", node])?;
    // Answers within this time may belong to requests from before the cut.
    tokio::time::sleep(Duration::from_millis(100)).await;
    answered(&probers, "after the power cut").await?;
    let outage = |prober: Prober| Ok(prober::longest_outage(&prober.finish()?).context("two answers")?.length());
    let outages = probers.into_iter().map(outage).collect::<Result<Vec<Duration>>>()?;
    let moves = rig.calls()?.iter().filter(|call| is_move(call)).count();
    let lost = owned.iter().filter(|owned| **owned).count();
    rig.figure(
        &format!("one of five nodes without power, active for {lost} of three virtual IPs"),
        format!("outages {outages:.2?}, routes changed {moves} times (3 tables)"),
    )?;
    for (outage, owned) in outages.iter().zip(owned) {
        let limit = Duration::from_millis(if owned { 1500 } else { 500 });
        ensure!(*outage <= limit, "the outages were {outages:?}; the limit is {limit:?}");
    }
    Ok(())
}

async fn answered(probers: &[Prober], when: &'static str) -> Result<()> {
    let all = probers.iter().map(|prober| prober.answered(50, Duration::from_secs(30)));
    futures::future::try_join_all(all).await.context(when).map(drop)
}

fn is_move(call: &Value) -> bool {
    MOVES.iter().any(|action| call["action"] == *action) && call["status"] == 200
}

/// Fails if a table has a route to one of `vips`, or a node has an address or a rule for it.
fn left_nothing(rig: &Rig, vips: &[&str]) -> Result<()> {
    let status = rig.status()?;
    let is_left = |text: &str| vips.iter().any(|vip| text.contains(vip));
    let routes: Vec<_> = status.routes.iter().filter(|route| is_left(&route.destination)).collect();
    ensure!(routes.is_empty(), "routes are left: {routes:?}");
    for node in nodes(rig)? {
        for place in [&["ip", "address", "show"][..], &["nft", "list", "ruleset"]] {
            let there = rig.inside(&node, place)?;
            ensure!(!is_left(&there), "left on {node}: {there}");
        }
    }
    Ok(())
}

/// For each virtual IP, the one instance that all of its routes lead to.
fn owners(rig: &Rig) -> Result<Vec<String>> {
    owners_of(rig, &VIPS)
}

fn owners_of(rig: &Rig, vips: &[&str]) -> Result<Vec<String>> {
    let routes = rig.status()?.routes;
    let owner = |vip: &&str| {
        let own = routes.iter().filter(|route| route.destination == format!("{vip}/32"));
        let to: BTreeSet<_> = own.map(|route| route.instance.clone()).collect();
        let [Some(owner)] = &to.into_iter().collect::<Vec<_>>()[..] else {
            anyhow::bail!("the routes of {vip} don't all lead to one instance: {routes:?}");
        };
        Ok(owner.clone())
    };
    vips.iter().map(owner).collect()
}

/// The running instances, by slot.
fn nodes(rig: &Rig) -> Result<Vec<String>> {
    let mut nodes = rig.status()?.instances;
    nodes.retain(|node| node.lab == "up");
    nodes.sort_by_key(|node| node.slot.clone());
    Ok(nodes.into_iter().map(|node| node.id).collect())
}

/// Two subnets each in two zones, and the clients' subnet in the third.
fn five_subnets(rig: &Rig) -> Result<Vec<String>> {
    let vpc = rig.status()?.vpc;
    let query = "Subnets[?Tags[?Key=='Name'&&Value!='shared']].SubnetId";
    let filter = format!("Name=vpc-id,Values={vpc}");
    let mut subnets = strings(&rig.aws(["ec2", "describe-subnets", "--filters", &filter, "--query", query])?)?;
    for (cidr, zone) in [("10.0.11.0/24", "eu-west-1a"), ("10.0.12.0/24", "eu-west-1b")] {
        let made =
            ["--vpc-id", &vpc, "--cidr-block", cidr, "--availability-zone", zone, "--query", "[Subnet.SubnetId]"];
        subnets.extend(strings(&rig.aws([&["ec2", "create-subnet"][..], &made].concat())?)?);
    }
    ensure!(subnets.len() == 5, "{subnets:?} are not five");
    Ok(subnets)
}

/// All nodes reload HAProxy, one after another, under connections like WebSockets. Returns the new file.
async fn web_sockets_survive_an_update(rig: &Rig, file: &Path) -> Result<PathBuf> {
    let crowd = rig.crowd_of("10.255.0.10:80", vec![Kind::Idle { connections: 20 }])?;
    crowd.ready(BOOT).await?;
    let another = "\n[[listener]]\nname = \"new\"\nport = 8090\nprotocol = \"http\"\nrespond = { status = 200 }\n";
    let changed = rig.file("changed.toml", &(std::fs::read_to_string(file)? + another))?;
    let began = Instant::now();
    printed(&rig.launcher(["update".as_ref(), changed.as_os_str()])?)?;
    let took = began.elapsed();
    let report = crowd.finish()?;
    ensure!(report.connections == 20 && report.lost.is_empty(), "of {}: {:?}", report.connections, report.lost);
    rig.figure("five nodes: an update under 20 WebSockets, none lost", format!("{took:.1?}"))?;
    Ok(changed)
}

fn strings(list: &Value) -> Result<Vec<String>> {
    serde_json::from_value(list.clone()).with_context(|| format!("{list} isn't a list of ids"))
}

fn file(rig: &Rig, subnets: &[String], vips: &[&str]) -> Result<PathBuf> {
    let set = |line: &str| match line.split_once('=').map(|(key, _)| key.trim()) {
        Some("subnets") => format!("subnets = {subnets:?}\n"),
        Some("virtual_ips") => format!("virtual_ips = {vips:?}\n"),
        _ => format!("{line}\n"),
    };
    rig.balancer(|text| text.lines().map(set).collect())
}
