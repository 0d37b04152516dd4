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
    """An Auto Scaling client with the credentials of an instance with these statements."""
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
    """SetInstanceHealth: resource autoScalingGroup of the instance's group."""
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


def a_node_completes_the_launch_of_its_own_group_only(server: Any) -> Iterator[None]:
    """CompleteLifecycleAction and RecordLifecycleActionHeartbeat: resource autoScalingGroup, also by its tags."""
    s, other = Scaling(server), Scaling(server)
    for scene in (s, other):
        hook = {"LifecycleHookName": "it", "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}
        tags = [{"Key": "elbow:balancer", "Value": scene.name}]
        scene.make(Tags=tags, LifecycleHookSpecificationList=[hook])
    actions = ("autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat")
    node = _as_node(s, _allow(*actions, StringEquals={"autoscaling:ResourceTag/elbow:balancer": s.name}))
    yield
    for scene in (s, other):
        waiting = scene.until(lambda scene=scene: scene.members("Pending:Wait"))[0]
        named = {"AutoScalingGroupName": scene.name, "LifecycleHookName": "it", "InstanceId": waiting}
        if scene is s:
            node.record_lifecycle_action_heartbeat(**named)
            node.complete_lifecycle_action(**named, LifecycleActionResult="CONTINUE")
            s.until(lambda: s.members("InService"))
            continue
        with refused("AccessDenied", 403, says="autoscaling:CompleteLifecycleAction"):
            node.complete_lifecycle_action(**named, LifecycleActionResult="CONTINUE")
        with refused("AccessDenied", 403, says="autoscaling:RecordLifecycleActionHeartbeat"):
            node.record_lifecycle_action_heartbeat(**named)


def a_refresh_needs_permission_on_its_group(server: Any) -> Iterator[None]:
    """StartInstanceRefresh, CancelInstanceRefresh, RollbackInstanceRefresh: resource autoScalingGroup;
    DescribeInstanceRefreshes has none."""
    s, other = Scaling(server), Scaling(server)
    for scene in (s, other):
        scene.next_version()
        scene.make(LaunchTemplate=scene.pinned())
    mine = f"arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/{s.name}"
    verbs = ("Start", "Cancel", "Rollback")
    own = _allow(*(f"autoscaling:{verb}InstanceRefresh" for verb in verbs), resource=mine)
    node = _as_node(s, own, _allow("ec2:RunInstances", "ec2:CreateTags", "autoscaling:DescribeInstanceRefreshes"))
    yield
    s.settled()
    to = {"DesiredConfiguration": {"LaunchTemplate": s.pinned("2")}}
    node.start_instance_refresh(AutoScalingGroupName=s.name, **to)
    node.rollback_instance_refresh(AutoScalingGroupName=s.name)
    s.refreshed("RollbackSuccessful")
    node.start_instance_refresh(AutoScalingGroupName=s.name, **to)
    node.cancel_instance_refresh(AutoScalingGroupName=s.name)
    assert node.describe_instance_refreshes(AutoScalingGroupName=s.name)["InstanceRefreshes"]
    for verb in verbs:
        with refused("AccessDenied", 403, says=f"autoscaling:{verb}InstanceRefresh"):
            getattr(node, f"{verb.lower()}_instance_refresh")(AutoScalingGroupName=other.name)
    only = _allow("autoscaling:DescribeInstanceRefreshes", resource=mine)
    document = json.dumps({"Version": "2012-10-17", "Statement": [only]})
    s.iam.put_role_policy(RoleName=s.name, PolicyName="it", PolicyDocument=document)
    with refused("AccessDenied", 403, says="autoscaling:DescribeInstanceRefreshes because no"):
        node.describe_instance_refreshes(AutoScalingGroupName=s.name)


def naming_a_template_for_a_refresh_needs_permission_to_launch_it(server: Any) -> Iterator[None]:
    """User Guide, "Control Amazon EC2 launch template usage": a desired configuration updates the group, too."""
    s = Scaling(server)
    profile = s.profile_of_its_own()
    s.next_version(IamInstanceProfile={"Name": profile})
    s.make(LaunchTemplate=s.pinned())
    allowed = _allow("autoscaling:*", "ec2:RunInstances", "ec2:CreateTags")
    node = _as_node(s, allowed)
    yield
    s.settled()
    to = {"AutoScalingGroupName": s.name, "DesiredConfiguration": {"LaunchTemplate": s.pinned("2")}}
    with refused("AccessDenied", 403, says=f"You are not authorized to use launch template: {s.template}"):
        node.start_instance_refresh(**to)
    passing = _allow("iam:PassRole", resource=f"arn:aws:iam::*:role/{profile}")
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed, passing]})
    s.iam.put_role_policy(RoleName=s.name, PolicyName="it", PolicyDocument=document)
    node.start_instance_refresh(**to)


def groups_can_be_limited_by_their_tags(server: Any) -> Iterator[None]:
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


def naming_a_template_needs_permission_to_launch_it(server: Any) -> Iterator[None]:
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


def the_first_group_creates_the_service_linked_role(server: Any) -> Iterator[None]:
    """User Guide, "Service-linked roles for Amazon EC2 Auto Scaling"."""
    s = Scaling(server)
    s.make()
    yield
    role = s.iam.get_role(RoleName="AWSServiceRoleForAutoScaling")["Role"]
    assert role["Path"] == "/aws-service-role/autoscaling.amazonaws.com/"
    assert s.described()["ServiceLinkedRoleARN"] == role["Arn"]
