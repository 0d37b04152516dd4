//! `update`: a balancer that runs becomes what its file says, without a request lost.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::net::Ipv4Addr;

use serde_json::json;
use templates::balancer::NodeConfig;
use templates::names::TAG_UPDATE;
use templates::{Balancer, files};

use crate::assess::Expected;
use crate::aws::{self, Aws};
use crate::check;
use crate::cli::{Cli, Update};
use crate::discover::discover;
use crate::failure::{Failure, check_name, looking, read_balancer};
use crate::observe::{Observed, observe};
use crate::output::{self, Output, progress::Progress};
use crate::plan::Change;
use crate::resources::launch_template::{self, Template, Version};
use crate::update::against::{Force, against};
use crate::update::difference::{Scene, coloured, difference};
use crate::update::goal::{Goal, Image};
use crate::update::hold::{Take, begin, beside, end};
use crate::update::known::{Found, Known};
use crate::update::lease::Lease;
use crate::update::roll::Roll;
use crate::wait::until_served;

/// Updates the balancer.
pub async fn run(cli: &Cli, args: &Update) -> Result<(), Failure> {
    let (new, name) = match (&args.file, &args.rollback, &args.versions) {
        (Some(file), None, None) => {
            let balancer = read_balancer(file)?;
            files::user_data_gzip(&balancer).map_err(|big| super::render::too_big(file, &big))?;
            (Some(balancer.clone()), balancer.name)
        }
        (None, Some(name), None) | (None, None, Some(name)) => (None, name.clone()),
        _ => return Err(Failure::bad_input("name a file, or --rollback NAME, or --versions NAME")),
    };
    check_name(&name)?;
    let aws = aws::connect(&cli.account()).await?;
    let asked = Asked { aws: &aws, args, name: &name, new: new.as_ref() };
    if args.versions.is_some() {
        let Looked { template, versions, observed } = asked.look().await?;
        return super::versions::show(cli, &name, &template, &versions, &observed);
    }
    let (known, _) = asked.know().await?;
    known.observed.asides.iter().for_each(|line| output::warn(line));
    let mut problems = against(&known, asked.force());
    if !(args.take_over || args.dry_run) {
        let other = Lease::in_the_way(known.template.tags.get(TAG_UPDATE));
        problems.extend(other.map(|other| other.refusal(&name)));
    }
    if !problems.is_empty() {
        return Err(Failure::BadInput(problems));
    }
    if args.dry_run {
        return dry_run(cli, &known);
    }
    if known.is_done() {
        return unchanged(cli, &known);
    }
    carry_out(cli, &asked, &known.template.id).await
}

/// What was asked for, of whom.
struct Asked<'a> {
    aws: &'a Aws,
    args: &'a Update,
    name: &'a str,
    /// What the file says, if one was named.
    new: Option<&'a Balancer>,
}

/// What there is.
struct Looked {
    template: Template,
    versions: Vec<Version>,
    observed: Observed,
}

impl Asked<'_> {
    async fn look(&self) -> Result<Looked, Failure> {
        let Asked { aws, args, name, new } = *self;
        let observed = observe(aws, name).await.map_err(looking)?;
        let Some(template) = observed.template.clone() else {
            let hint = args.file.as_ref().map(|file| format!(": `launcher create {}` makes it", file.display()));
            let line = format!("there is no balancer named {name:?} in {}{}", aws.region, hint.unwrap_or_default());
            return Err(Failure::bad_input(line));
        };
        let vpc = new.map(|new| new.vpc.clone()).or(template.tags.vpc().map(str::to_owned)).unwrap_or_default();
        let foreign = check::foreign(name, &vpc, &observed);
        if !foreign.is_empty() {
            return Err(Failure::BadInput(foreign));
        }
        let versions = launch_template::versions(&aws.ec2, &template.id).await?;
        Ok(Looked { template, versions, observed })
    }

    /// The whole picture, and what has to be said about it.
    async fn know(&self) -> Result<(Known, Option<String>), Failure> {
        let Looked { template, versions, observed } = self.look().await?;
        let (new, image, note) = match self.new {
            Some(new) if self.args.new_image => (new.clone(), Image::Newest, None),
            Some(new) => (new.clone(), Image::Pinned, None),
            None => {
                let back = super::versions::previous(self.name, &template, &versions, &observed)?;
                (back.balancer, Image::Of(back.version), back.note)
            }
        };
        let place = discover(self.aws, &new).await.map_err(looking)?;
        let found = Found { template, versions, observed, place };
        let goal = Goal { image, without: self.args.without.clone() };
        Ok((Known::of(new, goal, found, &self.aws.region).map_err(Failure::BadInput)?, note))
    }

    fn force(&self) -> Force {
        if self.args.force { Force::Yes } else { Force::No }
    }
}

fn dry_run(cli: &Cli, known: &Known) -> Result<(), Failure> {
    let changes = known.planned();
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

/// Takes the lease, looks again, as somebody else may have been at work until then, and does it.
async fn carry_out(cli: &Cli, asked: &Asked<'_>, template: &str) -> Result<(), Failure> {
    let Asked { aws, args, name, .. } = *asked;
    let lease = RefCell::new(Lease::mine());
    let take = if args.take_over { Take::Over } else { Take::Free };
    let progress = Progress::new();
    let mine = lease.borrow().clone();
    let outcome = match begin(aws, name, template, &mine, take).await {
        Ok(()) => beside(aws, template, &lease, roll(asked, &lease, &progress)).await,
        Err(failure) => Err(failure),
    };
    // Whatever came of it, this one isn't at work any more.
    let ended = end(aws, template, &lease.into_inner()).await;
    let (known, changes) = outcome?;
    ended?;
    let Some(changes) = changes else { return unchanged(cli, &known) };
    let expected = Expected { without: args.without.clone(), ..Expected::from(&NodeConfig::of(&known.new)) };
    let status = until_served(aws, &known.new.name, &known.new.vpc, &expected, args.timeout, &progress).await?;
    progress.clear();
    let mut document = known.document("updated", &changes);
    document["status"] = json!(status);
    let text = format!("{} is updated, revision {}", known.new.name, known.desired.revision);
    output::result(cli.output, &document, &text)
}

/// Answers what was done, if there was anything to do.
async fn roll(
    asked: &Asked<'_>,
    lease: &RefCell<Lease>,
    progress: &Progress,
) -> Result<(Known, Option<Vec<Change>>), Failure> {
    let (known, note) = asked.know().await?;
    let problems = against(&known, asked.force());
    if !problems.is_empty() {
        return Err(Failure::BadInput(problems));
    }
    if known.is_done() {
        return Ok((known, None));
    }
    note.iter().for_each(|note| progress.say(note));
    known.warning().iter().for_each(|warning| progress.say(&format!("warning: {warning}")));
    let (name, revision) = (&known.new.name, &known.desired.revision);
    progress.say(&format!("{name}: from revision {} to {revision}", known.old.revision()));
    if known.replaces() {
        let how = if known.never_served() { "at once" } else { "one at a time, the active ones last" };
        progress.say(&format!("nodes are replaced {how}, because of {}", known.because().join(", ")));
    }
    let mut roll = Roll {
        aws: asked.aws,
        known: &known,
        lease,
        boots: known.baseline(),
        proven: known.target() == Some(known.template.version),
        force: asked.force(),
        timeout: asked.args.timeout,
        progress,
        changes: Vec::new(),
    };
    let outcome = roll.all().await;
    let changes = std::mem::take(&mut roll.changes);
    outcome.map(|()| (known, Some(changes)))
}
