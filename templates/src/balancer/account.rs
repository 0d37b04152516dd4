//! What an account may prescribe for the resources: the names of IAM's, and the nodes' volumes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The nodes' role and instance profile. Without a name of an existing one, Elbow creates both.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Iam {
    /// An existing role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// An existing instance profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_profile: Option<String>,
    /// The path of the role and the instance profile that Elbow creates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The ARN of the permissions boundary of the role that Elbow creates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions_boundary: Option<String>,
}

impl Iam {
    pub(super) fn is_default(&self) -> bool {
        *self == Iam::default()
    }

    /// Whether the role is Elbow's: Elbow creates, changes and deletes it.
    pub fn owns_role(&self) -> bool {
        self.role.is_none() && self.owns_profile()
    }

    /// Whether the instance profile is Elbow's.
    pub fn owns_profile(&self) -> bool {
        self.instance_profile.is_none()
    }

    /// The nodes' instance profile: the existing one, or Elbow's own, which has this name.
    pub fn profile<'a>(&'a self, own: &'a str) -> &'a str {
        self.instance_profile.as_deref().unwrap_or(own)
    }

    /// The role in Elbow's own instance profile: the existing one, or Elbow's own, which has this name.
    pub fn role<'a>(&'a self, own: &'a str) -> &'a str {
        self.role.as_deref().unwrap_or(own)
    }

    /// The path of what Elbow creates; IAM's default is `/`.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/")
    }
}

/// The nodes' root volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Volume {
    /// The name of the image's root device. Another name would add a second volume.
    pub device: String,
    /// In GiB; by default as large as the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// The ARN of a KMS key that encrypts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
}

impl Default for Volume {
    fn default() -> Self {
        Volume { device: "/dev/xvda".to_owned(), size: None, kms_key: None }
    }
}

#[cfg(test)]
mod tests {
    use crate::Balancer;

    #[test]
    fn unused_keys_make_no_other_revision_and_used_ones_read_back() {
        let small = include_str!("../../goldens/small/balancer.toml");
        let text = Balancer::parse(small).unwrap().canonical();
        assert!(["\"tags\"", "\"iam\"", "\"volume\"", "security_groups"].iter().all(|key| !text.contains(key)));
        let big = Balancer::parse(include_str!("../../goldens/big/balancer.toml")).unwrap();
        let volume = big.volume.as_ref().expect("it has [volume]");
        assert_eq!((volume.device.as_str(), volume.size), ("/dev/xvda", Some(20)));
        assert!(big.iam.owns_role() && big.iam.path() == "/elbow/");
        assert_eq!(serde_json::from_str::<Balancer>(&big.canonical()).unwrap(), big);
    }
}
