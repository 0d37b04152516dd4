//! Tells running nodes what to run, one after another, and waits for their answers; one that refuses has all of it taken
//! back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use templates::Order;
use templates::names::{TAG_MESSAGE, TAG_REVISION};

use super::next::{Next, active, next, refusal, running};
use super::roll::Roll;
use crate::aws::retry::pause;
use crate::failure::Failure;
use crate::resources::instances::{self, Node};
use crate::resources::tagging;

/// From one look at the nodes' tags to the next.
const LOOK: Duration = Duration::from_millis(500);
/// How long what a node said before it was told may still be read.
const STALE: Duration = Duration::from_secs(4);
/// How long nodes that took a refused revision may take to go back.
const BACK: Duration = Duration::from_secs(30);

impl Roll<'_> {
    /// Has every node run `order`, or none.
    pub(super) async fn nodes(&mut self, order: &Order) -> Result<(), Failure> {
        let deadline = Instant::now() + self.timeout;
        let (mut told, mut stale) = (BTreeSet::new(), BTreeSet::new());
        let mut last_told = Instant::now();
        loop {
            let nodes = instances::find(&self.aws.ec2, &self.known.new.name).await?;
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
                        self.known.new.name,
                        self.known.old.revision()
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
            self.known.new.name,
            self.timeout.as_secs(),
            stand.join("; ")
        ))
    }

    /// Nodes that were told run what they ran; the version stays in the launch template, and nobody boots it.
    async fn take_back(&mut self, order: &Order) -> Result<(), Failure> {
        let ec2 = &self.aws.ec2;
        let nodes = instances::find(ec2, &self.known.new.name).await?;
        let told =
            nodes.iter().filter(|node| node.is_live() && node.tags.get(TAG_REVISION) == Some(&order.to_string()));
        let told: Vec<String> = told.map(|node| node.id.clone()).collect();
        if told.is_empty() {
            return self.narrow(&self.known.old).await;
        }
        // One that changes at this moment is told as well as one that runs it, or never will.
        let baseline = self.known.baseline();
        tagging::set(ec2, &told, TAG_REVISION, &baseline.to_string()).await?;
        self.progress.done(&format!("tell {} to run revision {} as before", told.join(", "), baseline.revision));
        let deadline = Instant::now() + BACK;
        while Instant::now() < deadline {
            let nodes = instances::find(ec2, &self.known.new.name).await?;
            let mut back = nodes.iter().filter(|node| told.contains(&node.id));
            if back.all(|node| !node.is_live() || is_back(order, &baseline, node)) {
                break;
            }
            self.renew().await?;
            pause(LOOK).await;
        }
        self.narrow(&self.known.old).await
    }
}

/// Whether the node runs what it ran, and doesn't speak of `order` any more.
fn is_back(order: &Order, baseline: &Order, node: &Node) -> bool {
    running(node) == Some(&baseline.revision.0) && refusal(order, node).is_none()
}

/// A node, for people.
pub fn called(node: &Node) -> String {
    let role = if active(node) > 0 { "active" } else { "standby" };
    match node.slot() {
        Some(slot) => format!("node {slot} ({}, {role})", node.id),
        None => format!("{} ({role})", node.id),
    }
}

/// How far a node is.
pub fn stands(order: &Order, node: &Node) -> String {
    let told = node.tags.get(TAG_REVISION) == Some(&order.to_string());
    let message = node.tags.get(TAG_MESSAGE).map(|message| format!(" ({message})")).unwrap_or_default();
    match running(node) {
        _ if node.state != "running" => format!("is {}", node.state),
        Some(running) if *running == order.revision.0 => format!("runs the new revision{message}"),
        Some(running) if told => format!("has been told, and still runs revision {running}{message}"),
        Some(running) => format!("runs revision {running}, and hasn't been told yet{message}"),
        None => format!("has not reported yet{message}"),
    }
}
