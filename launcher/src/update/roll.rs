//! Carries an update out, in an order in which it can stop anywhere: what is allowed is widened, nodes are told one after
//! another, the version becomes the default, what isn't needed any more goes. Run again, it goes on from what it finds.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::anyhow;
use templates::names::TAG_PREVIOUS;
use templates::{Balancer, Order};

use super::known::Known;
use super::lease::Lease;
use super::settings::Settings;
use crate::aws::Aws;
use crate::failure::Failure;
use crate::observe::observe;
use crate::output::progress::Progress;
use crate::plan::Change;
use crate::resources::{launch_template, role, route_tables, scaling_group, security_group, tagging};

/// An update under way.
pub struct Roll<'a> {
    /// AWS.
    pub aws: &'a Aws,
    /// What is to be, and what was there when it began.
    pub known: &'a Known,
    /// This update's own.
    pub lease: Lease,
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
        self.run(&order).await?;
        self.make_default(&order).await?;
        // One that was born in between has booted the version before.
        self.run(&order).await?;
        self.narrow(&known.new).await?;
        let tables = route_tables::find(&self.aws.ec2, &known.new.vpc).await?;
        self.drop_routes(&known.stale_routes(&tables)).await
    }

    /// Has every node run `order`.
    async fn run(&mut self, order: &Order) -> Result<(), Failure> {
        match self.known.replaces() {
            true => self.exchange(order).await,
            false => self.nodes(order).await,
        }
    }

    async fn add_version(&mut self) -> Result<i64, Failure> {
        let known = self.known;
        let group = known.observed.group(&known.new.vpc).map(|group| group.id.clone()).unwrap_or_default();
        let contents = known.desired.contents(&group, None);
        let (id, revision, tags) = (&known.template.id, &known.desired.revision, &known.desired.tags);
        let version = launch_template::add_version(&self.aws.ec2, id, &revision.0, &contents, tags).await?;
        let name = &known.template.name;
        self.done(
            "create-launch-template-version",
            format!("add version {version} of revision {revision} to launch template {name}"),
        );
        Ok(version)
    }

    /// Widens what is allowed: before any node changes.
    async fn widen(&mut self) -> Result<(), Failure> {
        let observed = observe(self.aws, &self.known.new.name).await?;
        let wider = Settings::wider(&self.known.old, &self.known.new, &self.aws.region, &self.known.cidrs, &observed);
        self.set(wider, observed.group(&self.known.new.vpc).map(|group| group.id.clone())).await
    }

    /// Takes back what `only` doesn't need: after every node has changed.
    pub(super) async fn narrow(&mut self, only: &Balancer) -> Result<(), Failure> {
        let observed = observe(self.aws, &self.known.new.name).await?;
        let narrower = Settings::narrower(only, &self.aws.region, &self.known.cidrs, &observed);
        self.set(narrower, observed.group(&self.known.new.vpc).map(|group| group.id.clone())).await
    }

    async fn set(&mut self, settings: Settings, group: Option<String>) -> Result<(), Failure> {
        let list = |rules: &BTreeSet<security_group::Rule>| {
            rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let group = group.ok_or_else(|| anyhow!("{} has no security group any more", self.known.new.name))?;
        if !settings.allow.is_empty() {
            security_group::allow(&self.aws.ec2, &group, &settings.allow).await?;
            self.done("allow", format!("let in: {}", list(&settings.allow)));
        }
        if !settings.revoke.is_empty() {
            security_group::revoke(&self.aws.ec2, &group, &settings.revoke).await?;
            self.done("revoke", format!("let in no more: {}", list(&settings.revoke)));
        }
        if let Some(policy) = &settings.policy {
            let name = &self.known.desired.global_name;
            role::set_policy(&self.aws.iam, name, policy).await?;
            self.done("set-policy", format!("set the policy of IAM role {name}"));
        }
        if let Some(hook) = &settings.hook {
            let name = &self.known.desired.name;
            scaling_group::set_hook(&self.aws.auto_scaling, name, hook).await?;
            self.done("set-lifecycle-hook", format!("have {name} wait {} s for nodes that it ends", hook.timeout));
        }
        Ok(())
    }

    /// Makes the version the one that nodes boot, and remembers which was before.
    async fn make_default(&mut self, order: &Order) -> Result<(), Failure> {
        let (baseline, id) = (self.known.baseline(), &self.known.template.id);
        if *order == baseline {
            return Ok(());
        }
        let ec2 = &self.aws.ec2;
        tagging::set(ec2, std::slice::from_ref(id), TAG_PREVIOUS, &baseline.to_string()).await?;
        launch_template::set_default(ec2, id, order.version).await?;
        self.done("set-default", format!("make version {} the one that nodes boot", order.version));
        Ok(())
    }

    /// Deletes the routes of virtual IPs that were removed, where they lead to the balancer's own nodes or to nothing.
    async fn drop_routes(&mut self, stale: &[(String, String)]) -> Result<(), Failure> {
        for (table, destination) in stale {
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
