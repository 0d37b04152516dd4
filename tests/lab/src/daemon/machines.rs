//! Carries out changes to instances, for the API and for `lab` commands.
//!
//! Changes to one instance run one after another; different instances don't wait for each other. RunInstances doesn't
//! wait for the boot, as on AWS.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::Mutex as Turn;
use tracing::{error, info};

use super::addresses;
use super::fleet::{Move, Power};
use super::kernel_state::Ground;
use crate::dir::LabDir;
use crate::instance::{self, Machine, Spec};
use crate::world::{Instance, World};

/// An instance that doesn't shut down within this time loses its power: "within a few minutes" (EC2 User Guide, "Reboot
/// your instance").
const SHUTDOWN: Duration = Duration::from_secs(180);

/// The instances that run here.
pub struct Machines {
    dir: LabDir,
    ground: Arc<Ground>,
    /// Root file systems, by image ID.
    images: BTreeMap<String, PathBuf>,
    ca: PathBuf,
    held: Mutex<BTreeMap<String, Held>>,
}

#[derive(Clone)]
struct Held {
    power: Power,
    /// Set by `lab kill` and `lab freeze`; `lab status` shows it instead of the boot's progress.
    fault: Option<Fault>,
    interface: String,
    turn: Arc<Turn<()>>,
}

/// A fault of an instance that the API doesn't show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    NoPower,
    Frozen,
}

impl Machines {
    /// No instances yet.
    pub fn new(dir: LabDir, ground: Arc<Ground>, images: BTreeMap<String, PathBuf>, ca: PathBuf) -> Machines {
        Machines { dir, ground, images, ca, held: Mutex::default() }
    }

    /// The IDs of the images that instances here can boot from.
    pub fn images(&self) -> Vec<&str> {
        self.images.keys().map(String::as_str).collect()
    }

    /// The instances that run here, for [`super::fleet::moves`].
    pub fn held(&self) -> BTreeMap<String, Power> {
        self.lock().iter().map(|(id, held)| (id.clone(), held.power)).collect()
    }

    /// Whether an instance is started and `lab kill` hasn't cut its power.
    pub fn has_power(&self, id: &str) -> bool {
        self.lock().get(id).is_some_and(|held| held.power == Power::On && held.fault != Some(Fault::NoPower))
    }

    /// Whether a stop is finished. An instance that exists in the API only has nothing to shut down.
    pub fn is_down(&self, id: &str) -> bool {
        let Some(held) = self.lock().get(id).cloned() else { return true };
        let power = || Machine::find(&self.dir, id).ok().flatten().map(|machine| machine.power());
        held.power == Power::Stopped && held.turn.try_lock().is_ok() && power() == Some(instance::Power::Off)
    }

