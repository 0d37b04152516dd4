//! `destroy`: removes a balancer, and checks that nothing of it is left.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::json;
use templates::names;

use super::consent::consent;
use crate::aws::error::{CallFailed, Reason};
use crate::aws::retry::{Patience, pause, until};
use crate::aws::{self, Aws};
use crate::cli::{Cli, Destroy};
use crate::model::observe::{Kind, Observed, Unread, glance};
use crate::output::failure::{Failure, check_name};
use crate::output::{self, progress::Progress};
use crate::plan::Change;
use crate::plan::teardown::{self, Removal};
use crate::preflight::foreign;
use crate::resources::route_tables::{self, Table, left_behind};
use crate::resources::{instance_profile, instances, launch_template, leftovers, role, scaling_group, security_group};

/// Between two reads of a resource that is being removed.
const LOOK: Duration = Duration::from_millis(800);
/// How long AWS's answers may show a resource after its removal.
const LAG: Duration = Duration::from_secs(60);

pub async fn run(cli: &Cli, args: &Destroy) -> Result<(), Failure> {
    check_name(&args.name)?;
    let aws = aws::connect(&cli.account()).await?;
    let glance = glance(&aws, &args.name).await;
    let observed = &glance.observed;
    observed.asides.iter().for_each(|line| output::warn(line));
    let vpc = observed.vpc().map(str::to_owned);
    let foreign = foreign(&args.name, vpc.as_deref().unwrap_or("…"), observed);
    if !foreign.is_empty() {
        return Err(Failure::BadInput(foreign));
    }
    let Some(vpc) = vpc else {
        if !glance.unread.is_empty() {
            return Err(super::status::unknown(&aws, &args.name, glance.unread));
        }
        let asides = prove(&aws, &args.name, None, LAG).await?;
        asides.iter().for_each(|line| output::warn(line));
        return report(
            cli,
            args,
            Done { outcome: "absent", changes: &[], unread: &[] },
            &format!("there is no balancer named {} in {}", args.name, aws.region),
        );
    };
    let mut unread = glance.lines();
    let tables = route_tables::find(&aws.ec2, &vpc).await.unwrap_or_else(|error| {
        unread.push(Unread { kind: Kind::Tables, error }.to_string());
        Vec::new()
    });
    let changes: Vec<Change> = teardown::all(observed, &vpc, &tables).iter().map(Removal::change).collect();
    unread.iter().for_each(|line| output::warn(line));
    if args.dry_run {
        let lines: Vec<String> = changes.iter().map(|change| format!("\n  {}", change.what)).collect();
        let done = Done { outcome: "dry-run", changes: &changes, unread: &unread };
        return report(cli, args, done, &format!("{}: destroy would{}", args.name, lines.concat()));
    }
    confirm(args, &vpc, &changes).await?;
    let progress = Progress::new();
    let teardown = Teardown {
        aws: &aws,
        name: &args.name,
        vpc: &vpc,
        observed,
        deadline: Instant::now() + args.timeout,
        timeout: args.timeout,
        progress: &progress,
        changes: Vec::new(),
        stuck: teardown::unsure(&glance),
        left: glance.lines(),
    };
    let changes = teardown.run().await?;
    let done = Done { outcome: "destroyed", changes: &changes, unread: &[] };
    let mut text = format!("{} is destroyed: nothing of it is left", args.name);
    if observed.config().is_some_and(|config| config.balancer.uses_bucket()) {
        text.push_str(
            "\nits agent stays in Elbow's bucket, for other balancers: `launcher bucket --delete` removes it",
        );
    }
    report(cli, args, done, &text)
}

/// The result.
struct Done<'a> {
    outcome: &'static str,
    changes: &'a [Change],
    unread: &'a [String],
}

fn report(cli: &Cli, args: &Destroy, done: Done<'_>, text: &str) -> Result<(), Failure> {
    let Done { outcome, changes, unread } = done;
    let mut document = json!({"outcome": outcome, "balancer": args.name, "changes": changes});
    if outcome == "dry-run" {
        document["unread"] = json!(unread);
    }
    output::result(cli.output, &document, text)
}

async fn confirm(args: &Destroy, vpc: &str, changes: &[Change]) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    changes.iter().for_each(|change| output::say(&format!("  {}", change.what)));
    consent(&format!("destroy {}", args.name), &format!("Destroy {} in {vpc}?", args.name), &args.name).await
}

struct Teardown<'a> {
    aws: &'a Aws,
    name: &'a str,
    vpc: &'a str,
    observed: &'a Observed,
    deadline: Instant,
    timeout: Duration,
    progress: &'a Progress,
    changes: Vec<Change>,
    /// The kinds of resources that are left, or may be.
    stuck: BTreeSet<Kind>,
    /// Those resources, and why they are left.
    left: Vec<String>,
}

