//! Target groups: where listeners forward to, how targets are checked and chosen. The names are ELB's where it has one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::target::is_false;
use super::{Millis, Protocol, Target};

/// Targets that serve the same, with their checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetGroup {
    /// Unique in its balancer.
    pub name: String,
    /// That of the listeners that forward to it.
    pub protocol: Protocol,
    /// Addresses with their ports, such as ["10.0.1.20:8080"].
    pub targets: Vec<Target>,
    /// How targets are checked.
    #[serde(default, skip_serializing_if = "HealthCheck::is_default")]
    pub health_check: HealthCheck,
    /// By default round robin for HTTP, and the fewest connections for TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
    /// What binds a client to a target: a cookie, or its address. By default nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// How long a removed target's connections may last; by default 5m, as with ALB and NLB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deregistration_delay: Option<Millis>,
    /// A target's share grows during this time once it is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Millis>,
    /// The most connections of HAProxy to one target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_per_target: Option<u32>,
    /// Whether HAProxy sends a PROXY protocol version 2 header.
    #[serde(default, skip_serializing_if = "is_false")]
    pub proxy_protocol: bool,
    /// Whether HAProxy sends a GET, HEAD or OPTIONS request to another target if the first one fails it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub retry: bool,
    /// Whether connections of a removed target end after `deregistration_delay`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub close_when_deregistered: bool,
    /// Whether connections of a target end when it becomes unhealthy.
    #[serde(default, skip_serializing_if = "is_false")]
    pub close_on_unhealthy: bool,
    /// What happens while fewer than `minimum_healthy` targets are healthy.
    #[serde(default, skip_serializing_if = "WhenUnhealthy::is_default")]
    pub when_unhealthy: WhenUnhealthy,
    /// Fewer healthy targets than this are too few; by default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_healthy: Option<u32>,
}

/// ALB's and NLB's default.
pub const DEREGISTRATION_DELAY: Millis = Millis(300_000);

impl TargetGroup {
    /// A group with these checks and defaults for the rest.
    pub fn new(name: &str, protocol: Protocol, targets: Vec<Target>, health_check: HealthCheck) -> TargetGroup {
        TargetGroup {
            name: name.to_owned(),
            protocol,
            targets,
            health_check,
            balance: None,
            sticky: None,
            deregistration_delay: None,
            slow_start: None,
            connections_per_target: None,
            proxy_protocol: false,
            retry: false,
            close_when_deregistered: false,
            close_on_unhealthy: false,
            when_unhealthy: WhenUnhealthy::default(),
            minimum_healthy: None,
        }
    }

    /// How the targets are checked: by HTTP if a key of it asks for HTTP, or else by the group's protocol.
    pub fn check_protocol(&self) -> CheckProtocol {
        let HealthCheck { path, host, status, protocol, .. } = &self.health_check;
        let asks_for_http = path.is_some() || host.is_some() || status.is_some();
        protocol.unwrap_or(match self.protocol {
            Protocol::Tcp if !asks_for_http => CheckProtocol::Tcp,
            _ => CheckProtocol::Http,
        })
    }

    /// How the targets are chosen.
    pub fn balance(&self) -> Balance {
        self.balance.unwrap_or(match self.protocol {
            Protocol::Http => Balance::RoundRobin,
            Protocol::Tcp => Balance::LeastConnections,
        })
    }

    /// The number of healthy targets below which `when_unhealthy` applies.
    pub fn minimum_healthy(&self) -> u32 {
        self.minimum_healthy.unwrap_or(1)
    }

    /// How long a removed target's connections may last.
    pub fn deregistration_delay(&self) -> Millis {
        self.deregistration_delay.unwrap_or(DEREGISTRATION_DELAY)
    }

