//! Gives the running nodes their order, one after another, and waits until they run or refuse it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use templates::Order;
use templates::names::{TAG_MESSAGE, TAG_REVISION};

use super::plan::{Asking, NextOrder, next};
use crate::aws::retry::pause;
use crate::model::node::Node;
use crate::model::node_status::{called, refusal, running};
use crate::output::failure::Failure;
use crate::resources::instances;
use crate::resources::tagging;
use crate::update::execute::RollingUpdate;

/// Between two reads of the nodes' tags.
const LOOK: Duration = Duration::from_millis(500);
/// How long AWS's answers may show a refusal that a node has removed.
const STALE: Duration = Duration::from_secs(4);

impl RollingUpdate<'_> {
    /// Has every node run `order`, or none.
    pub(in crate::update) async fn nodes(&mut self, order: &Order) -> Result<(), Failure> {
        let deadline = Instant::now() + self.timeout;
        let (mut told, mut refused) = (BTreeSet::new(), BTreeMap::new());
        loop {
            let nodes = instances::find(&self.aws.ec2, &self.snapshot.new.name, &self.snapshot.new.subnets).await?;
            let before = nodes.iter().filter(|node| refusal(order, node).is_some() && !told.contains(&node.id));
            refused.extend(before.map(|node| (node.id.clone(), Instant::now())));
            refused.retain(|_, seen| seen.elapsed() < STALE);
            let (mut unserved, stale) = (None, refused.keys().cloned().collect());
            let goal = &self.snapshot.goal;
            match next(&Asking { order, goal, told: &told, stale: &stale }, &nodes) {
                NextOrder::Done => return Ok(()),
                NextOrder::Wait(_) => {}
                NextOrder::Unserved(why) => unserved = Some(why),
                NextOrder::Withdraw(ids) => {
                    self.keep_lease().await?;
                    tagging::remove(&self.aws.ec2, &ids, TAG_REVISION).await?;
                }
                NextOrder::Give(ids) => {
                    self.tell(order, &ids, &nodes).await?;
                    told.extend(ids);
                    continue;
                }
                NextOrder::Refused { node, why } => {
                    let who = nodes.iter().find(|one| one.id == node).map_or(node, called);
                    return Err(self.refused(order, &who, &why, &told).await?);
                }
            }
            self.show(order, &nodes);
            if Instant::now() >= deadline {
                self.progress.clear();
                return Err(self.timed_out(order, &nodes, unserved));
            }
            pause(LOOK).await;
        }
    }

    async fn tell(&mut self, order: &Order, ids: &[String], nodes: &[Node]) -> Result<(), Failure> {
        self.keep_lease().await?;
        tagging::set(&self.aws.ec2, ids, TAG_REVISION, &order.to_string()).await?;
        for node in nodes.iter().filter(|node| ids.contains(&node.id)) {
            self.done("tell", format!("tell {} to run revision {}", called(node), order.revision));
        }
        Ok(())
    }

    fn show(&self, order: &Order, nodes: &[Node]) {
        for node in nodes.iter().filter(|node| node.is_live()) {
            let who = node.named.map_or_else(|| node.id.clone(), |slot| format!("node {slot}"));
            self.progress.live(&who, &stands(order, node));
        }
    }

    fn timed_out(&self, order: &Order, nodes: &[Node], unserved: Option<String>) -> Failure {
        Failure::Failed(anyhow!(
            "{} isn't updated after {} s, {}: {}; run the same command again to continue, or `launcher update` with the \
             previous file to go back",
            self.snapshot.new.name,
            self.timeout.as_secs(),
            unserved.map_or("and still serves".to_owned(), |why| format!("as {why} (use --force to continue)")),
            standings(order, nodes)
        ))
    }
}

/// The progress of each live node, for an error.
pub fn standings(order: &Order, nodes: &[Node]) -> String {
    let live = nodes.iter().filter(|node| node.is_live());
    live.map(|node| format!("{} {}", called(node), stands(order, node))).collect::<Vec<_>>().join("; ")
}

/// The progress of a node towards the order.
pub fn stands(order: &Order, node: &Node) -> String {
    let told = node.tags.get(TAG_REVISION) == Some(&order.to_string());
    let message = node.tags.get(TAG_MESSAGE).map(|message| format!(" ({message})")).unwrap_or_default();
    match running(node) {
        _ if node.state != "running" => format!("is {}", node.state),
        running if let Some(unreachable) = &node.unreachable => {
            let told = if told && running != Some(&order.revision.0) { ", and has been told" } else { "" };
            format!("is {unreachable}{told}")
        }
        Some(running) if *running == order.revision.0 => format!("runs the new revision{message}"),
        Some(running) if told => format!("has been told, and still runs revision {running}{message}"),
        Some(running) => format!("runs revision {running}, and hasn't been told yet{message}"),
        None => format!("has not reported yet{message}"),
    }
}
