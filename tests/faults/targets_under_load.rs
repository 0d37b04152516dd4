//! Targets are killed, drained, lose their weight, are removed and return, under 500 requests/s on kept connections. Two
//! groups have the same targets; one of them sends failed requests again. A third one closes the connections of removed
//! targets.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use lab::clients::{Crowd, Kind};
use lab::network::namespace;
use lab::rig::{printed, wait_for};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::stage::{BOOT, Stage, play};

/// Name, machine of the lab, and address of each target.
const TARGETS: [(&str, &str, Ipv4Addr, u16); 4] = [
    ("a", "target-a", Ipv4Addr::new(10, 0, 1, 20), 8001),
    ("b", "target-b", Ipv4Addr::new(10, 0, 2, 20), 8001),
    ("c", "target-b", Ipv4Addr::new(10, 0, 2, 20), 8002),
    // Only of the group that closes connections: the kernel can't tell those of two groups to one target.
    ("d", "target-b", Ipv4Addr::new(10, 0, 2, 20), 8003),
];
const ALL: &str = "\"10.0.1.20:8001\", \"10.0.2.20:8001\", \"10.0.2.20:8002\"";
const D: &str = "\"10.0.2.20:8003\"";
const WITHOUT_D: &str = "\"10.0.1.20:8001\"";
const B_WITHOUT_WEIGHT: &str = "\"10.0.1.20:8001\", { address = \"10.0.2.20:8001\", weight = 0 }, \"10.0.2.20:8002\"";
const WITHOUT_C: &str = "\"10.0.1.20:8001\", { address = \"10.0.2.20:8001\", weight = 0 }";

/// The listeners: a failed request fails; it goes to another target; a fifth of the clients gets the green group;
/// connections of a removed target are closed.
const PLAIN: u16 = 8011;
const AGAIN: u16 = 8012;
const SPLIT: u16 = 8013;
const CLOSED: u16 = 8014;

/// Sends a command to HAProxy's admin socket, and prints the answer. The image has no socat.
const ADMIN: &str = r#"
import socket, sys
admin = socket.socket(socket.AF_UNIX)
admin.connect("/run/haproxy/admin.sock")
admin.sendall(sys.argv[1].encode() + b"\n")
print(admin.recv(1000).decode())
"#;

/// Connections to each of two listeners, each with 10 requests/s.
const CONNECTIONS: usize = 25;
/// All connections start at once: after this time their requests no longer do.
const SPREAD: Duration = Duration::from_secs(2);
/// Upgraded connections, like WebSockets, to the target `d`.
const UPGRADED: usize = 5;
/// From a target's end to the last error that it causes at a client: what was in flight fails at once.
const IN_FLIGHT: Duration = Duration::from_secs(1);
/// All targets are up again: a group that fails open doesn't wait for health checks.
const BACK: Duration = Duration::from_secs(4);

#[test]
fn targets_fail_are_drained_and_removed_under_500_requests_a_second() -> Result<()> {
    play(|stage| {
        let mut fleet = Fleet::start()?;
        update(stage, ALL, D)?;
        split(stage)?;
        serve(stage, &["a", "b", "c"])?;
        let began = Instant::now();
        let crowds = [crowd(stage, &fleet, PLAIN)?, crowd(stage, &fleet, AGAIN)?];
        let [plain, again] = &crowds;
        let upgraded = stage.rig.crowd_of(&address(CLOSED), vec![Kind::Idle { connections: UPGRADED }])?;
        fleet.runtime.block_on(upgraded.ready(BOOT))?;
        probed(stage)?;

        let before = killed(stage, &mut fleet, plain, again)?;
        fleet.run("a")?;
        serve(stage, &["a", "b", "c"])?;
        set(stage, "a", "drain")?;
        serve(stage, &["b", "c"])?;
        set(stage, "a", "ready")?;
        serve(stage, &["a", "b", "c"])?;
        update(stage, B_WITHOUT_WEIGHT, D)?;
        serve(stage, &["a", "c"])?;
        let lost = upgraded.report().lost;
        ensure!(lost.is_empty(), "connections to a target that stays were lost: {lost:?}");
        update(stage, WITHOUT_C, WITHOUT_D)?;
        serve(stage, &["a"])?;
        fleet.runtime.block_on(upgraded.lost(UPGRADED, BOOT))?;
        upgraded.finish()?;
        update(stage, ALL, D)?;
        serve(stage, &["a", "b", "c"])?;
        let took = began.elapsed();
        let [plain, again] = crowds.map(Crowd::finish);
        let (plain, again) = (plain?, again?);
        let rate = (plain.requests + again.requests) as f64 / took.as_secs_f64();
        let failed = plain.failed.len() - before;
        stage.rig.figure(
            "a target drained, one without weight, one removed, and all back: failed requests",
            format!("{failed} and {} of {rate:.0} requests/s", again.failed.len()),
        )?;
        // A fifth of what the clients send on an idle machine.
        ensure!(rate > 100.0, "only {rate:.0} requests/s");
        ensure!(failed == 0 && again.failed.is_empty(), "{:?}, {:?}", &plain.failed[before..], again.failed);

        all_down_and_back(stage, &mut fleet)?;
        // Other tests on this stage expect the first revision.
        let file = stage.rig.balancer(|example| example)?;
        printed(&stage.rig.launcher([OsStr::new("update"), file.as_os_str()])?).map(drop)
    })
}

