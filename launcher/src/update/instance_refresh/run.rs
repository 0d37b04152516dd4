//! Has an Auto Scaling group replace its nodes: starts an instance refresh, follows it to its end, and rolls it back if a new
//! node refuses the order.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use templates::Order;
use templates::names::TAG_DEFAULT;

use super::plan::{Ill, NextRefresh, standings, turn};
use crate::apply::wait::{say_failure, say_silent};
use crate::aws::Aws;
use crate::aws::retry::pause;
use crate::model::node::Node;
use crate::output::failure::Failure;
use crate::resources::instance_refresh::{self, Phase, Refresh};
use crate::resources::instances;
use crate::resources::scaling_group::{self, Member, ScalingGroup};
use crate::resources::tagging;
use crate::update::execute::RollingUpdate;

/// Between two reads of the group and its nodes: four Describe calls.
const LOOK: Duration = Duration::from_secs(1);

/// Measures how long a group's members haven't changed.
#[derive(Default)]
struct Clock(Option<(Vec<Member>, Instant)>);

impl Clock {
    fn still(&mut self, group: &ScalingGroup) -> Duration {
        let kept = self.0.take().filter(|(members, _)| *members == group.members);
        self.0.get_or_insert(kept.unwrap_or_else(|| (group.members.clone(), Instant::now()))).1.elapsed()
    }
}

