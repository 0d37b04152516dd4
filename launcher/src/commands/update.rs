//! `update`: changes a running balancer to match its file, without losing a request.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::net::Ipv4Addr;

use serde_json::json;
use templates::balancer::NodeConfig;
use templates::{Balancer, files};

use crate::apply::wait::until_served;
use crate::assess::Expected;
use crate::aws::{self, Aws};
use crate::cli::{Cli, Update};
use crate::commands::by_hand;
use crate::model::discover::discover;
use crate::model::observe::observe;
use crate::output::failure::{Failure, check_name, looking, read_balancer};
use crate::output::{self, Output, progress::Progress};
use crate::plan::Change;
use crate::preflight;
use crate::resources::launch_template;
use crate::until_interrupted;
use crate::update::against::against;
use crate::update::difference::{Scene, coloured, difference};
use crate::update::hold::{begin, beside, end, free};
use crate::update::known::{Found, Image, Intent, Known};
use crate::update::lease::Lease;
use crate::update::next::{Force, Goal};
use crate::update::roll::Roll;
use crate::update::steps::{Step, steps};

/// The plan after a completed plan is empty, unless another program changed the balancer meanwhile.
const ROUNDS: usize = 20;

pub async fn run(cli: &Cli, args: &Update) -> Result<(), Failure> {
    let Some((asked, known)) = until_interrupted(prepare(cli, args)).await? else { return Ok(()) };
    let steps = steps(&known);
    if args.dry_run {
        return dry_run(cli, &known, &steps);
    }
    if steps.is_empty() {
        return unchanged(cli, &known);
    }
    carry_out(cli, &asked, &known.template.id).await
}

