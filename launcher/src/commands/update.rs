//! `update`: a balancer that runs becomes what its file says, without a request lost.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::json;
use templates::balancer::NodeConfig;
use templates::names::{TAG_PREVIOUS, TAG_UPDATE};
use templates::{Balancer, Order, files};

use crate::assess::Expected;
use crate::aws::{self, Aws};
use crate::check;
use crate::cli::{Cli, Update};
use crate::desired::Desired;
use crate::discover::{Surroundings, discover};
use crate::failure::{Failure, check_name, looking, read_balancer};
use crate::observe::{Observed, observe};
use crate::output::{self, Output, progress::Progress};
use crate::plan::Change;
use crate::resources::launch_template::{self, Template, Version};
use crate::resources::route_tables::{self, left_behind};
use crate::update::difference::{Scene, coloured, difference};
use crate::update::lease::Lease;
use crate::update::next::running;
use crate::update::roll::{Roll, begin, end};
use crate::update::settings::Settings;
use crate::wait::until_served;

/// What is to be, and all that is known of what is.
struct Known {
    new: Balancer,
    old: Balancer,
    template: Template,
    versions: Vec<Version>,
    observed: Observed,
    place: Surroundings,
    /// The version that is to be run, if it is there already.
    version: Option<i64>,
    desired: Desired,
}

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
        None => previous(&name, &template, &versions).map(|(new, version)| (new, Some(version)))?,
    };
    let place = discover(&aws, &new).await.map_err(looking)?;
    let known = known(&aws, args, new, version, template, versions, observed, place)?;
    if args.dry_run {
        return known.dry_run(cli, &aws);
    }
    known.carry_out(cli, args, &aws).await
}

/// The version that was the default before.
fn previous(name: &str, template: &Template, versions: &[Version]) -> Result<(Balancer, i64), Failure> {
    let order = template.tags.get(TAG_PREVIOUS).and_then(|tag| tag.parse::<Order>().ok());
    let order = order.filter(|order| order.version != template.version);
    let Some(order) = order else {
        return Err(Failure::bad_input(format!("{name} has no version to go back to: it was never updated")));
    };
    let version = versions.iter().find(|version| version.number == order.version);
    let config = version.and_then(|version| files::read_back(&version.contents.user_data).ok());
    match config.filter(|config| config.revision == order.revision) {
        Some(config) => Ok((config.balancer, order.version)),
        None => Err(Failure::bad_input(format!(
            "{name} can't go back: version {} of launch template {} isn't there, or doesn't hold revision {}",
            order.version, template.name, order.revision
        ))),
    }
}

#[expect(clippy::too_many_arguments, reason = "what was looked up, each by a call of its own")]
fn known(
    aws: &Aws,
    args: &Update,
    new: Balancer,
    version: Option<i64>,
    template: Template,
    versions: Vec<Version>,
    observed: Observed,
    place: Surroundings,
) -> Result<Known, Failure> {
    let mut problems = check::surroundings(&new, &place, &observed);
    let old = match files::read_back(&template.contents.user_data) {
        Ok(config) => Some(config.balancer),
        Err(error) => {
            problems.push(format!(
                "version {} of launch template {}, which nodes boot, can't be read ({:#}): it was made by a newer Elbow, or by \
                 hand",
                template.version,
                template.name,
                anyhow::Error::new(error)
            ));
            None
        }
    };
    let user_data = files::user_data_gzip(&new).map_err(|big| Failure::bad_input(big.to_string()))?;
    let cidrs: Vec<Ipv4Net> = place.vpc.as_ref().map(|vpc| vpc.cidrs.clone()).unwrap_or_default();
    let desired = Desired::of(&new, &aws.region, &cidrs, &template.contents.image, &user_data);
    if let Some(old) = &old {
        problems.extend(fixed(old, &new));
        if !args.force {
            problems.extend(by_hand(&template, old, &desired, &observed));
            problems.extend(missing(&new, &observed));
        }
    }
    if let Some(other) = Lease::in_the_way(template.tags.get(TAG_UPDATE)).filter(|_| !args.take_over && !args.dry_run) {
        problems.push(format!(
            "an update of {} is under way, {}: wait for it, or take over with --take-over if you know that it is dead",
            new.name,
            other.described()
        ));
    }
    match old {
        Some(old) if problems.is_empty() => {
            Ok(Known { new, old, template, versions, observed, place, version, desired })
        }
        _ => Err(Failure::BadInput(problems)),
    }
}

