//! The lab's API without its kernel side, for tests of the launcher: no instance boots and no packet flows. Several can
//! run at once, each with its own account.
//!
//! It runs on its own threads, so that a test can block or wait for a program without stopping it.

use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::protocol::Access;
use crate::api::{Call, Entrance, Hooks, NoHooks, Parties, Proxy, Record, Sessions, Upstream};
use crate::dir::LabDir;
use crate::moto::{Credentials, Moto, Seed};
use crate::world::{self, World};

/// An account with the lab's VPC, behind the recording proxy. It ends when dropped.
pub struct ApiOnly {
    running: Running,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    tools: std::path::PathBuf,
}

struct Running {
    handle: Handle,
    moto: Upstream,
    proxy: Proxy,
    sessions: Sessions,
    seed: Seed,
    access: Access,
}

impl ApiOnly {
    /// Starts an API without hooks.
    pub fn start() -> Result<ApiOnly> {
        ApiOnly::start_with(Arc::new(NoHooks))
    }

    /// Starts an API with hooks, which can lose a request or an answer at an exact point.
    pub fn start_with(hooks: Arc<dyn Hooks>) -> Result<ApiOnly> {
        let dir = LabDir::open()?;
        let tools = dir.venv().join("bin");
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let work = move || match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime.block_on(run(dir, hooks, tell, stopped)),
            Err(error) => drop(tell.send(Err(anyhow!(error)))),
        };
        let thread = std::thread::Builder::new().name("lab-api".to_owned()).spawn(work)?;
        let running = told.recv().context("the lab's API ended before it was ready")??;
        Ok(ApiOnly { running, stop: Some(stop), thread: Some(thread), tools })
    }

    /// The endpoint and credentials for AWS tools.
    pub fn access(&self) -> &Access {
        &self.running.access
    }

    /// [`Access::environment`], with `aws` in the path.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        self.access().environment(&self.tools, &std::env::var("PATH").unwrap_or_default())
    }

    /// What the account was seeded with.
    pub fn seed(&self) -> &Seed {
        &self.running.seed
    }

    /// The proxy, to set faults.
    pub fn proxy(&self) -> &Proxy {
        &self.running.proxy
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.running.proxy.calls()
    }

    /// The calls so far; clears the record.
    pub fn take_calls(&self) -> Vec<Call> {
        self.running.proxy.take_calls()
    }

    /// The account's current resources.
    pub fn world(&self) -> Result<World> {
        let moto = self.running.moto.clone();
        self.wait(async move { world::fetch(&moto).await })?
    }

    /// Credentials of an instance's role, as IMDS gives them. Calls signed with them are recorded as that instance's.
    pub fn credentials_of(&self, instance: &str) -> Result<Credentials> {
        let (moto, id) = (self.running.moto.clone(), instance.to_owned());
        let credentials = self.wait(async move { Credentials::of_instance(&moto, &id).await })??;
        self.running.sessions.record(&credentials.access_key_id, instance);
        Ok(credentials)
    }

    /// Creates a bucket that belongs to another account, which took its name first.
    pub fn make_foreign_bucket(&self, name: &str) -> Result<()> {
        let (moto, name) = (self.running.moto.clone(), name.to_owned());
        self.wait(async move { crate::moto::make_foreign_bucket(&moto, &name).await })?
    }

    /// Moves the launch of an instance into the past.
    pub fn set_launched(&self, instance: &str, ago: Duration) -> Result<()> {
        let (moto, id) = (self.running.moto.clone(), instance.to_owned());
        self.wait(async move { crate::moto::set_launched(&moto, &id, ago).await })?
    }

    /// Makes Describe calls answer from the state at this age.
    pub fn set_stale(&self, age: Duration) -> Result<()> {
        let moto = self.running.moto.clone();
        self.wait(async move { crate::moto::set_stale(&moto, age).await })?
    }

    fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let (tell, told) = mpsc::channel();
        self.running.handle.spawn(async move { tell.send(work.await) });
        told.recv().context("the lab's API has ended")
    }
}

impl Drop for ApiOnly {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn run(dir: LabDir, hooks: Arc<dyn Hooks>, tell: mpsc::Sender<Result<Running>>, stopped: oneshot::Receiver<()>) {
    let (ended, end) = watch::channel(());
    match start(&dir, hooks, end).await {
        Ok((running, moto, folder)) => {
            let _ = tell.send(Ok(running));
            let _ = stopped.await;
            drop(ended);
            drop(moto);
            drop(folder);
        }
        Err(error) => drop(tell.send(Err(error))),
    }
}

async fn start(
    dir: &LabDir,
    hooks: Arc<dyn Hooks>,
    mut end: watch::Receiver<()>,
) -> Result<(Running, Moto, tempfile::TempDir)> {
    let folder = tempfile::Builder::new().prefix("elbow-api-").tempdir().context("making a folder for moto")?;
    let moto = Moto::start(dir, folder.path()).await?;
    let seed = moto.seed().await?;
    let world = watch::Sender::new(Arc::new(world::fetch(moto.upstream()).await?));
    let (listener, access) = entrance(&seed)?;
    let sessions = Sessions::default();
    let proxy = Proxy::new(Parties {
        moto: moto.upstream().clone(),
        world: world.subscribe(),
        sessions: sessions.clone(),
        record: record(folder.path())?,
        hooks,
    });
    let serving = proxy.clone();
    tokio::spawn(async move {
        tokio::select! {
            result = serving.serve(listener, Entrance::Loopback) => {
                let Err(error) = result;
                tracing::error!(%error, "API server ended");
            }
            _ = end.changed() => {}
        }
    });
    let upstream = moto.upstream().clone();
    let running = Running { handle: Handle::current(), moto: upstream, proxy, sessions, seed, access };
    Ok((running, moto, folder))
}

/// A listener on a free port of loopback, and the access to it.
pub(super) fn entrance(seed: &Seed) -> Result<(TcpListener, Access)> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listening on loopback")?;
    let access = Access {
        endpoint: format!("http://{}", listener.local_addr()?),
        region: seed.region.clone(),
        access_key_id: seed.operator.access_key_id.clone(),
        secret_access_key: seed.operator.secret_access_key.clone(),
    };
    Ok((listener, access))
}

pub(super) fn record(run: &Path) -> Result<Record> {
    let path = run.join("calls.jsonl");
    Record::with_file(&path).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Caller;

    #[test]
    fn labs_beside_each_other_have_an_account_each() {
        let labs = [ApiOnly::start().unwrap(), ApiOnly::start().unwrap()];
        let group = ["ec2", "create-security-group", "--group-name", "mine", "--description", "mine", "--vpc-id"];
        let made = std::process::Command::new(labs[0].tools.join("aws"))
            .args(group)
            .arg(&labs[0].seed().vpc)
            .envs(labs[0].environment())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");

        let has = |lab: &ApiOnly| lab.world().unwrap().security_groups.iter().any(|group| group.name == "mine");
        assert!(has(&labs[0]) && !has(&labs[1]));
        let calls = labs[0].take_calls();
        assert_eq!(
            (calls.len(), calls[0].action.as_str(), &calls[0].caller),
            (1, "CreateSecurityGroup", &Caller::Other)
        );
        assert!(labs[0].calls().is_empty() && labs[1].calls().is_empty());
    }
}
