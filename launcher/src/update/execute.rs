//! Runs the steps of an update's plan.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use templates::{Balancer, Order};

use super::elbow_defaults::Defaults;
use super::lease::Lease;
use super::plan::Step;
use super::settings::{self, Setting};
use super::snapshot::Snapshot;
use crate::apply::{Outcome, apply};
use crate::aws::Aws;
use crate::aws::error::CallFailed;
use crate::aws::retry::pause;
use crate::model::observe::observe;
use crate::model::tags;
use crate::model::vip_claims;
use crate::output::failure::Failure;
use crate::output::progress::Progress;
use crate::plan::{Action, Change};
use crate::resources::launch_template::{Contents, Template};
use crate::resources::retag::retag;
use crate::resources::{launch_template, role, route_tables, scaling_group, security_group, tagging};

/// How long a new version may be missing from AWS's answers.
const SPREADING: Duration = Duration::from_secs(60);
/// Between two reads.
const LOOK: Duration = Duration::from_millis(300);

/// An update under way.
pub struct RollingUpdate<'a> {
    /// The AWS clients.
    pub aws: &'a Aws,
    /// The snapshot that the plan was made from.
    pub snapshot: &'a Snapshot,
    /// This update's lease; [`super::lease::keeper::beside`] renews it.
    pub lease: &'a RefCell<Lease>,
    /// The order for the nodes. Its version is 0 until the version exists.
    pub order: Order,
    /// The version that nodes boot.
    pub boots: Order,
    /// The versions that Elbow made the default.
    pub defaults: Defaults,
    /// Whether nodes booted the wanted version before this update.
    pub proven: bool,
    /// How long nodes may take.
    pub timeout: Duration,
    /// Shows the progress.
    pub progress: &'a Progress,
    /// The changes so far.
    pub changes: Vec<Change>,
}