/// What can't be changed on nodes that run.
fn fixed(old: &Balancer, new: &Balancer) -> Vec<String> {
    let mut problems = Vec::new();
    let keys = old.needs_new_nodes(new);
    if !keys.is_empty() {
        problems.push(format!(
            "{} differs in {}: for that it takes new nodes, and update changes running ones only; `launcher destroy` and \
             `launcher create` make it anew",
            new.name,
            keys.join(", ")
        ));
    }
    if !old.updates.in_place {
        problems.push(format!(
            "{} runs with [updates] in_place = false: its nodes don't change while they run; `launcher destroy` and \
             `launcher create` make it anew",
            new.name
        ));
    }
    problems
}

/// What somebody changed in the launch template.
fn by_hand(template: &Template, old: &Balancer, desired: &Desired, observed: &Observed) -> Vec<String> {
    let called = format!("version {} of launch template {}, which nodes boot,", template.version, template.name);
    let undo = "set the version that Elbow made as the default, or go on with --force";
    let mut problems = Vec::new();
    if template.revision != old.revision().0 {
        problems.push(format!(
            "{called} is described as {:?} and holds revision {}: somebody changed it by hand; {undo}",
            template.revision,
            old.revision()
        ));
    }
    let group = observed.group(&desired.vpc).map(|group| group.id.clone()).unwrap_or_default();
    let wanted = desired.contents(&group, Some(&template.contents.image));
    let there = &template.contents;
    let differing = [
        ("instance type", there.instance_type != old.instance_type),
        ("security groups", there.groups != wanted.groups),
        ("instance profile", there.profile != wanted.profile),
        ("metadata options", there.metadata != wanted.metadata),
    ];
    let differing: Vec<&str> = differing.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what).collect();
    if !differing.is_empty() {
        problems.push(format!("{called} has other {} than Elbow gave it; {undo}", differing.join(", ")));
    }
    problems
}

/// Without a standby there is nobody to try a revision on.
fn missing(new: &Balancer, observed: &Observed) -> Vec<String> {
    let running: BTreeSet<_> =
        observed.live().filter(|node| node.state == "running").filter_map(|node| node.slot()).collect();
    let slots = (0..new.subnets.len()).map(|slot| templates::Slot(slot as u8));
    let missing = slots.filter(|slot| !running.contains(slot));
    missing
        .map(|slot| {
            format!("node {slot} doesn't run: `launcher create` with the file that it has now, or go on with --force")
        })
        .collect()
}

impl Known {
    fn cidrs(&self) -> Vec<Ipv4Net> {
        self.place.vpc.as_ref().map(|vpc| vpc.cidrs.clone()).unwrap_or_default()
    }

    /// The version that holds what is to be run, if one does.
    fn target(&self) -> Option<i64> {
        let group = self.observed.group(&self.new.vpc)?;
        let wanted = self.desired.contents(&group.id, Some(&self.template.contents.image));
        let holds = |version: &&Version| version.revision == self.desired.revision.0 && version.contents == wanted;
        let same = self.versions.iter().filter(holds).map(|version| version.number);
        let default = same.clone().find(|number| *number == self.template.version);
        self.version.or(default).or_else(|| same.max())
    }

    /// Routes to the balancer's nodes that are no virtual IP's of the new revision.
    fn stale_routes(&self, tables: &[route_tables::Table]) -> Vec<(String, String)> {
        let configs = self.versions.iter().filter_map(|version| files::read_back(&version.contents.user_data).ok());
        let vips: BTreeSet<Ipv4Addr> = configs.flat_map(|config| config.balancer.virtual_ips).collect();
        let gone: Vec<Ipv4Addr> = vips.into_iter().filter(|vip| !self.new.virtual_ips.contains(vip)).collect();
        let destinations: BTreeSet<String> = gone.iter().map(|vip| format!("{vip}/32")).collect();
        let routes = left_behind(tables, &gone, &self.observed.interfaces());
        routes.into_iter().filter(|(_, destination)| destinations.contains(destination)).collect()
    }

    /// Whether there is nothing to do.
    fn is_done(&self, region: &str, target: Option<i64>) -> bool {
        let narrower = Settings::narrower(&self.new, region, &self.cidrs(), &self.observed);
        let wider = Settings::wider(&self.old, &self.new, region, &self.cidrs(), &self.observed);
        target == Some(self.template.version)
            && self.observed.live().all(|node| running(node) == Some(&self.desired.revision.0))
            && narrower == Settings::default()
            && wider == Settings::default()
            && self.stale_routes(&self.place.tables).is_empty()
    }

