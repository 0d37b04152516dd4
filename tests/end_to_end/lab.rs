//! The lab's own tests: each fault has its effect and ends, and a lab that was killed or went down is cleared away.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::network::namespace;

use lab::rig::{Rig, wait_for};

const BOOT: Duration = Duration::from_secs(60);

/// A cheap reading call: the values of tags named `seen`.
const LOOK: [&str; 6] = ["ec2", "describe-tags", "--filters", "Name=key,Values=seen", "--query", "Tags[].Value"];

fn see(rig: &Rig) -> Result<()> {
    let vpc = rig.status()?.vpc;
    rig.aws(["ec2", "create-tags", "--resources", &vpc, "--tags", "Key=seen,Value=yes"]).map(drop)
}

#[tokio::test]
async fn a_slow_api_answers_later() -> Result<()> {
    let rig = Rig::up()?;
    ensure!(rig.lab(["up"])?.contains("up already"), "up of a lab that is up");
    // moto's first call of a kind is slow, and its time would count.
    rig.aws(LOOK)?;
    rig.lab(["latency", "200"])?;
    rig.lab(["calls", "--clear"])?;
    rig.aws(LOOK)?;
    let call = rig.calls()?.pop().context("no call was recorded")?;
    ensure!((200.0..600.0).contains(&call["duration_ms"].as_f64().unwrap_or_default()), "{call}");
    Ok(())
}

#[tokio::test]
async fn a_failing_api_fails_the_set_number_of_times() -> Result<()> {
    let rig = Rig::up()?;
    rig.lab(["fail", "DescribeTags", "UnauthorizedOperation", "1"])?;
    let failed = format!("{:#}", rig.aws(LOOK).err().context("the call succeeded")?);
    ensure!(failed.contains("UnauthorizedOperation"), "{failed}");
    rig.aws(LOOK).map(drop)
}

#[tokio::test]
async fn a_stale_api_shows_an_earlier_state() -> Result<()> {
    let rig = Rig::up()?;
    rig.lab(["stale", "600000"])?;
    see(&rig)?;
    ensure!(rig.aws(LOOK)? == serde_json::json!([]), "the stale API shows the new tag");
    rig.lab(["stale", "0"])?;
    ensure!(rig.aws(LOOK)? == serde_json::json!(["yes"]), "the API doesn't show the new tag");
    Ok(())
}

#[tokio::test]
async fn a_throttled_api_refuses_what_its_bucket_does_not_hold() -> Result<()> {
    let rig = Rig::up()?;
    rig.lab(["throttle", "2", "0"])?;
    see(&rig)?;
    see(&rig)?;
    let throttled = format!("{:#}", see(&rig).err().context("a bucket of two allowed a third call")?);
    ensure!(throttled.contains("RequestLimitExceeded"), "{throttled}");
    ensure!(rig.status()?.faults == ["throttle: burst 2, refill 0 a second"], "{:?}", rig.status()?.faults);
    rig.lab(["throttle", "0", "0"])?;
    see(&rig)?;
    ensure!(rig.status()?.faults.is_empty(), "{:?}", rig.status()?.faults);
    Ok(())
}

#[tokio::test]
async fn a_command_at_the_client_runs_in_the_callers_folder() -> Result<()> {
    let rig = Rig::up()?;
    let folder = std::env::current_dir()?;
    ensure!(Path::new(rig.lab(["client", "pwd"])?.trim_end()) == folder, "it ran in another folder");
    ensure!(
        rig.lab(["client", "ip", "-brief", "address"])?.contains("10.0.3.10/24"),
        "it isn't at the client's address"
    );
    let failed = format!("{:#}", rig.lab(["client", "sh", "-c", "exit 7"]).err().context("`exit 7` succeeded")?);
    ensure!(failed.contains("exit status: 7"), "{failed}");
    let unknown = format!("{:#}", rig.lab(["kill", "i-0"]).err().context("`kill i-0` succeeded")?);
    ensure!(unknown.contains("i-0: no such instance") && unknown.trim_end().lines().count() == 1, "{unknown}");
    Ok(())
}

/// A lab with two nodes; `one` requests the health page of `other`.
struct Pair {
    rig: Rig,
    one: String,
    other: String,
    /// The health page of `other`.
    health: String,
}

