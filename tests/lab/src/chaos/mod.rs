//! `lab chaos`: random faults, one episode after another, while clients watch. After each episode the balancer must
//! recover by itself. The fault log and each outage are printed; the seed replays the plan.

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

/// From one request to the next, in milliseconds.
const EVERY: u64 = 20;
/// A longer time without a good answer is an outage.
const NOTICED: Duration = Duration::from_millis(300);
/// So many good answers in a row are service.
const SERVICE: usize = 25;
/// How long a balancer may take to be well after the last fault of an episode has ended: two boots fit.
const RECOVERY: Duration = Duration::from_secs(150);
/// More successful route changes than these for each fault of an episode are a route war: a takeover of the lab's three
/// tables there and back, twice.
const PEACE: usize = 12;
/// Nodes look at their routes every 27 to 33 s: a route war shows within two looks.
const CALM: Duration = Duration::from_secs(70);

/// What a run has seen.
#[derive(Debug, Default)]
struct Tally {
    episodes: usize,
    outages: usize,
    worst: Duration,
    unrecovered: usize,
}

/// The balancer's nodes.
const NODES: usize = 2;

/// Plays the plan of `seed` for `length` on a fresh lab. Fails if the balancer doesn't recover after an episode, or if
/// its nodes move routes while nothing is wrong.
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
        "chaos: seed {seed}: {} episodes, {} outages, the longest {:.2} s, {} unrecovered, {moves} route changes in {} s of calm",
        tally.episodes,
        tally.outages,
        tally.worst.as_secs_f64(),
        tally.unrecovered,
        CALM.as_secs()
    );
    ensure!(tally.unrecovered == 0, "{} episodes left a balancer that did not recover", tally.unrecovered);
    ensure!(moves == 0, "the nodes moved routes {moves} times while nothing was wrong");
    Ok(())
}

/// One episode: its faults, the recovery, and what clients saw of it.
fn play(scene: &Scene, episode: &[Planned], began: Instant, tally: &mut Tally) -> Result<()> {
    tally.episodes += 1;
    println!("episode {}", tally.episodes);
    scene.rig.lab(["calls", "--clear"])?;
    let clients = scene.rig.prober(EVERY)?;
    let (start, offset) = (Instant::now(), began.elapsed());
    let say = |what: &str| println!("{:8.1} s  {what}", (offset + start.elapsed()).as_secs_f64());
    faults(scene, episode, start, say);
    end_all_faults(&scene.rig)?;
    // While the API failed, `launcher create` did, too: the operator runs it again.
    if scene.nodes()?.len() < NODES {
        scene.rig.create(&scene.file)?;
        say("a terminated node is replaced");
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
            "well {:.1} s after the last fault; {failed} of {} requests failed, {moves} route changes",
            recovery.as_secs_f64(),
            probes.len()
        )),
        Err(error) => {
            tally.unrecovered += 1;
            say(&format!("NOT RECOVERED: {error:#}"));
            println!("{}", scene.rig.lab(["status"])?);
            // The next episode starts on a balancer that is well, or not at all.
            scene.nodes()?.iter().try_for_each(|node| scene.rig.lab(["reboot", node]).map(drop))?;
            wait_for("the balancer after rebooting its nodes", RECOVERY, || scene.is_well())?;
        }
    }
    Ok(())
}

/// Begins and ends each fault at its time. A fault that can't begin or end, because another took away what it acts on,
/// is said and left out.
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
                    say(format!("begins: {fault} {what}").trim_end());
                    ends.push((planned, end));
                }
                Err(error) => say(&format!("left out: {fault}: {error:#}")),
            }
        } else if let Some(at) = ends.iter().position(|(one, _)| std::ptr::eq(*one, planned)) {
            match (ends.swap_remove(at).1)(scene) {
                Ok(()) => say(&format!("ends: {fault}")),
                Err(error) => say(&format!("ends: {fault}: {error:#}")),
            }
        }
    }
}

/// Whether the last requests were all answered.
fn served(clients: &Prober) -> Result<()> {
    let mut probes = clients.notes();
    probes.sort_by_key(|probe| probe.sent);
    let good = probes.iter().rev().take_while(|probe| probe.outcome.is_ok()).count();
    ensure!(good >= SERVICE, "{good} good answers in a row, the last one: {:?}", probes.last().map(|one| &one.outcome));
    Ok(())
}

/// How often the nodes change routes while nothing is wrong.
fn calm(scene: &Scene) -> Result<usize> {
    scene.rig.lab(["calls", "--clear"])?;
    std::thread::sleep(CALM);
    scene.is_well().context("after a calm")?;
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
