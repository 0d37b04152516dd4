//! A running lab: starts its parts in order, answers requests, and ends its parts in the opposite order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::Mutex;

use super::api_only;
use super::kernel_state::Ground;
use super::machines::Machines;
use super::protocol::{Access, Example, Far, Order, Request};
use super::reconcile::Follow;
use super::services::{Services, Staff};
use super::socket::Control;
use super::{addresses, selector, status};
use crate::api::{Failing, Parties, Proxy, Sessions, Throttle};
use crate::dir::LabDir;
use crate::imds::Imds;
use crate::instance::Watches;
use crate::moto::{self, Moto, Seed};
use crate::network::{Side, Zone};
use crate::tls::Authority;
use crate::{sweep, world};

/// A running lab.
pub struct Lab {
    dir: LabDir,
    seed: Seed,
    access: Access,
    proxy: Proxy,
    imds: Imds,
    ground: Arc<Ground>,
    machines: Arc<Machines>,
    moto: crate::api::Upstream,
    stale: std::sync::Mutex<Duration>,
    parts: Mutex<Option<Parts>>,
}

/// The parts that end with the lab, in this order.
struct Parts {
    services: Services,
    following: tokio::task::JoinHandle<()>,
    moto: Moto,
    watches: Watches,
}

impl Lab {
    /// Starts all parts. The caller has swept what a dead lab left.
    pub async fn start(dir: LabDir) -> Result<Arc<Lab>> {
        let watches = Watches::raise()?;
        let moto = Moto::start(&dir, &dir.run()).await?;
        let seed = moto.seed().await?;
        let authority = Authority::open(&dir.ca())?;
        let ground = Arc::new(Ground::open(&seed)?);
        let images = [("main", dir.image()), ("next", dir.image()), ("plain", dir.plain()), ("dnf", dir.dnf())];
        let known = |(name, root)| seed.images.get(name).map(|id| (id.clone(), root));
        let images = images.into_iter().filter_map(known).collect();
        moto::have_systems(moto.upstream()).await?;
        let machines = Arc::new(Machines::new(dir.clone(), ground.clone(), images, authority.path()));
        let follow = Follow::new(moto.upstream().clone(), seed.vpc.clone(), ground.clone(), machines.clone());
        ground.follow(world::fetch(moto.upstream()).await?).await?;

        let (entrance, access) = api_only::entrance(&seed)?;
        let sessions = Sessions::default();
        let proxy = Proxy::new(Parties {
            moto: moto.upstream().clone(),
            world: ground.world(),
            sessions: sessions.clone(),
            record: api_only::record(&dir.run())?,
            hooks: Arc::new(follow.clone()),
        });
        let imds = Imds::new(ground.world(), moto.upstream().clone(), sessions);
        let world = ground.world().borrow().clone();
        let services = Services::start(Staff {
            dir: &dir,
            seed: &seed,
            world: &world,
            authority: &authority,
            proxy: &proxy,
            imds: &imds,
            agent: agent_file()?,
            entrance,
        })?;
        let following = tokio::spawn(follow.work());
        let upstream = moto.upstream().clone();
        let parts = Mutex::new(Some(Parts { services, following, moto, watches }));
        let stale = std::sync::Mutex::default();
        Ok(Arc::new(Lab { dir, seed, access, proxy, imds, ground, machines, moto: upstream, stale, parts }))
    }

    /// Ends all parts in order. A sweep at the end removes anything that is left.
    pub async fn end(&self) -> Result<()> {
        let Some(parts) = self.parts.lock().await.take() else { return Ok(()) };
        parts.following.abort();
        let machines = self.machines.end().await;
        drop(parts.services);
        drop(parts.moto);
        drop(parts.watches);
        let dir = self.dir.clone();
        let swept = tokio::task::spawn_blocking(move || sweep::all(&dir)).await?;
        let socket = std::fs::remove_file(self.dir.socket()).context("removing the control socket");
        machines.and(swept.map(drop)).and(socket)
    }

    fn example(&self) -> Result<Example> {
        let subnet = |name: &str| self.seed.subnets.get(name).cloned().with_context(|| format!("no subnet {name}"));
        let target = |(_, address)| format!("{address}:{}", addresses::TARGET_PORT);
        Ok(Example {
            vpc: self.seed.vpc.clone(),
            subnets: vec![subnet("private-a")?, subnet("private-b")?],
            image: format!("resolve:ssm:{}", addresses::IMAGE_PARAMETER),
            targets: addresses::TARGETS.map(target).to_vec(),
            agent_url: format!("https://{}{}", addresses::DOWNLOADS, addresses::AGENT_PATH),
            agent_file: agent_file()?,
        })
    }

    fn who(&self, word: &str) -> Result<String> {
        let world = self.ground.world().borrow().clone();
        let found = selector::instance(word, &world, &self.seed.vpc, |id| self.machines.has_power(id))?;
        Ok(found.id.clone())
    }

    async fn partition(&self, id: &str, from: Far) -> Result<()> {
        let id = self.who(id)?;
        let side = match from {
            Far::Api => Side::Api,
            Far::Imds => Side::Metadata,
            Far::All => Side::All,
            Far::Instance(other) => {
                let other = self.who(&other)?;
                ensure!(other != id, "{id}: can't be partitioned from itself");
                Side::Machine(self.machines.interface(&other)?)
            }
        };
        let interface = self.machines.interface(&id)?;
        self.ground.change(move |faults| faults.partition(&interface, side)).await
    }