const API: &str = "https://ec2.eu-west-1.amazonaws.com/";

impl Pair {
    fn up() -> Result<Pair> {
        let rig = Rig::up()?;
        rig.create(&rig.balancer(|text| text)?)?;
        let nodes = rig.serving_nodes(2, BOOT)?;
        let peer = nodes[1].address.context("a node has an address")?;
        let (one, other) = (nodes[0].id.clone(), nodes[1].id.clone());
        Ok(Pair { rig, one, other, health: format!("http://{peer}:9110/") })
    }

    /// Fails if `one` can't reach `url`.
    fn reaches(&self, url: &str) -> Result<String> {
        self.rig.inside(&self.one, &["curl", "--silent", "--output", "/dev/null", "--max-time", "1", url])
    }
}

#[tokio::test]
async fn a_partition_drops_what_it_names_until_it_is_healed() -> Result<()> {
    let pair = Pair::up()?;
    let Pair { rig, one, other, health } = &pair;
    pair.reaches(health)?;
    rig.lab(["partition", one, other])?;
    ensure!(pair.reaches(health).is_err() && pair.reaches(API).is_ok(), "not only the peer is unreachable");
    rig.lab(["heal"])?;
    wait_for("the peer after healing", BOOT, || pair.reaches(health))?;
    rig.lab(["partition", one, "api"])?;
    ensure!(pair.reaches(health).is_ok() && pair.reaches(API).is_err(), "not only the API is unreachable");
    ensure!(rig.status()?.faults == [format!("partition: {one} | api")], "{:?}", rig.status()?.faults);
    rig.lab(["heal"])?;
    pair.reaches(API)?;
    rig.destroy("web").map(drop)
}