impl Teardown<'_> {
    /// Removes every resource that it can, and fails if any is left.
    async fn run(mut self) -> Result<Vec<Change>, Failure> {
        for kind in teardown::ORDER {
            let removals = match kind {
                Kind::Tables => self.routes().await,
                _ => teardown::all(self.observed, self.vpc, &[]).into_iter().filter(|one| one.kind() == kind).collect(),
            };
            self.remove_all(kind, removals).await;
            let grouped = kind == Kind::Nodes && self.observed.scaling.is_some();
            if grouped && [Kind::Scaling, Kind::Nodes].iter().all(|kind| !self.stuck.contains(kind)) {
                let outcome = self.ungrouped().await;
                self.note(Kind::Scaling, outcome.map(|()| teardown::scaling(self.observed)));
            }
        }
        if !self.left.is_empty() {
            let line = format!("{} isn't completely removed; run the same command again to continue:", self.name);
            return Err(Failure::Unfinished([line].into_iter().chain(self.left).collect()));
        }
        self.progress.live(self.name, "checking that nothing is left");
        let asides = prove(self.aws, self.name, Some((self.vpc, self.observed)), LAG).await?;
        self.progress.clear();
        asides.iter().for_each(|line| output::warn(line));
        Ok(self.changes)
    }

    /// Removes all resources of one kind, unless a resource that must go first is left, or may be.
    async fn remove_all(&mut self, kind: Kind, removals: Vec<Removal>) {
        if let Some(other) = teardown::in_the_way(kind, &self.stuck) {
            if !removals.is_empty() {
                self.stuck.insert(kind);
            }
            let stays = removals
                .iter()
                .map(|removal| format!("skipped: {}: depends on the {other}, which failed", removal.change().what));
            return self.left.extend(stays);
        }
        let outcomes = futures::future::join_all(removals.iter().map(|removal| self.remove(removal))).await;
        for (removal, outcome) in removals.into_iter().zip(outcomes) {
            let mut outcome = outcome.map_err(Failure::from);
            if kind == Kind::Nodes && outcome.is_ok() && !self.stuck.contains(&kind) {
                outcome = self.ended().await;
            }
            // A group is gone when its instances are.
            self.note(kind, outcome.map(|()| Some(removal).filter(|_| kind != Kind::Scaling)));
        }
    }

    /// Records what was removed, or why it is left.
    fn note(&mut self, kind: Kind, outcome: Result<Option<Removal>, Failure>) {
        match outcome {
            Ok(removed) => {
                let change = removed.map(|removal| removal.change());
                change.iter().for_each(|change| self.progress.done(&change.what));
                self.changes.extend(change);
            }
            Err(failure) => {
                self.stuck.insert(kind);
                self.left.extend(failure.lines());
            }
        }
    }

    /// The routes to delete. Read after the nodes ended, as nodes create routes.
    async fn routes(&mut self) -> Vec<Removal> {
        match route_tables::find(&self.aws.ec2, self.vpc).await {
            Ok(tables) => teardown::routes(self.observed, &tables),
            Err(error) => {
                self.stuck.insert(Kind::Tables);
                self.left.push(Unread { kind: Kind::Tables, error }.to_string());
                Vec::new()
            }
        }
    }

    async fn remove(&self, removal: &Removal) -> Result<(), CallFailed> {
        let patience = Patience { total: self.deadline.saturating_duration_since(Instant::now()), pause: LOOK };
        let progress = self.progress;
        let Aws { auto_scaling, ec2, iam, .. } = self.aws;
        match removal {
            Removal::Scaling(name) => {
                let busy = |error: &CallFailed| error.is("ScalingActivityInProgress");
                let call = || scaling_group::delete(auto_scaling, name);
                until(patience, busy, |error| waiting(progress, error), call).await
            }
            Removal::Terminate(ids) => instances::terminate(ec2, ids).await,
            Removal::Route { table, destination } => route_tables::delete_route(ec2, table, destination).await,
            Removal::Template { id, .. } => launch_template::delete(ec2, id).await,
            Removal::Profile { name, role } => {
                if let Some(role) = role {
                    instance_profile::remove_role(iam, name, role).await?;
                }
                instance_profile::delete(iam, name).await
            }
            Removal::Role(name) => {
                role::strip(iam, name).await?;
                let in_use = |error: &CallFailed| error.is("DeleteConflict");
                until(patience, in_use, |error| waiting(progress, error), || role::delete(iam, name)).await
            }
            Removal::Group { id, .. } => {
                let in_use = |error: &CallFailed| error.is("DependencyViolation");
                until(patience, in_use, |error| waiting(progress, error), || security_group::delete(ec2, id)).await
            }
        }
    }

    /// Waits until the group is gone, as its name is in use until then; and until the instances that it launched meanwhile
    /// have ended.
    async fn ungrouped(&self) -> Result<(), Failure> {
        let name = names::regional(self.name);
        while scaling_group::find(&self.aws.auto_scaling, &name).await?.is_some() {
            if Instant::now() >= self.deadline {
                return Err(Failure::Failed(anyhow!(
                    "Auto Scaling group {name} still exists after {} s; run the same command again to continue",
                    self.timeout.as_secs()
                )));
            }
            self.progress.live(self.name, &format!("waiting until Auto Scaling group {name} is deleted"));
            pause(LOOK).await;
        }
        self.ended().await
    }

    async fn ended(&self) -> Result<(), Failure> {
        loop {
            let found = instances::look(&self.aws.ec2, self.name).await?;
            let nodes = found.nodes.iter().chain(&found.untagged);
            let ending: Vec<&str> =
                nodes.filter(|node| node.state != "terminated").map(|node| node.id.as_str()).collect();
            if ending.is_empty() {
                return Ok(());
            }
            if Instant::now() >= self.deadline {
                return Err(Failure::Failed(anyhow!(
                    "{}: not terminated after {} s; run the same command again to continue",
                    ending.join(", "),
                    self.timeout.as_secs()
                )));
            }
            self.progress.live(self.name, &format!("waiting until {} are terminated", ending.join(", ")));
            pause(LOOK).await;
        }
    }
}

