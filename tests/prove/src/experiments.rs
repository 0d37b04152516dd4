//! Makes everything, waits for the probes' answers, and goes the whole way.

use anyhow::{Result, anyhow};

use crate::probes::{self, IMAGES, Probe, Stage};
use crate::progress::Progress;
use crate::say::say;
use crate::site;
use crate::whole_way::{self, Agent};

/// What the operator chose.
pub struct Choice {
    /// An existing VPC and its subnets.
    pub site: Option<(String, Vec<String>)>,
    /// Images instead of the vendors' newest, by system.
    pub images: Vec<(String, String)>,
    /// Without it, no balancer is created.
    pub agent: Option<Agent>,
}

/// Does all experiments.
pub async fn all(progress: &Progress<'_>, choice: &Choice) -> Result<()> {
    let Progress { aws, run, .. } = *progress;
    let site = match &choice.site {
        Some((vpc, subnets)) => site::read(&aws.ec2, run, vpc, subnets).await?,
        None => site::make(&aws.ec2, run, &aws.region).await?,
    };
    say!("the probes run in {}", site.vpc);
    let stage = probes::stage(aws, run, &site).await?;
    let a = echo(progress, &stage, "a", "ubuntu", choice).await?;
    let b = echo(progress, &stage, "b", "debian", choice).await?;
    stage.route(&a).await?;
    let echoes = [a, b];
    let prober = stage.prober(&echoes, &image(choice, "al2023"), choice.agent.is_some()).await?;
    say!("launched {} {} {}; waiting for their answers", echoes[0].id, echoes[1].id, prober.id);
    let all = [("a", &echoes[0]), ("b", &echoes[1]), ("prober", &prober)];
    progress.until(&all, &["prober.done"]).await?;
    match &choice.agent {
        Some(agent) => whole_way::go(progress, &site, &echoes, &prober, agent).await,
        None => {
            progress.add("whole.create", Err(anyhow!("needs --agent-url and --agent-sha256")));
            Ok(())
        }
    }
}

fn image(choice: &Choice, system: &str) -> String {
    let chosen = choice.images.iter().find(|(name, _)| name == system).map(|(_, image)| image.as_str());
    let newest = IMAGES.iter().find(|(name, _)| *name == system).map(|(_, image)| *image);
    chosen.or(newest).unwrap_or_default().to_owned()
}

/// Launches an echo with its system, or with Amazon Linux if that image can't be launched.
async fn echo(progress: &Progress<'_>, stage: &Stage<'_>, name: &str, system: &str, choice: &Choice) -> Result<Probe> {
    let subnet = usize::from(name == "b");
    match stage.echo(name, subnet, &image(choice, system)).await {
        Err(error) => {
            progress.add(&format!("{system}.launch"), Err(error));
            stage.echo(name, subnet, &image(choice, "al2023")).await
        }
        launched => launched,
    }
}
