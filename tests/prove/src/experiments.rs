//! Makes everything, waits for the probes' answers, and goes the whole way. What it learned stays in the findings, also
//! when it is interrupted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use launcher::aws::Aws;
use launcher::aws::error::Named;
use launcher::model::tags::Tags;
use serde_json::Value;

use crate::findings::Findings;
use crate::names::Run;
use crate::probes::{self, IMAGES, Probe, Stage};
use crate::say::say;
use crate::site;
use crate::whole_way::{self, Agent};

/// How often the probes' tags are read.
const EVERY: Duration = Duration::from_secs(2);

/// What the operator chose.
pub struct Choice {
    /// An existing VPC and its subnets.
    pub site: Option<(String, Vec<String>)>,
    /// Images instead of the vendors' newest, by system.
    pub images: Vec<(String, String)>,
    /// Without it, no balancer is created.
    pub agent: Option<Agent>,
}

/// A run, and what it has found so far.
pub struct Watch<'a> {
    pub aws: &'a Aws,
    pub run: &'a Run,
    findings: Mutex<Findings>,
}

/// Does all experiments.
pub async fn all(watch: &Watch<'_>, choice: &Choice) -> Result<()> {
    let Watch { aws, run, .. } = *watch;
    let site = match &choice.site {
        Some((vpc, subnets)) => site::read(&aws.ec2, run, vpc, subnets).await?,
        None => site::make(&aws.ec2, run, &aws.region).await?,
    };
    say!("the probes run in {}", site.vpc);
    let stage = probes::stage(aws, run, &site).await?;
    let a = echo(watch, &stage, "a", "ubuntu", choice).await?;
    let b = echo(watch, &stage, "b", "debian", choice).await?;
    stage.route(&a).await?;
    let echoes = [a, b];
    let prober = stage.prober(&echoes, &image(choice, "al2023"), choice.agent.is_some()).await?;
    say!("launched {} {} {}; waiting for their answers", echoes[0].id, echoes[1].id, prober.id);
    let all = [("a", &echoes[0]), ("b", &echoes[1]), ("prober", &prober)];
    watch.until(&all, "prober.done").await?;
    match &choice.agent {
        Some(agent) => whole_way::go(watch, &site, &echoes, &prober, agent).await,
        None => Ok(watch.add("whole.create", Err(anyhow!("needs --agent-url and --agent-sha256")))),
    }
}

fn image(choice: &Choice, system: &str) -> String {
    let chosen = choice.images.iter().find(|(name, _)| name == system).map(|(_, image)| image.as_str());
    let newest = IMAGES.iter().find(|(name, _)| *name == system).map(|(_, image)| *image);
    chosen.or(newest).unwrap_or_default().to_owned()
}

/// Launches an echo with its system, or with Amazon Linux if that image can't be launched.
async fn echo(watch: &Watch<'_>, stage: &Stage<'_>, name: &str, system: &str, choice: &Choice) -> Result<Probe> {
    let subnet = usize::from(name == "b");
    match stage.echo(name, subnet, &image(choice, system)).await {
        Err(error) => {
            watch.add(&format!("{system}.launch"), Err(error));
            stage.echo(name, subnet, &image(choice, "al2023")).await
        }
        launched => launched,
    }
}

impl<'a> Watch<'a> {
    pub fn new(aws: &'a Aws, run: &'a Run) -> Watch<'a> {
        Watch { aws, run, findings: Mutex::default() }
    }

    /// What was found so far.
    pub fn findings(&self) -> MutexGuard<'_, Findings> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, name: &str, result: Result<Value>) {
        if let Err(error) = &result {
            say!("{name}: {error:#}");
        }
        self.findings().add(name, result);
    }

    pub fn has(&self, name: &str) -> bool {
        self.findings().has(name)
    }

    /// Reads the probes' tags until they hold this finding. The run's deadline limits the wait.
    pub async fn until(&self, probes: &[(&str, &Probe)], finding: &str) -> Result<()> {
        loop {
            self.read(probes).await?;
            if self.has(finding) {
                return Ok(());
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn read(&self, probes: &[(&str, &Probe)]) -> Result<()> {
        let ids: Vec<String> = probes.iter().map(|(_, probe)| probe.id.clone()).collect();
        let call = self.aws.ec2.describe_instances().set_instance_ids(Some(ids.clone()));
        let answer = match call.send().await.named("ec2:DescribeInstances", ids.join(" ")) {
            Ok(answer) => answer,
            // EC2 may not show a new instance yet.
            Err(error) if error.is_absent() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for instance in answer.reservations().iter().flat_map(|group| group.instances()) {
            let id = instance.instance_id().unwrap_or_default();
            let state = instance.state().and_then(|state| state.name()).map(|name| name.as_str()).unwrap_or_default();
            if ["shutting-down", "terminated", "stopping", "stopped"].contains(&state) {
                bail!("{id} is {state}: another program or AWS ended a probe");
            }
            if let Some((name, _)) = probes.iter().find(|(_, probe)| probe.id == id) {
                self.tell(name, &Tags::from(instance.tags()));
            }
        }
        Ok(())
    }

    /// Takes over a probe's results, and prints the names of new ones.
    fn tell(&self, probe: &str, tags: &Tags) {
        let mut findings = self.findings();
        let before = findings.clone();
        findings.read(probe, tags);
        for (name, result) in findings.0.iter().filter(|(name, _)| !before.has(name)) {
            say!("{name}: {}", result["error"].as_str().unwrap_or("answered"));
        }
    }
}
