//! Undoes an update after a node refused it: the nodes return to the revision before. The new version stays in the launch
//! template, and nodes don't boot it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use templates::Order;
use templates::names::TAG_REVISION;

use super::execute::RollingUpdate;
use crate::aws::retry::pause;
use crate::model::node::Node;
use crate::model::node_status::{called, refusal, running};
use crate::output::failure::Failure;
use crate::resources::instances;
use crate::resources::tagging;

/// Between two reads of the nodes' tags.
const LOOK: Duration = Duration::from_millis(500);
/// How long nodes may take to return to the revision before.
const BACK: Duration = Duration::from_secs(30);

impl RollingUpdate<'_> {
    /// Takes the order back from the `told` nodes because `who` refuses it. Returns the failure to report.
    pub(super) async fn refused(
        &mut self,
        order: &Order,
        who: &str,
        why: &str,
        told: &BTreeSet<String>,
    ) -> Result<Failure, Failure> {
        let name = &self.snapshot.new.name;
        let refuses = format!("{who} refuses revision {}: {why}", order.revision);
        if self.boots == *order && self.proven {
            // Every node has run this revision: a refusal by a node that was launched later doesn't undo it.
            return Ok(Failure::Failed(anyhow!(
                "{refuses}; nodes boot this revision and the others run it, so nothing is undone: terminate that node, or run \
                 `launcher update --rollback {name}`"
            )));
        }
        let away = self.take_back(order, told).await?;
        let before = &self.snapshot.baseline().revision;
        Ok(Failure::Failed(match away.is_empty() {
            true => anyhow!("{refuses}; {name} still runs revision {before}"),
            false => anyhow!(
                "{refuses}; the nodes were told to run revision {before} again, and after {} s {}; run `launcher update` with the \
                 previous file to continue",
                BACK.as_secs(),
                away.join("; ")
            ),
        }))
    }

    /// Orders the nodes back to the revision before, and restores rules and policy when all run it. Returns the state of each
    /// node that doesn't run it in time.
    async fn take_back(&mut self, order: &Order, told: &BTreeSet<String>) -> Result<Vec<String>, Failure> {
        let (ec2, before) = (&self.aws.ec2, self.snapshot.baseline());
        if self.boots != before {
            // A rollback has moved the default. Booting nodes use it, and agents return only to it.
            self.make_default(&before).await?;
        }
        let nodes = instances::find(ec2, &self.snapshot.new.name, &self.snapshot.new.subnets).await?;
        // The API may not show this command's orders yet.
        let was_told =
            |node: &&Node| told.contains(&node.id) || node.tags.get(TAG_REVISION) == Some(&order.to_string());
        let ids: Vec<String> =
            nodes.iter().filter(|node| node.is_live()).filter(was_told).map(|node| node.id.clone()).collect();
        if !ids.is_empty() {
            // Also the nodes that are just changing, and those that refuse.
            self.keep_lease().await?;
            tagging::set(ec2, &ids, TAG_REVISION, &before.to_string()).await?;
            self.progress.done(&format!("tell {} to run revision {} again", ids.join(", "), before.revision));
        }
        let deadline = Instant::now() + BACK;
        loop {
            let nodes = instances::find(ec2, &self.snapshot.new.name, &self.snapshot.new.subnets).await?;
            let waited = |node: &&Node| ids.contains(&node.id) && !self.snapshot.goal.leaves_out(node);
            let away = away(order, &before, nodes.iter().filter(waited));
            if away.is_empty() {
                self.restore().await?;
                return Ok(away);
            }
            if Instant::now() >= deadline {
                return Ok(away);
            }
            pause(LOOK).await;
        }
    }
}

/// The state of each node that doesn't run the revision before, or still shows a refusal of `order`.
fn away<'a>(order: &Order, before: &Order, nodes: impl Iterator<Item = &'a Node>) -> Vec<String> {
    let is_back = |node: &&Node| {
        node.tags.get(TAG_REVISION) == Some(&before.to_string())
            && running(node) == Some(&before.revision.0)
            && refusal(order, node).is_none()
    };
    nodes
        .filter(|node| node.is_live() && !is_back(node))
        .map(|node| match running(node) {
            Some(running) if refusal(order, node).is_some() => {
                format!("{} runs revision {running} and still shows the refusal", called(node))
            }
            Some(running) => format!("{} runs revision {running}", called(node)),
            None => format!("{} has not reported", called(node)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use templates::names::{TAG_REFUSED_REVISION, TAG_RUNNING};

    use super::*;
    use crate::model::observe::tests::node;

    #[test]
    fn a_node_that_runs_the_refused_revision_or_still_shows_a_refusal_is_not_back() {
        let order: Order = "2:fedcba987654".parse().unwrap();
        let mut node = node("i-1", 1, "running");
        let before: Order = format!("1:{}", node.tags.get(TAG_RUNNING).unwrap()).parse().unwrap();
        let said = |node: &Node| away(&order, &before, [node].into_iter());
        let set = |node: &mut Node, key: &str, value: &str| drop(node.tags.0.insert(key.to_owned(), value.to_owned()));
        // The API doesn't show the order yet.
        set(&mut node, TAG_REVISION, "2:fedcba987654");
        assert_eq!(said(&node), [format!("node 1 (i-1, standby) runs revision {}", before.revision)]);
        set(&mut node, TAG_REVISION, &before.to_string());
        assert_eq!(said(&node), [] as [&str; 0]);
        set(&mut node, TAG_REFUSED_REVISION, "2:fedcba987654 haproxy.cfg:12: no");
        assert!(said(&node)[0].ends_with("and still shows the refusal"), "{:?}", said(&node));
        node.tags.0.remove(TAG_REFUSED_REVISION);
        set(&mut node, TAG_RUNNING, "fedcba987654");
        assert_eq!(said(&node), ["node 1 (i-1, standby) runs revision fedcba987654"]);
        node.state = "terminated".to_owned();
        assert_eq!(said(&node), [] as [&str; 0]);
    }
}
