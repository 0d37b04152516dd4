"""Launch templates. Pages are named in patches/launch_templates.py."""

import base64
from collections.abc import Iterator
from typing import Any

from cases.scene import Scene, refused

DATA = {"InstanceType": "t3.small"}


def a_client_token_makes_one_template(server: Any) -> Iterator[None]:
    """CreateLaunchTemplate, ClientToken."""
    s = Scene(server)
    token = {"ClientToken": s.name, "LaunchTemplateName": s.name}
    first = s.ec2.create_launch_template(**token, LaunchTemplateData=DATA)["LaunchTemplate"]
    yield
    again = s.ec2.create_launch_template(**token, LaunchTemplateData=DATA)["LaunchTemplate"]
    assert again["LaunchTemplateId"] == first["LaunchTemplateId"]
    with refused("IdempotentParameterMismatch"):
        s.ec2.create_launch_template(**token, LaunchTemplateData={"InstanceType": "t3.large"})


def its_own_tags_are_not_in_its_data(server: Any) -> Iterator[None]:
    """CreateLaunchTemplate, TagSpecification: "the tags to apply to the launch template on creation"."""
    s = Scene(server)
    tags = [{"ResourceType": "launch-template", "Tags": [{"Key": "elbow:balancer", "Value": s.name}]}]
    s.ec2.create_launch_template(LaunchTemplateName=s.name, LaunchTemplateData=DATA, TagSpecifications=tags)
    yield
    version = s.ec2.describe_launch_template_versions(LaunchTemplateName=s.name)["LaunchTemplateVersions"][0]
    assert "TagSpecifications" not in version["LaunchTemplateData"]
    found = s.ec2.describe_launch_templates(Filters=[{"Name": "tag:elbow:balancer", "Values": [s.name]}])
    assert [t["LaunchTemplateName"] for t in found["LaunchTemplates"]] == [s.name]


def its_tags_are_deleted_with_it(server: Any) -> Iterator[None]:
    """EC2 User Guide, "Tag your Amazon EC2 resources"."""
    s = Scene(server)
    tags = [{"ResourceType": "launch-template", "Tags": [{"Key": "elbow:balancer", "Value": s.name}]}]
    made = s.ec2.create_launch_template(LaunchTemplateName=s.name, LaunchTemplateData=DATA, TagSpecifications=tags)
    s.ec2.delete_launch_template(LaunchTemplateName=s.name)
    yield
    filters = [{"Name": "resource-id", "Values": [made["LaunchTemplate"]["LaunchTemplateId"]]}]
    assert s.ec2.describe_tags(Filters=filters)["Tags"] == []


def tags_set_later_are_described(server: Any) -> Iterator[None]:
    """LaunchTemplate, Tags."""
    s = Scene(server)
    made = s.ec2.create_launch_template(LaunchTemplateName=s.name, LaunchTemplateData=DATA)["LaunchTemplate"]
    s.ec2.create_tags(Resources=[made["LaunchTemplateId"]], Tags=[{"Key": "later", "Value": "1"}])
    yield
    seen = s.ec2.describe_launch_templates(LaunchTemplateIds=[made["LaunchTemplateId"]])["LaunchTemplates"][0]
    assert seen["Tags"] == [{"Key": "later", "Value": "1"}]


def an_unknown_id_is_not_found(server: Any) -> Iterator[None]:
    """DescribeLaunchTemplates: InvalidLaunchTemplateId.NotFound."""
    s = Scene(server)
    yield
    with refused("InvalidLaunchTemplateId.NotFound"):
        s.ec2.describe_launch_templates(LaunchTemplateIds=["lt-0123456789abcdef0"])


def a_name_has_certain_characters(server: Any) -> Iterator[None]:
    """CreateLaunchTemplate, LaunchTemplateName: 3 to 128 allowed characters."""
    s = Scene(server)
    yield
    with refused("InvalidLaunchTemplateName.MalformedException"):
        s.ec2.create_launch_template(LaunchTemplateName="my template", LaunchTemplateData=DATA)


def user_data_beyond_16_kb_is_refused(server: Any) -> Iterator[None]:
    """ "Instance user data": 16 KB, before it is encoded."""
    s = Scene(server)
    yield
    data = {**DATA, "UserData": base64.b64encode(b"x" * 16385).decode()}
    with refused("InvalidParameterValue", says="16384"):
        s.ec2.create_launch_template(LaunchTemplateName=s.name, LaunchTemplateData=data)


def a_version_inherits_from_its_source(server: Any) -> Iterator[None]:
    """CreateLaunchTemplateVersion, SourceVersion."""
    s = Scene(server)
    data = {**DATA, "ImageId": s.image}
    made = s.ec2.create_launch_template(LaunchTemplateName=s.name, LaunchTemplateData=data)["LaunchTemplate"]
    s.ec2.create_launch_template_version(
        LaunchTemplateId=made["LaunchTemplateId"], SourceVersion="1", LaunchTemplateData={"InstanceType": "t3.large"}
    )
    yield
    versions = s.ec2.describe_launch_template_versions(LaunchTemplateName=s.name, Versions=["2"])
    data = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert (data["ImageId"], data["InstanceType"]) == (s.image, "t3.large")


def a_mapping_of_the_root_device_replaces_the_images_root_volume(server: Any) -> Iterator[None]:
    """EC2 User Guide, "Block device mappings for volumes on Amazon EC2 instances"."""
    s = Scene(server)
    root = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 20, "VolumeType": "gp3", "DeleteOnTermination": True}}
    data = {**DATA, "ImageId": s.image, "BlockDeviceMappings": [root]}
    made = s.ec2.create_launch_template(LaunchTemplateName=s.name, LaunchTemplateData=data)["LaunchTemplate"]
    launched = s.run(ImageId=None, InstanceType=None, LaunchTemplate={"LaunchTemplateId": made["LaunchTemplateId"]})
    yield
    devices = s.instance(launched[0]["InstanceId"])["BlockDeviceMappings"]
    assert [device["DeviceName"] for device in devices] == ["/dev/xvda"]
