"""RunInstances and TerminateInstances. Pages are named in patches/instances.py and termination.py."""

import base64
from collections.abc import Iterator
from typing import Any

from cases.scene import Scene, refused


def every_instance_of_a_call_has_the_profile(server: Any) -> Iterator[None]:
    """RunInstances, IamInstanceProfile."""
    s = Scene(server)
    launched = s.run(IamInstanceProfile={"Name": s.profile()}, MinCount=2, MaxCount=2)
    yield
    assert all(s.instance(i["InstanceId"])["IamInstanceProfile"]["Arn"].endswith(s.name) for i in launched)


def an_unknown_profile_is_an_invalid_value(server: Any) -> Iterator[None]:
    """RunInstances: the error on which callers retry after creating a profile."""
    s = Scene(server)
    yield
    with refused(
        "InvalidParameterValue", says="Value (unknown) for parameter iamInstanceProfile.name is invalid. Invalid IAM"
    ):
        s.run(IamInstanceProfile={"Name": "unknown"})


def a_profile_without_a_role_is_an_invalid_value(server: Any) -> Iterator[None]:
    """IAM User Guide, "Use instance profiles": it holds the role, and EC2 launches nothing with an empty one."""
    s = Scene(server)
    profile = s.profile()
    s.iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=profile)
    yield
    with refused("InvalidParameterValue", says=f'instance-profile/{profile}" has no associated IAM Roles'):
        s.run(IamInstanceProfile={"Name": profile})


def a_client_token_launches_once(server: Any) -> Iterator[None]:
    """ "Ensure idempotency in Amazon EC2 API requests"."""
    s = Scene(server)
    first = s.run(ClientToken=s.name)
    yield
    again = s.run(ClientToken=s.name)
    assert [i["InstanceId"] for i in again] == [i["InstanceId"] for i in first]
    with refused("IdempotentParameterMismatch"):
        s.run(ClientToken=s.name, InstanceType="t3.large")
    s.end(first[0])
    with refused("IdempotentInstanceTerminated"):
        s.run(ClientToken=s.name)


def interfaces_have_the_requested_tags(server: Any) -> Iterator[None]:
    """RunInstances, TagSpecification: instances, volumes, network interfaces."""
    s = Scene(server)
    tag = {"Key": "elbow:balancer", "Value": s.name}
    kinds = ("instance", "network-interface", "volume")
    s.run(TagSpecifications=[{"ResourceType": kind, "Tags": [tag]} for kind in kinds])
    yield
    found = s.ec2.describe_tags(Filters=[{"Name": "value", "Values": [s.name]}])["Tags"]
    assert sorted(t["ResourceType"] for t in found) == sorted(kinds)


def user_data_beyond_16_kb_is_refused(server: Any) -> Iterator[None]:
    """ "Instance user data": 16 KB, before it is encoded."""
    s = Scene(server)
    s.run(UserData="x" * 16384)
    yield
    with refused("InvalidParameterValue", says="16384"):
        s.run(UserData="x" * 16385)


def an_unknown_type_is_an_invalid_value(server: Any) -> Iterator[None]:
    """RunInstances, InstanceType."""
    s = Scene(server)
    yield
    with refused("InvalidParameterValue", says="Invalid value 't3.smal' for InstanceType."):
        s.run(InstanceType="t3.smal")


def a_type_of_another_architecture_is_refused(server: Any) -> Iterator[None]:
    """ "Launch an instance": the image's architecture must match."""
    s = Scene(server)
    yield
    with refused("InvalidParameterValue", says="matching architectures"):
        s.run(InstanceType="t4g.small")


def an_image_is_needed(server: Any) -> Iterator[None]:
    """RunInstances, ImageId."""
    s = Scene(server)
    yield
    with refused("MissingParameter", says="ImageId"):
        s.run(ImageId=None)


