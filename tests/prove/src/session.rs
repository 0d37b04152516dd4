//! A run from the consent to the proof that nothing is left.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use launcher::aws::error::Named;
use launcher::aws::{Account, Aws};

use crate::clean::{self, End};
use crate::cli::Cli;
use crate::experiments::{self, Choice};
use crate::names::{Run, TAG};
use crate::price;
use crate::progress::Progress;
use crate::record::Record;
use crate::remains::{self, Thing};
use crate::say::{complain, say};
use crate::signals::Signals;
use crate::whole_way::Agent;

/// The experiments end after this time, and the clean-up after the rest.
const EXPERIMENTS: Duration = Duration::from_secs(17 * 60);
const CLEANING: Duration = Duration::from_secs(8 * 60);

const EARLY: u8 = 1;
const NO_CONSENT: u8 = 2;
const LEFT: u8 = 4;

/// Does what the command line says.
pub async fn run(cli: &Cli) -> Result<ExitCode> {
    let aws = launcher::aws::connect(&Account::default()).await;
    let aws = aws.map_err(|failure| anyhow!(failure.lines().join("; ")))?;
    if let Some(id) = &cli.clean {
        let run = Run::of(id)?;
        let left = clean(&aws, &run, &mut Signals::open()?).await;
        return Ok(if is_empty(&left) { ExitCode::SUCCESS } else { ExitCode::from(LEFT) });
    }
    let run = Run::new();
    announce(&aws, &run, cli).await?;
    if !cli.yes && !consent().await? {
        say!("nothing was made");
        return Ok(ExitCode::from(NO_CONSENT));
    }
    let mut signals = Signals::open()?;
    let progress = Progress::new(&aws, &run);
    let choice = choice(cli);
    let started = jiff::Timestamp::now();
    let ended = tokio::select! {
        outcome = experiments::all(&progress, &choice) => outcome.err().map(|error| format!("{error:#}")),
        () = tokio::time::sleep(EXPERIMENTS) => Some(format!("{} minutes were over", EXPERIMENTS.as_secs() / 60)),
        () = signals.next() => Some("interrupted".to_owned()),
    };
    if let Some(why) = &ended {
        say!("the experiments ended early: {why}");
    }
    let (region, findings) = (aws.region.clone(), progress.findings().clone());
    let mut record = Record { run: run.id.clone(), region, endpoint: endpoint(), started, ended, findings, left: None };
    // Before the clean-up, so that its end can't lose the answers.
    let written = record.write(&cli.out);
    record.left = clean(&aws, &run, &mut signals).await;
    let files = written.and_then(|_| record.write(&cli.out))?;
    say!("\n{}\nwritten to {} and {}", record.markdown(), files[0].display(), files[1].display());
    Ok(match (is_empty(&record.left), record.ended) {
        (false, _) => ExitCode::from(LEFT),
        (true, Some(_)) => ExitCode::from(EARLY),
        (true, None) => ExitCode::SUCCESS,
    })
}

fn is_empty(left: &Option<Vec<Thing>>) -> bool {
    left.as_ref().is_some_and(Vec::is_empty)
}

fn choice(cli: &Cli) -> Choice {
    let agent = cli.agent_url.clone().zip(cli.agent_sha256.clone());
    Choice {
        site: cli.vpc.clone().map(|vpc| (vpc, cli.subnets.clone())),
        images: cli.images.clone(),
        agent: agent.map(|(url, sha256)| Agent { url, sha256 }),
    }
}

/// The address that AWS's SDKs are told to use instead of AWS's own.
fn endpoint() -> Option<String> {
    let set = |key: &str| std::env::var(key).ok().filter(|address| !address.is_empty());
    set("AWS_ENDPOINT_URL_EC2").or_else(|| set("AWS_ENDPOINT_URL"))
}

/// Prints what the run makes, for how long, and what it costs.
async fn announce(aws: &Aws, run: &Run, cli: &Cli) -> Result<()> {
    let caller = aws.sts.get_caller_identity().send().await.named("sts:GetCallerIdentity", "the caller")?;
    let most = EXPERIMENTS + CLEANING;
    let parts = price::parts(cli.agent_url.is_some());
    say!("run {} as {} in {}", run.id, caller.arn().unwrap_or_default(), aws.region);
    say!("It makes, and removes at its end:");
    match &cli.vpc {
        Some(vpc) => say!("- in {vpc}: a route to {}", run.virtual_ip()),
        None => say!("- a VPC with two subnets and an internet gateway"),
    }
    say!("- a security group, a role and an instance profile {}, and three instances", run.name());
    if cli.agent_url.is_some() {
        say!("- by `launcher create`: the balancer {} with two instances", run.balancer());
    }
    say!("All of it has the tag {TAG}={}; the balancer has Elbow's tags.", run.id);
    say!("It takes at most {} minutes, and costs at most, at us-east-1's prices:", most.as_secs() / 60);
    parts.iter().filter(|part| part.cost(most) > 0.0).for_each(|part| say!("  {}", part.line(most)));
    say!("  {:.4} USD  together", price::total(&parts, most));
    say!("If this program is killed, remove the rest by: prove --clean {}", run.id);
    Ok(())
}

/// Whether the reader types `yes`.
async fn consent() -> Result<bool> {
    let mut out = std::io::stdout();
    out.write_all(b"Type yes to go on: ").and_then(|()| out.flush()).context("writing the prompt")?;
    let read = || {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line.trim() == "yes")
    };
    tokio::task::spawn_blocking(read).await?.context("reading the answer")
}

/// Removes everything. A signal ends that: then it prints what is left, and the command that goes on. None if the rest is
/// unknown.
async fn clean(aws: &Aws, run: &Run, signals: &mut Signals) -> Option<Vec<Thing>> {
    say!("removing everything of run {}; Ctrl-C again leaves the rest", run.id);
    let end = tokio::select! {
        end = clean::all(aws, run, CLEANING) => end,
        () = signals.next() => match remains::list(aws, run).await {
            Ok(left) => End { left: Some(left), errors: vec!["interrupted".to_owned()] },
            Err(error) => End { left: None, errors: vec![format!("interrupted; listing what is left: {error:#}")] },
        }
    };
    end.errors.iter().for_each(|error| complain!("prove: {error}"));
    match end.left.as_deref() {
        Some([]) => say!("nothing is left of run {}", run.id),
        left => {
            left.into_iter().flatten().for_each(|thing| complain!("prove: left: {thing}"));
            complain!("prove: remove the rest by: prove --clean {}", run.id);
        }
    }
    end.left
}
