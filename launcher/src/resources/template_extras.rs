//! What a launch template's version may say and no version of Elbow's does: somebody wrote it there by hand.

use aws_sdk_ec2::types::{LaunchTemplateInstanceMetadataEndpointState, ResponseLaunchTemplateData};

/// The fields beyond Elbow's, in EC2's words. One that says what is so anyway, such as `EbsOptimized=false`, counts as
/// absent: an answer may name what nobody asked for.
pub fn extras(data: &ResponseLaunchTemplateData) -> Vec<&'static str> {
    let said = |flag: Option<bool>| flag == Some(true);
    let monitored = data.monitoring().is_some_and(|monitoring| said(monitoring.enabled()));
    let metadata = data.metadata_options();
    let unreachable = metadata.and_then(|options| options.http_endpoint())
        == Some(&LaunchTemplateInstanceMetadataEndpointState::Disabled);
    let over_ipv6 = metadata.and_then(|options| options.http_protocol_ipv6()).map(|state| state.as_str());
    let hibernates = data.hibernation_options().is_some_and(|options| said(options.configured()));
    let enclave = data.enclave_options().is_some_and(|options| said(options.enabled()));
    let fields = [
        ("KernelId", data.kernel_id().is_some()),
        ("EbsOptimized", said(data.ebs_optimized())),
        ("IamInstanceProfile.Arn", data.iam_instance_profile().is_some_and(|profile| profile.arn().is_some())),
        ("BlockDeviceMappings", !data.block_device_mappings().is_empty()),
        ("NetworkInterfaces", !data.network_interfaces().is_empty()),
        ("KeyName", data.key_name().is_some()),
        ("Monitoring", monitored),
        ("Placement", data.placement().is_some()),
        ("RamDiskId", data.ram_disk_id().is_some()),
        ("DisableApiTermination", said(data.disable_api_termination())),
        ("InstanceInitiatedShutdownBehavior", data.instance_initiated_shutdown_behavior().is_some()),
        ("ElasticGpuSpecifications", !data.elastic_gpu_specifications().is_empty()),
        ("ElasticInferenceAccelerators", !data.elastic_inference_accelerators().is_empty()),
        ("SecurityGroups", !data.security_groups().is_empty()),
        ("InstanceMarketOptions", data.instance_market_options().is_some()),
        ("CreditSpecification", data.credit_specification().is_some()),
        ("CpuOptions", data.cpu_options().is_some()),
        ("CapacityReservationSpecification", data.capacity_reservation_specification().is_some()),
        ("LicenseSpecifications", !data.license_specifications().is_empty()),
        ("HibernationOptions", hibernates),
        ("MetadataOptions.HttpEndpoint", unreachable),
        ("MetadataOptions.HttpProtocolIpv6", over_ipv6 == Some("enabled")),
        ("EnclaveOptions", enclave),
        ("InstanceRequirements", data.instance_requirements().is_some()),
        ("PrivateDnsNameOptions", data.private_dns_name_options().is_some()),
        ("MaintenanceOptions", data.maintenance_options().is_some()),
        ("DisableApiStop", said(data.disable_api_stop())),
        ("NetworkPerformanceOptions", data.network_performance_options().is_some()),
        ("SecondaryInterfaces", !data.secondary_interfaces().is_empty()),
    ];
    fields.into_iter().filter(|(_, there)| *there).map(|(field, _)| field).collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{
        LaunchTemplateBlockDeviceMapping, LaunchTemplateInstanceMetadataOptions, LaunchTemplatesMonitoring,
    };

    use super::*;

    #[test]
    fn what_elbow_never_says_is_named_and_what_is_so_anyway_is_not() {
        let usual = ResponseLaunchTemplateData::builder()
            .image_id("ami-1")
            .user_data("eA==")
            .ebs_optimized(false)
            .monitoring(LaunchTemplatesMonitoring::builder().enabled(false).build())
            .metadata_options(
                LaunchTemplateInstanceMetadataOptions::builder()
                    .http_endpoint(LaunchTemplateInstanceMetadataEndpointState::Enabled)
                    .build(),
            );
        assert_eq!(extras(&usual.clone().build()), [] as [&str; 0]);
        let by_hand = usual
            .key_name("ops")
            .ebs_optimized(true)
            .block_device_mappings(LaunchTemplateBlockDeviceMapping::builder().device_name("/dev/xvda").build());
        assert_eq!(extras(&by_hand.build()), ["EbsOptimized", "BlockDeviceMappings", "KeyName"]);
    }
}