def a_deregistered_image_is_not_found(server: Any) -> Iterator[None]:
    """EC2 User Guide, "Deregister an Amazon EC2 AMI": nothing can be launched from it; its instances stay."""
    s = Scene(server)
    launched = s.run()[0]["InstanceId"]
    image = s.ec2.create_image(InstanceId=launched, Name=s.name)["ImageId"]
    s.ec2.deregister_image(ImageId=image)
    yield
    with refused("InvalidAMIID.NotFound", says=image):
        s.run(ImageId=image)
    assert s.ec2.describe_images(ImageIds=[image])["Images"] == []


def groups_of_another_vpc_are_refused(server: Any) -> Iterator[None]:
    """RunInstances: subnet and security groups are of one VPC."""
    s, other = Scene(server), Scene(server)
    group = other.group()
    yield
    with refused("InvalidParameter", says="belong to different networks"):
        s.run(SecurityGroupIds=[group])


def an_image_can_be_named_by_an_ssm_parameter(server: Any) -> Iterator[None]:
    """RunInstances, ImageId: resolve:ssm:parameter-name."""
    s = Scene(server)
    yield
    launched = s.run(ImageId="resolve:ssm:/aws/service/elbow-lab/debian-12")
    assert launched[0]["ImageId"] == s.image


def a_tag_key_that_isnt_a_path_is_refused_where_imds_shows_tags(server: Any) -> Iterator[None]:
    """ "View tags for your EC2 instances using instance metadata": no spaces, no slashes, at launch and after."""
    s = Scene(server)
    shown = {"InstanceMetadataTags": "enabled"}
    bad = [{"ResourceType": "instance", "Tags": [{"Key": "cost center", "Value": "1"}]}]
    s.run(TagSpecifications=bad)
    instance = s.run(MetadataOptions=shown)[0]["InstanceId"]
    yield
    with refused("InvalidParameterValue", says="'cost center' is not a valid tag key"):
        s.run(MetadataOptions=shown, TagSpecifications=bad)
    with refused("InvalidParameterValue", says="'a/b' is not a valid tag key"):
        s.ec2.create_tags(Resources=[instance], Tags=[{"Key": "a/b", "Value": "1"}])


def a_tag_on_an_unknown_instance_is_refused(server: Any) -> Iterator[None]:
    """CreateTags: InvalidInstanceID.NotFound."""
    s = Scene(server)
    yield
    with refused("InvalidInstanceID.NotFound"):
        s.ec2.create_tags(Resources=["i-0123456789abcdef0"], Tags=[{"Key": "a", "Value": "1"}])


def reserved_tags_are_neither_set_nor_deleted(server: Any) -> Iterator[None]:
    """ "Tag restrictions": keys that start with aws: are reserved; "Launch instances using a launch template": EC2 tags
    the instances; DeleteTags without tags keeps these tags."""
    s = Scene(server)
    template = s.ec2.create_launch_template(
        LaunchTemplateName=s.name, LaunchTemplateData={"ImageId": s.image, "InstanceType": "t3.small"}
    )["LaunchTemplate"]["LaunchTemplateId"]
    launched = s.run(ImageId=None, InstanceType=None, LaunchTemplate={"LaunchTemplateId": template})[0]["InstanceId"]
    instance = s.run()[0]["InstanceId"]
    own = {"aws:ec2launchtemplate:id": template, "aws:ec2launchtemplate:version": "1"}
    yield

    def tags() -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in s.instance(launched)["Tags"]}

    assert tags() == own
    for key in ("aws:mine", "aws:ec2launchtemplate:id", "AWS:ec2launchtemplate:id"):
        with refused("InvalidParameterValue", says="aws:"):
            s.ec2.create_tags(Resources=[instance], Tags=[{"Key": key, "Value": template}])
    with refused("InvalidParameterValue", says="aws:"):
        s.ec2.delete_tags(Resources=[launched], Tags=[{"Key": "aws:ec2launchtemplate:id"}])
    s.ec2.create_tags(Resources=[launched], Tags=[{"Key": "mine", "Value": "1"}])
    s.ec2.delete_tags(Resources=[launched])
    assert tags() == own


