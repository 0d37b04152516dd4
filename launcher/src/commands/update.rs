//! `update`: changes a running balancer to match its file, without losing a request.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::net::Ipv4Addr;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};
use templates::balancer::NodeConfig;
use templates::{Balancer, files};

use crate::apply::wait::until_served;
use crate::assess::Expected;
use crate::aws::{self, Aws};
use crate::cli::{Cli, Update};
use crate::commands::show_difference;
use crate::listener_probe::{Probed, run::probe};
use crate::model::balancer_file::{read_balancer, read_with_warnings};
use crate::model::discover::discover;
use crate::model::observe::observe;
use crate::output::failure::{Failure, check_name, looking};
use crate::output::{self, Output, progress::Progress};
use crate::plan::Change;
use crate::preflight;
use crate::resources::launch_template;
use crate::until_interrupted;
use crate::update::diff::{Scene, coloured, difference};
use crate::update::execute::RollingUpdate;
use crate::update::in_place::plan::{Force, Goal};
use crate::update::lease::keeper::{begin, beside, end, free};
use crate::update::lease::{DEAD, Lease};
use crate::update::plan::{Step, steps};
use crate::update::refusals::refusals;
use crate::update::snapshot::{Fetched, Image, Intent, Snapshot};

/// The plan after a completed plan is empty, unless another program changed the balancer meanwhile.
const ROUNDS: usize = 20;

pub async fn run(cli: &Cli, args: &Update) -> Result<(), Failure> {
    let Some((asked, snapshot)) = until_interrupted(prepare(cli, args)).await? else { return Ok(()) };
    let steps = steps(&snapshot);
    if args.dry_run {
        return dry_run(cli, &snapshot, &steps);
    }
    if steps.is_empty() {
        let probed = probed(&asked, &snapshot, &Progress::new()).await?;
        return unchanged(cli, &snapshot, probed.as_ref());
    }
    carry_out(cli, &asked, &snapshot.template.id).await
}

/// The request and a checked snapshot; nothing after `--versions`.
async fn prepare<'a>(cli: &Cli, args: &'a Update) -> Result<Option<(Asked<'a>, Snapshot)>, Failure> {
    let new = args.file.as_ref().map(|file| {
        let balancer = match args.keep_agent {
            true => without_agent(file)?,
            false => read_balancer(file)?,
        };
        files::user_data_gzip(&balancer).map_err(|big| super::render::too_big(file, &big))?;
        Ok::<_, Failure>(balancer)
    });
    let new = new.transpose()?;
    let named = args.rollback.as_ref().or(args.versions.as_ref()).cloned();
    let name = new.as_ref().map(|new| new.name.clone()).or(named).unwrap_or_default();
    check_name(&name)?;
    let asked = Asked { aws: aws::connect(&cli.account()).await?, args, name, new };
    let found = asked.look().await?;
    if args.versions.is_some() {
        return super::versions::show(cli, &asked.name, &found).map(|()| None);
    }
    let snapshot = asked.snapshot(&asked.intent(&found)?, found).await?;
    snapshot.observed.asides.iter().for_each(|line| output::warn(line));
    asked.check(&snapshot).await?;
    Ok(Some((asked, snapshot)))
}

/// The file's balancer, which gets the agents of the running one.
fn without_agent(file: &Path) -> Result<Balancer, Failure> {
    let (balancer, _) = read_with_warnings(file)?;
    match balancer.uses_bucket() {
        true => Ok(balancer),
        false => Err(Failure::bad_input(format!(
            "{}: [agent] names an agent, and --keep-agent asks for the balancer's: remove one of them",
            file.display()
        ))),
    }
}

/// What the operator asked for.
struct Asked<'a> {
    aws: Aws,
    args: &'a Update,
    name: String,
    /// The balancer of the file, if a file was given.
    new: Option<Balancer>,
}

