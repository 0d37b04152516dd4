//! Decides what to do next with the instance refresh of an Auto Scaling group. Pure. All state is in AWS's answers, so an
//! update continues the refresh of an interrupted one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use templates::Order;
use templates::names::{TAG_MESSAGE, TAG_ROLE};

use crate::model::node::Node;
use crate::model::node_status::{called, is_in_fault, running};
use crate::resources::instance_refresh::{Phase, Refresh};
use crate::resources::scaling_group::ScalingGroup;
use crate::update::in_place::run::stands;
use crate::update::snapshot::Snapshot;

/// How long a new node may be in fault with a message before that counts as a refusal.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to do with the group's newest refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextRefresh {
    /// Start a refresh.
    Start,
    /// Follow this refresh.
    Follow(String),
    /// Roll it back: it launches other nodes than the wanted ones.
    RollBack,
    /// Wait until it ends.
    Wait,
    /// It replaced every node.
    Done,
    /// It ended without success, in this state.
    Lost(String),
}

/// What to do to have every node replaced by version `to` of its launch template. `followed` is the refresh that this update
/// started or found. `newest` may be an earlier one, as answers may lag behind.
pub fn turn(to: &(String, i64), newest: Option<&Refresh>, followed: Option<&str>) -> NextRefresh {
    match (newest, followed) {
        (Some(refresh), _) if refresh.phase() == Phase::Back => NextRefresh::Wait,
        (Some(refresh), _) if refresh.phase() == Phase::Forward => match refresh.to.as_ref() == Some(to) {
            true => NextRefresh::Follow(refresh.id.clone()),
            false => NextRefresh::RollBack,
        },
        (Some(refresh), Some(followed)) if refresh.id == followed => match refresh.status.as_str() {
            "Successful" => NextRefresh::Done,
            _ => NextRefresh::Lost(refresh.stands()),
        },
        (_, Some(_)) => NextRefresh::Wait,
        (_, None) => NextRefresh::Start,
    }
}

impl Snapshot {
    /// The Auto Scaling group that launches the nodes, if there is one.
    pub fn group(&self) -> Option<&ScalingGroup> {
        self.observed.scaling.as_ref().filter(|group| self.desired.scaling.is_some() && !group.deleting)
    }

    /// The refresh under way.
    pub fn refresh(&self) -> Option<&Refresh> {
        self.group()?.active_refresh()
    }

    /// The refresh under way that launches other nodes than the wanted ones, or is rolled back. It must end first.
    pub fn other_refresh(&self) -> Option<&Refresh> {
        let to = (self.template.id.clone(), self.target().unwrap_or_default());
        self.refresh().filter(|refresh| !matches!(turn(&to, Some(refresh), None), NextRefresh::Follow(_)))
    }

    /// Whether nodes that were launched from the wanted version may stay. Not if one of them runs another revision now.
    pub fn skips_matching(&self) -> bool {
        let target = self.target();
        let strayed = |node: &Node| running(node).is_some_and(|revision| *revision != self.desired.revision.0);
        let is_strayed = |node: &&Node| target.is_some() && self.launched_from(node) == target && strayed(node);
        !self.observed.live().any(|node| is_strayed(&node))
    }

    /// The nodes that the group has to replace.
    pub fn refreshed(&self) -> impl Iterator<Item = &Node> {
        let kept = if self.skips_matching() { self.target() } else { None };
        self.observed.live().filter(move |node| kept.is_none() || self.launched_from(node) != kept)
    }

    fn launched_from(&self, node: &Node) -> Option<i64> {
        launched_from(self.group()?, node)
    }
}

/// The version of the launch template that the group launched the node from.
fn launched_from(group: &ScalingGroup, node: &Node) -> Option<i64> {
    group.members.iter().find(|member| member.id == node.id)?.version
}

/// Each live node, and its progress towards `order`.
pub fn standings(order: &Order, group: &ScalingGroup, nodes: &[Node]) -> Vec<(String, String)> {
    let standing = |node: &Node| {
        let member = group.members.iter().find(|member| member.id == node.id);
        let state = member.map_or("not in the group", |member| member.state.as_str());
        let role = node.tags.get(TAG_ROLE).filter(|_| running(node) == Some(&order.revision.0));
        match (member.and_then(|member| member.version) == Some(order.version), role) {
            (false, _) => format!("{state}, to be replaced"),
            (true, Some(role)) => format!("{state}, {role}"),
            (true, None) => format!("{state}, {}", stands(order, node)),
        }
    };
    nodes.iter().filter(|node| node.is_live()).map(|node| (called(node), standing(node))).collect()
}

/// New nodes in fault, and since when.
#[derive(Default)]
pub struct Ill(BTreeMap<String, Instant>);