def a_terminated_instance_is_still_shown_without_its_interface(server: Any) -> Iterator[None]:
    """ "Terminate Amazon EC2 instances"; Instance: which fields remain."""
    s = Scene(server)
    instance = s.run()[0]
    s.end(instance)
    yield
    seen = s.instance(instance["InstanceId"])
    assert seen["State"]["Name"] == "terminated"
    assert seen["NetworkInterfaces"] == []
    assert not {"SubnetId", "VpcId", "PrivateIpAddress"} & set(seen)
    with refused("InvalidNetworkInterfaceID.NotFound"):
        s.ec2.describe_network_interfaces(NetworkInterfaceIds=[s.interface(instance)])
    with refused("IncorrectInstanceState"):
        s.ec2.start_instances(InstanceIds=[instance["InstanceId"]])


def an_instance_that_shuts_down_keeps_its_interface_and_group_in_use(server: Any) -> Iterator[None]:
    """ "Instance state changes": shutting-down comes before terminated."""
    s = Scene(server)
    group = s.group()
    instance = s.run(SecurityGroupIds=[group])[0]
    s.ec2.create_route(**s.route_to(s.interface(instance)))
    server.post("shutting-down", {"ms": 60000})
    s.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    server.post("shutting-down", {"ms": 200})
    yield
    seen = s.instance(instance["InstanceId"])
    assert seen["State"]["Name"] == "shutting-down"
    assert s.interface(seen) == s.interface(instance)
    with refused("DependencyViolation"):
        s.ec2.delete_security_group(GroupId=group)
    with refused("IncorrectInstanceState"):
        s.ec2.stop_instances(InstanceIds=[instance["InstanceId"]])
    assert s.routes()["10.255.0.10/32"]["State"] == "blackhole"
    # The lab removes the link at once.
    assert s.interface(instance) not in [i["id"] for i in server.world()["interfaces"]]


def an_address_is_free_again_after_termination(server: Any) -> Iterator[None]:
    """RunInstances, PrivateIpAddress."""
    s = Scene(server)
    first = s.run(PrivateIpAddress="10.50.1.77")[0]
    s.end(first)
    yield
    assert s.run(PrivateIpAddress="10.50.1.77")[0]["PrivateIpAddress"] == "10.50.1.77"


def a_launch_template_is_honoured(server: Any) -> Iterator[None]:
    """ "Launch instances using a launch template": all parameters, and tags merged with the request's."""
    s = Scene(server)
    group = s.group()
    data = {
        "ImageId": s.image,
        "InstanceType": "t3.small",
        "UserData": base64.b64encode(b"#cloud-config\n").decode(),
        "SecurityGroupIds": [group],
        "IamInstanceProfile": {"Name": s.profile()},
        "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
        "TagSpecifications": [
            {
                "ResourceType": "instance",
                "Tags": [{"Key": "from", "Value": "template"}, {"Key": "both", "Value": "template"}],
            }
        ],
    }
    s.ec2.create_launch_template(LaunchTemplateName=s.name, LaunchTemplateData=data)
    launched = s.run(
        ImageId=None,
        InstanceType=None,
        LaunchTemplate={"LaunchTemplateName": s.name, "Version": "1"},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "both", "Value": "request"}]}],
    )[0]
    yield
    seen = s.instance(launched["InstanceId"])
    assert seen["IamInstanceProfile"]["Arn"].endswith(f"instance-profile/{s.name}")
    assert seen["MetadataOptions"]["HttpTokens"] == "required"
    assert seen["MetadataOptions"]["InstanceMetadataTags"] == "enabled"
    assert [g["GroupId"] for g in seen["SecurityGroups"]] == [group]
    tags = {tag["Key"]: tag["Value"] for tag in seen["Tags"]}
    assert (tags["from"], tags["both"], tags["aws:ec2launchtemplate:version"]) == ("template", "request", "1")
    world = next(i for i in server.world()["instances"] if i["id"] == launched["InstanceId"])
    assert base64.b64decode(world["user_data"]) == b"#cloud-config\n"


