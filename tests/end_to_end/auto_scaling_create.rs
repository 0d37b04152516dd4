//! `launch = "auto-scaling"`: the launcher's group replaces lost nodes, and a node that it terminates hands over first.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::clients::Kind;
use lab::observations::text;
use lab::prober::{Prober, longest_outage};
use lab::rig::{Rig, printed, wait_for};
use serde_json::Value;

const BOOT: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(20);
const GROUP: &str = "launch = \"auto-scaling\"\n";

#[tokio::test]
async fn a_group_heals_itself_and_the_virtual_ip_moves_once_for_each_node_that_ends() -> Result<()> {
    let rig = Rig::up()?;
    let file = rig.balancer(|text| format!("{GROUP}{text}"))?;
    rig.create(&file)?;
    let nodes = rig.serving_nodes(2, BOOT)?;
    ensure!(nodes[0].zone != nodes[1].zone, "nodes: {nodes:?}");

    lost(&rig).await?;
    in_one_zone(&rig, &file)?;
    ended_by_the_group(&rig).await?;

    ensure!(rig.launcher(["status", "web"])?.status.success(), "status of the full pair exits with an error");
    rig.destroy("web")?;
    let left = rig.status()?;
    ensure!(left.instances.is_empty(), "{left:?}");
    ensure!(left.routes.iter().all(|route| route.destination != "10.255.0.10/32"), "{left:?}");
    Ok(())
}

/// The group terminates the active node: it hands over, and completes the hook when its last connection has ended. Its
/// replacement boots in its subnet and has its slot.
async fn ended_by_the_group(rig: &Rig) -> Result<()> {
    let leaving = rig.active()?;
    let prober = begin(rig).await?;
    let open = rig.crowd(vec![Kind::Idle { connections: 1 }])?;
    open.ready(SOON).await?;
    let since = Instant::now();
    let end = ["autoscaling", "terminate-instance-in-auto-scaling-group", "--no-should-decrement-desired-capacity"];
    rig.aws(end.into_iter().chain(["--instance-id", &leaving]))?;
    wait_for("a third node", BOOT, || {
        ensure!(slots(rig)?.len() == 3, "slots: {:?}", slots(rig)?);
        Ok(())
    })?;
    let report = tokio::task::spawn_blocking(|| open.finish()).await??;
    ensure!(report.lost.is_empty(), "{:?}", report.lost);
    let closed = Instant::now();
    let done = wait_for("the node to complete the hook", SOON, || {
        let calls = rig.calls()?;
        let done = calls.iter().find(|call| {
            call["action"] == "CompleteLifecycleAction" && call["request"]["LifecycleHookName"] == "handover"
        });
        done.cloned().context("no CompleteLifecycleAction call")
    })?;
    rig.figure("Auto Scaling ends the active node: to the hook's completion", format!("{:.1?}", since.elapsed()))?;
    ensure!(done["caller"] == leaving.as_str() && done["status"] == 200, "the call is {done}");
    let healed = replaced(rig, &leaving, since, "Auto Scaling ends the active node: to a full pair")?;
    wait_for("a healthy balancer with a node in each slot", SOON, || {
        ensure!(slots(rig)? == ["0", "1"], "slots: {:?}", slots(rig)?);
        printed(&rig.launcher(["status", "web"])?)
    })?;
    rig.figure("Auto Scaling, last connection closed: to a node in each slot, and all well", {
        format!("{:.1?}", closed.elapsed())
    })?;
    prober.answered(50, SOON).await.context("after the node was replaced")?;
    let notes = prober.finish()?;
    let failed = notes.iter().filter(|note| note.outcome.is_err()).count();
    rig.figure("Auto Scaling ends the active node: failed requests", format!("{failed} of {}", notes.len()))?;
    ensure!(failed == 0, "{failed} of {} requests failed", notes.len());
    let owner = moved_once(rig)?;
    let first = rig.calls()?.into_iter().find(is_move).context("no call moved a route")?;
    ensure!(owner != leaving && healed != owner, "owner: {owner}, new: {healed}, terminated: {leaving}");
    ensure!(first["time"].as_str() < done["time"].as_str(), "the hook was completed before the routes moved");
    Ok(())
}

/// The active node is terminated without notice: the survivor takes over, and the group launches another node.
async fn lost(rig: &Rig) -> Result<()> {
    let lost = rig.active()?;
    let prober = begin(rig).await?;
    let since = Instant::now();
    rig.aws(["ec2", "terminate-instances", "--instance-ids", &lost])?;
    // Answers within this time may belong to requests from before the termination.
    tokio::time::sleep(Duration::from_millis(100)).await;
    prober.answered(50, SOON).await.context("after the active node was terminated")?;
    let outage = longest_outage(&prober.finish()?).context("there were two answers")?.length();
    let newcomer = replaced(rig, &lost, since, "Auto Scaling, active node terminated: to a full pair (bar: 20 s)")?;
    let full = since.elapsed();
    // 1.5 times the bar: other work may share the machine.
    ensure!(full <= Duration::from_secs(30), "the pair was full again after {full:.1?}");
    let owner = moved_once(rig)?;
    rig.figure("Auto Scaling, active node terminated: outage", format!("{outage:.2?}"))?;
    ensure!(outage <= Duration::from_millis(1500), "clients weren't served for {outage:?}");
    ensure!(owner != newcomer, "the virtual IP went to the newcomer {newcomer}");
    Ok(())
}

