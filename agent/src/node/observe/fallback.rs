//! Reads the members when the list of instances can't be read. While a zone is disrupted, AWS fails DescribeInstances
//! as a whole, unless it names only ids outside that zone (EC2 API reference, "DescribeInstances"). So network
//! interfaces show the members, and one call per zone describes them by id.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::NetworkInterface;

use super::{Observer, PAGE, filter};
use crate::aws::ec2::{ApiError, Kind};
use crate::aws::ids::{InstanceId, InterfaceId};
use crate::node::members::{self, Member, Sighting};

/// The owners of the interfaces that routes lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identified {
    pub ours: Vec<Member>,
    /// Interfaces that belong to no member.
    pub strangers: BTreeSet<InterfaceId>,
}

impl Observer {
    /// Reads the members after the list failed with `trouble`.
    pub(super) async fn otherwise(&self, known: &[Member], trouble: ApiError) -> Result<Sighting, ApiError> {
        // More calls would make throttling worse.
        if trouble.kind == Kind::Throttled {
            return Err(trouble);
        }
        let groups: Vec<&str> = self.identity.groups().iter().map(String::as_str).collect();
        let interfaces = self.interfaces("group-id", &groups).await;
        let listed = interfaces.as_ref().ok().map(|interfaces| {
            let nodes = interfaces.iter().filter(|interface| self.identity.has_group(interface.groups()));
            nodes.filter_map(|interface| members::at(interface, known)).collect::<Vec<_>>()
        });
        let described = self.described(listed.as_deref().unwrap_or(known)).await;
        if listed.is_none() && described.is_empty() {
            return Err(trouble);
        }
        let sighting = match listed {
            Some(listed) => Sighting::listed(merged(listed, described), &self.me),
            None => Sighting::of(described),
        };
        Ok(Sighting { trouble: Some(trouble), ..sighting })
    }

    /// Reads the owners of `interfaces`. An interface that can't be read is left out.
    pub async fn identify(&self, interfaces: &[InterfaceId], known: &[Member]) -> Result<Identified, ApiError> {
        let ids: Vec<&str> = interfaces.iter().map(|interface| interface.0.as_str()).collect();
        let found = self.interfaces("network-interface-id", &ids).await?;
        let mut identified = Identified::default();
        for interface in &found {
            let node = match members::at(interface, known) {
                Some(member) if self.identity.has_group(interface.groups()) => Some(member),
                // A member may have lost the group: its profile or launch template shows it then.
                Some(member) => match self.by_id(&[&member.instance]).await {
                    Ok(nodes) => nodes.into_iter().next(),
                    Err(error) => {
                        tracing::warn!(instance = %member.instance, "cannot check whether it is a member: {error}");
                        continue;
                    }
                },
                None => None,
            };
            match node {
                Some(node) => identified.ours.push(node),
                None => identified.strangers.extend(interface.network_interface_id().map(InterfaceId::from)),
            }
        }
        Ok(identified)
    }

    async fn interfaces(&self, name: &str, values: &[&str]) -> Result<Vec<NetworkInterface>, ApiError> {
        let call = self.client.describe_network_interfaces().filters(filter("vpc-id", &[self.identity.vpc()]));
        let mut pages = call.filters(filter(name, values)).into_paginator().page_size(PAGE).send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| ApiError::of("DescribeNetworkInterfaces", &error))?;
            found.extend(page.network_interfaces.unwrap_or_default());
        }
        Ok(found)
    }

    /// Describes the `members` in zones that answer.
    async fn described(&self, members: &[Member]) -> Vec<Member> {
        let mut zones: BTreeMap<&str, Vec<&InstanceId>> = BTreeMap::new();
        members.iter().for_each(|member| zones.entry(&member.zone).or_default().push(&member.instance));
        let calls = zones.iter().map(async |(zone, ids)| {
            let answer = self.by_id(ids).await;
            answer.inspect_err(|error| {
                tracing::warn!(zone, "cannot read the members in a zone; keeping the known ones: {error}")
            })
        });
        futures::future::join_all(calls).await.into_iter().flatten().flatten().collect()
    }

    /// The members among these ids. The call names only ids, or it fails while any zone is disrupted.
    async fn by_id(&self, ids: &[&InstanceId]) -> Result<Vec<Member>, ApiError> {
        let ids = ids.iter().map(|id| id.0.clone()).collect();
        let answer = self.client.describe_instances().set_instance_ids(Some(ids)).send().await;
        let answer = answer.map_err(|error| ApiError::of("DescribeInstances", &error))?;
        let instances: Vec<_> = answer
            .reservations
            .unwrap_or_default()
            .into_iter()
            .flat_map(|one| one.instances.unwrap_or_default())
            .collect();
        Ok(members::members(&instances, &self.identity))
    }
}

/// The `listed` members, each replaced by its `described` version if there is one.
fn merged(listed: Vec<Member>, described: Vec<Member>) -> Vec<Member> {
    let better = |member: Member| {
        let found = described.iter().find(|other| other.instance == member.instance);
        found.cloned().unwrap_or(member)
    };
    listed.into_iter().map(better).collect()
}
