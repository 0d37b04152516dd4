"""Policies on calls to Auto Scaling. Pages are named in patches/auto_scaling/permissions.py."""

import json
from collections.abc import Iterator
from typing import Any

from cases.scaling import Scaling
from cases.scene import refused


def _allow(*actions: str, resource: str = "*", **condition: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": resource,
        **({"Condition": condition} if condition else {}),
    }


def _as_node(s: Scaling, *statements: dict[str, Any]) -> Any:
    """Auto Scaling with the credentials of an instance that may do this."""
    instance, _ = s.as_node(*statements)
    return s.server.client("autoscaling", s.server.post("role-credentials", {"instance": instance["InstanceId"]}))


def a_node_completes_the_hooks_of_its_own_group_only(server: Any) -> Iterator[None]:
    """CompleteLifecycleAction: resource autoScalingGroup, by ARN."""
    s, other = Scaling(server), Scaling(server)
    for scene in (s, other):
        scene.make()
    mine = f"arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/{s.name}"
    node = _as_node(s, _allow("autoscaling:CompleteLifecycleAction", resource=mine))
    yield
    for scene in (s, other):
        scene.hook("TERMINATING")
        leaving = scene.settled()[0]
        scene.scaling.terminate_instance_in_auto_scaling_group(InstanceId=leaving, ShouldDecrementDesiredCapacity=False)
        complete = {
            "AutoScalingGroupName": scene.name,
            "LifecycleHookName": "it",
            "InstanceId": leaving,
            "LifecycleActionResult": "CONTINUE",
        }
        if scene is s:
            node.complete_lifecycle_action(**complete)
            continue
        with refused("AccessDenied", 403, says=f"autoScalingGroupName/{other.name} because no identity-based policy"):
            node.complete_lifecycle_action(**complete)


def a_node_sets_the_health_of_its_own_groups_instances_only(server: Any) -> Iterator[None]:
    """SetInstanceHealth: resource autoScalingGroup, that of the instance's group."""
    s, other = Scaling(server), Scaling(server)
    for scene in (s, other):
        scene.make()
    mine = f"arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/{s.name}"
    node = _as_node(s, _allow("autoscaling:SetInstanceHealth", resource=mine))
    yield
    theirs, lost = other.settled()[0], s.settled()[0]
    with refused("AccessDenied", 403, says=f"autoScalingGroupName/{other.name} because no identity-based policy"):
        node.set_instance_health(InstanceId=theirs, HealthStatus="Unhealthy")
    with refused("AccessDenied", 403, says="autoscaling:SetInstanceHealth"):
        node.set_instance_health(InstanceId=s.run()[0]["InstanceId"], HealthStatus="Unhealthy")
    node.set_instance_health(InstanceId=lost, HealthStatus="Unhealthy")
    s.settled(without=(lost,))
    assert theirs in other.members("InService")


def groups_can_be_told_by_their_tags(server: Any) -> Iterator[None]:
    """Condition keys aws:ResourceTag and autoscaling:ResourceTag."""
    s, other = Scaling(server), Scaling(server)
    s.make(Tags=[{"Key": "elbow:balancer", "Value": "web"}])
    other.make()
    node = _as_node(
        s,
        _allow("autoscaling:SetDesiredCapacity", StringEquals={"aws:ResourceTag/elbow:balancer": "web"}),
        _allow("autoscaling:SuspendProcesses", StringEquals={"autoscaling:ResourceTag/elbow:balancer": "web"}),
    )
    yield
    node.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=2)
    node.suspend_processes(AutoScalingGroupName=s.name, ScalingProcesses=["AZRebalance"])
    with refused("AccessDenied", 403, says="autoscaling:SetDesiredCapacity"):
        node.set_desired_capacity(AutoScalingGroupName=other.name, DesiredCapacity=2)
    with refused("AccessDenied", 403, says="autoscaling:SuspendProcesses"):
        node.suspend_processes(AutoScalingGroupName=other.name, ScalingProcesses=["AZRebalance"])
    with refused("AccessDenied", 403, says="autoscaling:TerminateInstanceInAutoScalingGroup"):
        node.terminate_instance_in_auto_scaling_group(InstanceId=s.members()[0], ShouldDecrementDesiredCapacity=False)


def describing_has_no_resource(server: Any) -> Iterator[None]:
    """Describe calls have no resource-level permissions."""
    s = Scaling(server)
    s.make()
    mine = f"arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/{s.name}"
    node = _as_node(s, _allow("autoscaling:DescribeAutoScalingGroups", resource=mine))
    yield
    with refused("AccessDenied", 403, says="autoscaling:DescribeAutoScalingGroups because no"):
        node.describe_auto_scaling_groups(AutoScalingGroupNames=[s.name])


def who_names_a_template_may_launch_it(server: Any) -> Iterator[None]:
    """User Guide, "Control Amazon EC2 launch template usage": ec2:RunInstances, and iam:PassRole of its role."""
    s = Scaling(server)
    profile = s.profile_of_its_own()
    data = {**s.data, "IamInstanceProfile": {"Name": profile}}
    s.ec2.create_launch_template_version(LaunchTemplateId=s.template, LaunchTemplateData=data)
    s.make()
    node = _as_node(s, _allow("autoscaling:*", "iam:CreateServiceLinkedRole"))
    yield
    asked = s.asked(AutoScalingGroupName=f"{s.name}-2", LaunchTemplate={"LaunchTemplateId": s.template, "Version": "2"})
    with refused("AccessDenied", 403, says=f"You are not authorized to use launch template: {s.template}"):
        node.create_auto_scaling_group(**asked)
    allowed = [_allow("autoscaling:*", "ec2:RunInstances", "ec2:CreateTags")]
    for more, may in ([], False), ([_allow("iam:PassRole", resource=f"arn:aws:iam::*:role/{profile}")], True):
        document = json.dumps({"Version": "2012-10-17", "Statement": [*allowed, *more]})
        s.iam.put_role_policy(RoleName=s.name, PolicyName="it", PolicyDocument=document)
        if may:
            node.create_auto_scaling_group(**asked)
            continue
        with refused("AccessDenied", 403, says="You are not authorized to use launch template"):
            node.create_auto_scaling_group(**asked)


def tags_in_the_request_can_be_limited(server: Any) -> Iterator[None]:
    """CreateOrUpdateTags: aws:RequestTag, aws:TagKeys."""
    s = Scaling(server)
    s.make()
    only = {"ForAllValues:StringEquals": {"aws:TagKeys": ["elbow:drain"]}}
    node = _as_node(s, _allow("autoscaling:CreateOrUpdateTags", **only))
    yield
    tag = {"ResourceId": s.name, "ResourceType": "auto-scaling-group", "Value": "1", "PropagateAtLaunch": False}
    node.create_or_update_tags(Tags=[{**tag, "Key": "elbow:drain"}])
    assert [t["Key"] for t in s.described()["Tags"]] == ["elbow:drain"]
    with refused("AccessDenied", 403):
        node.create_or_update_tags(Tags=[{**tag, "Key": "Name"}])


def the_first_group_makes_the_service_linked_role(server: Any) -> Iterator[None]:
    """User Guide, "Service-linked roles for Amazon EC2 Auto Scaling"."""
    s = Scaling(server)
    s.make()
    yield
    role = s.iam.get_role(RoleName="AWSServiceRoleForAutoScaling")["Role"]
    assert role["Path"] == "/aws-service-role/autoscaling.amazonaws.com/"
    assert s.described()["ServiceLinkedRoleARN"] == role["Arn"]
