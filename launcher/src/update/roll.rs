//! Carries an update out, in an order in which it can stop anywhere: what is allowed is widened, nodes are told one after
//! another, the version becomes the default, what isn't needed any more goes. Run again, it goes on from what it finds.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use templates::names::TAG_PREVIOUS;
use templates::{Balancer, Order};

use super::against::Force;
use super::known::Known;
use super::lease::Lease;
use super::made::Made;
use super::previous::Previous;
use super::settings::{Setting, Settings};
use crate::aws::Aws;
use crate::aws::error::CallFailed;
use crate::aws::retry::pause;
use crate::claims;
use crate::failure::Failure;
use crate::observe::{Observed, observe};
use crate::output::progress::Progress;
use crate::plan::Change;
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
    /// What nodes boot.
    pub boots: Order,
    /// Whether every node has run what is to be.
    pub proven: bool,
    /// Whether to go on where it isn't sure who is active.
    pub force: Force,
    /// How long nodes may take.
    pub timeout: Duration,
    /// For who watches.
    pub progress: &'a Progress,
    /// What was done so far.
    pub changes: Vec<Change>,
}

impl Roll<'_> {
    /// All of it, in order.
    pub async fn all(&mut self) -> Result<(), Failure> {
        let known = self.known;
        self.widen().await?;
        let version = match known.target() {
            Some(version) => version,
            None => self.add_version().await?,
        };
        let order = Order { version, revision: known.desired.revision.clone() };
        if known.replaces() {
            self.release().await?;
        }
        if known.goes_down() {
            // An agent goes down to a version only if it is the default, which no tag changes.
            self.make_default(&order).await?;
        }
        self.run(&order).await?;
        self.proven = true;
        self.make_default(&order).await?;
        // One that was born in between has booted the version before.
        self.run(&order).await?;
        self.enlist().await?;
        self.settle(&known.new).await?;
        let tables = route_tables::find(&self.aws.ec2, &known.new.vpc).await?;
        self.drop_routes(&known.stale_routes(&tables)).await
    }

    /// Has every node run `order`.
    async fn run(&mut self, order: &Order) -> Result<(), Failure> {
        if self.known.replaces() {
            self.exchange(order).await?;
        }
        self.nodes(order).await
    }

    async fn add_version(&mut self) -> Result<i64, Failure> {
        let known = self.known;
        let group = known.observed.group(&known.new.vpc).map(|group| group.id.clone()).unwrap_or_default();
        let contents = known.desired.contents(&group, None);
        let (id, revision) = (&known.template.id, &known.desired.revision);
        self.hold().await?;
        let version = launch_template::add_version(&self.aws.ec2, id, &revision.0, &contents).await?;
        let name = &known.template.name;
        self.done(
            "create-launch-template-version",
            format!("add version {version} of revision {revision} to launch template {name}"),
        );
        self.readable(version, &contents).await?;
        Ok(version)
    }

    /// Waits until the API shows the version: a node that reads it too early would find nothing.
    async fn readable(&mut self, number: i64, contents: &Contents) -> Result<(), Failure> {
        let Template { id, name, .. } = &self.known.template;
        let deadline = Instant::now() + SPREADING;
        loop {
            let version = launch_template::version(&self.aws.ec2, id, number).await?;
            // What else an answer names, AWS says of itself.
            if version.is_some_and(|version| version.contents.as_asked() == *contents) {
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

    /// Widens what is allowed: before any node changes.
    async fn widen(&mut self) -> Result<(), Failure> {
        let known = self.known;
        self.set(|observed| Settings::wider(&known.old, &known.new, &known.region, &known.cidrs, observed)).await?;
        match self.changes.iter().any(|change| change.action == "claim") {
            true => self.contend().await,
            false => Ok(()),
        }
    }

    /// Gives way if somebody else has claimed the same virtual IPs at the same moment.
    async fn contend(&mut self) -> Result<(), Failure> {
        let known = self.known;
        let Balancer { name, vpc, virtual_ips, route_tables, .. } = &known.new;
        let others = claims::find(self.aws, vpc, name, virtual_ips).await?;
        let Some((vip, other)) = claims::taken(virtual_ips, route_tables, &others).first().copied() else {
            return Ok(());
        };
        self.settle(&known.old).await?;
        let whose = claims::refusal(vip, other);
        Err(Failure::Failed(anyhow!("{whose}; it was claimed at the same time, and {name} runs on as it was")))
    }

    /// Has what is around the nodes be just what `only` needs: after every node has changed.
    pub(super) async fn settle(&mut self, only: &Balancer) -> Result<(), Failure> {
        let known = self.known;
        self.set(|observed| Settings::exact(only, &known.region, &known.cidrs, observed)).await
    }

    /// Makes what is there so. Where AWS says that it is another than was seen, it is looked at again.
    async fn set(&mut self, wanted: impl Fn(&Observed) -> Settings) -> Result<(), Failure> {
        let deadline = Instant::now() + SPREADING;
        loop {
            let observed = observe(self.aws, &self.known.new.name).await?;
            match self.make(&wanted(&observed), &observed).await {
                Err(failure) if is_outdated(&failure) && Instant::now() < deadline => pause(LOOK).await,
                outcome => return outcome,
            }
        }
    }

    async fn make(&mut self, settings: &Settings, observed: &Observed) -> Result<(), Failure> {
        let Known { new, desired, .. } = self.known;
        let group = observed.group(&new.vpc).map(|group| group.id.clone());
        let group = group.ok_or_else(|| anyhow!("{} has no security group any more", new.name))?;
        for setting in settings.calls() {
            self.hold().await?;
            let Aws { auto_scaling, ec2, iam, .. } = self.aws;
            match setting {
                Setting::Claim(vips) => {
                    for vip in vips {
                        tagging::set(ec2, std::slice::from_ref(&group), &claims::tag(*vip), "").await?;
                    }
                }
                Setting::Disclaim(vips) => claims::give_way(self.aws, &group, vips).await?,
                Setting::Allow(rules) => security_group::allow(ec2, &group, rules).await?,
                Setting::Revoke(rules) => security_group::revoke(ec2, &group, rules).await?,
                Setting::Policy(policy) => role::set_policy(iam, &desired.global_name, policy).await?,
                Setting::Hook(hook) => scaling_group::set_hook(auto_scaling, &desired.name, hook).await?,
            }
            let change = setting.change(desired);
            self.done(change.action, change.what);
        }
        Ok(())
    }

    /// Makes the version the one that nodes boot, and remembers which was before.
    pub(super) async fn make_default(&mut self, order: &Order) -> Result<(), Failure> {
        let (known, ec2) = (self.known, &self.aws.ec2);
        if self.boots == *order {
            return Ok(());
        }
        self.hold().await?;
        let id = &known.template.id;
        let before = known.template.tags.get(TAG_PREVIOUS).map(Previous::read).unwrap_or_default();
        let before = before.and_now(self.boots.clone()).to_string();
        tagging::set(ec2, std::slice::from_ref(id), TAG_PREVIOUS, &before).await?;
        // What nodes boot so far was found to be Elbow's, where nothing was noted yet.
        let made = known.template.made().unwrap_or_else(|| Made::default().and(self.boots.version));
        launch_template::set_default(ec2, id, order.version, made).await?;
        self.boots = order.clone();
        self.done("set-default", format!("make version {} the one that nodes boot", order.version));
        Ok(())
    }

    /// Deletes the routes of virtual IPs that were removed, where they lead to the balancer's own nodes or to nothing.
    async fn drop_routes(&mut self, stale: &[(String, String)]) -> Result<(), Failure> {
        for (table, destination) in stale {
            self.hold().await?;
            route_tables::delete_route(&self.aws.ec2, table, destination).await?;
            self.done("delete-route", format!("delete route {destination} in {table}"));
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
        Failure::Failed(error) => error.downcast_ref().is_some_and(CallFailed::is_outdated),
        _ => false,
    }
}
