//! Carries an update's [`steps`](super::steps) out, one after another.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use templates::{Balancer, Order};

use super::defaults::Defaults;
use super::known::Known;
use super::lease::Lease;
use super::settings::{self, Setting};
use super::steps::Step;
use crate::apply::{Outcome, apply};
use crate::aws::Aws;
use crate::aws::error::CallFailed;
use crate::aws::retry::pause;
use crate::model::claims;
use crate::model::observe::observe;
use crate::model::tags;
use crate::output::failure::Failure;
use crate::output::progress::Progress;
use crate::plan::{Action, Change};
use crate::resources::launch_template::{Contents, Template};
use crate::resources::{launch_template, role, route_tables, scaling_group, security_group, tagging};

/// How long a version that was made may be missing from what the API shows.
const SPREADING: Duration = Duration::from_secs(60);
/// From one look at it to the next.
const LOOK: Duration = Duration::from_millis(300);

/// An update under way.
pub struct Roll<'a> {
    /// AWS.
    pub aws: &'a Aws,
    /// What is to be, and what was there when it began.
    pub known: &'a Known,
    /// This update's own; [`super::hold::beside`] renews it.
    pub lease: &'a RefCell<Lease>,
    /// What nodes are to run. A version that is to be added has no number yet.
    pub order: Order,
    /// What nodes boot.
    pub boots: Order,
    /// The versions that Elbow made the default.
    pub defaults: Defaults,
    /// Whether every node has run what is to be.
    pub proven: bool,
    /// How long nodes may take.
    pub timeout: Duration,
    /// For who watches.
    pub progress: &'a Progress,
    /// What was done so far.
    pub changes: Vec<Change>,
}

