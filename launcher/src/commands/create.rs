//! `create`: makes the balancer that a file describes, and waits until it serves.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde::Serialize;
use templates::balancer::NodeConfig;
use templates::names::TAG_UPDATE;
use templates::{Balancer, files};

use crate::apply::wait::{targets::until_healthy, until_reached, until_served};
use crate::apply::{Outcome, apply};
use crate::assess::{Assessment, Expected};
use crate::aws::error::CallFailed;
use crate::aws::{self, Aws, retry::pause};
use crate::cli::{Cli, Create};
use crate::commands::show_difference;
use crate::doctor::{self, Finding, Id, Status};
use crate::listener_probe::{Probed, run::probe};
use crate::model::balancer_file::read_balancer;
use crate::model::desired::{Desired, many};
use crate::model::discover::{Surroundings, discover};
use crate::model::observe::{Observed, observe};
use crate::output::failure::{Failure, looking};
use crate::output::{self, progress::Progress};
use crate::plan::{Action, Change, plan};
use crate::preflight::problems;
use crate::resources::image::unlaunchable;
use crate::resources::launch_template::Template;
use crate::update::lease::Lease;
use crate::update::lease::keeper::blocking;

/// Concurrent `create`s interfere a few times at most. More rounds mean that another tool removes the resources.
const ROUNDS: usize = 12;

/// The result, for `--output json`.
#[derive(Debug, Serialize)]
struct Created<'a> {
    outcome: &'static str,
    balancer: &'a str,
    region: &'a str,
    revision: &'a str,
    image: &'a str,
    changes: Vec<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a Assessment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<&'a Probed>,
}

pub async fn run(cli: &Cli, args: &Create) -> Result<(), Failure> {
    let balancer = read_balancer(&args.file)?;
    let user_data = files::user_data_gzip(&balancer).map_err(|big| super::render::too_big(&args.file, &big))?;
    let aws = aws::connect(&cli.account()).await?;
    let own = async { futures::try_join!(discover(&aws, &balancer), observe(&aws, &balancer.name)) };
    let (own, mut facts) = futures::join!(own, doctor::read::first(&aws, &balancer));
    let (place, mut observed) = own.map_err(looking)?;
    observed.asides.iter().for_each(|line| output::warn(line));
    let mut problems = problems(&balancer, &place, &observed);
    if !args.dry_run {
        problems.extend(under_way(&aws, &balancer.name, &observed).await?);
    }
    let cidrs: Vec<Ipv4Net> = place.vpc.as_ref().map(|vpc| vpc.cidrs.clone()).unwrap_or_default();
    if !problems.is_empty() {
        if let Some(template) =
            observed.template.as_ref().filter(|template| template.tags.balancer() == Some(&balancer.name))
        {
            show_difference::show(&aws, template, &cidrs).await?;
        }
        return Err(Failure::BadInput(problems));
    }
    let desired =
        Desired::of(&balancer, &aws.region, &cidrs, place.image_id.as_deref().unwrap_or_default(), &user_data)
            .with_store(&place.store);
    let actions = plan(&desired, &observed);
    if let Some(trouble) = pinned_image(&aws, &observed, &place).await.map_err(looking)? {
        match actions.iter().any(Action::launches) {
            true => return Err(Failure::bad_input(trouble)),
            false => output::warn(&trouble),
        }
    }
    doctor::read::second(&aws, &balancer, &place, &observed, &mut facts).await;
    let case = doctor::Case { balancer: &balancer, place: &place, observed: &observed, facts: &facts };
    check(&doctor::examine(&case), &actions, &args.despite)?;
    let changes: Vec<Change> = actions.iter().map(|action| action.change(&desired)).collect();
    let mut report = Report { cli, aws: &aws, desired: &desired, changes, image: image(&observed, &place) };
    if args.dry_run {
        return report.dry_run();
    }
    let progress = Progress::new();
    if !actions.is_empty() {
        progress.say(&format!("{}: revision {}, image {}", desired.balancer, desired.revision, report.image));
        report.warning().iter().for_each(|warning| progress.say(&format!("warning: {warning}")));
        report.changes = converge(&aws, &desired, &mut observed, actions, &progress).await?;
    }
    if args.no_wait {
        return report.done(None, None);
    }
    let status = wait(&aws, &balancer, args, &progress).await?;
    let probed = match args.probe {
        true => Some(probe(&aws, &balancer.name, &balancer.vpc, &NodeConfig::of(&balancer), &progress).await),
        false => None,
    };
    progress.clear();
    report.done(Some(&status), probed.as_ref())
}

