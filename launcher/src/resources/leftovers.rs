//! Things that come and go with instances: interfaces and volumes. Looked for only to prove that none is left.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, VolumeState};
use templates::names::TAG_BALANCER;

use crate::aws::PAGE;
use crate::aws::error::{CallFailed, Named};

/// Network interfaces and volumes that carry the balancer's tag, ids with their kind.
pub async fn find(ec2: &Client, balancer: &str) -> Result<Vec<String>, CallFailed> {
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
    let volumes =
        volumes.iter().filter(|volume| !gone.contains(&volume.state())).filter_map(|volume| volume.volume_id());
    let interfaces = interfaces.iter().filter_map(|interface| interface.network_interface_id());
    Ok(interfaces.map(|id| format!("interface {id}")).chain(volumes.map(|id| format!("volume {id}"))).collect())
}