    /// The targets that get new connections.
    pub fn weighted_targets(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| target.weight != Some(0))
    }

    /// Whether HAProxy remembers each client's target in a stick table. A cookie of its own names the target instead.
    pub fn has_table(&self) -> bool {
        matches!(self.sticky, Some(Sticky::AppCookie { .. } | Sticky::Source { .. }))
    }

    /// The targets that unhealthy targets' connections go to: those with a weight, if the group fails open.
    pub fn open_targets(&self) -> Vec<&Target> {
        match self.when_unhealthy {
            WhenUnhealthy::FailOpen => self.weighted_targets().collect(),
            WhenUnhealthy::FailClosed => Vec::new(),
        }
    }
}

/// How a target is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// In turn.
    RoundRobin,
    /// The one with the fewest connections (ALB: least outstanding requests).
    LeastConnections,
    /// The better of two at random.
    Random,
    /// By a hash of the client's address (NLB: flow hash).
    Source,
}

/// What happens while fewer than `minimum_healthy` targets are healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WhenUnhealthy {
    /// Connections go to all targets, as with ALB and NLB.
    #[default]
    FailOpen,
    /// Connections go to healthy targets only, or are refused.
    FailClosed,
}

impl WhenUnhealthy {
    fn is_default(&self) -> bool {
        *self == WhenUnhealthy::default()
    }
}

/// What binds a client to a target, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "StickyKeys", into = "StickyKeys")]
pub enum Sticky {
    /// A cookie that HAProxy sets. It ends when it was unused for this time, or else with the browser's session.
    Cookie { name: String, unused: Option<Millis> },
    /// A cookie that the application sets.
    AppCookie { name: String, unused: Option<Millis> },
    /// The client's address.
    Source { unused: Option<Millis> },
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct StickyKeys {
    /// The name of a cookie that HAProxy sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<String>,
    /// The name of a cookie that the application sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    app_cookie: Option<String>,
    /// Whether the client's address binds it.
    #[serde(skip_serializing_if = "is_false")]
    source: bool,
    /// How long a client that sends nothing stays bound, 1s to 168h.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    unused: Option<Millis>,
}

impl TryFrom<StickyKeys> for Sticky {
    type Error = &'static str;
    fn try_from(keys: StickyKeys) -> Result<Self, Self::Error> {
        let StickyKeys { cookie, app_cookie, source, unused } = keys;
        match (cookie, app_cookie, source) {
            (Some(name), None, false) => Ok(Sticky::Cookie { name, unused }),
            (None, Some(name), false) => Ok(Sticky::AppCookie { name, unused }),
            (None, None, true) => Ok(Sticky::Source { unused }),
            _ => Err("write exactly one of cookie = \"NAME\", app_cookie = \"NAME\" and source = true"),
        }
    }
}

impl From<Sticky> for StickyKeys {
    fn from(sticky: Sticky) -> StickyKeys {
        let none = StickyKeys::default();
        match sticky {
            Sticky::Cookie { name, unused } => StickyKeys { cookie: Some(name), unused, ..none },
            Sticky::AppCookie { name, unused } => StickyKeys { app_cookie: Some(name), unused, ..none },
            Sticky::Source { unused } => StickyKeys { source: true, unused, ..none },
        }
    }
}

/// How targets are checked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthCheck {
    /// By default HTTP if `path`, `host` or `status` is present, or else the group's protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<CheckProtocol>,
    /// Of the request, by default `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// By default the target's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The header `Host`, by default the target's address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The codes of a healthy target, such as `200-299,301`; by default `200-399`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// From one check to the next, by default 2s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Millis>,
    /// How long a check waits for an answer, by default 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// This many passed checks make a target healthy, by default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy: Option<u8>,
    /// This many failed checks make a target unhealthy, by default 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unhealthy: Option<u8>,
}

pub const INTERVAL: Millis = Millis(2000);
/// ALB's default.
pub const CHECK_TIMEOUT: Millis = Millis(5000);

impl HealthCheck {
    fn is_default(&self) -> bool {
        *self == HealthCheck::default()
    }
}

/// How a target is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckProtocol {
    /// A request is answered with one of the right codes.
    Http,
    /// The same over TLS. As with ELB, any certificate does.
    Https,
    /// A connection is accepted.
    Tcp,
}
