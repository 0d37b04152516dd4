//! Instances that carry the balancer's tags and are none of its nodes: named once in the log, and left alone. Anyone who may
//! tag an instance can make one.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::host::logs::CONSOLE;
use crate::node::observe::Observer;

/// From one look to the next: nothing depends on it.
const EVERY: Duration = Duration::from_secs(3600);

/// Looks for them for ever.
pub(crate) async fn name(observer: Observer) {
    let mut named = BTreeSet::new();
    loop {
        match observer.impostors().await {
            Ok(found) => {
                for instance in found {
                    if named.insert(instance.clone()) {
                        tracing::warn!(target: CONSOLE, %instance, "it carries this balancer's tags and is none of its nodes");
                    }
                }
            }
            Err(error) => tracing::debug!("cannot look for instances tagged as nodes: {error}"),
        }
        tokio::time::sleep(EVERY).await;
    }
}
