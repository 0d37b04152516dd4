//! The kernel's network and the world that it was last made to match. All changes to both go through here, one at a
//! time.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use tokio::sync::watch;

use super::addresses;
use crate::moto::Seed;
use crate::network::{Faults, Fixture, Network, Services, Setting};
use crate::world::World;

/// The network, the faults set in it, and the world it matches.
pub struct Ground {
    state: Mutex<State>,
    world: watch::Sender<Arc<World>>,
    vpc: String,
    services: Services,
    fixtures: Vec<Fixture>,
}

struct State {
    network: Network,
    faults: Faults,
}

impl Ground {
    /// Opens the network of the seed's VPC, with the client and the targets.
    pub fn open(seed: &Seed) -> Result<Ground> {
        let subnet =
            |name: &str| seed.subnets.get(name).cloned().with_context(|| format!("the seed has no subnet {name}"));
        let fixture = |name: &str, address, subnet| Fixture { name: name.to_owned(), address, subnet };
        let [(target_a, address_a), (target_b, address_b)] = addresses::TARGETS;
        let fixtures = vec![
            fixture(addresses::CLIENT, addresses::CLIENT_ADDRESS, subnet("clients")?),
            fixture(target_a, address_a, subnet("private-a")?),
            fixture(target_b, address_b, subnet("private-b")?),
        ];
        let services = Services {
            metadata: addresses::METADATA,
            resolver: addresses::RESOLVER,
            api: addresses::API.map(|(_, address)| address).into(),
            hosts: [addresses::HOSTS].into(),
        };
        let state = Mutex::new(State { network: Network::open()?, faults: Faults::default() });
        Ok(Ground { state, world: watch::Sender::default(), vpc: seed.vpc.clone(), services, fixtures })
    }

    /// The world that the kernel matches.
    pub fn world(&self) -> watch::Receiver<Arc<World>> {
        self.world.subscribe()
    }

    /// Makes the kernel match this world, then publishes it to the watchers.
    pub async fn follow(self: &Arc<Self>, world: World) -> Result<()> {
        let world = Arc::new(world);
        let followed = world.clone();
        self.work(move |ground, state| ground.reconcile(state, &followed)).await?;
        self.world.send_replace(world);
        Ok(())
    }

    /// Changes the faults and applies them.
    pub async fn change(self: &Arc<Self>, change: impl FnOnce(&mut Faults) + Send + 'static) -> Result<()> {
        self.work(move |ground, state| {
            change(&mut state.faults);
            let world = ground.world.borrow().clone();
            ground.reconcile(state, &world)
        })
        .await
    }

    /// Puts a fresh namespace behind an interface: see [`Network::renew`].
    pub async fn renew(self: &Arc<Self>, interface: &str) -> Result<()> {
        let interface = interface.to_owned();
        self.work(move |_, state| match state.network.has(&interface) {
            true => state.network.renew(&interface),
            false => Ok(()),
        })
        .await
    }

    /// The partitions and lost zones, one line each, with instance IDs in place of interfaces.
    pub fn partitions(&self) -> Vec<String> {
        let world = self.world.borrow().clone();
        let lines = self.state.lock().expect("no thread panics while it holds the network").faults.describe();
        let named = |line: String| {
            let words = line.split(' ').map(|word| {
                let instance = world.interface(word).and_then(|interface| interface.instance.clone());
                instance.unwrap_or_else(|| word.to_owned())
            });
            words.collect::<Vec<_>>().join(" ")
        };
        lines.into_iter().map(named).collect()
    }

    fn reconcile(&self, state: &mut State, world: &World) -> Result<()> {
        let State { network, faults } = state;
        let setting = Setting { world, vpc: &self.vpc, services: &self.services, fixtures: &self.fixtures, faults };
        network.reconcile(&setting).map(drop)
    }

    /// Runs blocking work on the network off the async threads: it waits for other programs.
    async fn work(
        self: &Arc<Self>,
        work: impl FnOnce(&Ground, &mut State) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let ground = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut state = ground.state.lock().expect("no thread panics while it holds the network");
            work(&ground, &mut state)
        });
        done.await.context("changing the lab's network")?
    }
}