impl RollingUpdate<'_> {
    /// Runs the steps. If AWS reports that the snapshot is outdated, the rest is left to the next plan.
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
            Step::SetSubnets(settings) => {
                self.keep_lease().await?;
                scaling_group::set(&self.aws.auto_scaling, &self.snapshot.desired.name, settings).await?;
                step.changes(self.snapshot).into_iter().for_each(|change| self.done(change.action, change.what));
                Ok(())
            }
            Step::Replace(_) => self.replace_nodes(&self.order.clone()).await,
            Step::Refresh(_) => self.refresh(&self.order.clone()).await,
            Step::Order(_) => self.nodes(&self.order.clone()).await,
            Step::SetDefault => self.make_default(&self.order.clone()).await,
            Step::Prepare(actions) | Step::Launch(actions) => self.launch(actions).await,
            Step::DeleteRoute { table, destination } => {
                self.keep_lease().await?;
                route_tables::delete_route(&self.aws.ec2, table, destination).await?;
                self.done("delete-route", format!("delete route {destination} in {table}"));
                Ok(())
            }
        }
    }

    async fn add_version(&mut self) -> Result<(), Failure> {
        let snapshot = self.snapshot;
        let group = snapshot.observed.group(&snapshot.new.vpc).map(|group| group.id.clone()).unwrap_or_default();
        let contents = snapshot.desired.contents(&group, None);
        let (Template { id, name, .. }, revision) = (&snapshot.template, &snapshot.desired.revision);
        self.keep_lease().await?;
        self.order.version = launch_template::add_version(&self.aws.ec2, id, &revision.0, &contents).await?;
        let version = self.order.version;
        self.done(
            "create-launch-template-version",
            format!("add version {version} of revision {revision} to launch template {name}"),
        );
        self.readable(version, &contents).await
    }

    /// Waits until the API shows the version: a node that reads too early wouldn't find it.
    async fn readable(&mut self, number: i64, contents: &Contents) -> Result<(), Failure> {
        let Template { id, name, .. } = &self.snapshot.template;
        let deadline = Instant::now() + SPREADING;
        loop {
            let version = launch_template::version(&self.aws.ec2, id, number).await?;
            if version.is_some_and(|version| version.contents == *contents) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Failure::Failed(anyhow!(
                    "launch template {name}: version {number} can't be read {} s after it was added; no node was told to run it; \
                     try again",
                    SPREADING.as_secs()
                )));
            }
            pause(LOOK).await;
        }
    }

    async fn set(&mut self, setting: &Setting) -> Result<(), Failure> {
        let snapshot = self.snapshot;
        let group = snapshot.observed.group(&snapshot.new.vpc).map(|group| group.id.clone());
        let group = group.ok_or_else(|| anyhow!("{}: its security group no longer exists", snapshot.new.name))?;
        self.keep_lease().await?;
        let Aws { ec2, iam, .. } = self.aws;
        match setting {
            Setting::Claim(vips) => {
                for vip in vips {
                    tagging::set(ec2, std::slice::from_ref(&group), &tags::claim(*vip), "").await?;
                }
            }
            Setting::Disclaim(vips) => vip_claims::give_way(self.aws, &group, vips).await?,
            Setting::Allow(rules) => security_group::allow(ec2, &group, rules).await?,
            Setting::Revoke(rules) => security_group::revoke(ec2, &group, rules).await?,
            Setting::Boundary(arn) => role::set_boundary(iam, &snapshot.desired.global_name, arn).await?,
            Setting::Retag(it) => retag(self.aws, it).await?,
            Setting::Policy(policy) => role::set_policy(iam, &snapshot.desired.global_name, policy).await?,
        }
        let change = setting.change(&snapshot.desired);
        self.done(change.action, change.what);
        Ok(())
    }

    /// Takes the claims back if another balancer claimed the same virtual IPs at the same moment.
    async fn contend(&mut self) -> Result<(), Failure> {
        let Balancer { name, vpc, virtual_ips, route_tables, .. } = &self.snapshot.new;
        let others = vip_claims::find(self.aws, vpc, name, virtual_ips).await?;
        let Some((vip, other)) = vip_claims::taken(virtual_ips, route_tables, &others).first().copied() else {
            return Ok(());
        };
        self.restore().await?;
        let refusal = vip_claims::refusal(vip, other);
        Err(Failure::Failed(anyhow!("{refusal}; both balancers claimed it at the same time; {name} is unchanged")))
    }

    /// Sets claims, rules and policy to just what the old revision needs.
    pub(super) async fn restore(&mut self) -> Result<(), Failure> {
        let Snapshot { old, region, cidrs, .. } = self.snapshot;
        let deadline = Instant::now() + SPREADING;
        loop {
            let observed = observe(self.aws, &old.name).await?;
            let mut outcome = Ok(());
            let tags = self.snapshot.retags(old, &observed).into_iter().map(Setting::Retag);
            for setting in settings::exact(old, region, cidrs, &observed).into_iter().chain(tags) {
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

    /// Makes the version the one that nodes boot, and records the one before.
    pub(super) async fn make_default(&mut self, order: &Order) -> Result<(), Failure> {
        self.keep_lease().await?;
        self.defaults = self.defaults.moved(&self.boots, order);
        let template = &self.snapshot.template.id;
        launch_template::set_default(&self.aws.ec2, template, &self.defaults).await?;
        if let Some(group) = self.snapshot.group() {
            scaling_group::pin(&self.aws.auto_scaling, &group.name, (template, order.version)).await?;
        }
        self.boots = order.clone();
        self.done("set-default", format!("make version {} the default for new nodes", order.version));
        Ok(())
    }

    /// Launches nodes, creates or corrects the group, or creates what is missing in IAM. Changes by others at the same moment
    /// are left to the next plan.
    async fn launch(&mut self, actions: &[Action]) -> Result<(), Failure> {
        let desired = &self.snapshot.desired;
        self.keep_lease().await?;
        let observed = observe(self.aws, &self.snapshot.new.name).await?;
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

/// Whether the step failed because the snapshot is outdated.
fn is_outdated(failure: &Failure) -> bool {
    match failure {
        Failure::Failed(error) => error.downcast_ref().is_some_and(|error: &CallFailed| {
            error.is_outdated() || error.action.starts_with("autoscaling:") && scaling_group::has_changed(error)
        }),
        _ => false,
    }
}
