"""Launches and refusals of Auto Scaling groups. Pages are named in patches/auto_scaling."""

import base64
from collections.abc import Iterator
from typing import Any

from cases.scaling import Scaling
from cases.scene import refused


def instances_are_spread_over_zones(server: Any) -> Iterator[None]:
    """User Guide, "Example: Distribute instances across Availability Zones"."""
    s = Scaling(server)
    s.make(MinSize=4, MaxSize=4)
    yield
    s.settled(4)
    assert s.zones() == ["eu-west-1a", "eu-west-1a", "eu-west-1b", "eu-west-1b"]


def instances_are_launched_after_the_answer(server: Any) -> Iterator[None]:
    """User Guide, "Amazon EC2 Auto Scaling instance lifecycle": Pending, then InService."""
    s = Scaling(server)
    yield
    s.make()
    states = [i["LifecycleState"] for i in s.described()["Instances"]]
    assert "InService" not in states
    s.settled()


def a_name_is_taken_once(server: Any) -> Iterator[None]:
    """CreateAutoScalingGroup: AlreadyExists."""
    s = Scaling(server)
    s.make()
    yield
    with refused("AlreadyExists", says=f"A group with the name {s.name} already exists"):
        s.make()


def the_launch_template_is_honoured(server: Any) -> Iterator[None]:
    """User Guide, "Create a launch template for an Auto Scaling group"."""
    s = Scaling(server)
    profile, group = s.profile(), s.group()
    data = {
        **s.data,
        "UserData": base64.b64encode(b"#cloud-config\n").decode(),
        "SecurityGroupIds": [group],
        "IamInstanceProfile": {"Name": profile},
        "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
        "TagSpecifications": [{"ResourceType": "network-interface", "Tags": [{"Key": "of", "Value": "template"}]}],
    }
    s.ec2.create_launch_template_version(LaunchTemplateId=s.template, LaunchTemplateData=data)
    yield
    s.make(LaunchTemplate={"LaunchTemplateId": s.template, "Version": "2"})
    for member in s.settled():
        instance = s.instance(member)
        assert instance["IamInstanceProfile"]["Arn"].endswith(f"/{profile}")
        assert [g["GroupId"] for g in instance["SecurityGroups"]] == [group]
        assert instance["MetadataOptions"]["HttpTokens"] == "required"
        assert instance["MetadataOptions"]["InstanceMetadataTags"] == "enabled"
        assert instance["NetworkInterfaces"][0]["Groups"][0]["GroupId"] == group
        tags = {"Key": "of", "Value": "template"}
        eni = s.ec2.describe_network_interfaces(NetworkInterfaceIds=[s.interface(instance)])["NetworkInterfaces"][0]
        assert tags in eni["TagSet"]
        world = next(i for i in s.server.world()["instances"] if i["id"] == member)
        assert base64.b64decode(world["user_data"]) == b"#cloud-config\n"
    assert len({s.instance(member)["SubnetId"] for member in s.members()}) == 2


def the_default_version_is_that_of_each_launch(server: Any) -> Iterator[None]:
    """User Guide, "Launch templates": `$Default` and `$Latest`."""
    s = Scaling(server)
    s.make(LaunchTemplate={"LaunchTemplateId": s.template, "Version": "$Default"})
    s.ec2.create_launch_template_version(
        LaunchTemplateId=s.template, LaunchTemplateData={**s.data, "InstanceType": "t3.large"}
    )
    yield
    before = s.settled()
    assert {s.instance(i)["InstanceType"] for i in before} == {"t3.small"}
    s.ec2.modify_launch_template(LaunchTemplateId=s.template, DefaultVersion="2")
    s.scaling.terminate_instance_in_auto_scaling_group(InstanceId=before[0], ShouldDecrementDesiredCapacity=False)
    after = s.settled(without=(before[0],))
    newcomer = next(i for i in after if i not in before)
    assert s.instance(newcomer)["InstanceType"] == "t3.large"
    described = {i["InstanceId"]: i["LaunchTemplate"]["Version"] for i in s.described()["Instances"]}
    assert described == {before[1]: "1", newcomer: "2"}
    assert s.described()["LaunchTemplate"]["Version"] == "$Default"


def the_latest_version_is_launched(server: Any) -> Iterator[None]:
    """User Guide, "Launch templates": `$Latest`, which isn't the default."""
    s = Scaling(server)
    s.ec2.create_launch_template_version(
        LaunchTemplateId=s.template, LaunchTemplateData={**s.data, "InstanceType": "t3.large"}
    )
    yield
    s.make(LaunchTemplate={"LaunchTemplateId": s.template, "Version": "$Latest"})
    members = s.settled()
    assert {s.instance(i)["InstanceType"] for i in members} == {"t3.large"}
    tags = {tag["Key"]: tag["Value"] for tag in s.instance(members[0])["Tags"]}
    assert tags["aws:ec2launchtemplate:version"] == "2"


def a_tag_of_the_group_wins(server: Any) -> Iterator[None]:
    """CreateAutoScalingGroup, Tags: overrides the launch template's; only those that propagate."""
    of_template = [{"Key": "who", "Value": "template"}, {"Key": "kept", "Value": "yes"}]
    s = Scaling(server, TagSpecifications=[{"ResourceType": "instance", "Tags": of_template}])
    s.make(
        Tags=[
            {"Key": "who", "Value": "group", "PropagateAtLaunch": True},
            {"Key": "alone", "Value": "group", "PropagateAtLaunch": False},
        ]
    )
    yield
    for member in s.settled():
        tags = {tag["Key"]: tag["Value"] for tag in s.instance(member)["Tags"]}
        assert (tags["who"], tags["kept"], tags.get("alone")) == ("group", "yes", None)
        assert tags["aws:autoscaling:groupName"] == s.name