/// Only requests that were in flight to a killed target fail, and none where they are sent again. Returns their number.
fn killed(stage: &Stage, fleet: &mut Fleet, plain: &Crowd, again: &Crowd) -> Result<usize> {
    std::thread::sleep(SPREAD);
    let at = Instant::now();
    fleet.kill("a");
    // Longer than three health checks.
    std::thread::sleep(Duration::from_secs(3));
    let (plain, again) = (plain.report(), again.report());
    let figure = format!("{}, and {} if sent again", plain.failed.len(), again.failed.len());
    stage.rig.figure("a killed target of three, 250 requests/s: failed requests", figure)?;
    let late: Vec<_> = plain.failed.iter().filter(|failure| failure.at > at + IN_FLIGHT).collect();
    ensure!(late.is_empty(), "requests failed that were sent after the target's end: {late:?}");
    // Four of five connections wait for an answer at any time, a third of them from this target.
    ensure!(plain.failed.len() <= CONNECTIONS, "failed: {:?}", plain.failed);
    ensure!(again.failed.is_empty(), "requests failed though they are sent again: {:?}", again.failed);
    Ok(plain.failed.len())
}

/// While no target answers, HAProxy does, with 503.
fn all_down_and_back(stage: &Stage, fleet: &mut Fleet) -> Result<()> {
    let prober = stage.rig.prober_of(&address(PLAIN), 20)?;
    fleet.runtime.block_on(prober.answered(25, BOOT))?;
    TARGETS.iter().for_each(|(name, ..)| fleet.kill(name));
    let down = prober.notes().len();
    // Longer than three health checks, so that HAProxy finds all unhealthy.
    std::thread::sleep(Duration::from_secs(3));
    let notes = prober.notes();
    let last: Vec<_> = notes[down..].iter().rev().take(50).map(|probe| &probe.outcome).collect();
    let is_503 = |outcome: &&Result<String, String>| outcome.as_ref().is_err_and(|why| why.contains("503"));
    ensure!(last.len() == 50 && last.iter().all(is_503), "without a target HAProxy answers {last:?}");
    let up = Instant::now();
    for (name, ..) in TARGETS {
        fleet.run(name)?;
    }
    fleet.runtime.block_on(prober.answered(25, BOOT))?;
    stage.rig.figure("all targets down and up again: 25 answers after", format!("{:.1?}", up.elapsed()))?;
    ensure!(up.elapsed() < BACK, "service took {:.1?}", up.elapsed());
    prober.finish().map(drop)
}

/// A fifth of the requests goes to the green group, and those with a header all do.
fn split(stage: &Stage) -> Result<()> {
    let seen = seen(stage, SPLIT, 300)?;
    let (green, all) = (seen.get("c").copied().unwrap_or_default() as f64, seen.values().sum::<usize>() as f64);
    // Five standard deviations, so that chance fails one run in a million.
    ensure!((green - all * 0.2).abs() < 5.0 * (all * 0.2 * 0.8).sqrt(), "green got {green} of {all}");
    for _ in 0..5 {
        let url = format!("http://{}/", address(SPLIT));
        let said =
            stage.rig.lab(["client", "curl", "--silent", "--max-time", "2", "--header", "X-Canary: yes", &url])?;
        ensure!(said.trim() == "c", "a request with the header went to {said:?}");
    }
    Ok(())
}

/// Waits until exactly these targets answer.
fn serve(stage: &Stage, names: &[&str]) -> Result<()> {
    wait_for(&format!("{names:?} to serve"), BOOT, || {
        let seen = seen(stage, PLAIN, 30)?;
        ensure!(seen.keys().eq(names), "these answer: {seen:?}");
        Ok(())
    })
}

/// The targets that answer at least so many requests, and how many each answers.
fn seen(stage: &Stage, port: u16, requests: usize) -> Result<BTreeMap<String, usize>> {
    let prober = stage.rig.prober_of(&address(port), 5)?;
    wait_for(&format!("{requests} answers"), BOOT, || {
        let number = prober.notes().len();
        ensure!(number >= requests, "there are {number}");
        Ok(())
    })?;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for probe in prober.finish()? {
        *seen.entry(probe.outcome.map_err(|why| anyhow!(why))?).or_default() += 1;
    }
    Ok(seen)
}