impl Roll<'_> {
    /// Carries the steps out. Where AWS says that something is another than was seen, the rest is for the next plan.
    pub async fn all(&mut self, steps: &[Step]) -> Result<(), Failure> {
        for step in steps {
            match self.carry_out(step).await {
                Err(failure) if is_outdated(&failure) => {
                    pause(LOOK).await;
                    return Ok(());
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    async fn carry_out(&mut self, step: &Step) -> Result<(), Failure> {
        match step {
            Step::Set(setting) => {
                self.set(setting).await?;
                if matches!(setting, Setting::Claim(_)) { self.contend().await } else { Ok(()) }
            }
            Step::AddVersion => self.add_version().await,
            Step::Undo => self.undo().await,
            Step::Spread(settings) => {
                self.hold().await?;
                scaling_group::set(&self.aws.auto_scaling, &self.known.desired.name, settings).await?;
                step.changes(self.known).into_iter().for_each(|change| self.done(change.action, change.what));
                Ok(())
            }
            Step::Replace(_) => self.exchange(&self.order.clone()).await,
            Step::Refresh(_) => self.refresh(&self.order.clone()).await,
            Step::Tell(_) => self.nodes(&self.order.clone()).await,
            Step::SetDefault => self.make_default(&self.order.clone()).await,
            Step::Launch(actions) => self.launch(actions).await,
            Step::DeleteRoute { table, destination } => {
                self.hold().await?;
                route_tables::delete_route(&self.aws.ec2, table, destination).await?;
                self.done("delete-route", format!("delete route {destination} in {table}"));
                Ok(())
            }
        }
    }

    async fn add_version(&mut self) -> Result<(), Failure> {
        let known = self.known;
        let group = known.observed.group(&known.new.vpc).map(|group| group.id.clone()).unwrap_or_default();
        let contents = known.desired.contents(&group, None);
        let (Template { id, name, .. }, revision) = (&known.template, &known.desired.revision);
        self.hold().await?;
        self.order.version = launch_template::add_version(&self.aws.ec2, id, &revision.0, &contents).await?;
        let version = self.order.version;
        self.done(
            "create-launch-template-version",
            format!("add version {version} of revision {revision} to launch template {name}"),
        );
        self.readable(version, &contents).await
    }

    /// Waits until the API shows the version: a node that reads it too early would find nothing.
    async fn readable(&mut self, number: i64, contents: &Contents) -> Result<(), Failure> {
        let Template { id, name, .. } = &self.known.template;
        let deadline = Instant::now() + SPREADING;
        loop {
            let version = launch_template::version(&self.aws.ec2, id, number).await?;
            if version.is_some_and(|version| version.contents == *contents) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Failure::Failed(anyhow!(
                    "launch template {name} doesn't show version {number} as it was made {} s ago, and nobody was told to run \
                     it: try again",
                    SPREADING.as_secs()
                )));
            }
            pause(LOOK).await;
        }
    }

    async fn set(&mut self, setting: &Setting) -> Result<(), Failure> {
        let known = self.known;
        let group = known.observed.group(&known.new.vpc).map(|group| group.id.clone());
        let group = group.ok_or_else(|| anyhow!("{} has no security group any more", known.new.name))?;
        self.hold().await?;
        let Aws { ec2, iam, .. } = self.aws;
        match setting {
            Setting::Claim(vips) => {
                for vip in vips {
                    tagging::set(ec2, std::slice::from_ref(&group), &tags::claim(*vip), "").await?;
                }
            }
            Setting::Disclaim(vips) => claims::give_way(self.aws, &group, vips).await?,
            Setting::Allow(rules) => security_group::allow(ec2, &group, rules).await?,
            Setting::Revoke(rules) => security_group::revoke(ec2, &group, rules).await?,
            Setting::Policy(policy) => role::set_policy(iam, &known.desired.global_name, policy).await?,
        }
        let change = setting.change(&known.desired);
        self.done(change.action, change.what);
        Ok(())
    }

    /// Gives way if somebody else has claimed the same virtual IPs at the same moment.
    async fn contend(&mut self) -> Result<(), Failure> {
        let Balancer { name, vpc, virtual_ips, route_tables, .. } = &self.known.new;
        let others = claims::find(self.aws, vpc, name, virtual_ips).await?;
        let Some((vip, other)) = claims::taken(virtual_ips, route_tables, &others).first().copied() else {
            return Ok(());
        };
        self.restore().await?;
        let whose = claims::refusal(vip, other);
        Err(Failure::Failed(anyhow!("{whose}; it was claimed at the same time, and {name} runs on as it was")))
    }

    /// Has what is around the nodes be just what the old revision needs, again.
    pub(super) async fn restore(&mut self) -> Result<(), Failure> {
        let Known { old, region, cidrs, .. } = self.known;
        let deadline = Instant::now() + SPREADING;
        loop {
            let observed = observe(self.aws, &old.name).await?;
            let mut outcome = Ok(());
            for setting in settings::exact(old, region, cidrs, &observed) {
                outcome = self.set(&setting).await;
                if outcome.is_err() {
                    break;
                }
            }
            match outcome {
                Err(failure) if is_outdated(&failure) && Instant::now() < deadline => pause(LOOK).await,
                outcome => return outcome,
            }
        }
    }

    /// Makes the version the one that nodes boot, and remembers which was before.
    pub(super) async fn make_default(&mut self, order: &Order) -> Result<(), Failure> {
        self.hold().await?;
        self.defaults = self.defaults.moved(&self.boots, order);
        let template = &self.known.template.id;
        launch_template::set_default(&self.aws.ec2, template, &self.defaults).await?;
        if let Some(group) = self.known.group() {
            scaling_group::pin(&self.aws.auto_scaling, &group.name, (template, order.version)).await?;
        }
        self.boots = order.clone();
        self.done("set-default", format!("make version {} the one that nodes boot", order.version));
        Ok(())
    }

    /// Has nodes come to be. What another one does at the same moment is for the next plan.
    async fn launch(&mut self, actions: &[Action]) -> Result<(), Failure> {
        let desired = &self.known.desired;
        self.hold().await?;
        let observed = observe(self.aws, &self.known.new.name).await?;
        if apply(self.aws, desired, &observed, actions, self.progress).await? == Outcome::Done {
            self.changes.extend(actions.iter().map(|action| action.change(desired)));
        }
        Ok(())
    }

    pub(super) fn done(&mut self, action: &'static str, what: String) {
        self.progress.done(&what);
        self.changes.push(Change { action, what });
    }
}

/// Whether it failed as what was looked at isn't so any more.
fn is_outdated(failure: &Failure) -> bool {
    match failure {
        Failure::Failed(error) => error.downcast_ref().is_some_and(|error: &CallFailed| {
            error.is_outdated() || error.action.starts_with("autoscaling:") && scaling_group::has_changed(error)
        }),
        _ => false,
    }
}
