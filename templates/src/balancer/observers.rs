//! Who is told of a balancer beyond its operator's own questions: a webhook, and whoever reads its metrics.

use std::fmt;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// Who is told when something happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// Gets a POST for each event.
    pub webhook: Webhook,
}

/// A webhook's address. Who knows it can write to where it leads, so it is never shown: it has no `Display`, and its
/// `Debug` says nothing. Only what a node boots with contains it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Webhook(String);

impl Webhook {
    /// The address itself, for who writes it to the node or connects to it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Webhook(secret)")
    }
}

/// Who may read the nodes' metrics, beside the nodes themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Prometheus servers and the like.
    pub clients: Vec<Ipv4Net>,
}
