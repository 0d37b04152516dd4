//! Changes a running node to another revision. Everything is checked before anything is changed, and a failure on the
//! way is undone. Virtual IPs are added first and removed last, HAProxy passes its sockets on, and keepalived keeps its
//! states. The file that the next boot reads is written last.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use templates::Balancer;
use templates::balancer::NodeConfig;

use super::{Updater, deregistration, system_files};
use crate::config::boot::{Local, services};
use crate::host::{files, loopback};
use crate::node::state::State;
use crate::{handover, haproxy};

/// How long a reloaded HAProxy may take to answer with its new configuration.
const RELOAD: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(30);
/// Limit for the elections to adopt the virtual IPs. They run in this process and do so at once.
const ADOPTION: Duration = Duration::from_secs(5);

/// Checks that this node can change to `config`, without changing anything.
pub(super) async fn check(updater: &Updater, config: &NodeConfig) -> anyhow::Result<()> {
    let local = updater.local.lock().await.clone();
    checked(updater, &local, config).await.map(drop)
}

async fn checked(updater: &Updater, local: &Local, config: &NodeConfig) -> anyhow::Result<Local> {
    fits(&local.balancer, &config.balancer)?;
    let peers = updater.board.read().peers;
    let next = Local { balancer: config.balancer.clone(), ..local.clone() };
    services::check_haproxy(&next, &peers).await.map_err(short)?;
    next.check_keepalived(&peers).await.map_err(short)?;
    Ok(next)
}

/// Changes to `config`, or leaves everything as it was.
pub(super) async fn apply(updater: &Updater, config: &NodeConfig) -> anyhow::Result<()> {
    // The lock keeps other tasks from changing HAProxy and keepalived.
    let mut local = updater.local.lock().await;
    let before = local.balancer.clone();
    let next = checked(updater, &local, config).await?;

    let changed = async {
        change(updater, &before, &next).await?;
        files::write_aside(templates::paths::BALANCER.as_ref(), config.to_json()).await
    };
    if let Err(error) = changed.await {
        tracing::error!("change failed, going back to revision {}: {error:#}", before.revision());
        let old = Local { balancer: before.clone(), ..local.clone() };
        if let Err(back) = change(updater, &next.balancer, &old).await {
            bail!("{error:#}; and going back failed: {back:#}");
        }
        return Err(error);
    }
    *local = next;
    deregistration::close_later(&before, &config.balancer, &updater.balancer);
    updater.board.change(|state| state.revision = config.revision.clone());
    Ok(())
}

/// The program's message only: it has to fit into a tag.
fn short(error: anyhow::Error) -> anyhow::Error {
    anyhow::anyhow!("{}", error.root_cause())
}

/// Checks that a running node of `before` can become a node of `after`.
fn fits(before: &Balancer, after: &Balancer) -> anyhow::Result<()> {
    ensure!(after.name == before.name, "its balancer is {:?}, not {:?}", after.name, before.name);
    ensure!(after.vpc == before.vpc, "it is for {}, but this node is in {}", after.vpc, before.vpc);
    let fixed = before.needs_new_nodes(after);
    ensure!(fixed.is_empty(), "it changes {}, which needs new nodes", fixed.join(", "));
    after.check().context("it isn't valid")
}

async fn change(updater: &Updater, before: &Balancer, next: &Local) -> anyhow::Result<()> {
    let after = &next.balancer;
    let both: Vec<_> = before.virtual_ips.iter().chain(&after.virtual_ips).copied().collect();
    loopback::ensure(&both).await?;
    system_files::change(before, after).await?;
    let peers = updater.board.read().peers;
    if let Some(failed) = services::haproxy(next, &peers).await.into_iter().next() {
        return Err(failed.error);
    }
    until_haproxy_runs(after).await?;
    updater.board.change(|state| state.sharing = after.shares_tables().then_some(peers));

    updater.observer.set_balancer(after);
    (updater.look)();
    updater.balancer.send_replace(after.clone());
    let adopted = |state: &State| state.addresses() == after.virtual_ips;
    let mut board = updater.board.subscribe();
    let adopting = tokio::time::timeout(ADOPTION, board.wait_for(adopted)).await;
    drop(adopting.context("the elections didn't adopt the virtual IPs")?);
    let added: Vec<_> = after.virtual_ips.iter().filter(|vip| !before.virtual_ips.contains(vip)).copied().collect();
    handover::prepare(&added)?;
    let peers = updater.board.read().peers;
    next.keepalived(&peers).await.map_err(|failed| failed.error)?;
    loopback::ensure(&after.virtual_ips).await.map(drop)
}

/// Waits until HAProxy runs the new revision. If a new process can't start, the old one keeps serving and the unit
/// still looks well.
async fn until_haproxy_runs(balancer: &Balancer) -> anyhow::Result<()> {
    let wanted = balancer.revision().0;
    let mut last = String::new();
    let answers = async {
        loop {
            match haproxy::revision().await {
                Ok(running) if running == wanted => return,
                Ok(running) => last = format!("it still runs revision {running}"),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let in_time = tokio::time::timeout(RELOAD, answers).await;
    in_time.with_context(|| format!("HAProxy didn't load its new configuration: {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balancer() -> Balancer {
        Balancer::parse(include_str!("../../../../templates/goldens/big/balancer.toml")).unwrap()
    }

    fn refused(change: impl Fn(&mut Balancer)) -> String {
        let mut after = balancer();
        change(&mut after);
        format!("{:#}", fits(&balancer(), &after).unwrap_err())
    }

    #[test]
    fn another_balancers_revision_is_refused() {
        assert!(refused(|after| after.name = "other".into()).starts_with("its balancer is \"other\", not "));
        assert!(refused(|after| after.vpc = "vpc-0f".into()).starts_with("it is for vpc-0f, but this node is in vpc-"));
    }

    #[test]
    fn a_change_that_needs_new_nodes_is_refused_and_named() {
        let said = refused(|after| drop(after.subnets.pop()));
        assert_eq!(said, "it changes subnets, which needs new nodes");
    }

    #[test]
    fn an_invalid_revision_is_refused_by_its_key() {
        let said = refused(|after| after.listeners[0].name = "two words".into());
        assert!(said.starts_with("it isn't valid: listener.name: \"two words\" is not a valid name"), "{said}");
    }

    #[test]
    fn listeners_targets_and_virtual_ips_fit() {
        let mut after = balancer();
        after.listeners.pop();
        after.listeners[0].targets.as_mut().unwrap().pop();
        after.virtual_ips.push([10, 254, 7, 7].into());
        fits(&balancer(), &after).unwrap();
    }
}