impl Asked<'_> {
    async fn look(&self) -> Result<Fetched, Failure> {
        let Asked { aws, args, name, new } = self;
        let observed = observe(aws, name).await.map_err(looking)?;
        let Some(template) = observed.template.clone() else {
            let hint = args.file.as_ref().map(|file| format!("; run `launcher create {}`", file.display()));
            let line = format!("there is no balancer named {name:?} in {}{}", aws.region, hint.unwrap_or_default());
            return Err(Failure::bad_input(line));
        };
        let vpc =
            new.as_ref().map(|new| new.vpc.clone()).or(template.tags.vpc().map(str::to_owned)).unwrap_or_default();
        let foreign = preflight::foreign(name, &vpc, &observed);
        if !foreign.is_empty() {
            return Err(Failure::BadInput(foreign));
        }
        let versions = launch_template::versions(&aws.ec2, &template.id).await?;
        Ok(Fetched { template, versions, observed })
    }

    /// The wanted balancer: that of the file, or of the version before.
    fn intent(&self, found: &Fetched) -> Result<Intent, Failure> {
        let Some(mut new) = self.new.clone() else { return super::versions::previous(&self.name, found) };
        if let Some(config) = found.observed.config().filter(|_| self.args.keep_agent) {
            (new.agent, new.agents) = (config.balancer.agent, config.balancer.agents);
        }
        let image = if self.args.new_image { Image::Newest } else { Image::Pinned };
        Ok(Intent { new, image, note: None })
    }

    async fn snapshot(&self, intent: &Intent, found: Fetched) -> Result<Snapshot, Failure> {
        let place = discover(&self.aws, &intent.new).await.map_err(looking)?;
        let force = if self.args.force { Force::Yes } else { Force::No };
        let goal = Goal { without: self.args.without.clone(), force };
        Snapshot::of(intent, goal, found, place).map_err(Failure::BadInput)
    }

    /// Runs the preflight checks, and refuses the update if one fails.
    async fn check(&self, snapshot: &Snapshot) -> Result<(), Failure> {
        let problems = refusals(snapshot);
        if problems.is_empty() {
            return Ok(());
        }
        if !self.args.force {
            show_difference::show(&self.aws, &snapshot.template, &snapshot.cidrs).await?;
        }
        Err(Failure::BadInput(problems))
    }
}

fn dry_run(cli: &Cli, snapshot: &Snapshot, steps: &[Step]) -> Result<(), Failure> {
    let changes: Vec<Change> = steps.iter().flat_map(|step| step.changes(snapshot)).collect();
    let members: Vec<Ipv4Addr> =
        snapshot.observed.live().filter_map(|node| node.address.as_ref()?.parse().ok()).collect();
    let scene = Scene { region: &snapshot.region, cidrs: &snapshot.cidrs, members: &members };
    let files = difference(&snapshot.old, &snapshot.new, &scene);
    let mut text = match changes.len() {
        0 => format!("{}: nothing changes", snapshot.new.name),
        _ => format!("{}: update would", snapshot.new.name),
    };
    if !changes.is_empty() && snapshot.replaces() {
        text.push_str(&format!(" replace nodes, because of {}:", snapshot.because().join(", ")));
    }
    for change in &changes {
        text.push_str(&format!("\n  {}", change.what));
    }
    let warning = snapshot.warning();
    text.extend(warning.iter().map(|warning| format!("\nwarning: {warning}")));
    let colour = cli.output == Output::Text
        && std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    for file in &files {
        text.push_str(&format!("\n\n{}\n{}", file.file, file.diff.trim_end()));
    }
    for note in snapshot.notes() {
        text.push_str(&format!("\n{note}"));
    }
    let mut document = snapshot.document("dry-run", &changes);
    document["files"] = json!(files);
    if let Some(warning) = warning {
        document["warning"] = json!(warning);
    }
    match colour {
        true => output::print_painted(&text, coloured),
        false => output::result(cli.output, &document, &text),
    }
}

fn unchanged(cli: &Cli, snapshot: &Snapshot, probed: Option<&Probed>) -> Result<(), Failure> {
    let mut text = format!("{}: nothing changes", snapshot.new.name);
    for note in snapshot.notes() {
        text.push_str(&format!("\n{note}"));
    }
    report(cli, snapshot.document("unchanged", &[]), text, probed)
}

/// Prints the result, with that of the listener probe, and fails if a client wouldn't be served.
fn report(cli: &Cli, mut document: Value, mut text: String, probed: Option<&Probed>) -> Result<(), Failure> {
    if let Some(probed) = probed {
        document["probe"] = json!(probed);
        text.push_str(&format!("\n{}", probed.text(Timestamp::now())));
    }
    output::result(cli.output, &document, &text)?;
    probed.map_or(Ok(()), Probed::outcome)
}

/// The result of the listener probe, if one was asked for.
async fn probed(asked: &Asked<'_>, snapshot: &Snapshot, progress: &Progress) -> Result<Option<Probed>, Failure> {
    if !asked.args.probe {
        return Ok(None);
    }
    let new = &snapshot.new;
    let config = NodeConfig::of(new);
    let probing = async { Ok(probe(&asked.aws, &new.name, &new.vpc, &config, progress).await) };
    until_interrupted(probing).await.map(Some)
}

