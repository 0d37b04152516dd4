//! `prove` in the lab: it answers what the lab can answer, and leaves nothing, also after Ctrl-C and when it was killed.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use lab::rig::{Rig, printed};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sha2::{Digest, Sha256};

#[tokio::test]
async fn every_experiment_answers_in_the_lab_and_nothing_is_left() -> Result<()> {
    let rig = Rig::up()?;
    let before = resources(&rig)?;
    let out = tempfile::tempdir()?;
    let subnet = |name: &str| {
        let filter = format!("Name=tag:Name,Values={name}");
        let found = rig.aws(["ec2", "describe-subnets", "--filters", &filter, "--query", "Subnets[0].SubnetId"])?;
        found.as_str().map(str::to_owned).with_context(|| format!("the subnet {name}"))
    };
    let agent = hex::encode(Sha256::digest(std::fs::read(lab::rig::programs()?.join("agent"))?));
    let mut prove = rig.command("prove");
    prove.args(["--yes", "--vpc", &rig.status()?.vpc]).arg("--out").arg(out.path());
    prove.args(["--subnets", &format!("{},{}", subnet("private-a")?, subnet("private-b")?)]);
    // The lab has no Ubuntu. Its plain Debian lacks HAProxy, so apt has to install it.
    prove.args(["--image", "ubuntu=resolve:ssm:/aws/service/elbow-lab/debian-12"]);
    prove.args(["--image", "debian=resolve:ssm:/aws/service/elbow-lab/plain-debian-12"]);
    prove.args(["--agent-url", "https://downloads.elbow.test/agent", "--agent-sha256", &agent]);
    let text = printed(&prove.stdin(Stdio::null()).output()?)?;
    ensure!(text.contains("nothing is left of run"), "{text}");

    let record = record(out.path())?;
    ensure!(record["left"] == serde_json::json!([]) && record["ended_early"].is_null(), "{record:#}");
    let row = |id: &str| record["rows"].as_array()?.iter().find(|row| row["id"] == id);
    for (id, expected) in [
        ("middle", "yes; without Elbow the client sees: reset"),
        ("vxlan", "yes"),
        ("vrrp", "yes"),
        ("watch", "yes"),
        ("closed", "yes"),
    ] {
        ensure!(row(id).is_some_and(|row| row["answer"] == expected), "{id}: {record:#}");
    }
    for id in ["replace-route", "new-flow", "open-flow", "imds-tag", "debian", "create", "power-cut", "destroy"] {
        let reason = "measured, but not on AWS";
        ensure!(row(id).is_some_and(|row| row["empty_because"] == reason), "{id}: {record:#}");
    }
    for id in ["al2023", "ubuntu"] {
        let reason = row(id).and_then(|row| row["empty_because"].as_str()).unwrap_or_default();
        ensure!(reason.starts_with("no probe ran this system"), "{id}: {reason}");
    }
    let moves = record["findings"]["prober.moves"]["moves"].as_array().context("the moves")?;
    let unseen = moves.iter().filter(|times| times.as_array().is_none_or(|t| t.iter().any(Value::is_null)));
    ensure!(moves.len() == 50 && unseen.count() == 0, "{moves:?}");
    let outage = record["findings"]["prober.outage"]["outage_ms"].as_f64().context("the outage")?;
    ensure!((200.0..5000.0).contains(&outage), "the power cut cost {outage} ms");
    rig.figure("prove: outage of a power cut, as its prober saw it", format!("{outage} ms"))?;
    let after = resources(&rig)?;
    ensure!(before == after, "resources before: {before:#}\nand after: {after:#}");
    Ok(())
}

#[tokio::test]
async fn an_interrupted_run_and_a_killed_one_leave_nothing() -> Result<()> {
    let rig = Rig::up()?;
    let before = resources(&rig)?;
    // Without --vpc, it makes a VPC. The lab's instances don't boot there, so the run waits for them.
    let (mut prove, id, out) = waiting(&rig)?;
    let code = prove.end_by(Signal::INT)?.code();
    ensure!(code == Some(1), "after Ctrl-C the run ended with {code:?}");
    ensure!(resources(&rig)? == before, "run {id} left {:#}", resources(&rig)?);
    ensure!(record(out.path())?["ended_early"] == "interrupted", "{:#}", record(out.path())?);

    let (mut killed, id, _out) = waiting(&rig)?;
    killed.end_by(Signal::KILL)?;
    ensure!(resources(&rig)? != before, "the killed run left nothing: this test proves nothing");
    let other = printed(&rig.command("prove").args(["--clean", "0a1b2c3d"]).output()?)?;
    ensure!(other.contains("nothing is left of run 0a1b2c3d"), "{other}");
    ensure!(resources(&rig)? != before, "another run's clean-up removed resources of run {id}");
    // A signal ends a clean-up, which names the rest.
    let mut cleaning = Running::start(rig.command("prove").args(["--clean", &id]))?;
    cleaning.line_with("removing instance")?;
    let code = cleaning.end_by(Signal::TERM)?.code();
    let said = std::io::read_to_string(cleaning.child.stderr.take().context("standard error")?)?;
    ensure!(code == Some(4), "an interrupted clean-up ended with {code:?}: {said}");
    ensure!(said.contains("left: VPC vpc-") && said.contains(&format!("prove --clean {id}")), "{said}");
    let cleaned = printed(&rig.command("prove").args(["--clean", &id]).output()?)?;
    ensure!(cleaned.contains("nothing is left of run"), "{cleaned}");
    ensure!(resources(&rig)? == before, "the clean-up left {:#}", resources(&rig)?);
    Ok(())
}

