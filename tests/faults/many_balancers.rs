//! Ten balancers of one VPC are created and destroyed at once, with AWS's throttling. The test has a lab of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::rig::{Rig, printed};

const TEN: usize = 10;
/// Bucket size and refill per second for mutating calls. For reading calls the lab doubles the size and quadruples the
/// refill, as AWS does.
const BUCKET: [&str; 2] = ["50", "5"];

/// The API calls of ten parallel launchers, and the time that each of them took.
struct Run {
    calls: usize,
    times: Vec<Duration>,
}

#[test]
fn ten_balancers_of_one_vpc_are_created_and_destroyed_at_once() -> Result<()> {
    let rig = Rig::up()?;
    let before = rig.status()?.routes.len();
    let files = (0..TEN).map(|number| balancer(&rig, number)).collect::<Result<Vec<_>>>()?;
    rig.lab(["throttle", BUCKET[0], BUCKET[1]])?;

    let created = at_once(&rig, |number| create(&rig, &files[number]))?;
    let theirs =
        rig.calls()?.iter().filter(|call| call["caller"].as_str().is_some_and(|by| by.starts_with("i-"))).count();
    report(&rig, "created", &created)?;
    rig.figure("ten balancers at once: calls of a balancer's nodes until all are up", per_balancer(theirs))?;
    for number in 0..TEN {
        let answer =
            rig.lab(["client", "curl", "--silent", "--fail", "--max-time", "2", &format!("http://{}/", vip(number))]);
        answer.with_context(|| format!("asking {}", vip(number)))?;
    }

    let destroyed = at_once(&rig, |number| rig.destroy(&name(number)).map(drop))?;
    report(&rig, "destroyed", &destroyed)?;
    let status = rig.status()?;
    ensure!(status.instances.is_empty() && status.routes.len() == before, "left after destroy: {status:?}");
    let left = printed(&rig.launcher(["list"])?)?;
    ensure!(left.contains("no balancers"), "{left}");
    Ok(())
}

fn at_once(rig: &Rig, work: impl Fn(usize) -> Result<()> + Sync) -> Result<Run> {
    rig.lab(["calls", "--clear"])?;
    let timed = |number| {
        let began = Instant::now();
        work(number).with_context(|| name(number))?;
        Ok(began.elapsed())
    };
    let mut times = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..TEN).map(|number| scope.spawn(move || timed(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no launcher panics")).collect::<Result<Vec<_>>>()
    })?;
    times.sort_unstable();
    let calls = rig.calls()?.iter().filter(|call| call["caller"] == "launcher").count();
    Ok(Run { calls, times })
}

fn report(rig: &Rig, what: &str, run: &Run) -> Result<()> {
    let (first, last) = (run.times[0], run.times[TEN - 1]);
    rig.figure(
        &format!("ten balancers {what} at once"),
        format!("the first after {first:.1?}, the last after {last:.1?}; {} of the launcher", per_balancer(run.calls)),
    )
}

fn per_balancer(calls: usize) -> String {
    format!("{:.0} calls for each balancer", calls as f64 / TEN as f64)
}

fn create(rig: &Rig, file: &Path) -> Result<()> {
    let said = rig.create(file)?;
    ensure!(said.contains("is served by"), "create ends with {said}");
    Ok(())
}

fn balancer(rig: &Rig, number: usize) -> Result<PathBuf> {
    let text = std::fs::read_to_string(rig.balancer(|text| text)?)?;
    let text = text.replace("\"web\"", &format!("{:?}", name(number))).replace("10.255.0.10", &vip(number));
    rig.file(&format!("{}.toml", name(number)), &text)
}

fn name(number: usize) -> String {
    format!("team-{number}")
}

fn vip(number: usize) -> String {
    format!("10.255.1.{}", number + 1)
}