/// Takes the lease, reads the state again, as another update may have changed it until then, and runs the plan.
async fn carry_out(cli: &Cli, asked: &Asked<'_>, template: &str) -> Result<(), Failure> {
    let Asked { aws, args, name, .. } = asked;
    if !args.take_over {
        until_interrupted(free(aws, name, template)).await?;
    }
    let lease = RefCell::new(Lease::mine());
    let progress = Progress::new();
    let mine = lease.borrow().clone();
    let work = async {
        begin(aws, name, template, &mine).await?;
        beside(aws, template, &lease, update(asked, &lease, &progress)).await
    };
    let outcome = until_interrupted(work).await;
    // Release the lease, also after a failure.
    let ended = end(aws, template, &lease.into_inner()).await;
    let (snapshot, changes) = outcome?;
    if let Err(error) = ended {
        output::warn(&format!("the lease of this update isn't released and ends {} s later: {error}", DEAD.as_secs()));
    }
    if changes.is_empty() {
        let probed = probed(asked, &snapshot, &progress).await?;
        progress.clear();
        return unchanged(cli, &snapshot, probed.as_ref());
    }
    let expected = Expected { without: args.without.clone(), ..Expected::from(&NodeConfig::of(&snapshot.new)) };
    let served = until_served(aws, &snapshot.new.name, &snapshot.new.vpc, &expected, args.timeout, &progress);
    let status = until_interrupted(served).await?;
    let probed = probed(asked, &snapshot, &progress).await?;
    progress.clear();
    let mut document = snapshot.document("updated", &changes);
    document["status"] = json!(status);
    let text = format!("{} is updated, revision {}", snapshot.new.name, snapshot.desired.revision);
    report(cli, document, text, probed.as_ref())
}

/// Plans and runs until nothing is left to do: once, unless another program changes the balancer meanwhile. Returns the first
/// snapshot and the changes.
async fn update(
    asked: &Asked<'_>,
    lease: &RefCell<Lease>,
    progress: &Progress,
) -> Result<(Snapshot, Vec<Change>), Failure> {
    let found = asked.look().await?;
    let intent = asked.intent(&found)?;
    let first = asked.snapshot(&intent, found).await?;
    asked.check(&first).await?;
    let (mut changes, mut later) = (Vec::new(), None);
    for round in 0.. {
        let snapshot = later.as_ref().unwrap_or(&first);
        let steps = steps(snapshot);
        if steps.is_empty() {
            break;
        }
        match round {
            0 => announce(&first, &intent, progress),
            ROUNDS => return Err(Failure::Failed(endless(snapshot, &steps))),
            _ => {}
        }
        let mut update = RollingUpdate {
            aws: &asked.aws,
            snapshot,
            lease,
            order: snapshot.order(),
            boots: snapshot.baseline(),
            defaults: snapshot.template.defaults(),
            proven: snapshot.target() == Some(snapshot.template.version),
            timeout: asked.args.timeout,
            progress,
            changes: Vec::new(),
        };
        update.all(&steps).await?;
        changes.append(&mut update.changes);
        later = Some(asked.snapshot(&intent, asked.look().await?).await?);
    }
    Ok((first, changes))
}

fn announce(snapshot: &Snapshot, intent: &Intent, progress: &Progress) {
    intent.note.iter().for_each(|note| progress.say(note));
    snapshot.warning().iter().for_each(|warning| progress.say(&format!("warning: {warning}")));
    let (name, revision) = (&snapshot.new.name, &snapshot.desired.revision);
    progress.say(&format!("{name}: from revision {} to {revision}", snapshot.old.revision()));
    if snapshot.replaces() {
        let how = match snapshot.group() {
            Some(group) => format!("by Auto Scaling group {}, new nodes first", group.name),
            None if snapshot.never_served() => "all at once".to_owned(),
            None => "one at a time, active nodes last".to_owned(),
        };
        progress.say(&format!("replacing nodes {how}, because of {}", snapshot.because().join(", ")));
    }
}

fn endless(snapshot: &Snapshot, steps: &[Step]) -> anyhow::Error {
    let left: Vec<String> = steps.iter().flat_map(|step| step.changes(snapshot)).map(|change| change.what).collect();
    anyhow::anyhow!(
        "{}: changes keep being undone; is another tool changing the balancer? Still to do: {}",
        snapshot.new.name,
        left.join(", ")
    )
}
