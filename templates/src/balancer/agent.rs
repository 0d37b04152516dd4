//! Where a booting node gets the agent: from Elbow's bucket, or from where the file's `[agent]` says.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Balancer;

/// Where a booting node gets the agent, and the checksum that it must have. If absent, the launcher uploads the agents
/// beside it to a bucket of the account, and nodes get them there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentSource {
    /// `https://…`, `http://…`, `s3://bucket/key` (in the nodes' Region), or the absolute path of a file in the image.
    pub source: String,
    /// SHA-256, 64 hex digits.
    pub sha256: String,
}

/// SHA-256 of the agents in Elbow's bucket, as hex digits.
pub type Agents = BTreeMap<Architecture, String>;

/// A node's architecture, as `uname -m` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    X86_64,
    Aarch64,
}

impl Architecture {
    /// Both, in order.
    pub const ALL: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];

    /// The architecture of this name in EC2.
    pub fn of_ec2(name: &str) -> Option<Architecture> {
        match name {
            "x86_64" => Some(Architecture::X86_64),
            "arm64" => Some(Architecture::Aarch64),
            _ => None,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Architecture::X86_64 => "x86_64",
            Architecture::Aarch64 => "aarch64",
        })
    }
}

/// The place that a node gets the agent from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentPlace<'a> {
    /// Elbow's bucket in the node's account and Region.
    Bucket(&'a Agents),
    Url(&'a str),
    /// An object in S3.
    Object {
        bucket: &'a str,
        key: &'a str,
    },
    /// A file in the image.
    Path(&'a str),
}

impl<'a> AgentPlace<'a> {
    /// The place that `agent.source` names.
    pub fn of(source: &'a str) -> AgentPlace<'a> {
        match source.strip_prefix("s3://").and_then(|object| object.split_once('/')) {
            Some((bucket, key)) => AgentPlace::Object { bucket, key },
            None if source.starts_with('/') => AgentPlace::Path(source),
            None => AgentPlace::Url(source),
        }
    }

    /// Whether a booting node gets the agent from S3.
    pub fn is_in_s3(self) -> bool {
        matches!(self, AgentPlace::Bucket(_) | AgentPlace::Object { .. })
    }
}

impl Balancer {
    /// Where the nodes get the agent.
    pub fn agent_place(&self) -> AgentPlace<'_> {
        match &self.agent {
            Some(AgentSource { source, .. }) => AgentPlace::of(source),
            None => AgentPlace::Bucket(&self.agents),
        }
    }

    /// Whether nodes get the agent from Elbow's bucket.
    pub fn uses_bucket(&self) -> bool {
        matches!(self.agent_place(), AgentPlace::Bucket(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_the_sources_and_without_one_the_bucket() {
        let mut balancer = Balancer::parse(include_str!("../../goldens/small/balancer.toml")).unwrap();
        let mut of = |source: &str| {
            balancer.agent.as_mut().unwrap().source = source.to_owned();
            format!("{:?}", balancer.agent_place())
        };
        assert_eq!(of("https://a/b"), "Url(\"https://a/b\")");
        assert_eq!(of("s3://artifacts/elbow/agent"), "Object { bucket: \"artifacts\", key: \"elbow/agent\" }");
        assert_eq!(of("/opt/agent"), "Path(\"/opt/agent\")");
        balancer.agent = None;
        assert!(balancer.uses_bucket());
    }

    #[test]
    fn digests_are_a_part_of_the_revision_and_read_back() {
        let mut balancer = Balancer::parse(include_str!("../../goldens/small/balancer.toml")).unwrap();
        let before = balancer.revision();
        assert!(!balancer.canonical().contains("agents"));
        balancer.agent = None;
        balancer.agents =
            Agents::from([(Architecture::Aarch64, "b".repeat(64)), (Architecture::X86_64, "a".repeat(64))]);
        assert_ne!(balancer.revision(), before);
        let mut newer = balancer.clone();
        newer.agents.insert(Architecture::X86_64, "c".repeat(64));
        assert_eq!(balancer.needs_new_nodes(&newer), ["agent"]);
        let json = balancer.canonical();
        let digests = format!("\"agents\":{{\"x86_64\":\"{}\",\"aarch64\":\"{}\"}}", "a".repeat(64), "b".repeat(64));
        assert!(json.contains(&digests) && !json.contains("\"agent\":"), "{json}");
        assert_eq!(serde_json::from_str::<Balancer>(&json).unwrap(), balancer);
    }

    #[test]
    fn ec2_has_another_name_for_aarch64() {
        assert_eq!(Architecture::of_ec2("arm64"), Some(Architecture::Aarch64));
        assert_eq!(Architecture::of_ec2("x86_64"), Some(Architecture::X86_64));
        assert_eq!(Architecture::of_ec2("i386"), None);
        assert_eq!(Architecture::ALL.map(|one| one.to_string()), ["x86_64", "aarch64"]);
    }
}