/// Refuses because of the problems that `doctor` found, if they prevent nodes from serving. Warns of them if nothing
/// changes or the operator goes on `despite` them, and of the others. The result has the warning about rules, and the
/// actions show drift.
fn check(findings: &[Finding], actions: &[Action], despite: &[Id]) -> Result<(), Failure> {
    let told = |finding: &&Finding| {
        matches!(finding.status, Status::Problem | Status::Warning)
            && !matches!(finding.id, Id::SecurityGroupRules | Id::Drift)
    };
    let is_stop = |finding: &&Finding| {
        finding.status == Status::Problem && finding.id.stops_create() && !despite.contains(&finding.id)
    };
    let (stops, warns): (Vec<&Finding>, Vec<&Finding>) =
        findings.iter().filter(told).partition(|finding| is_stop(finding) && !actions.is_empty());
    if !stops.is_empty() {
        let ids: Vec<&str> =
            stops.iter().map(|finding| finding.id.name()).collect::<BTreeSet<_>>().into_iter().collect();
        let last = format!("if your network works in a way that these checks don't know: --despite {}", ids.join(","));
        return Err(Failure::BadInput(stops.into_iter().map(named).chain([last]).collect()));
    }
    warns.into_iter().for_each(|finding| output::warn(&named(finding)));
    Ok(())
}

fn named(finding: &Finding) -> String {
    format!("{}: {} ({})", finding.id, finding.line(), finding.id.guide())
}

/// The refusal, if an update of the balancer is under way: `create` would revoke the rules that the update has added.
async fn under_way(aws: &Aws, name: &str, observed: &Observed) -> Result<Option<String>, CallFailed> {
    let tagged = |template: &&Template| Lease::in_the_way(template.tags.get(TAG_UPDATE)).is_some();
    let Some(template) = observed.template.as_ref().filter(tagged) else { return Ok(None) };
    Ok(blocking(aws, &template.id).await?.map(|other| other.refusal(name)))
}

/// Why nodes can't be launched from the pinned image, if so. The preflight has checked the file's image.
async fn pinned_image(aws: &Aws, observed: &Observed, place: &Surroundings) -> Result<Option<String>, CallFailed> {
    match observed.template.as_ref().map(|template| &template.contents.image) {
        Some(pinned) if place.image_id.as_ref() != Some(pinned) => unlaunchable(&aws.ec2, pinned).await,
        _ => Ok(None),
    }
}

fn image(observed: &Observed, place: &Surroundings) -> String {
    let pinned = observed.template.as_ref().map(|template| template.contents.image.clone());
    pinned.or(place.image_id.clone()).unwrap_or_default()
}

/// Plans and applies until nothing is left to do: once, unless another `create` runs. Returns the changes.
async fn converge(
    aws: &Aws,
    desired: &Desired,
    observed: &mut Observed,
    mut actions: Vec<Action>,
    progress: &Progress,
) -> Result<Vec<Change>, Failure> {
    let mut changes = Vec::new();
    for _ in 0..ROUNDS {
        changes.extend(actions.iter().map(|action| action.change(desired)));
        match apply(aws, desired, observed, &actions, progress).await? {
            Outcome::Done => {
                changes.dedup();
                return Ok(changes);
            }
            Outcome::Taken(refusal) => {
                return Err(Failure::bad_input(format!(
                    "{refusal}; the resources that this run had created are removed"
                )));
            }
            Outcome::Overtaken => {}
        }
        progress.live(&desired.balancer, "another program is creating it too; reading its state again");
        pause(Duration::from_millis(700)).await;
        *observed = observe(aws, &desired.balancer).await?;
        let foreign = crate::preflight::foreign(&desired.balancer, &desired.vpc, observed);
        if !foreign.is_empty() {
            return Err(Failure::Failed(anyhow::anyhow!(foreign.join("; "))));
        }
        if let Some(refusal) = under_way(aws, &desired.balancer, observed).await? {
            return Err(Failure::Failed(anyhow::anyhow!(refusal)));
        }
        actions = plan(desired, observed);
    }
    Err(Failure::Failed(anyhow::anyhow!(
        "{}: resources keep disappearing; is another tool changing them? Still to do: {}",
        desired.balancer,
        actions.iter().map(|action| action.change(desired).what).collect::<Vec<_>>().join(", ")
    )))
}