/// The group puts both nodes into one subnet: they share a slot, and can hand over to and take over from each other.
fn in_one_zone(rig: &Rig, file: &Path) -> Result<()> {
    let group = "--auto-scaling-group-name=elbow-web";
    let active = rig.active()?;
    let query = "Reservations[0].Instances[0].SubnetId";
    let subnet = text(&rig.aws(["ec2", "describe-instances", "--instance-ids", &active, "--query", query])?)?;
    rig.aws(["autoscaling", "update-auto-scaling-group", group, "--vpc-zone-identifier", &subnet])?;
    let other = |than: &str| {
        wait_for("two nodes in one zone", BOOT, || {
            let nodes = rig.serving_nodes(2, BOOT)?;
            ensure!(nodes[0].zone == nodes[1].zone && nodes[0].slot == nodes[1].slot, "nodes: {nodes:?}");
            nodes.into_iter().find(|node| node.id != than).map(|node| node.id).context("no other node")
        })
    };
    let standby = rig.serving_nodes(2, BOOT)?.into_iter().find(|node| node.id != active).context("no standby")?;
    rig.aws(["ec2", "terminate-instances", "--instance-ids", &standby.id])?;
    let second = other(&active)?;
    ensure!(rig.active()? == active, "the virtual IP went to the newcomer");
    printed(&rig.launcher(["handover", "web", "--to", &second])?)?;
    ensure!(rig.active()? == second, "{second} isn't active");
    rig.aws(["ec2", "terminate-instances", "--instance-ids", &second])?;
    other(&active)?;
    ensure!(rig.active()? == active, "the remaining node isn't active");
    let said = rig.launcher(["status", "web"])?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.contains("all nodes are in") && !said.contains("slot"), "status says {said}");

    // After `create`, the group launches the next replacement in the other zone.
    rig.create(file)?;
    let standby = other(&active)?;
    let end = ["autoscaling", "terminate-instance-in-auto-scaling-group", "--no-should-decrement-desired-capacity"];
    rig.aws(end.into_iter().chain(["--instance-id", &standby]))?;
    wait_for("a node in each zone", BOOT, || {
        let nodes = rig.serving_nodes(2, BOOT)?;
        ensure!(nodes[0].zone != nodes[1].zone, "nodes: {nodes:?}");
        printed(&rig.launcher(["status", "web"])?).map(drop)
    })
}

async fn begin(rig: &Rig) -> Result<Prober> {
    let prober = rig.prober(10)?;
    prober.answered(50, SOON).await.context("before the fault")?;
    rig.lab(["calls", "--clear"])?;
    Ok(prober)
}

/// Waits until the pair is full without `gone`; returns the new node.
fn replaced(rig: &Rig, gone: &str, since: Instant, figure: &str) -> Result<String> {
    let survivor = wait_for("another node to be active", SOON, || {
        rig.active().and_then(|active| (active != gone).then_some(active).context("the old node is active"))
    })?;
    let nodes = wait_for("the pair to be full again", BOOT, || {
        let nodes = rig.serving_nodes(2, BOOT)?;
        ensure!(nodes.iter().all(|node| node.id != gone), "{gone} is still there: {nodes:?}");
        Ok(nodes)
    })?;
    rig.figure(figure, format!("{:.1?}", since.elapsed()))?;
    ensure!(nodes[0].slot != nodes[1].slot && nodes[0].zone != nodes[1].zone, "nodes: {nodes:?}");
    let newcomer = nodes.iter().find(|node| node.id != survivor).context("no new node")?;
    Ok(newcomer.id.clone())
}

/// The slots that nodes report.
fn slots(rig: &Rig) -> Result<Vec<String>> {
    let mut slots: Vec<String> = rig.status()?.instances.into_iter().filter_map(|node| node.slot).collect();
    slots.sort();
    Ok(slots)
}

fn is_move(call: &Value) -> bool {
    (call["action"] == "ReplaceRoute" || call["action"] == "CreateRoute") && call["status"] == 200
}

/// The owner of the virtual IP; fails unless it alone changed each table's route, once.
fn moved_once(rig: &Rig) -> Result<String> {
    let calls = rig.calls()?;
    let moves: Vec<&Value> = calls.iter().filter(|call| is_move(call)).collect();
    let owner = rig.active()?;
    let tables = rig.status()?.routes.iter().filter(|route| route.destination == "10.255.0.10/32").count();
    ensure!(moves.len() == tables, "{} changes of {tables} routes: {moves:?}", moves.len());
    ensure!(moves.iter().all(|call| call["caller"] == owner.as_str()), "not only {owner} changed routes: {moves:?}");
    Ok(owner)
}