impl Ill {
    /// The node that refuses the order, and why: it has been in fault with a message for a while.
    pub fn refusal(
        &mut self,
        order: &Order,
        group: &ScalingGroup,
        nodes: &[Node],
        now: Instant,
    ) -> Option<(String, String)> {
        let complaints = nodes.iter().filter_map(|node| Some((node, complaint(order, group, node)?)));
        let complaints: Vec<(&Node, &str)> = complaints.collect();
        self.0.retain(|id, _| complaints.iter().any(|(node, _)| node.id == *id));
        let lasting = complaints.into_iter().find(|(node, _)| {
            let since = *self.0.entry(node.id.clone()).or_insert(now);
            now.duration_since(since) >= PATIENCE
        });
        lasting.map(|(node, why)| (called(node), why.to_owned()))
    }
}

/// The message of a node in fault that was launched for the order.
fn complaint<'a>(order: &Order, group: &ScalingGroup, node: &'a Node) -> Option<&'a str> {
    let is_new = node.is_live() && launched_from(group, node) == Some(order.version);
    let is_down = running(node) == Some(&order.revision.0) && is_in_fault(node);
    node.tags.get(TAG_MESSAGE).filter(|_| is_new && is_down)
}

#[cfg(test)]
mod tests {
    use templates::names::TAG_RUNNING;

    use super::*;
    use crate::model::group_settings::tests::group;
    use crate::model::observe::tests::node;
    use crate::resources::instance_refresh::tests::refresh;
    use crate::resources::scaling_group::Member;

    fn on(status: &str, version: i64, followed: Option<&str>) -> NextRefresh {
        turn(&("lt-1".to_owned(), 2), Some(&refresh(status, version)), followed)
    }

    #[test]
    fn a_refresh_is_started_followed_to_its_end_and_started_only_once() {
        assert_eq!(turn(&("lt-1".to_owned(), 2), None, None), NextRefresh::Start);
        assert_eq!(on("Successful", 2, None), NextRefresh::Start, "an earlier one");
        assert_eq!(on("InProgress", 2, None), NextRefresh::Follow("r-1".into()), "a killed update's");
        assert_eq!(on("Pending", 2, Some("r-1")), NextRefresh::Follow("r-1".into()));
        assert_eq!(on("Successful", 2, Some("r-1")), NextRefresh::Done);
        assert_eq!(on("Successful", 1, Some("r-2")), NextRefresh::Wait, "the answer is an old one");
        assert_eq!(turn(&("lt-1".to_owned(), 2), None, Some("r-1")), NextRefresh::Wait);
    }

    #[test]
    fn a_refresh_to_another_version_is_rolled_back_and_its_end_awaited() {
        assert_eq!(on("InProgress", 3, None), NextRefresh::RollBack);
        let by_hand = Refresh { to: None, ..refresh("InProgress", 2) };
        assert_eq!(turn(&("lt-1".to_owned(), 2), Some(&by_hand), None), NextRefresh::RollBack);
        for status in ["RollbackInProgress", "Cancelling"] {
            assert_eq!(on(status, 2, Some("r-1")), NextRefresh::Wait);
        }
        assert_eq!(on("RollbackSuccessful", 2, Some("r-1")), NextRefresh::Lost("RollbackSuccessful, 50 %".into()));
    }

    #[test]
    fn a_new_node_that_stays_in_fault_with_a_message_refuses_and_an_old_or_booting_one_does_not() {
        let order: Order = "2:fedcba987654".parse().unwrap();
        let member = |id: &str, version| Member { id: id.to_owned(), state: "Pending:Wait".to_owned(), version };
        let group = ScalingGroup { members: vec![member("i-0", Some(1)), member("i-2", Some(2))], ..group() };
        let told = |id: &str, tags: &[(&str, &str)]| {
            let mut node = node(id, 0, "running");
            node.tags.0.extend(tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
            node
        };
        let ill = [(TAG_ROLE, "fault"), (TAG_RUNNING, "fedcba987654"), (TAG_MESSAGE, "haproxy.cfg:12: no")];
        let since = Instant::now();
        let after = |nodes: &[Node]| {
            let mut seen = Ill::default();
            assert_eq!(seen.refusal(&order, &group, nodes, since), None, "it may be passing");
            seen.refusal(&order, &group, nodes, since + PATIENCE)
        };
        let said = Some(("node 0 (i-2, standby)".to_owned(), "haproxy.cfg:12: no".to_owned()));
        assert_eq!(after(&[told("i-2", &ill)]), said);
        assert_eq!(after(&[told("i-2", &ill[..2])]), None, "it has no message");
        assert_eq!(after(&[told("i-2", &[ill[1], ill[2], (TAG_ROLE, "standby")])]), None, "it serves");
        assert_eq!(after(&[told("i-0", &ill)]), None, "it is an old one");
        let mut seen = Ill::default();
        seen.refusal(&order, &group, &[told("i-2", &ill)], since);
        seen.refusal(&order, &group, &[told("i-2", &ill[..2])], since + PATIENCE / 2);
        assert_eq!(
            seen.refusal(&order, &group, &[told("i-2", &ill)], since + PATIENCE),
            None,
            "it recovered meanwhile"
        );
    }
}
