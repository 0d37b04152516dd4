//! Reads the targets' state from HAProxy, and keeps drained targets out of the backends for unhealthy ones.

use std::io;

use super::admin::Admin;
use super::stats::Server;
use super::{fail_open, server_state, stats};

/// The targets that HAProxy checks now.
pub async fn servers() -> io::Result<Vec<Server>> {
    let mut admin = Admin::connect().await?;
    checked(&mut admin).await
}

/// The same. Before, it follows what operators did to targets since the last call; if that fails, the next call repeats it.
pub async fn watched_servers() -> io::Result<Vec<Server>> {
    let mut admin = Admin::connect().await?;
    if let Err(error) = follow(&mut admin).await {
        tracing::debug!(%error, "cannot follow drains of targets");
    }
    checked(&mut admin).await
}

async fn follow(admin: &mut Admin) -> io::Result<()> {
    let state = admin.servers().await?;
    let orders = parsed(move || fail_open::orders(&server_state::rows(&state).unwrap_or_default())).await?;
    for order in orders {
        admin.set(&order).await?;
        tracing::info!(server = order.server, state = order.state, "followed an operator's drain of a target");
    }
    Ok(())
}

async fn checked(admin: &mut Admin) -> io::Result<Vec<Server>> {
    let statistics = admin.statistics().await?;
    let servers = parsed(move || stats::read(&statistics)).await?;
    servers.ok_or_else(|| io::Error::other("HAProxy's statistics have no table of targets"))
}

/// The answers for 1,000 targets take some milliseconds to read, in which this thread may have to move routes.
async fn parsed<T: Send + 'static>(parse: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    Ok(tokio::task::spawn_blocking(parse).await?)
}