impl RollingUpdate<'_> {
    /// Has the group replace its nodes by nodes of `order`.
    pub(in crate::update) async fn refresh(&mut self, order: &Order) -> Result<(), Failure> {
        let snapshot = self.snapshot;
        let (name, to) = (&snapshot.desired.name, (snapshot.template.id.clone(), order.version));
        let patience = self.timeout + snapshot.old.failover.drain_timeout().duration();
        let (mut followed, mut ill, mut clock) = (None::<String>, Ill::default(), Clock::default());
        loop {
            let (group, nodes) = self.look_at_group().await?;
            match turn(&to, group.refresh.as_ref(), followed.as_deref()) {
                NextRefresh::Done => return Ok(()),
                NextRefresh::Wait => {}
                NextRefresh::Follow(id) if followed.is_none() => {
                    self.done("follow-instance-refresh", format!("follow instance refresh {id} of {name}"));
                    followed = Some(id);
                }
                NextRefresh::Follow(_) => {}
                NextRefresh::RollBack => self.undo().await?,
                NextRefresh::Lost(why) => {
                    return Err(Failure::Failed(anyhow!(
                        "Auto Scaling group {name} didn't replace its nodes: the instance refresh ended as {why}; the old nodes \
                         still serve"
                    )));
                }
                NextRefresh::Start => followed = self.start(order, &group).await?,
            }
            if let Some((who, why)) = ill.refusal(order, &group, &nodes, Instant::now()) {
                self.undo().await?;
                return Err(self.refused(order, &who, &why, &BTreeSet::new()).await?);
            }
            self.show_refresh(order, &group, &nodes);
            if clock.still(&group) >= patience {
                self.progress.clear();
                say_silent(self.aws, &nodes, self.progress).await;
                say_failure(self.aws, &snapshot.new.name, self.progress).await;
                return Err(Failure::Failed(anyhow!(
                    "{} isn't updated: its group hasn't changed for {} s, and old nodes still serve: {}; the instance refresh \
                     continues by itself; run the same command again to follow it, or `launcher update --rollback {}` to update \
                     it back",
                    snapshot.new.name,
                    patience.as_secs(),
                    listed(standings(order, &group, &nodes)),
                    snapshot.new.name
                )));
            }
            pause(LOOK).await;
        }
    }

    /// Starts a refresh. Returns its id; nothing if another one was started at the same moment. Before that it writes the
    /// template's tag: AWS moves the group's version at the refresh's success, even if this update has ended.
    async fn start(&mut self, order: &Order, group: &ScalingGroup) -> Result<Option<String>, Failure> {
        let Aws { auto_scaling, ec2, .. } = self.aws;
        let (template, name) = (self.snapshot.template.id.clone(), &group.name);
        self.keep_lease().await?;
        if group.pinned().is_none() {
            // AWS rolls a refresh back only to a numbered version.
            scaling_group::pin(auto_scaling, name, (&template, self.boots.version)).await?;
        }
        self.defaults = self.defaults.moved(&self.boots, order);
        tagging::set(ec2, std::slice::from_ref(&template), TAG_DEFAULT, &self.defaults.to_string()).await?;
        let skip = self.snapshot.skips_matching();
        match instance_refresh::start(auto_scaling, name, (&template, order.version), skip).await {
            Err(error) if error.is("InstanceRefreshInProgress") => Ok(None),
            Err(error) => Err(error.into()),
            Ok(id) => {
                let what = format!("start instance refresh {id} of {name} to version {}", order.version);
                self.done("start-instance-refresh", what);
                Ok(Some(id))
            }
        }
    }

    /// Rolls back the refresh that is under way, and waits until the old nodes are restored.
    pub(in crate::update) async fn undo(&mut self) -> Result<(), Failure> {
        let name = &self.snapshot.desired.name;
        let (mut asked, mut clock) = (false, Clock::default());
        loop {
            let (group, nodes) = self.look_at_group().await?;
            match group.refresh.as_ref().map(Refresh::phase) {
                None | Some(Phase::Ended) => return undone(&group),
                Some(Phase::Forward) if !asked => {
                    self.keep_lease().await?;
                    instance_refresh::roll_back(&self.aws.auto_scaling, name).await?;
                    self.done("roll-back-instance-refresh", format!("roll back the instance refresh of {name}"));
                    asked = true;
                }
                _ => {}
            }
            self.show_refresh(&self.boots, &group, &nodes);
            if clock.still(&group) >= self.timeout {
                self.progress.clear();
                return Err(Failure::Failed(anyhow!(
                    "the instance refresh of {name} isn't rolled back: the group hasn't changed for {} s: {}; run the same \
                     command again to continue",
                    self.timeout.as_secs(),
                    listed(standings(&self.boots, &group, &nodes))
                )));
            }
            pause(LOOK).await;
        }
    }

    async fn look_at_group(&self) -> Result<(ScalingGroup, Vec<Node>), Failure> {
        let (name, new) = (&self.snapshot.desired.name, &self.snapshot.new);
        let group = scaling_group::find(&self.aws.auto_scaling, name);
        let (group, nodes) = futures::try_join!(group, instances::find(&self.aws.ec2, &new.name, &new.subnets))?;
        Ok((group.ok_or_else(|| anyhow!("Auto Scaling group {name} no longer exists"))?, nodes))
    }

    fn show_refresh(&self, order: &Order, group: &ScalingGroup, nodes: &[Node]) {
        if let Some(refresh) = &group.refresh {
            self.progress.live(&group.name, &format!("instance refresh {}", refresh.stands()));
        }
        for (node, stands) in standings(order, group, nodes) {
            self.progress.live(&node, &stands);
        }
    }
}

fn listed(standings: Vec<(String, String)>) -> String {
    standings.into_iter().map(|(node, stands)| format!("{node} {stands}")).collect::<Vec<_>>().join("; ")
}

/// Fails if AWS couldn't roll the refresh back.
fn undone(group: &ScalingGroup) -> Result<(), Failure> {
    match group.refresh.as_ref().filter(|refresh| refresh.status == "RollbackFailed") {
        None => Ok(()),
        Some(refresh) => Err(Failure::Failed(anyhow!(
            "AWS couldn't roll back the instance refresh of {}: {}; see `launcher status` for what runs, and run `launcher \
             update` with the wanted file to replace the rest",
            group.name,
            refresh.stands()
        ))),
    }
}
