//! Logs each instance that has the balancer's tags but isn't a member, once, and leaves it alone. Any principal with
//! the permission to tag instances can create one.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::host::logs::CONSOLE;
use crate::node::observe::Observer;

/// The pause between looks: nothing depends on it.
const EVERY: Duration = Duration::from_secs(3600);

pub(crate) async fn name(observer: Observer) {
    let mut named = BTreeSet::new();
    loop {
        match observer.impostors().await {
            Ok(found) => {
                for instance in found {
                    if named.insert(instance.clone()) {
                        tracing::warn!(target: CONSOLE, %instance, "stranger has this balancer's tags, ignoring it");
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "cannot list instances with this balancer's tags"),
        }
        tokio::time::sleep(EVERY).await;
    }
}
