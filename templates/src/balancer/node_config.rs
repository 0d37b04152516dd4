//! A node's configuration, `/etc/elbow/balancer.json`: the validated balancer with its revision.

use serde::{Deserialize, Serialize};

use super::{Balancer, Revision, secrets};

/// The content of [`crate::paths::BALANCER`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The revision of `balancer`. It shows whether the file was changed by hand.
    pub revision: Revision,
    /// The node's balancer.
    pub balancer: Balancer,
}

/// Text that isn't a node's configuration.
#[derive(Debug, thiserror::Error)]
pub enum BadNodeConfig {
    /// Not the JSON of a [`NodeConfig`]: what is wrong, without the file's values.
    #[error("not a node's configuration: {0}")]
    Json(String),
    /// The revision isn't that of the content.
    #[error("revision {said} is not that of its content, {real}; was the file changed by hand?")]
    Revision {
        /// In the file.
        said: Revision,
        /// Of its content.
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
    /// If the JSON is invalid, or the revision isn't that of the content.
    pub fn parse(json: &str) -> Result<NodeConfig, BadNodeConfig> {
        let config: NodeConfig = serde_json::from_str(json)
            .map_err(|error| BadNodeConfig::Json(secrets::addresses(&secrets::unquoted(&error.to_string()))))?;
        let real = config.balancer.revision();
        if config.revision != real {
            return Err(BadNodeConfig::Revision { said: config.revision, real });
        }
        Ok(config)
    }

    /// JSON in one line, ending in a newline.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a Balancer has only string keys") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balancer::NodeSettings;

    fn config() -> NodeConfig {
        NodeConfig::of(&Balancer::parse(include_str!("../../goldens/big/balancer.toml")).unwrap())
    }

    #[test]
    fn a_nodes_configuration_reads_back_as_written() {
        assert_eq!(NodeConfig::parse(&config().to_json()).unwrap(), config());
    }

    #[test]
    fn a_configuration_changed_by_hand_is_refused() {
        let error = NodeConfig::parse(&config().to_json().replace("5432", "5433")).unwrap_err();
        assert!(matches!(error, BadNodeConfig::Revision { .. }), "{error}");
    }

    #[test]
    fn an_error_does_not_repeat_what_it_read() {
        for (from, to) in [
            ("\"notify\":{", "\"notify\":\"https://hooks.example.com/s3cret\",\"x\":{"),
            ("\"source\":\"", "\"source\":7,\"x\":\"https://user:s3cret@h/?s3cret"),
        ] {
            let json = config().to_json();
            assert!(json.contains(from), "{json}");
            let error = NodeConfig::parse(&json.replacen(from, to, 1)).unwrap_err();
            let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            let said: String = chain.map(ToString::to_string).collect();
            assert!(said.contains("invalid type") && !said.contains("s3cret"), "{said}");
        }
    }

    #[test]
    fn the_revision_is_of_what_is_meant_and_not_of_how_it_is_written() {
        let text = include_str!("../../goldens/big/balancer.toml");
        let other = text.replace("\n[[listener]]", "\n# a comment\n[[listener]]").replace("\"5m\"", "\"300s\"");
        assert_ne!(other, text);
        assert_eq!(Balancer::parse(&other).unwrap().revision(), config().revision);
    }

    #[test]
    fn a_key_that_is_not_used_makes_no_other_revision() {
        let mut balancer = config().balancer;
        balancer.node = NodeSettings::default();
        assert!(!balancer.canonical().contains("updates") && !balancer.canonical().contains("\"node\":"));
        balancer.updates.in_place = false;
        assert!(balancer.canonical().contains("\"updates\":{\"in_place\":false}"));
        assert_eq!(NodeConfig::parse(&NodeConfig::of(&balancer).to_json()).unwrap().balancer, balancer);
    }
}