#[tokio::test]
async fn imds_answers_with_the_set_values() -> Result<()> {
    let pair = Pair::up()?;
    let Pair { rig, one, .. } = &pair;
    let token =
        "t=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)";
    let told = format!(
        "{token}; curl -sf -H \"X-aws-ec2-metadata-token: $t\" http://169.254.169.254/latest/meta-data/spot/instance-action"
    );
    ensure!(rig.inside(one, &["sh", "-c", &told]).is_err(), "IMDS has a Spot notice before the lab sets one");
    rig.lab(["imds", one, "spot/instance-action", r#"{"action":"stop"}"#])?;
    ensure!(rig.inside(one, &["sh", "-c", &told])? == r#"{"action":"stop"}"#, "IMDS has no Spot notice");
    rig.lab(["imds", one, "spot/instance-action"])?;
    ensure!(rig.inside(one, &["sh", "-c", &told]).is_err(), "IMDS still has the Spot notice");
    rig.destroy("web").map(drop)
}

#[tokio::test]
async fn a_frozen_instance_thaws_after_the_set_time() -> Result<()> {
    let pair = Pair::up()?;
    let Pair { rig, other, health, .. } = &pair;
    let frozen = Instant::now();
    rig.lab(["freeze", other, "1500"])?;
    ensure!(state(rig, other)? == "frozen" && pair.reaches(health).is_err(), "{other} isn't frozen");
    wait_for("the thaw", BOOT, || pair.reaches(health))?;
    ensure!(frozen.elapsed() >= Duration::from_millis(1500), "{other} thawed after {:?}", frozen.elapsed());
    rig.destroy("web").map(drop)
}

#[tokio::test]
async fn an_instance_reboots_stops_and_starts() -> Result<()> {
    let pair = Pair::up()?;
    let Pair { rig, other, health, .. } = &pair;
    let booted = || rig.inside(other, &["systemctl", "show", "--property", "UserspaceTimestamp"]);
    let before = booted()?;
    rig.lab(["reboot", other])?;
    wait_for("the reboot", BOOT, || {
        ensure!(booted()? != before, "systemd still shows {before}");
        pair.reaches(health)
    })?;
    rig.lab(["stop", other])?;
    wait_for("the shutdown", BOOT, || {
        ensure!(state(rig, other)? == "stopped" && pair.reaches(health).is_err(), "{other} is {}", state(rig, other)?);
        let status = rig.status()?;
        let seen = status.instances.iter().find(|instance| instance.id == *other).context("the stopped node")?;
        ensure!(seen.api == "stopped", "the API reports {other} as {}", seen.api);
        Ok(())
    })?;
    rig.aws(["ec2", "start-instances", "--instance-ids", other])?;
    wait_for("the start", BOOT, || pair.reaches(health))?;
    rig.serving_nodes(2, BOOT)?;
    rig.destroy("web").map(drop)
}

#[tokio::test]
async fn a_lab_that_was_killed_is_cleared_away() -> Result<()> {
    let rig = Rig::up()?;
    let image = "resolve:ssm:/aws/service/elbow-lab/debian-12";
    let subnets =
        ["ec2", "describe-subnets", "--filters", "Name=tag:Name,Values=private-a", "--query", "Subnets[0].SubnetId"];
    let subnet = rig.aws(subnets)?.as_str().context("the subnet private-a")?.to_owned();
    let launch = ["ec2", "run-instances", "--image-id", image, "--instance-type", "t3.small", "--subnet-id", &subnet];
    let launched = rig.aws(launch.iter().chain(&["--query", "Instances[0].InstanceId"]))?;
    let id = launched.as_str().context("an instance's id")?;
    wait_for("the instance to boot", BOOT, || {
        ensure!(state(&rig, id)? == "up", "{id} is {}", state(&rig, id)?);
        Ok(())
    })?;

    kill_the_lab(&rig)?;
    ensure!(!left(&rig)?.is_empty(), "the killed lab left nothing behind: this test proves nothing");
    rig.lab(["down"])?;
    wait_for("everything to be gone", BOOT, || {
        let left = left(&rig)?;
        ensure!(left.is_empty(), "left behind: {left:?}");
        Ok(())
    })?;

    rig.lab(["up"])?;
    kill_the_lab(&rig)?;
    rig.lab(["up"])?;
    ensure!(rig.status()?.instances.is_empty(), "a new lab has instances");
    rig.lab(["down"])?;
    let left = left(&rig)?;
    ensure!(left.is_empty(), "left behind by a lab that went down: {left:?}");
    ensure!(rig.lab(["down"])?.contains("no lab is up"), "down when down");
    Ok(())
}

/// `kill -9`: the lab can't clean up.
fn kill_the_lab(rig: &Rig) -> Result<()> {
    let holder = std::fs::read_to_string("/run/elbow-lab.lock")?;
    let folder = rig.run_folder();
    let ours = folder.parent().is_some_and(|folder| holder.trim_end().ends_with(&format!(", in {}", folder.display())));
    ensure!(ours, "this machine's lab isn't ours: {holder}");
    let lab = holder.split([' ', ',']).nth(1).and_then(|pid| pid.parse().ok()).context("the lab's process")?;
    let lab = rustix::process::Pid::from_raw(lab).context("the lab's process")?;
    rustix::process::kill_process(lab, rustix::process::Signal::KILL)?;
    wait_for("the lab to be gone", BOOT, || {
        ensure!(!is_alive(lab), "process {lab:?} still runs");
        Ok(())
    })
}

/// In many containers process 1 doesn't reap its children: a dead process stays as a zombie. While some of its threads
/// are still ending, they hold its files, and it counts as alive.
fn is_alive(process: rustix::process::Pid) -> bool {
    let of = |what: &str| format!("/proc/{}/{what}", process.as_raw_nonzero());
    let stat = std::fs::read_to_string(of("stat"));
    let threads = std::fs::read_dir(of("task")).map_or(0, Iterator::count);
    // proc_pid_stat(5): the state follows the name, which is in parentheses and may hold some itself.
    threads > 1
        || stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X'])))
}

fn state(rig: &Rig, id: &str) -> Result<String> {
    let status = rig.status()?;
    let found = status.instances.into_iter().find(|instance| instance.id == id);
    Ok(found.with_context(|| format!("{id} isn't in the lab's status"))?.lab)
}

/// The lab's processes, namespaces, mounts and cgroups.
fn left(rig: &Rig) -> Result<Vec<String>> {
    let mut left: Vec<String> = namespace::list();
    let run = rig.run_folder().display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    left.extend(mounts.lines().filter(|line| line.contains(&run)).map(str::to_owned));
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(&run) {
            left.push(command);
        }
    }
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        let group = Path::new(root).join("elbow-lab");
        left.extend(group.exists().then(|| group.display().to_string()));
    }
    Ok(left)
}
