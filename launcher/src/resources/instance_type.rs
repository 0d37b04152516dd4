//! Reads an instance type: its IMDS tags, the architectures that it boots, and its zones.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, InstanceTypeHypervisor, LocationType};

use crate::aws::PAGE;
use crate::aws::error::{CallFailed, Named};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceType {
    /// For example `t3.small`.
    pub name: String,
    /// Whether IMDS shows changed tags: on Nitro and bare metal it does, on Xen it shows those of the launch.
    pub shows_tags: bool,
    /// `x86_64`, `arm64`, …
    pub architectures: Vec<String>,
    /// The zones that have it.
    pub zones: BTreeSet<String>,
}

/// The type of this name, if the Region has it.
pub async fn find(ec2: &Client, name: &str) -> Result<Option<InstanceType>, CallFailed> {
    let filter = Filter::builder().name("instance-type").values(name).build();
    let types = async {
        let call = ec2.describe_instance_types().filters(filter.clone());
        let pages = call.into_paginator().page_size(PAGE).items().send();
        pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeInstanceTypes", name)
    };
    let offers = async {
        let call = ec2.describe_instance_type_offerings().location_type(LocationType::AvailabilityZone);
        let pages = call.filters(filter.clone()).into_paginator().page_size(PAGE).items().send();
        pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeInstanceTypeOfferings", name)
    };
    let (types, offers) = futures::try_join!(types, offers)?;
    Ok(types.first().map(|kind| InstanceType {
        name: name.to_owned(),
        shows_tags: kind.hypervisor() == Some(&InstanceTypeHypervisor::Nitro) || kind.bare_metal() == Some(true),
        architectures: kind
            .processor_info()
            .map(|processor| processor.supported_architectures().iter().map(|kind| kind.as_str().to_owned()).collect())
            .unwrap_or_default(),
        zones: offers.iter().filter_map(|offer| offer.location()).map(str::to_owned).collect(),
    }))
}
