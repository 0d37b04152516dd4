//! `destroy`: removes a balancer, and proves that nothing of it is left.

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::json;
use templates::names;

use crate::aws::error::CallFailed;
use crate::aws::retry::{Patience, pause, unthrottled, until};
use crate::aws::{self, Aws};
use crate::check::foreign;
use crate::cli::{Cli, Destroy};
use crate::failure::{Failure, check_name, looking};
use crate::observe::{Observed, observe};
use crate::output::{self, progress::Progress};
use crate::plan::Change;
use crate::resources::route_tables::{self, Table, left_behind};
use crate::resources::{instance_profile, instances, launch_template, leftovers, role, scaling_group, security_group};
use crate::teardown::{self, Removal};

/// Between two looks at what is ending.
const LOOK: Duration = Duration::from_millis(800);
/// How long AWS's answers may lag behind what was removed.
const LAG: Duration = Duration::from_secs(60);

/// Removes the balancer.
pub async fn run(cli: &Cli, args: &Destroy) -> Result<(), Failure> {
    check_name(&args.name)?;
    let aws = aws::connect(&cli.account()).await?;
    let observed = observe(&aws, &args.name).await.map_err(looking)?;
    let vpc = observed.vpc().map(str::to_owned);
    let foreign = foreign(&args.name, vpc.as_deref().unwrap_or("…"), &observed);
    if !foreign.is_empty() {
        return Err(Failure::BadInput(foreign));
    }
    let Some(vpc) = vpc else {
        prove(&aws, &args.name, None, LAG, &Progress::new()).await?;
        return report(
            cli,
            args,
            "absent",
            &[],
            &format!("there is no balancer named {} in {}", args.name, aws.region),
        );
    };
    let tables = route_tables::find(&aws.ec2, &vpc).await?;
    let planned: Vec<Removal> = [
        teardown::scaling(&observed).into_iter().chain(teardown::instances(&observed)).collect(),
        teardown::routes(&observed, &tables),
    ]
    .into_iter()
    .flatten()
    .chain(teardown::rest(&observed, &vpc))
    .collect();
    let changes: Vec<Change> = planned.iter().map(Removal::change).collect();
    if args.dry_run {
        let lines: Vec<String> = changes.iter().map(|change| format!("\n  {}", change.what)).collect();
        return report(cli, args, "dry-run", &changes, &format!("{}: destroy would{}", args.name, lines.concat()));
    }
    confirm(args, &vpc, &changes).await?;
    let teardown = Teardown { aws: &aws, name: &args.name, vpc: &vpc, observed: &observed, timeout: args.timeout };
    let changes = teardown.run(&Progress::new()).await?;
    report(cli, args, "destroyed", &changes, &format!("{} is destroyed: nothing of it is left", args.name))
}

fn report(cli: &Cli, args: &Destroy, outcome: &str, changes: &[Change], text: &str) -> Result<(), Failure> {
    output::result(cli.output, &json!({"outcome": outcome, "balancer": args.name, "changes": changes}), text)
}

async fn confirm(args: &Destroy, vpc: &str, changes: &[Change]) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::bad_input(format!("destroying {} asks at a terminal; elsewhere say --yes", args.name)));
    }
    let mut terminal = std::io::stderr();
    for change in changes {
        drop(writeln!(terminal, "  {}", change.what));
    }
    drop(write!(terminal, "Destroy {} in {vpc}? Type its name: ", args.name));
    drop(terminal.flush());
    // On a thread of its own, so that an interrupt is heard meanwhile.
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    match answer.await {
        Ok(Ok(answer)) if answer.trim() == args.name => Ok(()),
        _ => Err(Failure::bad_input("not confirmed; nothing was removed")),
    }
}

struct Teardown<'a> {
    aws: &'a Aws,
    name: &'a str,
    vpc: &'a str,
    observed: &'a Observed,
    timeout: Duration,
}

