//! Carries an update out, in an order in which it can stop anywhere: what is allowed is widened, nodes are told one after
//! another, the version becomes the default, what isn't needed any more goes. Run again, it goes on from what it finds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use ipnet::Ipv4Net;
use jiff::Timestamp;
use templates::names::{TAG_PREVIOUS, TAG_REVISION, TAG_UPDATE};
use templates::{Balancer, Order};

use super::lease::{Lease, SIGN};
use super::next::{Next, active, next, refusal, running};
use super::settings::Settings;
use crate::aws::Aws;
use crate::aws::error::CallFailed;
use crate::aws::retry::pause;
use crate::failure::Failure;
use crate::observe::observe;
use crate::output::progress::Progress;
use crate::plan::Change;
use crate::resources::instances::{self, Node};
use crate::resources::{launch_template, role, route_tables, security_group, tagging};

/// From one look at the nodes' tags to the next.
const LOOK: Duration = Duration::from_millis(500);
/// How long what a node said before it was told may still be read.
const STALE: Duration = Duration::from_secs(4);
/// How long nodes that took a refused revision may take to go back.
const BACK: Duration = Duration::from_secs(30);

/// An update under way.
pub struct Roll<'a> {
    /// AWS.
    pub aws: &'a Aws,
    /// What the nodes run by default.
    pub old: &'a Balancer,
    /// The version that is the default.
    pub baseline: Order,
    /// What they should run.
    pub new: &'a Balancer,
    /// The VPC's own addresses.
    pub cidrs: &'a [Ipv4Net],
    /// The launch template's id.
    pub template: &'a str,
    /// Of roles and policies.
    pub global_name: &'a str,
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
    /// Widens what is allowed: before any node changes.
    pub async fn widen(&mut self) -> Result<(), Failure> {
        let observed = observe(self.aws, &self.new.name).await?;
        let wider = Settings::wider(self.old, self.new, &self.aws.region, self.cidrs, &observed);
        self.set(wider, observed.group(&self.new.vpc).map(|group| group.id.clone())).await
    }

    /// Takes back what `only` doesn't need: after every node has changed.
    pub async fn narrow(&mut self, only: &Balancer) -> Result<(), Failure> {
        let observed = observe(self.aws, &self.new.name).await?;
        let narrower = Settings::narrower(only, &self.aws.region, self.cidrs, &observed);
        self.set(narrower, observed.group(&self.new.vpc).map(|group| group.id.clone())).await
    }

    async fn set(&mut self, settings: Settings, group: Option<String>) -> Result<(), Failure> {
        let list = |rules: &BTreeSet<security_group::Rule>| {
            rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let group = group.ok_or_else(|| anyhow!("{} has no security group any more", self.new.name))?;
        if !settings.allow.is_empty() {
            security_group::allow(&self.aws.ec2, &group, &settings.allow).await?;
            self.done("allow", format!("let in: {}", list(&settings.allow)));
        }
        if !settings.revoke.is_empty() {
            security_group::revoke(&self.aws.ec2, &group, &settings.revoke).await?;
            self.done("revoke", format!("let in no more: {}", list(&settings.revoke)));
        }
        if let Some(policy) = &settings.policy {
            role::set_policy(&self.aws.iam, self.global_name, policy).await?;
            self.done("set-policy", format!("set the policy of IAM role {}", self.global_name));
        }
        Ok(())
    }

    /// Has every node run `order`, or none.
    pub async fn nodes(&mut self, order: &Order) -> Result<(), Failure> {
        let deadline = Instant::now() + self.timeout;
        let (mut told, mut stale) = (BTreeSet::new(), BTreeSet::new());
        let mut last_told = Instant::now();
        loop {
            let nodes = instances::find(&self.aws.ec2, &self.new.name).await?;
            if last_told.elapsed() > STALE {
                stale.clear();
            }
            match next(order, &nodes, &told, &stale) {
                Next::Done => return Ok(()),
                Next::Wait(_) => {}
                Next::Tell(ids) => {
                    last_told = Instant::now();
                    stale
                        .extend(nodes.iter().filter(|node| refusal(order, node).is_some()).map(|node| node.id.clone()));
                    tagging::set(&self.aws.ec2, &ids, TAG_REVISION, &order.to_string()).await?;
                    for node in nodes.iter().filter(|node| ids.contains(&node.id)) {
                        self.done("tell", format!("tell {} to run revision {}", called(node), order.revision));
                    }
                    told.extend(ids);
                }
                Next::Refused { node, why } => {
                    let who = nodes.iter().find(|one| one.id == node).map_or(node, called);
                    self.take_back(order).await?;
                    return Err(Failure::Failed(anyhow!(
                        "{who} refuses revision {}: {why}; {} runs on as it was, revision {}",
                        order.revision,
                        self.new.name,
                        self.baseline.revision
                    )));
                }
            }
            self.show(order, &nodes);
            if Instant::now() >= deadline {
                self.progress.clear();
                return Err(self.timed_out(order, &nodes));
            }
            self.renew().await?;
            pause(LOOK).await;
        }
    }

    fn show(&self, order: &Order, nodes: &[Node]) {
        for node in nodes.iter().filter(|node| node.is_live()) {
            let who = node.slot().map_or_else(|| node.id.clone(), |slot| format!("node {slot}"));
            self.progress.live(&who, &stands(order, node));
        }
    }

    fn timed_out(&self, order: &Order, nodes: &[Node]) -> Failure {
        let stand = nodes.iter().filter(|node| node.is_live());
        let stand: Vec<String> = stand.map(|node| format!("{} {}", called(node), stands(order, node))).collect();
        Failure::Failed(anyhow!(
            "{} isn't updated after {} s, and serves on: {}; the same command again goes on, `launcher update` with the file \
             it had goes back",
            self.new.name,
            self.timeout.as_secs(),
            stand.join("; ")
        ))
    }

    /// Nodes that were told run what they ran; the version stays in the launch template, and nobody boots it.
    async fn take_back(&mut self, order: &Order) -> Result<(), Failure> {
        let ec2 = &self.aws.ec2;
        let nodes = instances::find(ec2, &self.new.name).await?;
        let told = nodes.iter().filter(|node| node.is_live());
        let told: Vec<&Node> = told.filter(|node| node.tags.get(TAG_REVISION) == Some(&order.to_string())).collect();
        let id = |node: &&Node| node.id.clone();
        let runs_old = |node: &&&Node| running(node) == Some(&self.baseline.revision.0);
        let unchanged: Vec<String> = told.iter().filter(runs_old).map(id).collect();
        let changed: Vec<String> = told.iter().filter(|node| !runs_old(node)).map(id).collect();
        if !unchanged.is_empty() {
            tagging::remove(ec2, &unchanged, TAG_REVISION).await?;
        }
        if !changed.is_empty() {
            tagging::set(ec2, &changed, TAG_REVISION, &self.baseline.to_string()).await?;
            self.progress.done(&format!(
                "tell {} to go back to revision {}",
                changed.join(", "),
                self.baseline.revision
            ));
            let deadline = Instant::now() + BACK;
            while Instant::now() < deadline {
                let nodes = instances::find(ec2, &self.new.name).await?;
                let mut back = nodes.iter().filter(|node| changed.contains(&node.id));
                if back.all(|node| !node.is_live() || running(node) == Some(&self.baseline.revision.0)) {
                    break;
                }
                pause(LOOK).await;
            }
        }
        let old = self.old;
        self.narrow(old).await
    }

    /// Makes the version the one that nodes boot, and remembers which was before.
    pub async fn make_default(&mut self, order: &Order) -> Result<(), Failure> {
        if *order == self.baseline {
            return Ok(());
        }
        let ec2 = &self.aws.ec2;
        tagging::set(ec2, &[self.template.to_owned()], TAG_PREVIOUS, &self.baseline.to_string()).await?;
        launch_template::set_default(ec2, self.template, order.version).await?;
        self.done("set-default", format!("make version {} the one that nodes boot", order.version));
        Ok(())
    }

    /// Deletes the routes of virtual IPs that were removed, where they lead to the balancer's own nodes or to nothing.
    pub async fn drop_routes(&mut self, stale: &[(String, String)]) -> Result<(), Failure> {
        for (table, destination) in stale {
            route_tables::delete_route(&self.aws.ec2, table, destination).await?;
            self.done("delete-route", format!("delete route {destination} in {table}"));
        }
        Ok(())
    }

    /// Says that this update lives, unless somebody else took it over.
    async fn renew(&mut self) -> Result<(), Failure> {
        if Timestamp::now().duration_since(self.lease.seen) < SIGN {
            return Ok(());
        }
        let tag = launch_template::tags(&self.aws.ec2, self.template).await?;
        let holder = tag.get(TAG_UPDATE).and_then(|tag| tag.parse::<Lease>().ok());
        if let Some(other) = holder.filter(|lease| lease.who != self.lease.who) {
            return Err(Failure::Failed(anyhow!("the update was taken over {}", other.described())));
        }
        self.lease = self.lease.renewed();
        tagging::set(&self.aws.ec2, &[self.template.to_owned()], TAG_UPDATE, &self.lease.to_string()).await?;
        Ok(())
    }

    fn done(&mut self, action: &'static str, what: String) {
        self.progress.done(&what);
        self.changes.push(Change { action, what });
    }
}