def instances_are_found_by_launch_index_and_interface(server: Any) -> Iterator[None]:
    """DescribeInstances, Filter."""
    s = Scene(server)
    launched = s.run(MinCount=2, MaxCount=2)
    yield

    def found(name: str, value: str) -> list[str]:
        filters = [{"Name": "vpc-id", "Values": [s.vpc]}, {"Name": name, "Values": [value]}]
        return [
            i["InstanceId"] for r in s.ec2.describe_instances(Filters=filters)["Reservations"] for i in r["Instances"]
        ]

    assert found("launch-index", "1") == [launched[1]["InstanceId"]]
    assert found("network-interface.network-interface-id", s.interface(launched[0])) == [launched[0]["InstanceId"]]
    assert found("network-interface.source-dest-check", "false") == []


def an_unknown_filter_is_refused(server: Any) -> Iterator[None]:
    """EC2 API reference, "Error codes": InvalidParameterValue, in EC2's own form."""
    s = Scene(server)
    yield
    for call in (s.ec2.describe_instances, s.ec2.describe_route_tables, s.ec2.describe_security_groups):
        with refused("InvalidParameterValue", says="The filter 'nonsense' is invalid"):
            call(Filters=[{"Name": "nonsense", "Values": ["x"]}])


def an_address_in_use_is_refused(server: Any) -> Iterator[None]:
    """ "Error codes": InvalidIPAddress.InUse."""
    s = Scene(server)
    taken = s.run()[0]["PrivateIpAddress"]
    yield
    with refused("InvalidIPAddress.InUse"):
        s.run(PrivateIpAddress=taken)


def a_launch_into_a_full_subnet_is_refused(server: Any) -> Iterator[None]:
    """ "Error codes": InsufficientFreeAddressesInSubnet. AWS reserves five of the 16 addresses."""
    s = Scene(server)
    made = s.ec2.create_subnet(VpcId=s.vpc, CidrBlock="10.50.9.0/28", AvailabilityZone="eu-west-1a")["Subnet"]
    addresses = [{"PrivateIpAddress": f"10.50.9.{last}", "Primary": last == 4} for last in range(4, 15)]
    eni = s.ec2.create_network_interface(SubnetId=made["SubnetId"], PrivateIpAddresses=addresses)["NetworkInterface"]
    yield
    with refused("InsufficientFreeAddressesInSubnet"):
        s.run(SubnetId=made["SubnetId"])
    s.ec2.delete_network_interface(NetworkInterfaceId=eni["NetworkInterfaceId"])
    assert len(s.run(SubnetId=made["SubnetId"])) == 1


def an_unknown_launch_template_is_not_found(server: Any) -> Iterator[None]:
    """RunInstances, LaunchTemplate: InvalidLaunchTemplateId.NotFound."""
    s = Scene(server)
    yield
    with refused("InvalidLaunchTemplateId.NotFound"):
        s.run(LaunchTemplate={"LaunchTemplateId": "lt-0123456789abcdef0"})


def an_interface_in_the_request_is_honoured(server: Any) -> Iterator[None]:
    """RunInstances, NetworkInterface: its subnet and groups are the instance's."""
    s = Scene(server)
    group = s.group()
    interface = {"DeviceIndex": 0, "SubnetId": s.subnet, "Groups": [group], "DeleteOnTermination": True}
    launched = s.run(SubnetId=None, NetworkInterfaces=[interface])[0]
    yield
    seen = s.instance(launched["InstanceId"])
    assert seen["SubnetId"] == s.subnet
    assert [g["GroupId"] for g in seen["SecurityGroups"]] == [group]
    assert [g["GroupId"] for g in seen["NetworkInterfaces"][0]["Groups"]] == [group]
    s.end(launched)
    s.ec2.delete_security_group(GroupId=group)