    fn planned(&self, region: &str) -> Vec<Change> {
        let target = self.target();
        let mut changes = Vec::new();
        let mut add = |action, what: String| changes.push(Change { action, what });
        let revision = &self.desired.revision;
        if self.is_done(region, target) {
            return changes;
        }
        if target.is_none() {
            let name = &self.template.name;
            add(
                "create-launch-template-version",
                format!("add a version of revision {revision} to launch template {name}"),
            );
        }
        let pending = self.observed.live().filter(|node| running(node) != Some(&revision.0));
        let mut pending: Vec<_> = pending.collect();
        pending.sort_by_key(|node| crate::update::next::active(node));
        for node in pending {
            add("tell", format!("tell {} to run revision {revision}", crate::update::roll::called(node)));
        }
        if target != Some(self.template.version) {
            add("set-default", "make that version the one that nodes boot".to_owned());
        }
        for (table, destination) in self.stale_routes(&self.place.tables) {
            add("delete-route", format!("delete route {destination} in {table}"));
        }
        changes
    }

    fn dry_run(&self, cli: &Cli, aws: &Aws) -> Result<(), Failure> {
        let changes = self.planned(&aws.region);
        let cidrs = self.cidrs();
        let members: Vec<Ipv4Addr> =
            self.observed.live().filter_map(|node| node.address.as_ref()?.parse().ok()).collect();
        let scene = Scene { region: &aws.region, cidrs: &cidrs, members: &members };
        let files = difference(&self.old, &self.new, &scene);
        let mut text = match changes.len() {
            0 => format!("{}: nothing changes", self.new.name),
            _ => format!("{}: update would", self.new.name),
        };
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
        let mut document = self.document(aws, "dry-run", &changes);
        document["files"] = json!(files);
        output::result(cli.output, &document, &text)
    }

    fn document(&self, aws: &Aws, outcome: &str, changes: &[Change]) -> serde_json::Value {
        json!({
            "outcome": outcome, "balancer": self.new.name, "region": aws.region, "revision": self.desired.revision,
            "from": self.old.revision(), "changes": changes,
        })
    }

    async fn carry_out(self, cli: &Cli, args: &Update, aws: &Aws) -> Result<(), Failure> {
        let target = self.target();
        if self.is_done(&aws.region, target) {
            let text = format!("{}: nothing changes", self.new.name);
            return output::result(cli.output, &self.document(aws, "unchanged", &[]), &text);
        }
        let progress = Progress::new();
        progress.say(&format!("{}: from revision {} to {}", self.new.name, self.old.revision(), self.desired.revision));
        let lease = Lease::mine();
        begin(aws, &self.template.id, &lease).await?;
        let cidrs = self.cidrs();
        let mut roll = Roll {
            aws,
            old: &self.old,
            baseline: Order { version: self.template.version, revision: self.old.revision() },
            new: &self.new,
            cidrs: &cidrs,
            template: &self.template.id,
            global_name: &self.desired.global_name,
            lease,
            timeout: args.timeout,
            progress: &progress,
            changes: Vec::new(),
        };
        let outcome = self.steps(&mut roll, target).await;
        let changes = std::mem::take(&mut roll.changes);
        // Whatever came of it, nobody is at work any more.
        let ended = end(aws, &self.template.id).await;
        outcome?;
        ended?;
        let expected = Expected::from(&NodeConfig::of(&self.new));
        let status = until_served(aws, &self.new.name, &self.new.vpc, &expected, args.timeout, &progress).await?;
        progress.clear();
        let mut document = self.document(aws, "updated", &changes);
        document["status"] = json!(status);
        let text = format!("{} is updated, revision {}", self.new.name, self.desired.revision);
        output::result(cli.output, &document, &text)
    }

    async fn steps(&self, roll: &mut Roll<'_>, target: Option<i64>) -> Result<(), Failure> {
        roll.widen().await?;
        let version = match target {
            Some(version) => version,
            None => {
                let group = self.observed.group(&self.new.vpc).map(|group| group.id.clone()).unwrap_or_default();
                let contents = self.desired.contents(&group, Some(&self.template.contents.image));
                let (id, revision) = (&self.template.id, &self.desired.revision);
                let version =
                    launch_template::add_version(&roll.aws.ec2, id, &revision.0, &contents, &self.desired.tags).await?;
                roll.changes.push(Change {
                    action: "create-launch-template-version",
                    what: format!(
                        "add version {version} of revision {revision} to launch template {}",
                        self.template.name
                    ),
                });
                version
            }
        };
        let order = Order { version, revision: self.desired.revision.clone() };
        roll.nodes(&order).await?;
        roll.make_default(&order).await?;
        roll.narrow(&self.new).await?;
        let tables = route_tables::find(&roll.aws.ec2, &self.new.vpc).await?;
        roll.drop_routes(&self.stale_routes(&tables)).await
    }
}