    async fn lose(&self, name: &str) -> Result<()> {
        let world = self.ground.world().borrow().clone();
        let subnets: Vec<_> = world.subnets.iter().filter(|s| s.vpc == self.seed.vpc && s.zone == name).collect();
        ensure!(!subnets.is_empty(), "{name}: the lab's VPC has no subnet in this zone");
        let fixtures = addresses::TARGETS.into_iter().filter(|(_, at)| subnets.iter().any(|s| s.cidr.contains(at)));
        let zone = Zone {
            fixtures: fixtures.map(|(name, _)| name.to_owned()).collect(),
            api: addresses::API
                .into_iter()
                .filter(|(zone, _)| name.ends_with(*zone))
                .map(|(_, address)| address)
                .collect(),
        };
        let lost = name.to_owned();
        self.ground.change(move |faults| faults.lose(&lost, zone)).await?;
        let there = world.instances.iter().filter(|i| i.zone == name && self.machines.has_power(&i.id));
        futures::future::try_join_all(there.map(|instance| self.machines.kill(&instance.id))).await.map(drop)
    }

    /// Calls StopInstances through the AWS CLI; the lab then follows the API.
    async fn stop(&self, id: &str) -> Result<()> {
        let output = Command::new(self.dir.venv().join("bin/aws"))
            .args(["ec2", "stop-instances", "--instance-ids", id])
            .envs(self.access.environment(&self.dir.venv().join("bin"), "/usr/bin:/bin"))
            .output()
            .await
            .context("running the AWS CLI")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "StopInstances: {}", said.trim());
        Ok(())
    }

    async fn set_stale(&self, age: Duration) -> Result<()> {
        moto::set_stale(&self.moto, age).await?;
        *self.stale.lock().expect("no thread panics while it holds the age") = age;
        Ok(())
    }

    fn status(&self) -> Result<Value> {
        let world = self.ground.world().borrow().clone();
        let stale = *self.stale.lock().expect("no thread panics while it holds the age");
        let faults = status::faults(&self.proxy.faults(), stale, self.ground.partitions());
        let status = status::of(&world, &self.seed.vpc, |id| self.machines.describe(id), faults);
        Ok(serde_json::to_value(status)?)
    }

    fn calls(&self, clear: bool) -> Result<Value> {
        let calls = if clear { self.proxy.take_calls() } else { self.proxy.calls() };
        Ok(serde_json::to_value(calls)?)
    }

    async fn obey(&self, order: Order) -> Result<()> {
        match order {
            Order::Kill { id } => self.machines.kill(&self.who(&id)?).await?,
            Order::Stop { id } => self.stop(&self.who(&id)?).await?,
            Order::Reboot { id } => self.machines.reboot(&self.who(&id)?).await?,
            Order::Freeze { id, ms } => self.machines.freeze(&self.who(&id)?, Duration::from_millis(ms)).await?,
            Order::Partition { id, from } => self.partition(&id, from).await?,
            Order::Lose { zone } => self.lose(&zone).await?,
            Order::Heal => self.ground.change(|faults| faults.heal()).await?,
            Order::Latency { ms } => self.proxy.set_latency(Duration::from_millis(ms)),
            Order::Hang { ms } => self.proxy.hang(Duration::from_millis(ms)),
            Order::Stale { ms } => self.set_stale(Duration::from_millis(ms)).await?,
            Order::HealthChecks { ms } => moto::set_health_checks(&self.moto, Duration::from_millis(ms)).await?,
            Order::Throttle { burst, refill } => self.throttle(burst, refill)?,
            Order::Fail { action, code, count, zone } => {
                self.proxy.set_failing(Failing { action, code, left: count, zone })
            }
            Order::Disk { id, kilobytes } => self.machines.disk(&self.who(&id)?, kilobytes).await?,
            Order::Imds { id, path, value } => self.imds.set(&self.who(&id)?, &path, value),
        }
        Ok(())
    }

    fn throttle(&self, burst: u32, refill: f64) -> Result<()> {
        ensure!(refill >= 0.0, "refill {refill}: must be 0 or more");
        let throttle = Throttle { burst: burst.into(), refill };
        self.proxy.set_throttle((burst > 0 || refill > 0.0).then_some(throttle));
        Ok(())
    }
}

impl Control for Lab {
    async fn answer(&self, request: Request) -> Result<Value> {
        match request {
            Request::Status => self.status(),
            Request::Access => Ok(serde_json::to_value(&self.access)?),
            Request::Example => Ok(serde_json::to_value(self.example()?)?),
            Request::Who { id } => Ok(json!(self.who(&id)?)),
            Request::Calls { clear } => self.calls(clear),
            Request::Down => self.end().await.map(|()| Value::Null),
            Request::Do(order) => self.obey(order).await.map(|()| Value::Null),
        }
    }
}

/// The agent that was built with this program.
fn agent_file() -> Result<std::path::PathBuf> {
    let here = std::env::current_exe().context("finding this program")?;
    let Some(folder) = here.parent() else { bail!("{}: no parent folder", here.display()) };
    Ok(folder.join("agent"))
}