async fn wait(aws: &Aws, balancer: &Balancer, args: &Create, progress: &Progress) -> Result<Assessment, Failure> {
    let expected = Expected::from(&NodeConfig::of(balancer));
    let status = until_served(aws, &balancer.name, &balancer.vpc, &expected, args.timeout, progress).await?;
    let status = until_reached(aws, &balancer.name, &balancer.vpc, &expected, status, progress).await?;
    let status = match args.no_wait_targets {
        true => status,
        false => until_healthy(aws, balancer, &expected, args.timeout, status, progress).await?,
    };
    progress.clear();
    Ok(status)
}

struct Report<'a> {
    cli: &'a Cli,
    aws: &'a Aws,
    desired: &'a Desired,
    changes: Vec<Change>,
    image: String,
}

impl Report<'_> {
    fn dry_run(&self) -> Result<(), Failure> {
        let mut text = match self.changes.len() {
            0 => format!("{}: nothing changes", self.desired.balancer),
            _ => format!("{}: create would", self.desired.balancer),
        };
        for change in &self.changes {
            text.push_str(&format!("\n  {}", change.what));
        }
        text.extend(self.warning().map(|warning| format!("\nwarning: {warning}")));
        self.write("dry-run", &text, None, None)
    }

    fn done(&self, status: Option<&Assessment>, probed: Option<&Probed>) -> Result<(), Failure> {
        let Desired { balancer, revision, .. } = self.desired;
        let outcome = if self.changes.is_empty() { "unchanged" } else { "created" };
        let mut text = match self.changes.is_empty() {
            true => format!("{balancer}: nothing changes"),
            false => format!("{balancer} is created, revision {revision}"),
        };
        for vip in status.iter().flat_map(|status| &status.virtual_ips) {
            let active = vip.active.join(", ");
            text.push_str(&format!("\n{} is served by {active}, routed in {} tables", vip.address, vip.routes.len()));
        }
        text.extend(probed.map(|probed| format!("\n{}", probed.text(Timestamp::now()))));
        self.write(outcome, &text, status, probed)?;
        probed.map_or(Ok(()), Probed::outcome)
    }

    fn warning(&self) -> Option<String> {
        many(self.desired.rules.len()).filter(|_| !self.changes.is_empty())
    }

    fn write(
        &self,
        outcome: &'static str,
        text: &str,
        status: Option<&Assessment>,
        probe: Option<&Probed>,
    ) -> Result<(), Failure> {
        let document = Created {
            outcome,
            balancer: &self.desired.balancer,
            region: &self.aws.region,
            revision: &self.desired.revision.0,
            image: &self.image,
            changes: self.changes.clone(),
            warning: self.warning(),
            status,
            probe,
        };
        output::result(self.cli.output, &document, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_stop_create_unless_they_concern_targets_or_nothing_changes() {
        let api = Finding::problem(Id::SubnetApi, "subnet-a has no way", "add a NAT gateway");
        let target = Finding::problem(Id::TargetSecurityGroups, "closed", "open it");
        let Err(Failure::BadInput(lines)) = check(&[api.clone(), target.clone()], &[Action::CreateGroup], &[]) else {
            panic!("it doesn't stop")
        };
        let line = "subnet-api: subnet-a has no way; add a NAT gateway (docs/failure-guide.md#subnet-api)";
        let last = "if your network works in a way that these checks don't know: --despite subnet-api";
        assert_eq!(lines, [line, last]);
        assert!(check(std::slice::from_ref(&target), &[Action::CreateGroup], &[]).is_ok());
        assert!(check(&[api.clone(), target.clone()], &[], &[]).is_ok());
        assert!(check(&[api, target], &[Action::CreateGroup], &["subnet-api".parse().unwrap()]).is_ok());
    }
}
