//! Updates of a group by an instance refresh: one replaces both nodes under load; another is rolled back, as the new
//! nodes can't run their revision.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use jiff::Timestamp;
use lab::daemon::addresses::{CLIENT, CLIENT_ADDRESS};
use lab::network::namespace;
use lab::rig::{Rig, printed, programs, wait_for};
use lab::serving::{Door, answer, text};
use lab::tls::Authority;
use serde_json::Value;

use crate::load::Load;

const BOOT: Duration = Duration::from_secs(120);
const DRAIN: &str = "\n[failover]\ndrain_timeout = \"4s\"\n";
const GROUP: &str = "launch = \"auto-scaling\"\n";
const PORT: u16 = 8444;
/// The AWS host name of the client's address; the VPC's resolver knows it.
const HOST: &str = "ip-10-0-3-10.eu-west-1.compute.internal";

#[tokio::test]
async fn a_group_replaces_its_nodes_under_load_and_no_request_fails() -> Result<()> {
    let rig = Rig::up()?;
    let grouped =
        |change: (&str, &str)| rig.balancer(|text| format!("{GROUP}{}{DRAIN}", text.replace(change.0, change.1)));
    rig.create(&grouped(("", ""))?)?;
    let before = ids(&rig)?;
    let load = Load { keep_alive: 10, pause: Duration::from_millis(20), idle: 1, downloads: 1, ..Load::default() };
    let crowd = load.begin(&rig, Duration::from_secs(10)).await?;
    rig.lab(["calls", "--clear"])?;
    let began = Instant::now();
    let larger = grouped(("t3.small", "t3.large"))?;
    ensure!(printed(&rig.launcher(["update".as_ref(), larger.as_os_str()])?)?.contains("is updated"), "the update");
    rig.figure("a group replaces both nodes under 200 requests/s", format!("{:.1?}", began.elapsed()))?;
    let (calls, drained) = (rig.calls()?, completed(&rig, "handover")?);
    ensure!(drained.len() == 2, "completed hooks: {drained:?}");
    let report = tokio::task::spawn_blocking(|| crowd.finish()).await??;
    let first = drained[0];
    let early = report.lost.iter().filter(|loss| loss.at < first).count();
    rig.figure(
        "a group's refresh under load: requests, failed, connections, lost, of those before a node was done",
        {
            let (failed, lost) = (report.failed.len(), report.lost.len());
            format!("{}, {failed}, {}, {lost}, {early}", report.requests, report.connections)
        },
    )?;
    ensure!(report.failed.is_empty() && early == 0, "failed {:?}, lost {:?}", report.failed, report.lost);
    let short = report.lost.iter().filter(|loss| loss.kind == "keep-alive").count();
    ensure!(short == 0 && report.lost.iter().any(|loss| loss.kind == "idle"), "lost {:?}", report.lost);

    let tables = rig.status()?.routes.iter().filter(|route| route.destination == "10.255.0.10/32").count();
    let moves = calls.iter().filter(|call| call["action"] == "ReplaceRoute" && call["status"] == 200).count();
    rig.figure("a group's refresh under load: moves of the virtual IP", format!("{}", moves as f64 / tables as f64))?;
    let after = rig.serving_nodes(2, BOOT)?;
    ensure!(after.iter().all(|node| !before.contains(&node.id)), "{before:?} are still there: {after:?}");
    let slots: BTreeSet<_> = after.iter().filter_map(|node| node.slot.as_deref()).collect();
    ensure!(slots == BTreeSet::from(["0", "1"]), "the slots changed: {after:?}");
    ensure!(calls.iter().all(|call| call["action"] != "RunInstances"), "the launcher launched a node");
    printed(&rig.launcher(["status", "web"])?)?;
    rig.destroy("web").map(drop)
}

