//! Finds interfaces and volumes that ended instances left behind. Only reports them; deletes nothing.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, VolumeState};
use templates::names;
use templates::names::TAG_BALANCER;

use crate::aws::PAGE;
use crate::aws::error::{CallFailed, Named};

/// An interface or volume that has a balancer's tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// `interface` or `volume`.
    pub kind: &'static str,
    /// `eni-…`, `vol-…`
    pub id: String,
    /// Whether it is in the balancer's security group, which tagging can't set.
    pub grouped: bool,
}

/// Network interfaces and volumes that have the balancer's tag.
pub async fn find(ec2: &Client, balancer: &str) -> Result<Vec<Leftover>, CallFailed> {
    let filter = Filter::builder().name(format!("tag:{TAG_BALANCER}")).values(balancer).build();
    let interfaces = async {
        let pages =
            ec2.describe_network_interfaces().filters(filter.clone()).into_paginator().page_size(PAGE).items().send();
        pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeNetworkInterfaces", balancer)
    };
    let volumes = async {
        let pages = ec2.describe_volumes().filters(filter.clone()).into_paginator().page_size(PAGE).items().send();
        pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeVolumes", balancer)
    };
    let (interfaces, volumes) = futures::try_join!(interfaces, volumes)?;
    let gone = [Some(&VolumeState::Deleting), Some(&VolumeState::Deleted)];
    let volumes = volumes.iter().filter(|volume| !gone.contains(&volume.state()));
    let volumes = volumes.filter_map(|volume| volume.volume_id()).map(|id| Leftover {
        kind: "volume",
        id: id.to_owned(),
        grouped: false,
    });
    let name = names::regional(balancer);
    let interfaces = interfaces.iter().map(|interface| Leftover {
        kind: "interface",
        id: interface.network_interface_id().unwrap_or_default().to_owned(),
        grouped: interface.groups().iter().any(|group| group.group_name() == Some(&name)),
    });
    Ok(interfaces.chain(volumes).collect())
}

/// A line for each leftover of nodes, which had `of_nodes`, and a line for each object that only has the tag.
pub fn sort_out(balancer: &str, found: Vec<Leftover>, of_nodes: &BTreeSet<&str>) -> (Vec<String>, Vec<String>) {
    let (left, asides): (Vec<Leftover>, Vec<Leftover>) =
        found.into_iter().partition(|one| one.grouped || of_nodes.contains(one.id.as_str()));
    let aside = |Leftover { kind, id, .. }: &Leftover| {
        format!(
            "{kind} {id} carries {TAG_BALANCER}={balancer} and isn't known as a node's; left alone: remove the tag, or delete it"
        )
    };
    (left.iter().map(|one| format!("{} {}", one.kind, one.id)).collect(), asides.iter().map(aside).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_alone_does_not_make_a_leftover() {
        let one = |kind, id: &str, grouped| Leftover { kind, id: id.to_owned(), grouped };
        let found = vec![
            one("interface", "eni-1", true),
            one("interface", "eni-2", false),
            one("volume", "vol-1", false),
            one("volume", "vol-2", false),
        ];
        let (left, asides) = sort_out("web", found, &BTreeSet::from(["vol-1"]));
        assert_eq!(left, ["interface eni-1", "volume vol-1"]);
        assert_eq!(asides.len(), 2);
        assert!(asides[0].starts_with("interface eni-2 carries elbow:balancer=web and isn't"), "{asides:?}");
    }
}