impl Teardown<'_> {
    async fn run(&self, progress: &Progress) -> Result<Vec<Change>, Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut changes = Vec::new();
        let scaling = teardown::scaling(self.observed);
        if let Some(removal) = &scaling {
            // From now on it replaces nothing; it is gone when its instances are.
            self.remove(removal, deadline, progress).await?;
        }
        if let Some(removal) = teardown::instances(self.observed) {
            self.remove(&removal, deadline, progress).await?;
            self.ended(deadline, progress).await?;
            progress.done(&removal.change().what);
            changes.push(removal.change());
        }
        if let Some(removal) = scaling {
            self.ungrouped(deadline, progress).await?;
            // One that it was launching when it was told.
            self.ended(deadline, progress).await?;
            progress.done(&removal.change().what);
            changes.push(removal.change());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let find = || route_tables::find(&self.aws.ec2, self.vpc);
        let tables = unthrottled(left, |error| progress.throttled(error), find).await?;
        let routes = teardown::routes(self.observed, &tables);
        let removed = routes.iter().map(|removal| self.remove(removal, deadline, progress));
        for outcome in futures::future::join_all(removed).await {
            outcome?;
        }
        for removal in &routes {
            progress.done(&removal.change().what);
            changes.push(removal.change());
        }
        for removal in teardown::rest(self.observed, self.vpc) {
            self.remove(&removal, deadline, progress).await?;
            progress.done(&removal.change().what);
            changes.push(removal.change());
        }
        progress.live(self.name, "looking whether anything is left");
        prove(self.aws, self.name, Some((self.vpc, self.observed)), LAG, progress).await?;
        Ok(changes)
    }

    async fn remove(&self, removal: &Removal, deadline: Instant, progress: &Progress) -> Result<(), CallFailed> {
        let patience = Patience { total: deadline.saturating_duration_since(Instant::now()), pause: LOOK };
        unthrottled(patience.total, |error| progress.throttled(error), || self.call(removal, patience, progress)).await
    }

    async fn call(&self, removal: &Removal, patience: Patience, progress: &Progress) -> Result<(), CallFailed> {
        let Aws { auto_scaling, ec2, iam, .. } = self.aws;
        match removal {
            Removal::Scaling(name) => {
                let busy = |error: &CallFailed| error.is("ScalingActivityInProgress") || error.is("ResourceContention");
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

    /// Until the group is gone: a namesake couldn't be made before, and its instances are gone then.
    async fn ungrouped(&self, deadline: Instant, progress: &Progress) -> Result<(), Failure> {
        let name = names::regional(self.name);
        while scaling_group::find(&self.aws.auto_scaling, &name).await?.is_some() {
            if Instant::now() >= deadline {
                return Err(Failure::Failed(anyhow!(
                    "Auto Scaling group {name} is still there after {} s; the same command again goes on",
                    self.timeout.as_secs()
                )));
            }
            progress.live(self.name, &format!("waiting for Auto Scaling group {name} to go"));
            pause(LOOK).await;
        }
        Ok(())
    }

    async fn ended(&self, deadline: Instant, progress: &Progress) -> Result<(), Failure> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let find = || instances::find(&self.aws.ec2, self.name);
            let nodes = unthrottled(left, |error| progress.throttled(error), find).await?;
            let ending: Vec<&str> =
                nodes.iter().filter(|node| node.state != "terminated").map(|node| node.id.as_str()).collect();
            if ending.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Failure::Failed(anyhow!(
                    "{} still run after {} s; the same command again goes on",
                    ending.join(", "),
                    self.timeout.as_secs()
                )));
            }
            progress.live(self.name, &format!("waiting for {} to end", ending.join(", ")));
            pause(LOOK).await;
        }
    }
}

fn waiting(progress: &Progress, error: &CallFailed) {
    progress.live(&error.object, "still in use, waiting");
}

/// Looks until nothing live, tagged or named after the balancer is there, and fails naming what is.
async fn prove(
    aws: &Aws,
    name: &str,
    was: Option<(&str, &Observed)>,
    lag: Duration,
    progress: &Progress,
) -> Result<(), Failure> {
    let deadline = Instant::now() + lag;
    loop {
        let left = unthrottled(lag, |error| progress.throttled(error), || left(aws, name, was)).await?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Failure::Failed(anyhow!(
                "{name}: still there: {}; the same command again goes on",
                left.join(", ")
            )));
        }
        pause(LOOK).await;
    }
}

async fn left(aws: &Aws, name: &str, was: Option<(&str, &Observed)>) -> Result<Vec<String>, CallFailed> {
    let tables = async {
        match was {
            Some((vpc, _)) => route_tables::find(&aws.ec2, vpc).await,
            None => Ok(Vec::<Table>::new()),
        }
    };
    let (observed, others, tables) = futures::try_join!(observe(aws, name), leftovers::find(&aws.ec2, name), tables)?;
    let own = |part: &crate::observe::Part<'_>| part.tags.balancer() == Some(name) || part.vpc.is_none();
    let parts = observed.parts();
    let mut left: Vec<String> = parts.iter().filter(|part| own(part)).map(|part| part.what.clone()).collect();
    left.extend(observed.live().map(|node| format!("instance {}", node.id)));
    left.extend(others);
    if let Some((_, before)) = was {
        let vips = before.config().map(|config| config.balancer.virtual_ips).unwrap_or_default();
        let interfaces: BTreeSet<&str> = before.interfaces();
        let routes = left_behind(&tables, &vips, &interfaces).into_iter();
        left.extend(routes.map(|(table, destination)| format!("route {destination} in {table}")));
    }
    Ok(left)
}
