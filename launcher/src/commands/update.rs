//! `update`: a balancer that runs becomes what its file says, without a request lost.

use std::io::IsTerminal;
use std::net::Ipv4Addr;

use serde_json::json;
use templates::balancer::NodeConfig;
use templates::files;
use templates::names::TAG_UPDATE;

use crate::assess::Expected;
use crate::aws::{self, Aws};
use crate::check;
use crate::cli::{Cli, Update};
use crate::discover::discover;
use crate::failure::{Failure, check_name, looking, read_balancer};
use crate::observe::observe;
use crate::output::{self, Output, progress::Progress};
use crate::resources::launch_template;
use crate::update::against::{Force, against};
use crate::update::difference::{Scene, coloured, difference};
use crate::update::hold::{begin, end};
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
    let observed = observe(&aws, &name).await.map_err(looking)?;
    let Some(template) = observed.template.clone() else {
        let hint = args.file.as_ref().map(|file| format!(": `launcher create {}` makes it", file.display()));
        let line = format!("there is no balancer named {name:?} in {}{}", aws.region, hint.unwrap_or_default());
        return Err(Failure::bad_input(line));
    };
    let vpc = new.as_ref().map(|new| new.vpc.clone()).or(template.tags.vpc().map(str::to_owned)).unwrap_or_default();
    let foreign = check::foreign(&name, &vpc, &observed);
    if !foreign.is_empty() {
        return Err(Failure::BadInput(foreign));
    }
    let versions = launch_template::versions(&aws.ec2, &template.id).await?;
    if args.versions.is_some() {
        return super::versions::show(cli, &name, &template, &versions, &observed);
    }
    let (new, version) = match new {
        Some(new) => (new, None),
        None => super::versions::previous(&name, &template, &versions).map(|(new, version)| (new, Some(version)))?,
    };
    let place = discover(&aws, &new).await.map_err(looking)?;
    let found = Found { template, versions, observed, place };
    let known = Known::of(new, version, found, &aws.region).map_err(Failure::BadInput)?;
    let force = if args.force { Force::Yes } else { Force::No };
    let mut problems = against(&known, force);
    if !(args.take_over || args.dry_run) {
        problems.extend(another(&known));
    }
    if !problems.is_empty() {
        return Err(Failure::BadInput(problems));
    }
    if args.dry_run {
        return dry_run(cli, &known);
    }
    carry_out(cli, args, &aws, &known).await
}

/// Another update that is under way.
fn another(known: &Known) -> Option<String> {
    let other = Lease::in_the_way(known.template.tags.get(TAG_UPDATE))?;
    Some(format!(
        "an update of {} is under way, {}: wait for it, or take over with --take-over if you know that it is dead",
        known.new.name,
        other.described()
    ))
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
    let colour = cli.output == Output::Text
        && std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    for file in &files {
        let diff = if colour { coloured(&file.diff) } else { file.diff.clone() };
        text.push_str(&format!("\n\n{}\n{}", file.file, diff.trim_end()));
    }
    let mut document = known.document("dry-run", &changes);
    document["files"] = json!(files);
    output::result(cli.output, &document, &text)
}

async fn carry_out(cli: &Cli, args: &Update, aws: &Aws, known: &Known) -> Result<(), Failure> {
    if known.is_done() {
        let text = format!("{}: nothing changes", known.new.name);
        return output::result(cli.output, &known.document("unchanged", &[]), &text);
    }
    let progress = Progress::new();
    let (name, revision) = (&known.new.name, &known.desired.revision);
    progress.say(&format!("{name}: from revision {} to {revision}", known.old.revision()));
    if known.replaces() {
        let why = known.because().join(", ");
        progress.say(&format!("nodes are replaced one at a time, the active ones last, because of {why}"));
    }
    let lease = Lease::mine();
    begin(aws, &known.template.id, &lease).await?;
    let mut roll = Roll { aws, known, lease, timeout: args.timeout, progress: &progress, changes: Vec::new() };
    let outcome = roll.all().await;
    // Whatever came of it, this one isn't at work any more.
    let ended = end(aws, &known.template.id, &roll.lease).await;
    outcome?;
    ended?;
    let expected = Expected::from(&NodeConfig::of(&known.new));
    let status = until_served(aws, name, &known.new.vpc, &expected, args.timeout, &progress).await?;
    progress.clear();
    let mut document = known.document("updated", &roll.changes);
    document["status"] = json!(status);
    output::result(cli.output, &document, &format!("{name} is updated, revision {revision}"))
}
