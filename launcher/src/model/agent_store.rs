//! What Elbow's bucket holds, and the agent that a balancer's nodes get from there.

use std::path::PathBuf;

use templates::balancer::{Agents, Architecture};
use templates::{Balancer, names};

use crate::aws::Aws;
use crate::aws::error::{CallFailed, Reason};
use crate::model::local_agents::{self, LocalAgent};
use crate::resources::bucket::{self, Bucket};
use crate::resources::image::Image;

/// The bucket and the agents of a balancer without `[agent]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentStore {
    pub bucket: Bucket,
    pub contents: Contents,
    /// The nodes', by their image; none if the image is unknown, or of an architecture without agents.
    pub architecture: Option<Architecture>,
    /// The balancer's agents.
    pub agents: Agents,
    /// The launcher's folder.
    pub folder: PathBuf,
    /// The agents in it.
    pub local: Vec<LocalAgent>,
}

/// What a bucket holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// The bucket doesn't exist.
    Absent,
    /// S3 denied the call, for this reason: a permission is missing, or another account has the bucket.
    Denied(String),
    /// The keys of its objects.
    Keys(Vec<String>),
}

impl AgentStore {
    pub async fn find(
        aws: &Aws,
        balancer: &Balancer,
        account: &str,
        image: Option<&Image>,
    ) -> Result<AgentStore, CallFailed> {
        let bucket = Bucket::of(account, &aws.region);
        let contents = match bucket::objects(&aws.s3, &bucket).await {
            Ok(None) => Contents::Absent,
            Ok(Some(objects)) => Contents::Keys(objects.into_iter().map(|object| object.key).collect()),
            Err(CallFailed { reason: Reason::Denied(why), .. }) => Contents::Denied(why),
            Err(error) => return Err(error),
        };
        let folder = local_agents::folder().unwrap_or_default();
        // The agents of an earlier version of the balancer are in the bucket: those of this launcher may be missing.
        let local = local_agents::beside_launcher().unwrap_or_default();
        let architecture = image.and_then(|image| Architecture::of_ec2(&image.architecture));
        Ok(AgentStore { bucket, contents, architecture, agents: balancer.agents.clone(), folder, local })
    }

    /// The digest of the nodes' agent.
    pub fn wanted(&self) -> Option<&str> {
        self.agents.get(&self.architecture?).map(String::as_str)
    }

    /// Whether the bucket has to get its settings: it doesn't exist, or a launcher was stopped after it created the bucket.
    pub fn is_new(&self) -> bool {
        match &self.contents {
            Contents::Absent => true,
            Contents::Denied(_) => false,
            Contents::Keys(keys) => keys.is_empty(),
        }
    }

    /// Whether the nodes' agent is in the bucket.
    pub fn has_wanted(&self) -> bool {
        match (&self.contents, self.wanted()) {
            (Contents::Keys(keys), Some(digest)) => keys.contains(&names::agent_key(digest)),
            _ => false,
        }
    }

    /// The file of the nodes' agent, if the launcher has it.
    pub fn file(&self) -> Option<&LocalAgent> {
        let digest = self.wanted()?;
        self.local.iter().find(|agent| agent.sha256 == digest)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::desired::tests::web;

    /// The example without `[agent]`.
    pub(crate) fn balancer() -> Balancer {
        let agents = Agents::from([(Architecture::X86_64, "a".repeat(64)), (Architecture::Aarch64, "b".repeat(64))]);
        Balancer { agent: None, agents, ..web() }
    }

    /// Its agent is beside the launcher, and there is no bucket.
    pub(crate) fn store() -> AgentStore {
        AgentStore {
            bucket: Bucket::of("123456789012", "eu-west-1"),
            contents: Contents::Absent,
            architecture: Some(Architecture::X86_64),
            agents: balancer().agents,
            folder: PathBuf::from("/opt/elbow"),
            local: vec![LocalAgent {
                path: PathBuf::from("/opt/elbow/agent-x86_64"),
                architecture: Architecture::X86_64,
                sha256: "a".repeat(64),
                size: 5_800_000,
            }],
        }
    }

    #[test]
    fn an_agent_in_the_bucket_is_found_by_its_content() {
        let with = |keys: &[&str]| {
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            AgentStore { contents: Contents::Keys(keys), ..store() }
        };
        let [wanted, other] = ["a", "b"].map(|digit| names::agent_key(&digit.repeat(64)));
        assert!(with(&[&other, &wanted]).has_wanted());
        // The agent of another architecture, or an earlier one.
        assert!(!with(&[&other]).has_wanted() && !with(&[&other]).is_new());
        assert!(!store().has_wanted() && store().is_new() && with(&[]).is_new());
        assert_eq!(store().file().map(|agent| agent.sha256.as_str()), Some("a".repeat(64).as_str()));
        assert!(AgentStore { architecture: Some(Architecture::Aarch64), ..store() }.file().is_none());
    }
}
