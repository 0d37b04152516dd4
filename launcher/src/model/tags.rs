//! Tags, by which Elbow recognizes its resources.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use aws_sdk_ec2::types as ec2;
use aws_sdk_iam::types as iam;
use templates::names::{TAG_BALANCER, TAG_VIRTUAL_IP, TAG_VPC};

/// A resource's tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(pub BTreeMap<String, String>);

impl Tags {
    /// The tags that make a resource one of this balancer's.
    pub fn of(balancer: &str, vpc: &str) -> Tags {
        Tags::from_iter([(TAG_BALANCER, balancer), (TAG_VPC, vpc)])
    }

    /// These and one more.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Tags {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// These and more.
    pub fn and(mut self, more: &BTreeMap<String, String>) -> Tags {
        self.0.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
        self
    }

    /// The value of a tag.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The balancer that the resource belongs to.
    pub fn balancer(&self) -> Option<&str> {
        self.get(TAG_BALANCER)
    }

    /// The VPC of that balancer.
    pub fn vpc(&self) -> Option<&str> {
        self.get(TAG_VPC)
    }

    /// For EC2's calls.
    pub fn ec2(&self) -> Vec<ec2::Tag> {
        self.0.iter().map(|(key, value)| ec2::Tag::builder().key(key).value(value).build()).collect()
    }

    /// For EC2's calls that create something.
    pub fn specification(&self, kind: ec2::ResourceType) -> ec2::TagSpecification {
        ec2::TagSpecification::builder().resource_type(kind).set_tags(Some(self.ec2())).build()
    }

    /// For IAM's calls.
    pub fn iam(&self) -> Vec<iam::Tag> {
        let tag = |(key, value)| iam::Tag::builder().key(key).value(value).build().expect("key and value are set");
        self.0.iter().map(tag).collect()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Tags {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Tags {
        Tags(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl From<&[ec2::Tag]> for Tags {
    fn from(tags: &[ec2::Tag]) -> Tags {
        tags.iter().filter_map(|tag| Some((tag.key()?, tag.value().unwrap_or_default()))).collect()
    }
}

impl From<&[iam::Tag]> for Tags {
    fn from(tags: &[iam::Tag]) -> Tags {
        tags.iter().map(|tag| (tag.key(), tag.value())).collect()
    }
}

/// The key of the tag that claims a virtual IP.
pub fn claim(vip: Ipv4Addr) -> String {
    format!("{TAG_VIRTUAL_IP}{vip}")
}

/// The virtual IPs that a group's tags claim.
pub fn claimed(tags: &Tags) -> Vec<Ipv4Addr> {
    tags.0.keys().filter_map(|key| key.strip_prefix(TAG_VIRTUAL_IP)?.parse().ok()).collect()
}