fn target_of(name: &str) -> Result<(&'static str, &'static str, Ipv4Addr, u16)> {
    let target = TARGETS.into_iter().find(|(other, ..)| *other == name);
    target.with_context(|| format!("{name}: no such target"))
}

fn address(port: u16) -> String {
    format!("10.255.0.10:{port}")
}

/// 250 requests/s at this port.
fn crowd(stage: &Stage, fleet: &Fleet, port: u16) -> Result<Crowd> {
    let pause = Duration::from_millis(20);
    let kind = Kind::KeepAlive { connections: CONNECTIONS, pause, path: "/slow?ms=80" };
    let crowd = stage.rig.crowd_of(&address(port), vec![kind])?;
    fleet.runtime.block_on(crowd.ready(BOOT))?;
    Ok(crowd)
}

/// The kernel probes both sides of the upgraded connections after 120 s; its own default is two hours.
fn probed(stage: &Stage) -> Result<()> {
    let (active, _) = stage.pair()?;
    let ends = format!("( sport = :{CLOSED} or dport = :8003 )");
    let list = ["ss", "--no-header", "--tcp", "--numeric", "--options", "state", "established", &ends];
    let sockets = stage.rig.inside(&active, &list)?;
    let probed =
        sockets.lines().filter(|socket| socket.contains("keepalive,1min") || socket.contains("keepalive,2min"));
    ensure!(probed.count() >= 2 * UPGRADED, "connections without the kernel's probes: {sockets}");
    Ok(())
}

/// Sets the state of a target, as docs/operating.md says.
fn set(stage: &Stage, target: &str, state: &str) -> Result<()> {
    let (active, standby) = stage.pair()?;
    let (_, _, ip, port) = target_of(target)?;
    for (node, group) in [(&active, "plain"), (&active, "again"), (&standby, "plain"), (&standby, "again")] {
        let command = format!("set server {group}/{ip}:{port} state {state}");
        let said = stage.rig.inside(node, &["python3", "-c", ADMIN, &command])?;
        ensure!(said.trim().is_empty(), "{command}: {said}");
    }
    Ok(())
}

/// Updates the balancer `web` to one with these targets, beside its own.
fn update(stage: &Stage, targets: &str, closed: &str) -> Result<()> {
    let group = |name: &str, targets: &str| {
        let check = "health_check = { path = \"/healthz\", interval = \"500ms\" }";
        format!("\n[[target_group]]\nname = \"{name}\"\nprotocol = \"http\"\ntargets = [{targets}]\n{check}\n")
    };
    let listener = |name: &str, port: u16, forward: &str| {
        format!("\n[[listener]]\nname = \"{name}\"\nport = {port}\nprotocol = \"http\"\nforward = {forward}\n")
    };
    let parts = [
        listener("closed", CLOSED, "\"closed\""),
        listener("plain", PLAIN, "\"plain\""),
        listener("again", AGAIN, "\"again\""),
        listener("split", SPLIT, "{ blue = 80, green = 20 }"),
        "\n[[listener.rule]]\nif = { header = { X-Canary = [\"yes\"] } }\nforward = \"green\"\n".to_owned(),
        group("closed", closed) + "close_when_deregistered = true\nderegistration_delay = \"1s\"\n",
        group("plain", targets),
        group("again", targets) + "retry = true\n",
        group("blue", "\"10.0.1.20:8001\", \"10.0.2.20:8001\""),
        group("green", "\"10.0.2.20:8002\""),
    ];
    let file = stage.rig.balancer(|example| example + &parts.concat())?;
    printed(&stage.rig.launcher([OsStr::new("update"), file.as_os_str()])?).map(drop)
}

/// Running targets by their names. A target ends, with its connections, when its task does.
struct Fleet {
    runtime: Runtime,
    running: BTreeMap<&'static str, JoinHandle<()>>,
}

impl Fleet {
    fn start() -> Result<Fleet> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut fleet = Fleet { runtime, running: BTreeMap::new() };
        for (name, ..) in TARGETS {
            fleet.run(name)?;
        }
        Ok(fleet)
    }

    fn run(&mut self, name: &str) -> Result<()> {
        let (name, machine, address, port) = target_of(name)?;
        let listener = namespace::bind_tcp(&namespace::behind(machine), SocketAddr::from((address, port)))?;
        let served = self.runtime.spawn(async move { drop(lab::targets::serve(listener, name).await) });
        self.running.insert(name, served);
        Ok(())
    }

    fn kill(&mut self, name: &str) {
        if let Some(served) = self.running.remove(name) {
            served.abort();
            // Its socket is closed once it has ended.
            let _ = self.runtime.block_on(served);
        }
    }
}
