//! Reads what the probes report, and keeps what was found, also when the experiments are interrupted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use launcher::aws::Aws;
use launcher::aws::error::Named;
use launcher::model::tags::Tags;
use serde_json::Value;

use crate::findings::Findings;
use crate::names::Run;
use crate::probes::Probe;
use crate::say::say;

/// How often the probes' tags are read.
const EVERY: Duration = Duration::from_secs(2);

/// A run, and what it has found so far.
pub struct Progress<'a> {
    pub aws: &'a Aws,
    pub run: &'a Run,
    findings: Mutex<Findings>,
}

impl<'a> Progress<'a> {
    pub fn new(aws: &'a Aws, run: &'a Run) -> Progress<'a> {
        Progress { aws, run, findings: Mutex::default() }
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

    /// Reads the probes' tags until they hold one of these findings. The run's deadline limits the wait.
    pub async fn until(&self, probes: &[(&str, &Probe)], findings: &[&str]) -> Result<()> {
        loop {
            self.read(probes).await?;
            if findings.iter().any(|finding| self.has(finding)) {
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
