//! The Balancer: an operator describes it in `balancer.toml`, and each node gets it as `balancer.json`.

mod account;
mod agent;
pub(crate) mod check;
mod expected;
mod findings;
pub(crate) mod group;
mod haproxy;
mod hint;
mod instead;
mod listener;
mod location;
mod monitoring;
mod node_config;
mod parse;
mod prune;
mod rule;
mod schema;
pub mod secrets;
mod shape;
mod syntax;
mod target;
mod traffic;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use crate::values::{Image, Millis};
pub use account::{Iam, Volume};
pub use agent::{AgentPlace, AgentSource, Agents, Architecture};
pub use findings::{Examined, Finding, Invalid, Severity};
pub use group::{Balance, CheckProtocol, HealthCheck, Sticky, TargetGroup, WhenUnhealthy};
pub use haproxy::{Bytes, Extra, HaproxySettings};
pub use listener::{ForwardedFor, Listener, PortRange, Protocol, RateLimit};
pub use monitoring::{Logs, Metrics, Notify, Receiver, Webhook};
pub use node_config::{BadNodeConfig, NodeConfig};
pub use parse::examine;
pub use rule::{Conditions, Forward, Redirect, Respond, Rewrite, Rule};
pub use schema::schema;
pub use target::{Address, Target, WEIGHT};
pub use traffic::Action;

/// A load balancer, as its file describes it. The order of the fields determines the revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Balancer {
    /// Unique in its Region: a-z, 0-9 and `-`.
    pub name: String,
    /// The VPC's id, such as "vpc-0a1b2c3d".
    pub vpc: String,
    /// One node in each; at least two availability zones.
    pub subnets: Vec<String>,
    /// Each outside every CIDR of the VPC.
    pub virtual_ips: Vec<Ipv4Addr>,
    /// A Nitro type: others don't show changed tags in IMDS.
    #[serde(default = "default_instance_type")]
    pub instance_type: String,
    /// The nodes' machine image.
    #[serde(default = "default_image")]
    pub image: Image,
    /// Networks that may connect; if absent, the VPC's CIDRs.
    #[serde(default)]
    #[schemars(with = "Vec<schema::Cidr>")]
    pub clients: Vec<Ipv4Net>,
    /// Which route tables get the virtual IPs' routes.
    #[serde(default)]
    pub route_tables: RouteTables,
    /// How nodes are launched.
    #[serde(default)]
    pub launch: Launch,
    /// Where a booting node gets the agent; if absent, from a bucket that Elbow keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentSource>,
    /// The agents in that bucket. The launcher writes it: a file can't have this key.
    #[serde(default, skip_serializing_if = "Agents::is_empty")]
    #[schemars(skip)]
    pub agents: Agents,
    /// Timing and preferences of failover.
    #[serde(default)]
    pub failover: Failover,
    /// The receiver of events, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// Readers of the nodes' metrics; by default only the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// Where HAProxy's log goes, beside each node's own file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<Logs>,
    /// How a running balancer is changed.
    #[serde(default, skip_serializing_if = "Updates::is_default")]
    pub updates: Updates,
    /// What programs on the nodes may do, and their further security groups.
    #[serde(default, skip_serializing_if = "NodeSettings::is_default")]
    pub node: NodeSettings,
    /// The nodes' root volume; if absent, the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Volume>,
    /// The nodes' role and instance profile.
    #[serde(default, skip_serializing_if = "Iam::is_default")]
    pub iam: Iam,
    /// The operator's tags of everything that Elbow creates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// HAProxy's limits, and an operator's own sections.
    #[serde(default, skip_serializing_if = "HaproxySettings::is_default")]
    pub haproxy: HaproxySettings,
    /// The ports, and what happens to the connections of each.
    #[serde(rename = "listener")]
    pub listeners: Vec<Listener>,
    /// The targets that listeners forward to, beside those of shorthand listeners.
    #[serde(default, rename = "target_group", skip_serializing_if = "Vec::is_empty")]
    pub target_groups: Vec<TargetGroup>,
}

fn default_instance_type() -> String {
    "t3.small".to_owned()
}

fn default_image() -> Image {
    Image::Parameter("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64".to_owned())
}

/// Which route tables get the virtual IPs' routes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "OneOrMany", into = "OneOrMany")]
pub enum RouteTables {
    /// All of the VPC that can hold the routes.
    #[default]
    All,
    /// These ids.
    Only(Vec<String>),
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    #[schemars(extend("enum" = ["all"]))]
    Word(String),
    Ids(Vec<String>),
}

impl TryFrom<OneOrMany> for RouteTables {
    type Error = String;
    fn try_from(value: OneOrMany) -> Result<Self, String> {
        match value {
            OneOrMany::Word(word) if word == "all" => Ok(RouteTables::All),
            OneOrMany::Word(_) => Err("unknown value; write \"all\" or a list of rtb-… ids".to_owned()),
            OneOrMany::Ids(ids) => Ok(RouteTables::Only(ids)),
        }
    }
}

