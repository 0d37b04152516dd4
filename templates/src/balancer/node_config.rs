//! What a node is told: the validated balancer with its revision, as `/etc/elbow/balancer.json`.

use serde::{Deserialize, Serialize};

use super::{Balancer, Revision};

/// The content of [`crate::paths::BALANCER`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The revision of `balancer`: a file that was changed by hand is not what the launcher launched.
    pub revision: Revision,
    /// The balancer this is a node of.
    pub balancer: Balancer,
}

/// Text that is no node's configuration.
#[derive(Debug, thiserror::Error)]
pub enum BadNodeConfig {
    /// Not the JSON of a [`NodeConfig`].
    #[error("not a node's configuration")]
    Json(#[from] serde_json::Error),
    /// The revision is another content's.
    #[error("revision {said} is not its content's, which is {real}")]
    Revision {
        /// What the file says.
        said: Revision,
        /// What its content makes.
        real: Revision,
    },
}

impl NodeConfig {
    /// A balancer with its revision.
    pub fn of(balancer: &Balancer) -> NodeConfig {
        NodeConfig { revision: balancer.revision(), balancer: balancer.clone() }
    }

    /// Reads what [`NodeConfig::to_json`] wrote.
    ///
    /// # Errors
    /// If it isn't that, or if the revision isn't the content's.
    pub fn parse(json: &str) -> Result<NodeConfig, BadNodeConfig> {
        let config: NodeConfig = serde_json::from_str(json)?;
        let real = config.balancer.revision();
        if config.revision != real {
            return Err(BadNodeConfig::Revision { said: config.revision, real });
        }
        Ok(config)
    }

    /// JSON that people can read, ending in a newline.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("a Balancer has only string keys");
        json.push('\n');
        json
    }
}
