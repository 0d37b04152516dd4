//! Applies the API's state to the kernel. After each call that changed something, the kernel is updated before the
//! answer leaves. Changes without a call, such as a replacement by Auto Scaling, are found by polling.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use tracing::{debug, error};

use super::coalesce::Rounds;
use super::fleet::{self, Move};
use super::kernel_state::Ground;
use super::machines::Machines;
use crate::api::{Call, Hooks, Passage, Upstream};
use crate::world::InstanceState;
use crate::{moto, world};

/// How often the API's generation is polled for changes without a call.
const LOOK: Duration = Duration::from_millis(200);

/// Applies the API's state to the kernel. Clones share everything.
#[derive(Clone)]
pub struct Follow {
    moto: Upstream,
    vpc: String,
    ground: Arc<Ground>,
    machines: Arc<Machines>,
    rounds: Arc<Rounds>,
}

impl Follow {
    /// Follows this moto's resources in this VPC.
    pub fn new(moto: Upstream, vpc: String, ground: Arc<Ground>, machines: Arc<Machines>) -> Follow {
        Follow { moto, vpc, ground, machines, rounds: Arc::default() }
    }

    /// Updates the kernel on request and after changes that polling finds; never returns.
    pub async fn work(self) {
        let rounds = self.rounds.clone();
        let round = || async {
            if let Err(error) = self.round().await {
                error!(error = format!("{error:#}"), "could not apply the API's state");
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
                Err(error) => debug!(error = format!("{error:#}"), "could not read the API's generation"),
            }
        }
    }

    /// Marks `stopping` instances as `stopped` in the API once their systems are down.
    async fn tell_stopped(&self) {
        let stopping: Vec<String> = {
            let world = self.ground.world();
            let world = world.borrow();
            let stopping = world.instances.iter().filter(|instance| instance.state == InstanceState::Stopping);
            stopping.map(|instance| instance.id.clone()).collect()
        };
        for id in stopping.iter().filter(|id| self.machines.is_down(id)) {
            if let Err(error) = moto::stopped(&self.moto, id).await {
                debug!(%id, error = format!("{error:#}"), "could not report a stopped instance");
            }
        }
    }

    /// Waits until the kernel matches the API's current state.
    pub async fn catch_up(&self) {
        self.rounds.ask().await;
    }

    async fn round(&self) -> Result<()> {
        let start = Instant::now();
        let world = world::fetch(&self.moto).await?;
        let fetched = start.elapsed();
        let moves = fleet::moves(&world, &self.vpc, &self.machines.images(), &self.machines.held());
        // Power goes before the link: an instance without its link would have time to notice.
        let (removals, others): (Vec<Move>, Vec<Move>) =
            moves.into_iter().partition(|what| matches!(what, Move::Remove(_)));
        let removing = removals.into_iter().map(|what| self.machines.carry_out(what, &world));
        let removed: Result<Vec<()>> = futures::future::join_all(removing).await.into_iter().collect();
        self.ground.follow(world.clone()).await?;
        debug!(?fetched, followed = ?start.elapsed(), generation = world.generation, "applied the API's state");
        for what in others {
            self.machines.carry_out(what.clone(), &world).await.with_context(|| format!("{what:?}"))?;
        }
        removed.map(drop)
    }

    /// Restarts the instances that a RebootInstances call names; the API's state doesn't show a reboot.
    fn reboot(&self, call: &Call) {
        for id in named_instances(call) {
            let machines = self.machines.clone();
            tokio::spawn(async move {
                if let Err(error) = machines.reboot(&id).await {
                    error!(%id, error = format!("{error:#}"), "reboot failed");
                }
            });
        }
    }

    /// Gives moto the instance's console before a GetConsoleOutput call reaches it.
    async fn show_console(&self, call: &Call) {
        let Some(id) = call.parameter("InstanceId") else { return };
        // Instances that don't run here have no console.
        let Ok(text) = self.machines.console(id).await else { return };
        if let Err(error) = moto::set_console(&self.moto, id, &text).await {
            error!(id, error = format!("{error:#}"), "could not pass the console to moto");
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