fn waiting(progress: &Progress, error: &CallFailed) {
    progress.live(&error.object, "still in use, waiting");
}

/// Reads until nothing of the balancer is left. Fails with the resources that are left or can't be read. Returns notes about
/// resources of others with its tag.
async fn prove(aws: &Aws, name: &str, was: Option<(&str, &Observed)>, lag: Duration) -> Result<Vec<String>, Failure> {
    let deadline = Instant::now() + lag;
    loop {
        let Left { there, unread, asides } = left(aws, name, was).await;
        if there.is_empty() && unread.is_empty() {
            return Ok(asides);
        }
        let denied = unread.iter().any(|error| matches!(error.reason, Reason::Denied(_)));
        if Instant::now() >= deadline || (there.is_empty() && denied) {
            let line = format!("{name}: resources are left, or may be; run the same command again to continue:");
            let there = there.into_iter().map(|what| format!("left: {what}"));
            let unread = unread.iter().map(|error| format!("not checked: {error}"));
            return Err(Failure::Unfinished([line].into_iter().chain(there).chain(unread).collect()));
        }
        pause(LOOK).await;
    }
}

/// What is left of a balancer.
#[derive(Default)]
struct Left {
    there: Vec<String>,
    unread: Vec<CallFailed>,
    /// Resources of others with its tag, a line each.
    asides: Vec<String>,
}

async fn left(aws: &Aws, name: &str, was: Option<(&str, &Observed)>) -> Left {
    let tables = async {
        match was {
            Some((vpc, _)) => route_tables::find(&aws.ec2, vpc).await,
            None => Ok(Vec::<Table>::new()),
        }
    };
    let (glance, others, tables) = futures::join!(glance(aws, name), leftovers::find(&aws.ec2, name), tables);
    let mut unread: Vec<CallFailed> = glance.unread.into_iter().map(|unread| unread.error).collect();
    let others = others.unwrap_or_else(|error| {
        unread.push(error);
        Vec::new()
    });
    let tables = tables.unwrap_or_else(|error| {
        unread.push(error);
        Vec::new()
    });
    let observed = glance.observed;
    let own = |part: &crate::model::observe::Part<'_>| part.tags.balancer() == Some(name) || part.vpc.is_none();
    let parts = observed.parts();
    let mut there: Vec<String> = parts.iter().filter(|part| own(part)).map(|part| part.what.clone()).collect();
    there.extend(observed.live().chain(observed.live_untagged()).map(|node| format!("instance {}", node.id)));
    let nodes = was.iter().flat_map(|(_, before)| before.nodes.iter().chain(&before.untagged));
    let of_nodes = nodes.flat_map(|node| node.interfaces.iter().chain(&node.volumes)).map(String::as_str).collect();
    let (others, asides) = leftovers::sort_out(name, others, &of_nodes);
    there.extend(others);
    if let Some((_, before)) = was {
        let vips = before.config().map(|config| config.balancer.virtual_ips).unwrap_or_default();
        let interfaces: BTreeSet<&str> = before.interfaces();
        let routes = left_behind(&tables, &vips, &interfaces).into_iter();
        there.extend(routes.map(|(table, destination)| format!("route {destination} in {table}")));
    }
    Left { there, unread, asides }
}
