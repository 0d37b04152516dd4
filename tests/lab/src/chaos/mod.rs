//! `lab chaos`: injects random faults in episodes and measures outages with a prober. The balancer must recover by
//! itself after each episode. The same seed gives the same plan.

mod fault;
mod plan;

use std::time::{Duration, Instant};

use anstream::println;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::prober::{self, Prober};
use crate::rig::wait_for;
use crate::stage::end_all_faults;
use fault::{End, Scene};
use plan::{Plan, Planned};

/// The time between requests, in milliseconds.
const EVERY: u64 = 20;
/// A longer gap between good answers is an outage.
const NOTICED: Duration = Duration::from_millis(300);
/// This many good answers in a row count as service.
const SERVICE: usize = 25;
/// How long a balancer may take to recover after an episode's last fault: enough for two boots.
const RECOVERY: Duration = Duration::from_secs(150);
/// More successful route changes per fault than this are a route war. Two takeovers of the lab's three tables, each
/// there and back, make 12.
const PEACE: usize = 12;
/// Nodes read their routes every 27 to 33 s, so a route war shows within two reads.
const CALM: Duration = Duration::from_secs(70);

/// The results of a run.
#[derive(Debug, Default)]
struct Tally {
    episodes: usize,
    outages: usize,
    worst: Duration,
    unrecovered: usize,
}

/// The number of the balancer's nodes.
const NODES: usize = 2;

/// Plays the plan of `seed` for `length` in a fresh lab. Fails if the balancer doesn't recover after an episode, or if
/// nodes change routes without a fault.
pub fn run(seed: u64, length: Duration) -> Result<()> {
    println!("chaos: seed {seed}, {} s of faults", length.as_secs());
    let scene = Scene::raise()?;
    let (began, mut tally) = (Instant::now(), Tally::default());
    for episode in Plan::of(seed) {
        if began.elapsed() >= length {
            break;
        }
        play(&scene, &episode, began, &mut tally)?;
    }
    let moves = calm(&scene)?;
    println!(
        "chaos: seed {seed}: {} episodes, {} outages, the longest {:.2} s, {} unrecovered, {moves} route changes in {} s \
         without faults",
        tally.episodes,
        tally.outages,
        tally.worst.as_secs_f64(),
        tally.unrecovered,
        CALM.as_secs()
    );
    ensure!(tally.unrecovered == 0, "the balancer did not recover after {} episodes", tally.unrecovered);
    ensure!(moves == 0, "the nodes changed routes {moves} times without a fault");
    Ok(())
}

/// Plays one episode: its faults, the recovery, and the outages.
fn play(scene: &Scene, episode: &[Planned], began: Instant, tally: &mut Tally) -> Result<()> {
    tally.episodes += 1;
    println!("episode {}", tally.episodes);
    scene.rig.lab(["calls", "--clear"])?;
    let clients = scene.rig.prober(EVERY)?;
    let (start, offset) = (Instant::now(), began.elapsed());
    let say = |what: &str| println!("{:8.1} s  {what}", (offset + start.elapsed()).as_secs_f64());
    faults(scene, episode, start, say);
    end_all_faults(&scene.rig)?;
    // If `launcher create` failed because of an API fault, run it again.
    if scene.nodes()?.len() < NODES {
        scene.rig.create(&scene.file)?;
        say("replaced a terminated node");
    }
    let ended = start.elapsed();
    let recovered = wait_for("the balancer to recover", RECOVERY, || {
        scene.is_well()?;
        served(&clients)
    });
    let probes = clients.finish()?;
    for outage in prober::outages(&probes, NOTICED) {
        let from = (offset + outage.from).as_secs_f64();
        println!("{from:8.1} s  no service for {:.2} s", outage.length().as_secs_f64());
        tally.outages += 1;
        tally.worst = tally.worst.max(outage.length());
    }
    let failed = probes.iter().filter(|probe| probe.outcome.is_err()).count();
    let (recovery, moves) = (start.elapsed() - ended, route_changes(scene)?);
    let verdict = recovered.and_then(|()| {
        ensure!(moves <= PEACE * episode.len(), "route war: {moves} route changes");
        Ok(())
    });
    match &verdict {
        Ok(()) => say(&format!(
            "recovered {:.1} s after the last fault; {failed} of {} requests failed, {moves} route changes",
            recovery.as_secs_f64(),
            probes.len()
        )),
        Err(error) => {
            tally.unrecovered += 1;
            say(&format!("NOT RECOVERED: {error:#}"));
            println!("{}", scene.rig.lab(["status"])?);
            // The next episode needs a healthy balancer.
            scene.nodes()?.iter().try_for_each(|node| scene.rig.lab(["reboot", node]).map(drop))?;
            wait_for("the balancer to recover after a reboot of its nodes", RECOVERY, || scene.is_well())?;
        }
    }
    Ok(())
}

/// Begins and ends each fault at its time. Prints and skips a fault that can't begin or end, for example because
/// another fault removed its node.
fn faults(scene: &Scene, episode: &[Planned], start: Instant, say: impl Fn(&str)) {
    let mut due: Vec<(Duration, &Planned, bool)> = Vec::new();
    for planned in episode {
        due.push((planned.begins, planned, true));
        due.push((planned.ends, planned, false));
    }
    due.sort_by_key(|(at, ..)| *at);
    let mut ends: Vec<(&Planned, End)> = Vec::new();
    for (at, planned, begins) in due {
        std::thread::sleep(at.saturating_sub(start.elapsed()));
        let fault = &planned.fault;
        if begins {
            match fault.begin(scene) {
                Ok((what, end)) => {
                    say(format!("began: {fault} {what}").trim_end());
                    ends.push((planned, end));
                }
                Err(error) => say(&format!("skipped: {fault}: {error:#}")),
            }
        } else if let Some(at) = ends.iter().position(|(one, _)| std::ptr::eq(*one, planned)) {
            match (ends.swap_remove(at).1)(scene) {
                Ok(()) => say(&format!("ended: {fault}")),
                Err(error) => say(&format!("could not end: {fault}: {error:#}")),
            }
        }
    }
}

/// Checks that the last [`SERVICE`] requests all succeeded.
fn served(clients: &Prober) -> Result<()> {
    let mut probes = clients.notes();
    probes.sort_by_key(|probe| probe.sent);
    let good = probes.iter().rev().take_while(|probe| probe.outcome.is_ok()).count();
    ensure!(
        good >= SERVICE,
        "only {good} good answers in a row, last outcome {:?}",
        probes.last().map(|one| &one.outcome)
    );
    Ok(())
}

/// Counts the nodes' route changes during a time without faults.
fn calm(scene: &Scene) -> Result<usize> {
    scene.rig.lab(["calls", "--clear"])?;
    std::thread::sleep(CALM);
    scene.is_well().context("after a time without faults")?;
    route_changes(scene)
}

fn route_changes(scene: &Scene) -> Result<usize> {
    let calls = scene.rig.calls()?;
    let by_nodes = calls.iter().filter(|call| call["caller"].as_str().is_some_and(|caller| caller.starts_with("i-")));
    let changes = |call: &&Value| {
        call["status"] == 200 && ["ReplaceRoute", "CreateRoute"].iter().any(|action| call["action"] == *action)
    };
    Ok(by_nodes.filter(changes).count())
}