/// The new nodes lack the user that haproxy.cfg names: HAProxy refuses it, which the launcher's preflight can't find.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_is_rolled_back_if_new_nodes_cannot_run_their_revision() -> Result<()> {
    let rig = Rig::up()?;
    let made = || rig.balancer_by_url(|text| format!("{GROUP}{text}{DRAIN}"));
    rig.create(&made()?)?;
    let (before, active) = (ids(&rig)?, rig.active()?);
    let prober = rig.prober(20)?;
    let open = Arc::new(AtomicBool::new(false));
    let download = serve_agent(&rig, open.clone())?;
    let moved = rig.balancer_by_url(|text| {
        let line = text.lines().find(|line| line.starts_with("source ")).unwrap_or_default().to_owned();
        format!("{GROUP}{}{DRAIN}", text.replace(&line, &format!("source = \"https://{HOST}:{PORT}/agent\"")))
    })?;
    let began = Instant::now();
    let output = std::thread::scope(|scope| {
        let updating = scope.spawn(|| rig.launcher(["update".as_ref(), moved.as_os_str()]));
        let broken = wait_for("both new nodes to boot", BOOT, || {
            let there = rig.status()?.instances.into_iter().map(|node| node.id);
            let new: Vec<String> = there.filter(|id| !before.contains(id)).collect();
            ensure!(new.len() == 2, "new nodes: {new:?}");
            new.iter().try_for_each(|id| rig.inside(id, &["sed", "-i", "s/^haproxy:/gone:/", "/etc/passwd"]).map(drop))
        });
        open.store(true, Ordering::Relaxed);
        let output = updating.join().expect("update doesn't panic")?;
        broken.with_context(|| format!("update printed {}", String::from_utf8_lossy(&output.stderr)))?;
        anyhow::Ok(output)
    })?;
    download.abort();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "update ended with {}: {said}", output.status);
    for part in ["refuses revision", "/etc/haproxy/haproxy.cfg", "web still runs revision"] {
        ensure!(said.contains(part), "{part:?} isn't in: {said}");
    }
    rig.figure("a refused refresh: to the end of its rollback", format!("{:.1?}", began.elapsed()))?;
    ensure!(ids(&rig)? == before && rig.active()? == active, "the nodes changed, or the virtual IP has moved");
    let report = prober.finish()?;
    let failed: Vec<_> = report.iter().filter(|probe| probe.outcome.is_err()).collect();
    ensure!(failed.is_empty(), "requests failed: {failed:?}");
    printed(&rig.launcher(["status", "web"])?)?;
    let again = printed(&rig.launcher(["update".as_ref(), made()?.as_os_str()])?)?;
    ensure!(again.contains("nothing changes"), "the file that it had: {again}");
    rig.destroy("web").map(drop)
}

/// Serves the agent program from the client's address once `open` is set; until then the nodes retry.
fn serve_agent(rig: &Rig, open: Arc<AtomicBool>) -> Result<tokio::task::JoinHandle<()>> {
    let agent = std::fs::read(programs()?.join("agent")).context("reading the agent")?;
    let config = Authority::open(&rig.dir().ca())?.server([HOST])?;
    let listener = namespace::bind_tcp(&namespace::behind(CLIENT), SocketAddr::from((CLIENT_ADDRESS, PORT)))?;
    let door = Door::tls(listener, config).serve(move |_, _| {
        let found = open.load(Ordering::Relaxed).then(|| agent.clone());
        async move {
            Ok(match found {
                Some(agent) => answer(StatusCode::OK, "application/octet-stream", agent),
                None => text(StatusCode::SERVICE_UNAVAILABLE, "not yet"),
            })
        }
    });
    Ok(tokio::spawn(async move { drop(door.await) }))
}

/// The nodes' ids, sorted.
fn ids(rig: &Rig) -> Result<Vec<String>> {
    let mut ids: Vec<String> = rig.serving_nodes(2, BOOT)?.into_iter().map(|node| node.id).collect();
    ids.sort();
    Ok(ids)
}

/// The times at which nodes completed this hook, in order.
fn completed(rig: &Rig, hook: &str) -> Result<Vec<Instant>> {
    let is_it = |call: &&Value| {
        call["action"] == "CompleteLifecycleAction"
            && call["status"] == 200
            && call["request"]["LifecycleHookName"] == hook
    };
    let calls = rig.calls()?;
    let times = calls.iter().filter(is_it).map(|call| {
        let at: Timestamp = call["time"].as_str().context("a time")?.parse()?;
        Instant::now().checked_sub(at.duration_until(Timestamp::now()).unsigned_abs()).context("a time before")
    });
    times.collect()
}
