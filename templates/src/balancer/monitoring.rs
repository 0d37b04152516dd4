//! The observers of a balancer: a webhook that gets its events, and readers of its metrics.

use std::fmt;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// The receiver of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// Gets a POST for each event.
    pub webhook: Webhook,
}

/// A webhook's address. It is a secret, as it lets anyone post to the webhook: it has no `Display`, and its `Debug`
/// hides it. Only a node's user-data contains it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Webhook(String);

impl Webhook {
    /// The address itself, to write it to a node or connect to it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Webhook(secret)")
    }
}

/// Readers of the nodes' metrics, beside the nodes themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Prometheus servers and the like.
    pub clients: Vec<Ipv4Net>,
}
