//! Replaces nodes that can't be updated in place, one slot after another. The new node is launched and serves; the old one
//! hands over if it is active, is stopped and is terminated. During the stop its agent waits for open connections.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use templates::Order;
use templates::handover::Request;
use templates::names::TAG_DRAIN;

use super::plan::{Aim, NextReplacement, Service, is_new, never_served, step};
use crate::apply::Launching;
use crate::apply::wait::say_silent;
use crate::assess::{Expected, assess};
use crate::aws::retry::pause;
use crate::model::node::Node;
use crate::model::node_status::called;
use crate::output::failure::Failure;
use crate::plan::Place;
use crate::resources::instances;
use crate::resources::{route_tables, tagging};
use crate::update::execute::RollingUpdate;
use crate::update::in_place::run::{standings, stands};
use crate::update::settings::common;
use crate::update::snapshot::Snapshot;

/// Between two reads of the nodes: two Describe calls.
const LOOK: Duration = Duration::from_millis(700);
/// How long the API may show the state before a call.
const SPREADING: Duration = Duration::from_secs(10);

/// The last step, and its time.
struct Last {
    step: NextReplacement,
    since: Instant,
}

impl RollingUpdate<'_> {
    /// Replaces nodes until every slot has one that was launched for `order`.
    pub(in crate::update) async fn replace_nodes(&mut self, order: &Order) -> Result<(), Failure> {
        let Snapshot { old, new, .. } = self.snapshot;
        let aim = Aim { order: order.clone(), ..self.snapshot.aim() };
        let mut deadline = Instant::now() + self.timeout;
        let (mut last, mut launched) = (None::<Last>, BTreeSet::new());
        loop {
            let ec2 = &self.aws.ec2;
            let (nodes, tables) =
                futures::try_join!(instances::find(ec2, &new.name, &new.subnets), route_tables::find(ec2, &new.vpc))?;
            lost(&launched, &nodes)?;
            let served = assess(&self.expected(), &nodes, &tables).virtual_ips;
            let served = served.iter().all(|vip| vip.active.len() == 1 && vip.routes.iter().all(|route| route.ok));
            let service = match served {
                true => Service::Whole,
                false if never_served(&aim, &nodes, &tables) => Service::Never,
                false => Service::Broken,
            };
            let step = step(&aim, &nodes, service);
            let repeated = last.as_ref().is_some_and(|last| last.step == step && last.since.elapsed() < SPREADING);
            if step == NextReplacement::Done {
                return Ok(());
            } else if step != NextReplacement::Wait && !repeated {
                self.keep_lease().await?;
                launched.extend(self.take(order, &step, &nodes).await?);
                let waits = matches!(step, NextReplacement::Stop(_));
                let drained = if waits { old.failover.drain_timeout().duration() } else { Duration::ZERO };
                last = Some(Last { step, since: Instant::now() });
                deadline = Instant::now() + self.timeout + drained;
            }
            self.watch(&aim, &nodes);
            if Instant::now() >= deadline {
                self.progress.clear();
                return Err(self.unfinished(&aim, &nodes, service).await);
            }
            pause(LOOK).await;
        }
    }

    /// What must be served all the time: the virtual IPs with the same index in the old file and the new one.
    fn expected(&self) -> Expected {
        let (old, new) = (&self.snapshot.old, &self.snapshot.new);
        let both = old.virtual_ips.iter().zip(&new.virtual_ips).take_while(|(old, new)| old == new);
        Expected {
            revision: self.snapshot.desired.revision.clone(),
            subnets: new.subnets.clone(),
            launch: new.launch,
            virtual_ips: both.map(|(vip, _)| *vip).collect(),
            route_tables: common(&old.route_tables, &new.route_tables),
            target_groups: BTreeMap::new(),
            without: self.snapshot.goal.without.clone(),
        }
    }

    /// Takes a step. Returns the instance that it launched.
    async fn take(&mut self, order: &Order, step: &NextReplacement, nodes: &[Node]) -> Result<Option<String>, Failure> {
        let who = |id: &String| nodes.iter().find(|node| node.id == *id).map_or(id.clone(), called);
        let (ec2, snapshot) = (&self.aws.ec2, self.snapshot);
        match step {
            NextReplacement::Done | NextReplacement::Wait => Ok(None),
            NextReplacement::Launch(slot) => {
                let replaces = nodes.iter().find(|node| node.named == Some(*slot)).map(|node| node.id.clone());
                let ended = nodes.iter().filter(|node| !node.is_live()).count();
                let subnet = snapshot.new.subnets[usize::from(slot.0)].clone();
                let place = Place { slot: *slot, subnet, ended, order: Some(order.clone()), replaces };
                let launching = Launching {
                    aws: self.aws,
                    desired: &snapshot.desired,
                    template: &snapshot.template.id,
                    version: order.version,
                    progress: self.progress,
                };
                let id = launching.node(&place).await?;
                self.done("launch", format!("launch a new node {slot} in {}: {id}", place.subnet));
                Ok(Some(id))
            }
            NextReplacement::HandOver(id, to) => {
                let request = Request { id: format!("{:016x}", rand::random::<u64>()), to: to.clone() };
                tagging::set(ec2, std::slice::from_ref(id), TAG_DRAIN, &request.to_string()).await?;
                self.done("hand-over", format!("ask {} to hand over", who(id)));
                Ok(None)
            }
            NextReplacement::Stop(id) => {
                instances::stop(ec2, std::slice::from_ref(id)).await?;
                self.done("stop", format!("stop {}", who(id)));
                Ok(None)
            }
            NextReplacement::End(id) => {
                instances::terminate(ec2, std::slice::from_ref(id)).await?;
                self.done("terminate", format!("terminate {}", who(id)));
                Ok(None)
            }
        }
    }

    fn watch(&self, aim: &Aim, nodes: &[Node]) {
        for node in nodes.iter().filter(|node| node.is_live()) {
            let slot = node.slot.map_or_else(String::new, |slot| format!("node {slot}, "));
            let stands = match is_new(aim, node) {
                true => stands(&aim.order, node),
                false => format!("is {}, to be replaced", node.state),
            };
            self.progress.live(&format!("{slot}{}", node.id), &stands);
        }
    }

    async fn unfinished(&self, aim: &Aim, nodes: &[Node], service: Service) -> Failure {
        let name = &self.snapshot.new.name;
        let (seconds, standings) = (self.timeout.as_secs(), standings(&aim.order, nodes));
        say_silent(self.aws, nodes, self.progress).await;
        let waits = match service {
            Service::Never => {
                return Failure::Failed(anyhow!(
                    "{name} doesn't serve {seconds} s after its last node was launched: {standings}; `launcher update` with a \
                     corrected file replaces nodes that never came up; run the same command again to keep waiting"
                ));
            }
            Service::Whole => "and it still serves",
            Service::Broken => "and old nodes stay until every route leads to an active node",
        };
        Failure::Failed(anyhow!(
            "{name} isn't updated: no step was possible for {seconds} s, {waits}: {standings}; run the same command again to \
             continue, or `launcher update` with the previous file to go back"
        ))
    }
}

/// Fails if a new node was terminated, so that it isn't launched again and again.
fn lost(launched: &BTreeSet<String>, nodes: &[Node]) -> Result<(), Failure> {
    let Some(node) = nodes.iter().find(|node| launched.contains(&node.id) && !node.is_live()) else { return Ok(()) };
    let reason = node.reason.as_deref().unwrap_or("AWS gives no reason");
    Err(Failure::Failed(anyhow!(
        "{} was terminated: {reason}; the other nodes still serve; run the same command again to launch another",
        called(node)
    )))
}