/// The request and a checked snapshot; nothing after `--versions`.
async fn prepare<'a>(cli: &Cli, args: &'a Update) -> Result<Option<(Asked<'a>, Known)>, Failure> {
    let new = args.file.as_ref().map(|file| {
        let balancer = read_balancer(file)?;
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
    let known = asked.known(&asked.intent(&found)?, found).await?;
    known.observed.asides.iter().for_each(|line| output::warn(line));
    asked.check(&known).await?;
    Ok(Some((asked, known)))
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
    async fn look(&self) -> Result<Found, Failure> {
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
        Ok(Found { template, versions, observed })
    }

    /// The wanted balancer: that of the file, or of the version before.
    fn intent(&self, found: &Found) -> Result<Intent, Failure> {
        let Some(new) = self.new.clone() else { return super::versions::previous(&self.name, found) };
        let image = if self.args.new_image { Image::Newest } else { Image::Pinned };
        Ok(Intent { new, image, note: None })
    }

    async fn known(&self, intent: &Intent, found: Found) -> Result<Known, Failure> {
        let place = discover(&self.aws, &intent.new).await.map_err(looking)?;
        let force = if self.args.force { Force::Yes } else { Force::No };
        let goal = Goal { without: self.args.without.clone(), force };
        Known::of(intent, goal, found, place).map_err(Failure::BadInput)
    }

    /// Runs the preflight checks, and refuses the update if one fails.
    async fn check(&self, known: &Known) -> Result<(), Failure> {
        let problems = against(known);
        if problems.is_empty() {
            return Ok(());
        }
        if !self.args.force {
            by_hand::show(&self.aws, &known.template, &known.cidrs).await?;
        }
        Err(Failure::BadInput(problems))
    }
}

fn dry_run(cli: &Cli, known: &Known, steps: &[Step]) -> Result<(), Failure> {
    let changes: Vec<Change> = steps.iter().flat_map(|step| step.changes(known)).collect();
    let members: Vec<Ipv4Addr> = known.observed.live().filter_map(|node| node.address.as_ref()?.parse().ok()).collect();
    let scene = Scene { region: &known.region, cidrs: &known.cidrs, members: &members };
    let files = difference(&known.old, &known.new, &scene);
    let mut text = match changes.len() {
        0 => format!("{}: nothing changes", known.new.name),
        _ => format!("{}: update would", known.new.name),
    };
    if !changes.is_empty() && known.replaces() {
        text.push_str(&format!(" replace nodes, because of {}:", known.because().join(", ")));
    }
    for change in &changes {
        text.push_str(&format!("\n  {}", change.what));
    }
    let warning = known.warning();
    text.extend(warning.iter().map(|warning| format!("\nwarning: {warning}")));
    let colour = cli.output == Output::Text
        && std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    for file in &files {
        text.push_str(&format!("\n\n{}\n{}", file.file, file.diff.trim_end()));
    }
    for note in known.notes() {
        text.push_str(&format!("\n{note}"));
    }
    let mut document = known.document("dry-run", &changes);
    document["files"] = json!(files);
    if let Some(warning) = warning {
        document["warning"] = json!(warning);
    }
    match colour {
        true => output::print_painted(&text, coloured),
        false => output::result(cli.output, &document, &text),
    }
}

fn unchanged(cli: &Cli, known: &Known) -> Result<(), Failure> {
    let mut text = format!("{}: nothing changes", known.new.name);
    for note in known.notes() {
        text.push_str(&format!("\n{note}"));
    }
    output::result(cli.output, &known.document("unchanged", &[]), &text)
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
        beside(aws, template, &lease, roll(asked, &lease, &progress)).await
    };
    let outcome = until_interrupted(work).await;
    // Release the lease, also after a failure.
    let ended = end(aws, template, &lease.into_inner()).await;
    let (known, changes) = outcome?;
    ended?;
    if changes.is_empty() {
        return unchanged(cli, &known);
    }
    let expected = Expected { without: args.without.clone(), ..Expected::from(&NodeConfig::of(&known.new)) };
    let served = until_served(aws, &known.new.name, &known.new.vpc, &expected, args.timeout, &progress);
    let status = until_interrupted(served).await?;
    progress.clear();
    let mut document = known.document("updated", &changes);
    document["status"] = json!(status);
    let text = format!("{} is updated, revision {}", known.new.name, known.desired.revision);
    output::result(cli.output, &document, &text)
}

/// Plans and runs until nothing is left to do: once, unless another program changes the balancer meanwhile. Returns the first
/// snapshot and the changes.
async fn roll(asked: &Asked<'_>, lease: &RefCell<Lease>, progress: &Progress) -> Result<(Known, Vec<Change>), Failure> {
    let found = asked.look().await?;
    let intent = asked.intent(&found)?;
    let first = asked.known(&intent, found).await?;
    asked.check(&first).await?;
    let (mut changes, mut later) = (Vec::new(), None);
    for round in 0.. {
        let known = later.as_ref().unwrap_or(&first);
        let steps = steps(known);
        if steps.is_empty() {
            break;
        }
        match round {
            0 => announce(&first, &intent, progress),
            ROUNDS => return Err(Failure::Failed(endless(known, &steps))),
            _ => {}
        }
        let mut roll = Roll {
            aws: &asked.aws,
            known,
            lease,
            order: known.order(),
            boots: known.baseline(),
            defaults: known.template.defaults(),
            proven: known.target() == Some(known.template.version),
            timeout: asked.args.timeout,
            progress,
            changes: Vec::new(),
        };
        roll.all(&steps).await?;
        changes.append(&mut roll.changes);
        later = Some(asked.known(&intent, asked.look().await?).await?);
    }
    Ok((first, changes))
}

fn announce(known: &Known, intent: &Intent, progress: &Progress) {
    intent.note.iter().for_each(|note| progress.say(note));
    known.warning().iter().for_each(|warning| progress.say(&format!("warning: {warning}")));
    let (name, revision) = (&known.new.name, &known.desired.revision);
    progress.say(&format!("{name}: from revision {} to {revision}", known.old.revision()));
    if known.replaces() {
        let how = match known.group() {
            Some(group) => format!("by Auto Scaling group {}, new nodes first", group.name),
            None if known.never_served() => "all at once".to_owned(),
            None => "one at a time, active nodes last".to_owned(),
        };
        progress.say(&format!("replacing nodes {how}, because of {}", known.because().join(", ")));
    }
}

fn endless(known: &Known, steps: &[Step]) -> anyhow::Error {
    let left: Vec<String> = steps.iter().flat_map(|step| step.changes(known)).map(|change| change.what).collect();
    anyhow::anyhow!(
        "{}: changes keep being undone; is another tool changing the balancer? Still to do: {}",
        known.new.name,
        left.join(", ")
    )
}
