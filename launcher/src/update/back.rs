//! What comes of a refusal: nodes that were told run what they ran, and nobody boots the version, which stays in the launch
//! template.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use templates::Order;
use templates::names::TAG_REVISION;

use super::roll::Roll;
use crate::aws::retry::pause;
use crate::model::node::Node;
use crate::model::node_status::{called, refusal, running};
use crate::output::failure::Failure;
use crate::resources::instances;
use crate::resources::tagging;

/// From one look at the nodes' tags to the next.
const LOOK: Duration = Duration::from_millis(500);
/// How long nodes that took a refused revision may take to go back.
const BACK: Duration = Duration::from_secs(30);

impl Roll<'_> {
    /// Has what was `told` taken back because `who` won't run it. Answers what to tell the operator.
    pub(super) async fn refused(
        &mut self,
        order: &Order,
        who: &str,
        why: &str,
        told: &BTreeSet<String>,
    ) -> Result<Failure, Failure> {
        let name = &self.known.new.name;
        let refuses = format!("{who} refuses revision {}: {why}", order.revision);
        if self.boots == *order && self.proven {
            // It is proven: what one that was born late makes of it is no reason to take it from all others.
            return Ok(Failure::Failed(anyhow!(
                "{refuses}; nodes boot this revision and the others run it, so nothing is taken back: terminate that one, or \
                 go back with `launcher update --rollback {name}`"
            )));
        }
        let away = self.take_back(order, told).await?;
        let before = &self.known.baseline().revision;
        Ok(Failure::Failed(match away.is_empty() {
            true => anyhow!("{refuses}; {name} runs on as it was, revision {before}"),
            false => anyhow!(
                "{refuses}; all that were told it were told revision {before} again, and after {} s {}: `launcher update` with \
                 the file that it had goes on",
                BACK.as_secs(),
                away.join("; ")
            ),
        }))
    }

    /// Tells them what they ran, and what is around them goes back when they have. Answers who hasn't, and how it stands.
    async fn take_back(&mut self, order: &Order, told: &BTreeSet<String>) -> Result<Vec<String>, Failure> {
        let (ec2, before) = (&self.aws.ec2, self.known.baseline());
        if self.boots != before {
            // A rollback has moved it: nodes that boot meanwhile, and agents that go down, look at it.
            self.make_default(&before).await?;
        }
        let nodes = instances::find(ec2, &self.known.new.name, &self.known.new.subnets).await?;
        // What the API shows may be older than what this command told.
        let was_told =
            |node: &&Node| told.contains(&node.id) || node.tags.get(TAG_REVISION) == Some(&order.to_string());
        let ids: Vec<String> =
            nodes.iter().filter(|node| node.is_live()).filter(was_told).map(|node| node.id.clone()).collect();
        if !ids.is_empty() {
            // One that changes at this moment is told as well as one that runs it, or never will.
            self.hold().await?;
            tagging::set(ec2, &ids, TAG_REVISION, &before.to_string()).await?;
            self.progress.done(&format!("tell {} to run revision {} as before", ids.join(", "), before.revision));
        }
        let deadline = Instant::now() + BACK;
        loop {
            let nodes = instances::find(ec2, &self.known.new.name, &self.known.new.subnets).await?;
            let waited = |node: &&Node| ids.contains(&node.id) && !self.known.goal.leaves_out(node);
            let away = away(order, &before, nodes.iter().filter(waited));
            if away.is_empty() {
                // What is around the nodes is what they need, again.
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

/// Those that don't run what they ran, or speak of `order` still, and how they stand.
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
                format!("{} runs revision {running} and hasn't heard", called(node))
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
    fn who_runs_what_was_refused_or_was_not_heard_of_since_is_not_back() {
        let order: Order = "2:fedcba987654".parse().unwrap();
        let mut node = node("i-1", 1, "running");
        let before: Order = format!("1:{}", node.tags.get(TAG_RUNNING).unwrap()).parse().unwrap();
        let said = |node: &Node| away(&order, &before, [node].into_iter());
        let set = |node: &mut Node, key: &str, value: &str| drop(node.tags.0.insert(key.to_owned(), value.to_owned()));
        // What the API shows is from before it was told.
        set(&mut node, TAG_REVISION, "2:fedcba987654");
        assert_eq!(said(&node), [format!("node 1 (i-1, standby) runs revision {}", before.revision)]);
        set(&mut node, TAG_REVISION, &before.to_string());
        assert_eq!(said(&node), [] as [&str; 0]);
        set(&mut node, TAG_REFUSED_REVISION, "2:fedcba987654 haproxy.cfg:12: no");
        assert!(said(&node)[0].ends_with("and hasn't heard"), "{:?}", said(&node));
        node.tags.0.remove(TAG_REFUSED_REVISION);
        set(&mut node, TAG_RUNNING, "fedcba987654");
        assert_eq!(said(&node), ["node 1 (i-1, standby) runs revision fedcba987654"]);
        node.state = "terminated".to_owned();
        assert_eq!(said(&node), [] as [&str; 0]);
    }
}
