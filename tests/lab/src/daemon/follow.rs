//! The lab follows the API: after each call that changed the world, before its answer leaves, the kernel is made so.
//! What the API does by itself (Auto Scaling replaces an instance) is followed as soon as it is seen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use tracing::{debug, error};

use super::fleet::{self, Move};
use super::ground::Ground;
use super::machines::Machines;
use super::rounds::Rounds;
use crate::api::{Call, Hooks, Passage, Upstream};
use crate::world::InstanceState;
use crate::{moto, world};

/// How often the API is asked whether it did something by itself.
const LOOK: Duration = Duration::from_millis(200);

/// What it takes to follow. Clones share everything.
#[derive(Clone)]
pub struct Follow {
    moto: Upstream,
    vpc: String,
    ground: Arc<Ground>,
    machines: Arc<Machines>,
    rounds: Arc<Rounds>,
}

impl Follow {
    /// Of this moto's world, as far as it is in this VPC.
    pub fn new(moto: Upstream, vpc: String, ground: Arc<Ground>, machines: Arc<Machines>) -> Follow {
        Follow { moto, vpc, ground, machines, rounds: Arc::default() }
    }

    /// Makes the kernel follow as often as it is asked to, and when the API did something by itself; forever.
    pub async fn work(self) {
        let rounds = self.rounds.clone();
        let round = || async {
            if let Err(error) = self.round().await {
                error!("following the API: {error:#}");
            }
        };
        tokio::join!(rounds.work(round), self.watch());
    }

    async fn watch(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.tell_stopped().await;
            match moto::generation(&self.moto).await {
                Ok(now) if now != self.ground.world().borrow().generation => self.catch_up().await,
                Ok(_) => {}
                Err(error) => debug!("looking at the API: {error:#}"),
            }
        }
    }

    /// What the API stops is stopped when its system is down.
    async fn tell_stopped(&self) {
        let stopping: Vec<String> = {
            let world = self.ground.world();
            let world = world.borrow();
            let stopping = world.instances.iter().filter(|instance| instance.state == InstanceState::Stopping);
            stopping.map(|instance| instance.id.clone()).collect()
        };
        for id in stopping.iter().filter(|id| self.machines.is_down(id)) {
            if let Err(error) = moto::stopped(&self.moto, id).await {
                debug!("{id} is down: {error:#}");
            }
        }
    }

    /// Waits until the kernel is as the API says now.
    pub async fn catch_up(&self) {
        self.rounds.ask().await;
    }

    async fn round(&self) -> Result<()> {
        let start = Instant::now();
        let world = world::fetch(&self.moto).await?;
        let fetched = start.elapsed();
        let moves = fleet::moves(&world, &self.vpc, &self.machines.images(), &self.machines.held());
        // Power goes before the link: a machine without its link would have time to notice.
        let (removals, others): (Vec<Move>, Vec<Move>) =
            moves.into_iter().partition(|what| matches!(what, Move::Remove(_)));
        let removing = removals.into_iter().map(|what| self.machines.carry_out(what, &world));
        let removed: Result<Vec<()>> = futures::future::join_all(removing).await.into_iter().collect();
        self.ground.follow(world.clone()).await?;
        debug!(?fetched, followed = ?start.elapsed(), generation = world.generation, "the kernel is as the API says");
        for what in others {
            self.machines.carry_out(what.clone(), &world).await.with_context(|| format!("{what:?}"))?;
        }
        removed.map(drop)
    }

    /// RebootInstances changes nothing that the API shows: the instances it names are restarted.
    fn reboot(&self, call: &Call) {
        for id in named_instances(call) {
            let machines = self.machines.clone();
            tokio::spawn(async move {
                if let Err(error) = machines.reboot(&id).await {
                    error!("rebooting {id}: {error:#}");
                }
            });
        }
    }

    /// moto is told what GetConsoleOutput is to answer when somebody asks.
    async fn show_console(&self, call: &Call) {
        let Some(id) = call.parameter("InstanceId") else { return };
        // Instances that run elsewhere than here, or nowhere, have said nothing.
        let Ok(text) = self.machines.console(id).await else { return };
        if let Err(error) = moto::set_console(&self.moto, id, &text).await {
            error!("the console of {id}: {error:#}");
        }
    }
}

impl Hooks for Follow {
    fn request<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Passage> {
        async move {
            if call.action == "GetConsoleOutput" {
                self.show_console(call).await;
            }
            Passage::Open
        }
        .boxed()
    }

    fn world_changed<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, ()> {
        async move {
            if call.action == "RebootInstances" {
                self.reboot(call);
            }
            self.catch_up().await;
        }
        .boxed()
    }
}

/// The instances that a call names: `InstanceId.1`, `InstanceId.2`, …
fn named_instances(call: &Call) -> Vec<String> {
    let numbered = (1..).map_while(|number| call.parameter(&format!("InstanceId.{number}")));
    numbered.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_names_instances_by_number() {
        let call = serde_json::json!({"time": "2026-01-02T03:04:05Z", "duration_ms": 1.0, "service": "ec2",
            "action": "RebootInstances", "caller": "other", "status": 200, "error": null,
            "request": {"InstanceId.1": "i-1", "InstanceId.2": "i-2", "DryRun": "false"}});
        assert_eq!(named_instances(&serde_json::from_value(call).unwrap()), ["i-1", "i-2"]);
    }
}
