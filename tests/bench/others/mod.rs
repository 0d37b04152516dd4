//! The other tools, each in an instance with a role that may move routes, set up as in their manuals.

pub mod move_ip;
pub mod original;

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use lab::observations::{answered, interface_of, text};
use lab::rig::{Rig, printed, wait_for};

use crate::floor::Routes;
use crate::results::Attempt;

const NAME: &str = "others";
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const MAY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Action":["ec2:DescribeRouteTables","ec2:CreateRoute","ec2:ReplaceRoute"],"Resource":"*"}]}"#;
/// The limit for a boot, which takes some seconds on an idle machine.
const BOOT: Duration = Duration::from_secs(60);
/// A takeover runs as this unit, so that it can be stopped with all of its processes.
const UNIT: &str = "takeover.service";
/// The file with the takeover's start time.
const BEGAN: &str = "/run/takeover.began";

/// The image and the security group of the instances.
pub struct Account {
    image: String,
    group: String,
}

/// A running instance.
pub struct Node {
    /// `i-…`
    pub id: String,
    /// `eni-…`
    pub interface: String,
    pub address: String,
}

impl Account {
    /// Creates a role that may move routes, and a security group that is open to the VPC.
    pub fn prepare(rig: &Rig) -> Result<Account> {
        rig.aws(["iam", "create-role", "--role-name", NAME, "--assume-role-policy-document", TRUST])?;
        rig.aws(["iam", "put-role-policy", "--role-name", NAME, "--policy-name", NAME, "--policy-document", MAY])?;
        rig.aws(["iam", "create-instance-profile", "--instance-profile-name", NAME])?;
        let both = ["--instance-profile-name", NAME, "--role-name", NAME];
        rig.aws(["iam", "add-role-to-instance-profile"].into_iter().chain(both))?;
        let vpc = rig.status()?.vpc;
        let made =
            rig.aws(["ec2", "create-security-group", "--group-name", NAME, "--description", NAME, "--vpc-id", &vpc])?;
        let group = text(&made["GroupId"])?;
        let image = rig.aws(["ssm", "get-parameter", "--name", lab::daemon::addresses::IMAGE_PARAMETER])?;
        let account = Account { image: text(&image["Parameter"]["Value"])?, group };
        account.admit(rig, "10.0.0.0/16")?;
        Ok(account)
    }

    /// Opens the security group to a network.
    pub fn admit(&self, rig: &Rig, network: &str) -> Result<()> {
        let all = ["--group-id", &self.group, "--protocol", "all", "--cidr", network];
        rig.aws(["ec2", "authorize-security-group-ingress"].into_iter().chain(all)).map(drop)
    }

    /// Launches an instance without source/destination check in the subnet of that name, and waits for its boot.
    pub fn launch(&self, rig: &Rig, subnet: &str) -> Result<Node> {
        let filter = format!("Name=tag:Name,Values={subnet}");
        let found = rig.aws(["ec2", "describe-subnets", "--filters", &filter])?;
        let subnet = text(&found["Subnets"][0]["SubnetId"])?;
        let what = ["--image-id", &self.image, "--instance-type", "t3.small", "--count", "1"];
        let place = ["--subnet-id", &subnet, "--security-group-ids", &self.group];
        let role = ["--iam-instance-profile", &format!("Name={NAME}"), "--metadata-options", "HttpTokens=required"];
        let words = ["ec2", "run-instances"].into_iter().chain(what).chain(place).chain(role);
        let launched = rig.aws(words).context("launching an instance for the others")?;
        let instance = &launched["Instances"][0];
        let id = text(&instance["InstanceId"])?;
        rig.aws(["ec2", "modify-instance-attribute", "--instance-id", &id, "--no-source-dest-check"])?;
        let node = Node { interface: interface_of(rig, &id)?, address: text(&instance["PrivateIpAddress"])?, id };
        node.booted(rig)?;
        Ok(node)
    }
}

