//! Listeners: ports of every virtual IP, and what happens to their connections. The names are ELB's where it has one.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::Cidr;
use super::{Forward, HealthCheck, Millis, Redirect, Respond, Rule, Target};
use crate::values::as_text;

/// Ports of every virtual IP. Exactly one of `port` and `ports` is present, and exactly one of `targets`, `forward`,
/// `redirect` and `respond`, which is the action for what no rule matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Unique in its balancer.
    pub name: String,
    /// How HAProxy reads the traffic.
    pub protocol: Protocol,
    /// The port; or write `ports`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// A range of ports, such as "40000-40099"; or write `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortRange>,
    /// Networks that may connect; if absent, those of the balancer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Cidr>")]
    pub clients: Vec<Ipv4Net>,
    /// Shorthand for a target group of the listener's name and protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<Target>>,
    /// The checks of `targets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// A target group, or several with weights: `{ blue = 90, green = 10 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// How long a client stays with the group that was chosen by weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_sticky: Option<Millis>,
    /// Sends clients to another address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// HAProxy's own answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond: Option<Respond>,
    /// How long a connection may be silent; by default as with ELB: 60s for HTTP, 350s for TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Millis>,
    /// How long a client's connection waits for its next request; by default the idle timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<Millis>,
    /// Set in every response; an empty value removes the header.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub response_headers: BTreeMap<String, String>,
    /// What becomes of `X-Forwarded-For`.
    #[serde(default, skip_serializing_if = "ForwardedFor::is_default")]
    pub forwarded_for: ForwardedFor,
    /// The most requests of one client address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Networks that send a PROXY protocol header before each connection's first byte.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Cidr>")]
    pub proxy_protocol_from: Vec<Ipv4Net>,
    /// Tried in this order; the first that matches decides.
    #[serde(default, rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// How HAProxy reads a listener's or a target group's traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Requests and responses.
    Http,
    /// A stream of bytes.
    Tcp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Http => "http",
            Protocol::Tcp => "tcp",
        })
    }
}

/// What becomes of the request header `X-Forwarded-For` (ALB's `routing.http.xff_header_processing.mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedFor {
    /// HAProxy adds the client's address.
    #[default]
    Append,
    /// HAProxy adds the client's address and port.
    AppendWithPort,
    /// Targets see what the client sent.
    Preserve,
    /// Targets see none.
    Remove,
}

impl ForwardedFor {
    fn is_default(&self) -> bool {
        *self == ForwardedFor::default()
    }
}

/// The most requests of one client address; HAProxy answers more with 429.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// The most requests in the time `per`.
    pub requests: u32,
    /// From 1s to 1h.
    pub per: Millis,
}

/// Consecutive ports, `40000-40099`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    /// Whether both have a port in common.
    pub fn overlaps(self, other: PortRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl From<u16> for PortRange {
    fn from(port: u16) -> PortRange {
        PortRange { first: port, last: port }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// Text that isn't a range of ports.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a range of ports; write the first and the last, such as \"40000-40099\"")]
pub struct NotPorts(String);

impl FromStr for PortRange {
    type Err = NotPorts;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ends = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match ends {
            Some((first, last)) if first < last => Ok(PortRange { first, last }),
            _ => Err(NotPorts(text.to_owned())),
        }
    }
}

as_text!(PortRange, "^[0-9]+-[0-9]+$", "The first and the last port, such as \"40000-40099\".");