impl From<RouteTables> for OneOrMany {
    fn from(value: RouteTables) -> OneOrMany {
        match value {
            RouteTables::All => OneOrMany::Word("all".to_owned()),
            RouteTables::Only(ids) => OneOrMany::Ids(ids),
        }
    }
}

/// How nodes are launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(!try_from, !into, rename_all = "kebab-case")]
pub enum Launch {
    /// The launcher launches one instance in each subnet.
    #[default]
    Instances,
    /// An Auto Scaling group launches nodes and replaces lost ones.
    AutoScaling,
}

impl TryFrom<String> for Launch {
    type Error = String;
    fn try_from(word: String) -> Result<Self, String> {
        match word.as_str() {
            "instances" => Ok(Launch::Instances),
            "auto-scaling" => Ok(Launch::AutoScaling),
            _ => Err("unknown value; write \"instances\" or \"auto-scaling\"".to_owned()),
        }
    }
}

impl From<Launch> for String {
    fn from(launch: Launch) -> String {
        match launch {
            Launch::Instances => "instances".to_owned(),
            Launch::AutoScaling => "auto-scaling".to_owned(),
        }
    }
}

/// Timing and preferences of failover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Failover {
    /// VRRP advertisement interval; a node is lost after about three without an advertisement (RFC 5798 section 6.1).
    /// VRRPv3 counts in hundredths of a second.
    pub advertisement_interval: Millis,
    /// Whether a virtual IP's preferred node takes it back when it returns.
    pub preempt: bool,
    /// How long a stopping agent waits for open connections; by default 60s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<Millis>,
    /// How long a node of an Auto Scaling group is unreachable before its peers report it as unhealthy to the group; by
    /// default 60s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_after: Option<Millis>,
    /// The active node reads its route tables this often, a tenth more or less; by default 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_check: Option<Millis>,
}

/// As long as HAProxy keeps an idle HTTP connection. Connections that are left then may last for hours.
pub const DRAIN_TIMEOUT: Millis = Millis(60_000);

/// Longer than a reboot takes on most machines.
pub const REPLACE_AFTER: Millis = Millis(60_000);

/// Less than three calls of the API a minute.
pub const ROUTE_CHECK: Millis = Millis(30_000);

impl Failover {
    /// How long a stopping agent waits for open connections.
    pub fn drain_timeout(&self) -> Millis {
        self.drain_timeout.unwrap_or(DRAIN_TIMEOUT)
    }

    /// How long a node of an Auto Scaling group is unreachable before its peers report it as unhealthy.
    pub fn replace_after(&self) -> Millis {
        self.replace_after.unwrap_or(REPLACE_AFTER)
    }

    /// How often the active node reads its route tables.
    pub fn route_check(&self) -> Millis {
        self.route_check.unwrap_or(ROUTE_CHECK)
    }
}

impl Default for Failover {
    fn default() -> Self {
        Failover {
            advertisement_interval: Millis(200),
            preempt: false,
            drain_timeout: None,
            replace_after: None,
            route_check: None,
        }
    }
}

/// How a running balancer is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Updates {
    /// Whether running nodes read a new revision from the launch template and change to it. The permission has no
    /// resource scope: it allows to read the user-data of every launch template in the Region.
    pub in_place: bool,
}

impl Default for Updates {
    fn default() -> Self {
        Updates { in_place: true }
    }
}

impl Updates {
    fn is_default(&self) -> bool {
        *self == Updates::default()
    }
}

/// What programs on the nodes may do, and who may reach them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NodeSettings {
    /// Which users may read the instance's metadata, and with it the credentials of its role.
    pub metadata: Metadata,
    /// Existing security groups (`sg-…`) of the nodes, beside Elbow's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
}

impl NodeSettings {
    fn is_default(&self) -> bool {
        *self == NodeSettings::default()
    }
}

/// Which users on a node may read the instance's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Metadata {
    /// All but those of HAProxy and of keepalived's scripts.
    #[default]
    Restricted,
    /// root, and ec2-instance-connect where that user exists.
    Root,
}

/// The first 12 hex digits of the SHA-256 of a canonical configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub String);

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl Balancer {
    /// The canonical form: compact JSON, fields in the order of this file. Defaults are written out, except of fields
    /// with `skip_serializing_if`.
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("a Balancer has only string keys")
    }

    /// The keys that differ in `other` and that a running node can't change.
    pub fn needs_new_nodes(&self, other: &Balancer) -> Vec<&'static str> {
        let fixed = [
            ("subnets", self.subnets != other.subnets),
            ("instance_type", self.instance_type != other.instance_type),
            ("image", self.image != other.image),
            ("agent", self.agent != other.agent || self.agents != other.agents),
            ("notify", self.notify != other.notify),
            ("metrics", self.metrics != other.metrics),
            ("node.security_groups", self.node.security_groups != other.node.security_groups),
            ("volume", self.volume != other.volume),
            ("iam.instance_profile", self.iam.instance_profile != other.iam.instance_profile),
        ];
        fixed.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }

    /// The revision of this configuration.
    pub fn revision(&self) -> Revision {
        let digest = hex::encode(Sha256::digest(self.canonical()));
        Revision(digest[..12].to_owned())
    }
}