/// Writes a file of any size in an instance, with its folders.
pub fn write(rig: &Rig, id: &str, path: &str, content: &str) -> Result<()> {
    let script = r#"mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1""#;
    // keepalived warns if its configuration is executable, and its scripts must be.
    let mode = if path.ends_with(".sh") { "755" } else { "644" };
    let content = File::open(rig.file("content", content)?)?;
    let mut command = rig.command("lab");
    command.args(["exec", id, "sh", "-c", script, "sh", path, mode]).stdin(content);
    printed(&command.output()?).with_context(|| format!("writing {path} in {id}")).map(drop)
}

impl Node {
    /// Waits until the instance has booted.
    pub fn booted(&self, rig: &Rig) -> Result<()> {
        wait_for("an instance's boot", BOOT, || {
            let status = rig.status()?;
            ensure!(status.instances.iter().any(|i| i.id == self.id && i.lab == "up"), "{} is booting", self.id);
            Ok(())
        })
    }

    /// Writes a file, with its folders.
    pub fn write(&self, rig: &Rig, path: &str, content: &str) -> Result<()> {
        write(rig, &self.id, path, content)
    }

    /// Runs a takeover until every table's route is moved or the limit is over.
    pub fn take_over(&self, rig: &Rig, routes: &Routes, command: &str, limit: Duration) -> Result<Attempt> {
        let script = format!("date +%s.%N >{BEGAN}; exec {command}");
        rig.inside(&self.id, &["rm", "-f", BEGAN])?;
        let unit = format!("--unit={UNIT}");
        let words = ["systemd-run", "--quiet", "--collect", &unit, "--setenv=HOME=/root", "bash", "-c", &script];
        rig.inside(&self.id, &words).context("starting a takeover")?;
        let moved = self.follow(rig, routes.tables.len(), Instant::now() + limit)?;
        rig.inside(&self.id, &["sh", "-c", &format!("systemctl stop {UNIT} 2>/dev/null || true")])?;
        match moved.iter().max() {
            Some(last) if moved.len() >= routes.tables.len() => {
                let seconds = last.duration_since(self.began(rig)?).as_secs_f64();
                Ok(Attempt { seconds, moved: routes.tables.len() })
            }
            _ => Ok(Attempt { seconds: limit.as_secs_f64(), moved: moved.len() }),
        }
    }

    /// Waits until `wanted` routes are moved or `end` has come; returns the time of each move.
    fn follow(&self, rig: &Rig, wanted: usize, end: Instant) -> Result<Vec<Timestamp>> {
        let began = wait_for("the takeover's beginning", BOOT, || self.began(rig))?;
        loop {
            let state = rig.inside(&self.id, &["sh", "-c", &format!("systemctl is-active {UNIT} || true")])?;
            // Read after the state, so that the takeover's last calls are included.
            let moved = self.moved(rig, began)?;
            if moved.len() >= wanted || Instant::now() >= end {
                return Ok(moved);
            }
            ensure!(state.trim() == "active", "the takeover ended with {} of {wanted} routes moved", moved.len());
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    fn began(&self, rig: &Rig) -> Result<Timestamp> {
        let seconds: f64 = rig.inside(&self.id, &["cat", BEGAN])?.trim().parse().context("reading when it began")?;
        Ok(Timestamp::from_microsecond((seconds * 1e6) as i64)?)
    }

    /// The times at which the instance's ReplaceRoute calls since `since` were answered.
    fn moved(&self, rig: &Rig, since: Timestamp) -> Result<Vec<Timestamp>> {
        let calls = rig.calls()?;
        let moves = calls.iter().filter(|c| c["action"] == "ReplaceRoute" && c["status"] == 200);
        let answers = moves.filter(|c| c["caller"] == self.id.as_str()).map(answered).collect::<Result<Vec<_>>>()?;
        Ok(answers.into_iter().filter(|answer| *answer > since).collect())
    }
}