/// Takes the lease, if nobody else has it: who wrote last has it, and both see who that was.
pub async fn begin(aws: &Aws, template: &str, lease: &Lease) -> Result<(), Failure> {
    tagging::set(&aws.ec2, &[template.to_owned()], TAG_UPDATE, &lease.to_string()).await?;
    // As long as two who saw nobody at the same moment may be apart.
    pause(Duration::from_millis(300)).await;
    let tags = launch_template::tags(&aws.ec2, template).await?;
    match tags.get(TAG_UPDATE).and_then(|tag| tag.parse::<Lease>().ok()) {
        Some(other) if other.who != lease.who => {
            Err(Failure::bad_input(format!("an update is under way, {}", other.described())))
        }
        _ => Ok(()),
    }
}

/// Gives the lease back.
pub async fn end(aws: &Aws, template: &str) -> Result<(), CallFailed> {
    tagging::remove(&aws.ec2, &[template.to_owned()], TAG_UPDATE).await
}

/// A node, for people.
pub fn called(node: &Node) -> String {
    let role = if active(node) > 0 { "active" } else { "standby" };
    match node.slot() {
        Some(slot) => format!("node {slot} ({}, {role})", node.id),
        None => format!("{} ({role})", node.id),
    }
}

fn stands(order: &Order, node: &Node) -> String {
    let told = node.tags.get(TAG_REVISION) == Some(&order.to_string());
    let message =
        node.tags.get(templates::names::TAG_MESSAGE).map(|message| format!(" ({message})")).unwrap_or_default();
    match running(node) {
        _ if node.state != "running" => format!("is {}", node.state),
        Some(running) if *running == order.revision.0 => format!("runs the new revision{message}"),
        Some(running) if told => format!("has been told, and still runs revision {running}{message}"),
        Some(running) => format!("runs revision {running}, and hasn't been told yet{message}"),
        None => format!("has not reported yet{message}"),
    }
}