#[tokio::test]
async fn without_consent_nothing_is_made() -> Result<()> {
    let rig = Rig::up()?;
    let before = resources(&rig)?;
    let answer = rig.command("prove").stdin(Stdio::null()).output()?;
    ensure!(answer.status.code() == Some(2), "{answer:?}");
    let said = String::from_utf8_lossy(&answer.stdout);
    ensure!(
        said.contains("USD  together") && said.contains("Type yes to go on") && said.contains("nothing was made"),
        "{said}"
    );
    ensure!(resources(&rig)? == before, "something was made");
    Ok(())
}

/// A started `prove`.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(command: &mut Command) -> Result<Running> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("starting prove")?;
        let lines = BufReader::new(child.stdout.take().context("standard output")?).lines();
        Ok(Running { child, lines })
    }

    /// Reads until a line contains this text.
    fn line_with(&mut self, text: &str) -> Result<String> {
        let found = self.lines.by_ref().map_while(Result::ok).find(|line| line.contains(text));
        found.with_context(|| format!("prove ended without {text:?}"))
    }

    fn end_by(&mut self, signal: Signal) -> Result<ExitStatus> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("the process's id")?;
        kill_process(pid, signal)?;
        // Its output is read, so that a full pipe can't stop it.
        self.lines.by_ref().for_each(drop);
        self.child.wait().context("waiting for prove")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// A run that waits for its probes, its id, and the folder of its answers.
fn waiting(rig: &Rig) -> Result<(Running, String, tempfile::TempDir)> {
    let out = tempfile::tempdir()?;
    let image = "resolve:ssm:/aws/service/elbow-lab/debian-12";
    let mut command = rig.command("prove");
    command.args(["--yes", "--image", &format!("ubuntu={image}"), "--image", &format!("debian={image}")]);
    let mut prove = Running::start(command.arg("--out").arg(out.path()))?;
    let id = prove.line_with("run ")?.split(' ').nth(1).context("the run's id")?.to_owned();
    prove.line_with("waiting for their answers")?;
    Ok((prove, id, out))
}

/// The one record in a folder.
fn record(folder: &Path) -> Result<Value> {
    let files = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let json: Vec<_> = files.iter().filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    ensure!(json.len() == 1 && files.len() == 2, "the files {files:?}");
    serde_json::from_slice(&std::fs::read(json[0])?).context("reading the record")
}

/// Prints the account's resources as JSON. The AWS CLI would take a second for each kind.
const RESOURCES: &str = r#"
import boto3, json
ec2, iam = boto3.client("ec2"), boto3.client("iam")
kinds = {"Vpcs": "VpcId", "Subnets": "SubnetId", "InternetGateways": "InternetGatewayId", "RouteTables": "RouteTableId",
    "SecurityGroups": "GroupId", "NetworkInterfaces": "NetworkInterfaceId", "Volumes": "VolumeId",
    "LaunchTemplates": "LaunchTemplateId"}
def described(kind):
    snake = "".join("_" + c.lower() if c.isupper() else c for c in kind)
    return getattr(ec2, "describe" + snake)()[kind]
found = {kind: sorted(thing[key] for thing in described(kind)) for kind, key in kinds.items()}
found["routes"] = sorted([t["RouteTableId"], r["DestinationCidrBlock"]] for t in described("RouteTables") for r in t["Routes"])
instances = [i for group in ec2.describe_instances()["Reservations"] for i in group["Instances"]]
found["instances"] = [i["InstanceId"] for i in instances if i["State"]["Name"] != "terminated"]
found["roles"] = sorted(role["RoleName"] for role in iam.list_roles()["Roles"])
found["profiles"] = sorted(p["InstanceProfileName"] for p in iam.list_instance_profiles()["InstanceProfiles"])
print(json.dumps(found))
"#;

fn resources(rig: &Rig) -> Result<Value> {
    let python = rig.dir().venv().join("bin/python");
    let text = printed(&rig.command(python).args(["-c", RESOURCES]).output()?)?;
    serde_json::from_str(&text).context("reading the resources")
}