    /// An instance's state in one word.
    pub fn describe(&self, id: &str) -> &'static str {
        let Some(held) = self.lock().get(id).cloned() else { return "-" };
        match held.fault {
            Some(Fault::NoPower) => return "off",
            Some(Fault::Frozen) => return "frozen",
            None => {}
        }
        match (held.power, Machine::find(&self.dir, id).ok().flatten().map(|machine| machine.power())) {
            (Power::Stopped, _) => "stopped",
            (Power::On, Some(instance::Power::Up)) => "up",
            (Power::On, Some(instance::Power::Booting) | None) => "booting",
            (Power::On, Some(instance::Power::Off)) => "off",
        }
    }

    /// Carries out a move. All moves but a removal continue in the background.
    pub async fn carry_out(self: &Arc<Self>, what: Move, world: &World) -> Result<()> {
        match what {
            Move::Launch(id) => self.launch(&id, world)?,
            Move::Start(id) => {
                let (machines, instance) = (self.clone(), id.clone());
                self.later(&id, Power::On, async move { machines.start(&instance).await });
            }
            Move::Stop(id) => {
                let (machines, instance) = (self.clone(), id.clone());
                self.later(&id, Power::Stopped, async move { machines.shut_down(&instance).await });
            }
            Move::Remove(id) => self.remove(&id).await?,
        }
        Ok(())
    }

    /// Restarts an instance's system, or starts one without power.
    pub async fn reboot(&self, id: &str) -> Result<()> {
        let held = self.get(id)?;
        if held.power == Power::Stopped {
            bail!("{id}: stopped; start it through the API");
        }
        let _turn = held.turn.lock().await;
        info!(id, "rebooting");
        self.on_machine(id, |machine| machine.stop(SHUTDOWN)).await?;
        self.start(id).await
    }

    /// Cuts an instance's power and its link at once.
    pub async fn kill(&self, id: &str) -> Result<()> {
        let held = self.get(id)?;
        info!(id, "cutting power");
        self.darken(&held).await?;
        self.set_fault(id, Some(Fault::NoPower));
        let _turn = held.turn.lock().await;
        self.on_machine(id, |machine| machine.power_cut()).await
    }

    /// Freezes all processes of an instance for this long.
    pub async fn freeze(self: &Arc<Self>, id: &str, time: Duration) -> Result<()> {
        let held = self.get(id)?;
        if !self.has_power(id) {
            bail!("{id}: no power");
        }
        info!(id, ?time, "freezing");
        // The time includes freezing and thawing, so that a busy machine doesn't freeze for longer.
        let began = tokio::time::Instant::now();
        let end = began + time;
        self.set_fault(id, Some(Fault::Frozen));
        let (dark, frozen) = tokio::join!(self.darken(&held), self.on_machine(id, |machine| machine.freeze()));
        dark.and(frozen)?;
        let cost = began.elapsed();
        let (machines, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(time.saturating_sub(cost * 2)).await;
            // It may have lost power or been restarted meanwhile.
            if machines.fault(&id) == Some(Fault::Frozen)
                && let Err(error) = machines.thaw(&id, &held, end).await
            {
                error!(%id, error = format!("{error:#}"), "instance operation failed");
            }
        });
        Ok(())
    }

    /// Leaves this much free space on an instance's disk; without a number, as much as it was created with.
    pub async fn disk(&self, id: &str, kilobytes: Option<u64>) -> Result<()> {
        self.get(id)?;
        self.on_machine(id, move |machine| machine.leave_room(kilobytes)).await
    }

    /// Restores the network first, or the first packets of the thawed processes would be lost.
    async fn thaw(&self, id: &str, held: &Held, end: tokio::time::Instant) -> Result<()> {
        self.light(held).await?;
        tokio::time::sleep_until(end).await;
        self.on_machine(id, |machine| machine.thaw()).await?;
        self.set_fault(id, None);
        Ok(())
    }

    /// An instance's console output.
    pub async fn console(&self, id: &str) -> Result<String> {
        self.get(id)?;
        let (dir, id) = (self.dir.clone(), id.to_owned());
        let read = move || Machine::find(&dir, &id)?.map_or(Ok(String::new()), |machine| machine.console());
        tokio::task::spawn_blocking(read).await?
    }

    /// The interface of an instance that runs here.
    pub fn interface(&self, id: &str) -> Result<String> {
        Ok(self.get(id)?.interface)
    }

    /// Removes all instances.
    pub async fn end(self: &Arc<Self>) -> Result<()> {
        let ids: Vec<String> = self.lock().keys().cloned().collect();
        let ending = ids.iter().map(|id| self.remove(id));
        futures::future::join_all(ending).await.into_iter().collect()
    }

    fn launch(self: &Arc<Self>, id: &str, world: &World) -> Result<()> {
        let spec = self.spec(world.instance(id).with_context(|| format!("{id}: not in the API any more"))?, world)?;
        let held = Held { power: Power::On, fault: None, interface: spec.interface.clone(), turn: Arc::default() };
        self.lock().insert(id.to_owned(), held);
        let dir = self.dir.clone();
        info!(id, "launching");
        let boot = move || Machine::create(&dir, spec)?.start();
        self.later(id, Power::On, async move { tokio::task::spawn_blocking(boot).await? });
        Ok(())
    }

    fn spec(&self, instance: &Instance, world: &World) -> Result<Spec> {
        let id = &instance.id;
        Ok(Spec {
            id: id.clone(),
            image: self.images.get(&instance.image).with_context(|| format!("{id}: unknown image"))?.clone(),
            interface: instance.interface.clone().with_context(|| format!("{id}: no network interface"))?,
            address: instance.address.with_context(|| format!("{id}: no address"))?,
            region: world.region.clone(),
            resolver: addresses::RESOLVER,
            ca: Some(self.ca.clone()),
        })
    }

    /// Boots in a fresh namespace: a restarted machine keeps no kernel state.
    async fn start(&self, id: &str) -> Result<()> {
        let held = self.get(id)?;
        info!(id, "starting");
        self.ground.renew(&held.interface).await?;
        self.light(&held).await?;
        self.set_fault(id, None);
        self.on_machine(id, |machine| machine.start()).await
    }

    async fn shut_down(&self, id: &str) -> Result<()> {
        info!(id, "shutting down");
        self.on_machine(id, |machine| machine.stop(SHUTDOWN)).await?;
        self.set_fault(id, None);
        // Its namespace still exists and would answer packets.
        self.darken(&self.get(id)?).await
    }

    async fn remove(&self, id: &str) -> Result<()> {
        let Ok(held) = self.get(id) else { return Ok(()) };
        info!(id, "removing");
        self.lock().remove(id);
        // This ends any operation that is running on it.
        self.on_machine(id, |machine| machine.power_cut()).await?;
        let _turn = held.turn.lock().await;
        self.on_machine(id, |machine| machine.clone().delete()).await?;
        self.ground.change(move |faults| faults.forget(&held.interface)).await
    }

    /// Runs work in the background, after earlier operations on the instance.
    fn later(&self, id: &str, power: Power, work: impl Future<Output = Result<()>> + Send + 'static) {
        let turn = {
            let mut all = self.lock();
            let Some(held) = all.get_mut(id) else { return };
            held.power = power;
            held.turn.clone()
        };
        let id = id.to_owned();
        tokio::spawn(async move {
            let _turn = turn.lock().await;
            if let Err(error) = work.await {
                error!(%id, error = format!("{error:#}"), "instance operation failed");
            }
        });
    }

    /// Runs blocking work on an instance that exists.
    async fn on_machine(&self, id: &str, work: impl FnOnce(&Machine) -> Result<()> + Send + 'static) -> Result<()> {
        let (dir, id) = (self.dir.clone(), id.to_owned());
        let found = move || Machine::find(&dir, &id)?.map_or(Ok(()), |machine| work(&machine));
        tokio::task::spawn_blocking(found).await?
    }

    async fn darken(&self, held: &Held) -> Result<()> {
        let interface = held.interface.clone();
        self.ground.change(move |faults| faults.darken(&interface)).await
    }

    async fn light(&self, held: &Held) -> Result<()> {
        let interface = held.interface.clone();
        self.ground.change(move |faults| faults.light(&interface)).await
    }

    fn get(&self, id: &str) -> Result<Held> {
        self.lock().get(id).cloned().with_context(|| format!("{id}: not running in the lab"))
    }

    fn set_fault(&self, id: &str, fault: Option<Fault>) {
        if let Some(held) = self.lock().get_mut(id) {
            held.fault = fault;
        }
    }

    fn fault(&self, id: &str) -> Option<Fault> {
        self.lock().get(id).and_then(|held| held.fault)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
