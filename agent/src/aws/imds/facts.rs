//! Reads this instance's identity from IMDS.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Deserialize;

use super::{Imds, ImdsError};
use crate::aws::ids::{InstanceId, InterfaceId};

/// This instance's identity. Only `tags` can change while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub instance: InstanceId,
    /// Its primary interface.
    pub interface: InterfaceId,
    /// The primary interface's hardware address, in lower case.
    pub mac: String,
    /// The primary interface's primary private address.
    pub address: Ipv4Addr,
    /// The primary interface's security groups (`sg-…`).
    pub groups: Vec<String>,
    pub vpc: String,
    pub subnet: String,
    /// Its availability zone.
    pub zone: String,
    pub region: String,
    /// Its tags; empty if the launch template doesn't let IMDS show them.
    pub tags: BTreeMap<String, String>,
}

/// The part of the instance identity document that is used.
#[derive(Deserialize)]
struct Identity {
    region: String,
}

/// Reads all facts from IMDS.
pub async fn facts(imds: &Imds) -> Result<Facts, ImdsError> {
    let mac = imds.need("meta-data/mac").await?.trim().to_lowercase();
    let interface = |what: &str| format!("meta-data/network/interfaces/macs/{mac}/{what}");
    let document = "dynamic/instance-identity/document";
    let identity: Identity = parsed(document, serde_json::from_str(&imds.need(document).await?))?;
    let address = "meta-data/local-ipv4";
    Ok(Facts {
        instance: InstanceId(imds.need("meta-data/instance-id").await?),
        interface: InterfaceId(imds.need(&interface("interface-id")).await?),
        address: parsed(address, imds.need(address).await?.trim().parse())?,
        groups: lines(&imds.need(&interface("security-group-ids")).await?),
        vpc: imds.need(&interface("vpc-id")).await?,
        subnet: imds.need(&interface("subnet-id")).await?,
        zone: imds.need("meta-data/placement/availability-zone").await?,
        region: identity.region,
        tags: tags(imds).await?,
        mac,
    })
}

/// Reads the instance's current tags.
pub async fn tags(imds: &Imds) -> Result<BTreeMap<String, String>, ImdsError> {
    let folder = "meta-data/tags/instance";
    let Some(keys) = imds.get(folder).await? else {
        return Ok(BTreeMap::new());
    };
    let mut tags = BTreeMap::new();
    for key in lines(&keys) {
        // A tag can be deleted after it was listed.
        if let Some(value) = imds.get(&format!("{folder}/{key}")).await? {
            tags.insert(key, value);
        }
    }
    Ok(tags)
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn parsed<T, E>(path: &str, value: Result<T, E>) -> Result<T, ImdsError> {
    value.map_err(|_| ImdsError::Missing { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::super::server::Server;
    use super::*;

    const INTERFACE: &str = "meta-data/network/interfaces/macs/0a:1b:2c:3d:4e:5f";

    fn values(extra: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut values: Vec<(String, String)> = [
            ("meta-data/mac", "0A:1b:2c:3d:4e:5f"),
            ("meta-data/instance-id", "i-0a1b"),
            ("meta-data/local-ipv4", "10.0.1.10"),
            ("meta-data/placement/availability-zone", "eu-west-1a"),
            ("dynamic/instance-identity/document", r#"{"region": "eu-west-1", "accountId": "123456789012"}"#),
        ]
        .map(|(path, value)| (path.to_owned(), value.to_owned()))
        .to_vec();
        for (what, value) in [
            ("interface-id", "eni-1"),
            ("security-group-ids", "sg-1\nsg-2"),
            ("vpc-id", "vpc-1"),
            ("subnet-id", "subnet-1"),
        ] {
            values.push((format!("{INTERFACE}/{what}"), value.to_owned()));
        }
        values.extend(extra.iter().map(|(path, value)| (path.to_string(), value.to_string())));
        values
    }

    async fn serve(values: &[(String, String)]) -> Server {
        let values: Vec<(&str, &str)> = values.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect();
        Server::start(&values).await
    }

    #[tokio::test]
    async fn facts_are_read_from_imds() {
        let tags = [
            ("meta-data/tags/instance", "elbow:vpc\nName"),
            ("meta-data/tags/instance/elbow:vpc", "1"),
            ("meta-data/tags/instance/Name", "elbow-web"),
        ];
        let server = serve(&values(&tags)).await;
        let facts = facts(&server.client()).await.unwrap();
        assert_eq!(facts.instance, InstanceId::from("i-0a1b"));
        assert_eq!(facts.interface, InterfaceId::from("eni-1"));
        assert_eq!(facts.mac, "0a:1b:2c:3d:4e:5f");
        assert_eq!(facts.address, Ipv4Addr::new(10, 0, 1, 10));
        assert_eq!(facts.groups, ["sg-1", "sg-2"]);
        assert_eq!(facts.region, "eu-west-1");
        assert_eq!(facts.subnet, "subnet-1");
        assert_eq!(facts.tags["elbow:vpc"], "1");
        assert_eq!(facts.tags["Name"], "elbow-web");
    }

    #[tokio::test]
    async fn tags_that_imds_hides_are_an_empty_map() {
        let server = serve(&values(&[])).await;
        assert!(facts(&server.client()).await.unwrap().tags.is_empty());
    }

    #[tokio::test]
    async fn an_unreadable_fact_is_named() {
        let server = serve(&values(&[("meta-data/local-ipv4", "soon")])).await;
        let error = facts(&server.client()).await.unwrap_err();
        assert_eq!(error.to_string(), "IMDS has no usable meta-data/local-ipv4");
    }
}
