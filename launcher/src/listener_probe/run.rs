//! Runs a listener probe: asks the active nodes by the tag `elbow:probe`, and waits for the answers in their tags.

use std::slice;
use std::time::{Duration, Instant};

use templates::balancer::NodeConfig;
use templates::listener_probe::RequestId;
use templates::names::TAG_PROBE;

use super::{Asked, PATIENCE, Probed, Stage, judge, stage};
use crate::assess::{Assessment, Expected, NodeHealth, assess};
use crate::aws::Aws;
use crate::aws::error::CallFailed;
use crate::aws::retry::pause;
use crate::model::observe::Observed;
use crate::output;
use crate::output::progress::Progress;
use crate::resources::{instances, route_tables, tagging};

/// Interval between two looks: two Describe calls, far below AWS's limits for an account.
const LOOK: Duration = Duration::from_millis(700);

/// A balancer, and what was asked so far.
struct Probe<'a> {
    aws: &'a Aws,
    name: &'a str,
    vpc: &'a str,
    config: &'a NodeConfig,
    asked: Asked,
    /// The requests in tags.
    requests: Vec<(String, RequestId)>,
}

/// Probes the listeners of a balancer. What can't be done is a problem of the result.
pub async fn probe(aws: &Aws, name: &str, vpc: &str, config: &NodeConfig, progress: &Progress) -> Probed {
    let mut probe = Probe { aws, name, vpc, config, asked: Asked::new(), requests: Vec::new() };
    let probed = probe.answered(progress).await;
    for (instance, request) in &probe.requests {
        if let Err(error) = tagging::remove_one(&aws.ec2, instance, TAG_PROBE, &request.to_string()).await {
            output::warn(&format!("the request stays in {TAG_PROBE} of {instance}, which answers it once: {error}"));
        }
    }
    probed
}

/// The same for a balancer by what was read of it.
pub async fn probe_observed(aws: &Aws, name: &str, observed: &Observed, progress: &Progress) -> Probed {
    match (observed.config(), observed.vpc()) {
        (Some(config), Some(vpc)) => probe(aws, name, vpc, &config, progress).await,
        _ => Probed::failed(format!("{name}: its launch template can't be read, so its listeners aren't known")),
    }
}

impl Probe<'_> {
    async fn answered(&mut self, progress: &Progress) -> Probed {
        let config = self.config;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let is_late = Instant::now() >= deadline;
            match self.look().await {
                Ok(is) => {
                    let stages = || is.virtual_ips.iter().map(|vip| stage(vip, &is, &self.asked));
                    let is_done = stages().all(|stage| matches!(stage, Stage::Answered(..)));
                    if is_done || is_late || config.balancer.listeners.is_empty() {
                        return judge(&config.balancer, &is, &self.asked);
                    }
                    let due: Vec<&NodeHealth> = stages()
                        .filter_map(|stage| if let Stage::Ask(node) = stage { Some(node) } else { None })
                        .collect();
                    for node in due {
                        if let Err(error) = self.ask(node).await {
                            return Probed::failed(format!("can't ask {}: {error}", node.called()));
                        }
                    }
                    progress.live(self.name, "waiting until the active node has asked each listener");
                }
                Err(error) if is_late => return Probed::failed(format!("can't read the answers: {error}")),
                // The error may pass before the deadline.
                Err(error) => progress.live(self.name, &error.to_string()),
            }
            pause(LOOK).await;
        }
    }

    async fn look(&self) -> Result<Assessment, CallFailed> {
        let expected = Expected::from(self.config);
        let nodes = instances::find(&self.aws.ec2, self.name, &expected.subnets);
        let (nodes, tables) = futures::try_join!(nodes, route_tables::find(&self.aws.ec2, self.vpc))?;
        Ok(assess(&expected, &nodes, &tables))
    }

    /// Asks a node, if this look hasn't asked it for another virtual IP.
    async fn ask(&mut self, node: &NodeHealth) -> Result<(), CallFailed> {
        let before = node.probed.as_ref().map(|answer| answer.to.clone());
        if self.asked.get(&node.instance) == Some(&before) {
            return Ok(());
        }
        let request = RequestId::from(rand::random::<u64>());
        let instance = &node.instance;
        tagging::set(&self.aws.ec2, slice::from_ref(instance), TAG_PROBE, &request.to_string()).await?;
        self.asked.insert(instance.clone(), before);
        self.requests.push((instance.clone(), request));
        Ok(())
    }
}
