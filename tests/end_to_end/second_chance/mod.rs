//! The second chance: open connections survive a move of the routes, and are reset at once when their node dies.

mod guarded;
mod ports;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::clients::Kind;
use lab::observations::{group_of, interface_of, text};
use lab::rig::{Rig, wait_for};

use crate::handover::three;
use crate::load::{Load, judge};

const BOOT: Duration = Duration::from_secs(180);
const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_pair_loses_no_request_and_no_connection_in_ten_moves_of_its_routes() -> Result<()> {
    let rig = Rig::up()?;
    let nodes = raise(&rig, 2)?;
    ports::few(&rig)?;
    ports::one_is_used_again(&Turner::of(&rig, &nodes)?, &nodes).await?;
    guarded::ports_are_closed(&rig, &nodes)?;
    moves(&rig, &nodes, 10).await?;
    guarded::strays_are_limited(&rig, &nodes).await?;
    guarded::a_full_memory_costs_nothing(&rig, &nodes).await?;
    agents_die(&rig, &nodes).await?;
    the_tunnels_are_shut(&rig, &nodes).await?;
    rig.destroy("web").map(drop)
}

#[tokio::test]
async fn each_of_three_nodes_passes_packets_to_the_others() -> Result<()> {
    let rig = Rig::up()?;
    let nodes = raise(&rig, 3)?;
    ports::few(&rig)?;
    moves(&rig, &nodes, 12).await?;
    let turner = Turner::of(&rig, &nodes)?;
    rig.lab(["latency", "100"])?;
    for living in [3, 2] {
        passing(&rig, &ids(&rig, living)?, living)?;
        let resets = cut(&rig, &turner.back()?).await?;
        let (median, worst) = (resets[resets.len() / 2], resets[resets.len() - 1]);
        rig.figure(
            &format!("power cut, {living} nodes, 100 ms latency: open connections reset after, median and worst"),
            format!("{median:.2?}, {worst:.2?}"),
        )?;
        ensure!(worst <= Duration::from_millis(1500), "the last was reset after {worst:?}: {resets:.2?}");
    }
    rig.destroy("web").map(drop)
}

/// Creates a balancer; waits until each node passes packets to all others.
fn raise(rig: &Rig, nodes: usize) -> Result<Vec<String>> {
    let file = if nodes == 2 { rig.balancer(|text| text)? } else { three(rig)? };
    rig.create(&file)?;
    let ids = ids(rig, nodes)?;
    passing(rig, &ids, nodes)?;
    Ok(ids)
}

fn ids(rig: &Rig, nodes: usize) -> Result<Vec<String>> {
    Ok(rig.serving_nodes(nodes, BOOT)?.into_iter().map(|node| node.id).collect())
}