def a_group_with_instances_is_not_deleted(server: Any) -> Iterator[None]:
    """DeleteAutoScalingGroup: ResourceInUse, ScalingActivityInProgress; ForceDelete terminates its instances."""
    s = Scaling(server)
    s.make(MinSize=0)
    s.hook("LAUNCHING")
    s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=1)
    yield
    waiting = s.until(lambda: s.members("Pending:Wait"))[0]
    with refused("ScalingActivityInProgress"):
        s.scaling.delete_auto_scaling_group(AutoScalingGroupName=s.name)
    s.complete(waiting)
    members = s.settled(1)
    with refused("ResourceInUse"):
        s.scaling.delete_auto_scaling_group(AutoScalingGroupName=s.name)
    s.scaling.delete_auto_scaling_group(AutoScalingGroupName=s.name, ForceDelete=True)
    assert s.described()["Status"] == "Delete in progress"
    with refused("AlreadyExists", says="is pending delete"):
        s.make()
    s.until(lambda: not s.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[s.name])["AutoScalingGroups"])
    assert {s.instance(i)["State"]["Name"] for i in members} == {"terminated"}


def a_template_that_cant_launch_is_refused(server: Any) -> Iterator[None]:
    """User Guide, "Troubleshoot launch templates": "You must use a valid fully-formed launch template"."""
    s = Scaling(server, IamInstanceProfile={"Name": "unknown"})
    yield
    with refused("ValidationError", says="You must use a valid fully-formed launch template."):
        s.make()


def a_failed_launch_is_an_activity_and_tried_again(server: Any) -> Iterator[None]:
    """User Guide, "EC2 instance launch failures"."""
    s = Scaling(server)
    profile = s.profile_of_its_own()
    yield
    s.ec2.create_launch_template_version(
        LaunchTemplateId=s.template, LaunchTemplateData={**s.data, "IamInstanceProfile": {"Name": profile}}
    )
    s.make(LaunchTemplate={"LaunchTemplateId": s.template, "Version": "$Latest"}, MinSize=0)
    s.iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=profile)
    s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=1)
    failed = s.until(
        lambda: [
            a
            for a in s.scaling.describe_scaling_activities(AutoScalingGroupName=s.name)["Activities"]
            if a["StatusCode"] == "Failed"
        ]
    )[0]
    assert "has no associated IAM Roles. Launching EC2 instance failed." in failed["StatusMessage"]
    assert s.members() == []
    s.iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=profile)
    s.skip(60)
    s.settled(1)


def capacity_stays_between_its_bounds(server: Any) -> Iterator[None]:
    """SetDesiredCapacity, UpdateAutoScalingGroup (MinSize and MaxSize limit the desired capacity)."""
    s = Scaling(server)
    s.make(MinSize=1, MaxSize=3, DesiredCapacity=2)
    yield
    with refused("ValidationError", says="above max value 3"):
        s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=4)
    with refused("ValidationError", says="below min value 1"):
        s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=0)
    s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=3)
    s.settled(3)
    s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, MaxSize=2)
    s.settled(2)
    assert (s.described()["DesiredCapacity"], s.zones()) == (2, ["eu-west-1a", "eu-west-1b"])
    with refused("ValidationError", says="must be between"):
        s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, DesiredCapacity=3)


def a_zone_that_is_added_gets_its_share(server: Any) -> Iterator[None]:
    """User Guide, "Distribute instances": rebalancing, launching before it terminates."""
    s = Scaling(server)
    s.make(VPCZoneIdentifier=s.subnet)
    yield
    s.settled()
    s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, VPCZoneIdentifier=f"{s.subnet},{s.other_subnet}")
    most = 0

    def is_spread() -> bool:
        nonlocal most
        states = [i["LifecycleState"] for i in s.described()["Instances"]]
        most = max(most, len([state for state in states if not state.startswith("Terminating")]))
        return s.zones() == ["eu-west-1a", "eu-west-1b"]

    s.until(is_spread)
    assert most == 3


def a_suspended_rebalancing_leaves_instances_where_they_are(server: Any) -> Iterator[None]:
    """User Guide, "Suspend and resume Amazon EC2 Auto Scaling processes": AZRebalance."""
    s = Scaling(server)
    s.make(VPCZoneIdentifier=s.subnet)
    s.scaling.suspend_processes(AutoScalingGroupName=s.name, ScalingProcesses=["AZRebalance"])
    s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, VPCZoneIdentifier=f"{s.subnet},{s.other_subnet}")
    yield
    s.settled()
    for _ in range(20):
        assert len(s.members()) == 2
    s.scaling.resume_processes(AutoScalingGroupName=s.name, ScalingProcesses=["AZRebalance"])
    s.until(lambda: s.zones() == ["eu-west-1a", "eu-west-1b"])


def the_lab_refuses_what_it_doesnt_support(server: Any) -> Iterator[None]:
    """The lab's own rule: it never ignores a parameter silently."""
    s = Scaling(server)
    s.make()
    yield
    with refused("InvalidAction", says="EnterStandby"):
        s.scaling.enter_standby(AutoScalingGroupName=s.name, ShouldDecrementDesiredCapacity=True)
    with refused("InvalidParameterCombination", says="CapacityRebalance"):
        s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, CapacityRebalance=True)