/// Waits until the kernel rules of each node of `ids` count `living` members, itself included.
fn passing(rig: &Rig, ids: &[String], living: usize) -> Result<()> {
    for id in ids {
        wait_for(&format!("{id} to count {living} living members"), BOOT, || {
            let rules = rig.inside(id, &["nft", "list", "table", "ip", "elbow"])?;
            let passed = rules.lines().filter(|line| line.contains("dup to")).count();
            // A rule for each tunnel but the ring's last, and one for packets that came through no tunnel.
            ensure!(passed == if living == 1 { 0 } else { living }, "the rules of {id} are {rules}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Turns the clients' route by hand: its table, and each node's interface.
struct Turner<'a> {
    rig: &'a Rig,
    table: String,
    cards: BTreeMap<String, String>,
}

impl<'a> Turner<'a> {
    fn of(rig: &'a Rig, nodes: &[String]) -> Result<Turner<'a>> {
        let main = "RouteTables[?Associations[?Main]].RouteTableId | [0]";
        let vpc = format!("Name=vpc-id,Values={}", rig.status()?.vpc);
        let table = text(&rig.aws(["ec2", "describe-route-tables", "--filters", &vpc, "--query", main])?)?;
        let card = |id: &String| Ok((id.clone(), interface_of(rig, id)?));
        Ok(Turner { rig, table, cards: nodes.iter().map(card).collect::<Result<_>>()? })
    }

    /// Turns the route back to the active node before that node does so itself; returns that node.
    fn back(&self) -> Result<String> {
        let mut nodes = self.rig.status()?.instances.into_iter().filter(|node| node.lab == "up");
        let active = nodes.find(|node| node.role.as_deref() == Some("active")).context("no node is active")?;
        self.turn(&active.id)?;
        Ok(active.id)
    }

    /// Turns the route, as a handover does, without waiting.
    fn turn(&self, to: &str) -> Result<()> {
        let card = &self.cards[to];
        let route = ["ec2", "replace-route", "--route-table-id", &self.table, "--network-interface-id", card];
        self.rig.aws(route.iter().chain(&["--destination-cidr-block", "10.255.0.10/32"])).map(drop)
    }
}

/// Moves the route under load from node to node, so that each node gets packets of each other node's connections.
async fn moves(rig: &Rig, nodes: &[String], count: usize) -> Result<()> {
    let turner = Turner::of(rig, nodes)?;
    let everybody = Load { keep_alive: 4, pause: Duration::from_millis(50), uploads: 10, idle: 2, downloads: 2 };
    let crowd = everybody.begin(rig, LIMIT).await?;
    for id in nodes.iter().cycle().take(count) {
        turner.turn(id)?;
    }
    judge(rig, crowd, &format!("{count} moves among {} nodes", nodes.len()))
}

/// The kernel passes packets and tracks living members: killed agents cost no connection.
async fn agents_die(rig: &Rig, nodes: &[String]) -> Result<()> {
    let turner = Turner::of(rig, nodes)?;
    let crowd = rig.crowd(vec![Kind::Upload { connections: 10, every: Duration::from_millis(100) }])?;
    crowd.ready(LIMIT).await?;
    for id in nodes.iter().cycle().take(4) {
        for node in nodes {
            let kill = ["systemctl", "kill", "--signal=KILL", "--kill-whom=main", "elbow-agent"];
            wait_for(&format!("an agent to kill on {node}"), LIMIT, || rig.inside(node, &kill))?;
        }
        turner.turn(id)?;
    }
    let report = crowd.finish()?;
    ensure!(report.lost.is_empty(), "{:?}", report.lost);
    ids(rig, nodes.len()).map(drop)
}

/// If the security group blocks the tunnels, clients are reset and don't hang. `create` restores the rule.
async fn the_tunnels_are_shut(rig: &Rig, nodes: &[String]) -> Result<()> {
    let group = group_of(rig, "web")?;
    let rule = format!("IpProtocol=udp,FromPort=4789,ToPort=4789,UserIdGroupPairs=[{{GroupId={group}}}]");
    rig.aws(["ec2", "revoke-security-group-ingress", "--group-id", &group, "--ip-permissions", &rule])?;
    passing(rig, nodes, 1)?;
    wait_for("status to name the blocked tunnels", BOOT, || {
        let status = rig.launcher(["status", "web"])?;
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        ensure!(text.contains("the tunnels to 10.0.") && text.contains("port 4789"), "status says {text}");
        Ok(())
    })?;
    let turner = Turner::of(rig, nodes)?;
    let active = turner.back()?;
    let other = nodes.iter().find(|id| **id != active).context("another node")?;
    let mut stream = ports::used_again(&turner, 9005..9009, other, &active).await?;
    let crowd = rig.crowd(vec![Kind::Upload { connections: 4, every: Duration::from_millis(100) }])?;
    crowd.ready(LIMIT).await?;
    let start = Instant::now();
    turner.turn(other)?;
    let error = ports::ask(&mut stream, "").await.expect_err("no node knows this connection");
    ensure!(format!("{error:#}").contains("reset"), "on a port with a connection in TIME_WAIT: {error:#}");
    let report = crowd.lost(4, LIMIT).await?;
    ensure!(report.lost_after(start)[3] < Duration::from_secs(5), "{:?}", report.lost_after(start));
    drop(crowd);
    let file = rig.balancer(|text| text)?;
    rig.create(&file)?;
    passing(rig, nodes, 2)
}

/// Cuts a node's power with open connections; returns the time until each was reset.
async fn cut(rig: &Rig, node: &str) -> Result<Vec<Duration>> {
    const OPEN: usize = 20;
    let crowd = rig.crowd(vec![Kind::Upload { connections: OPEN, every: Duration::from_millis(100) }])?;
    crowd.ready(LIMIT).await?;
    ensure!(rig.active()? == node, "{node} isn't active any more");
    let cut = Instant::now();
    rig.lab(["kill", node])?;
    let report = crowd.lost(OPEN, LIMIT).await?;
    for loss in &report.lost {
        ensure!(loss.why.contains("reset"), "{loss:?}");
    }
    Ok(report.lost_after(cut))
}
