"""Describe calls, in pages, from the present or a past state (stale.py).

Auto Scaling API reference, "DescribeAutoScalingGroups" (filters; unknown names are left out without an error),
"DescribeAutoScalingInstances", "DescribeScalingActivities", "AutoScalingGroup", "Activity".
"""

from typing import Any

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult

import instrument
from constants import ACCOUNT, PARTITION
from patches.auto_scaling import group_tags
from patches.auto_scaling.model import Activity, Group, Member, refused, seen


def page(self: AutoScalingResponse, things: list[Any], most: int) -> tuple[list[Any], str | None]:
    """The requested page and the next token, which is a position."""
    limit = int(self._get_param("MaxRecords") or min(50, most))
    if not 1 <= limit <= most:
        raise refused(f"MaxRecords must be between 1 and {most}")
    start = int(self._get_param("NextToken") or 0)
    return things[start : start + limit], str(start + limit) if start + limit < len(things) else None


def _passes(group: Group, asked: dict[str, Any]) -> bool:
    name, values = asked["Name"], asked["Values"]
    if name.startswith("tag:"):
        return group.tags.get(name.removeprefix("tag:"), (None, False))[0] in values
    if name == "tag-key":
        return any(key in values for key in group.tags)
    if name == "tag-value":
        return any(value in values for value, _ in group.tags.values())
    raise refused(f"Filter type {name} is not correct. Allowed Filter types are: tag-key, tag-value, tag:<key>")


def describe_auto_scaling_groups(self: AutoScalingResponse) -> ActionResult:
    """The action."""
    names, filters = self._get_param("AutoScalingGroupNames") or [], self._get_param("Filters") or []
    groups = [g for g in seen().groups.values() if not names or g.name in names]
    found = [g for g in groups if all(_passes(g, asked) for asked in filters)]
    shown, token = page(self, found, 100)
    return ActionResult({"AutoScalingGroups": [_group(g) for g in shown], "NextToken": token})


def describe_auto_scaling_instances(self: AutoScalingResponse) -> ActionResult:
    """The action."""
    ids = self._get_param("InstanceIds") or []
    members = [(g, m) for g in seen().groups.values() for m in g.members if not ids or m.instance in ids]
    shown, token = page(self, members, 50)
    described = [{**_member(m), "AutoScalingGroupName": g.name, "HealthStatus": m.health.upper()} for g, m in shown]
    return ActionResult({"AutoScalingInstances": described, "NextToken": token})


def describe_scaling_activities(self: AutoScalingResponse) -> ActionResult:
    """The action: the newest first."""
    name, ids = self._get_param("AutoScalingGroupName"), self._get_param("ActivityIds") or []
    groups = seen().groups
    if name and name not in groups:
        raise refused(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    wanted = [groups[name]] if name else list(groups.values())
    found = [a for group in wanted for a in group.activities if not ids or a.id in ids]
    shown, token = page(self, found, 100)
    return ActionResult({"Activities": [activity(a) for a in shown], "NextToken": token})


def activity(of: Activity) -> dict[str, Any]:
    """An activity in the answer's format."""
    return {
        "ActivityId": of.id,
        "AutoScalingGroupName": of.group,
        "Description": of.description,
        "Cause": of.cause,
        "StartTime": of.start,
        "EndTime": of.end,
        "StatusCode": of.status,
        "StatusMessage": of.says,
        "Progress": of.progress,
        "Details": "{}",
    }


def _member(member: Member) -> dict[str, Any]:
    return {
        "InstanceId": member.instance,
        "InstanceType": member.kind,
        "AvailabilityZone": member.zone,
        "LifecycleState": member.state,
        "HealthStatus": member.health,
        "LaunchTemplate": member.template,
        "ProtectedFromScaleIn": member.protected,
    }


def _group(group: Group) -> dict[str, Any]:
    backend = instrument.ec2()
    zones = sorted({backend.get_subnet(subnet).availability_zone for subnet in group.subnets})
    return {
        "AutoScalingGroupName": group.name,
        "AutoScalingGroupARN": group.arn,
        "LaunchTemplate": group.template,
        "MinSize": group.smallest,
        "MaxSize": group.largest,
        "DesiredCapacity": group.desired,
        **group.settings,
        "AvailabilityZones": zones,
        "VPCZoneIdentifier": ",".join(group.subnets),
        "LoadBalancerNames": [],
        "TargetGroupARNs": [],
        "Instances": [_member(member) for member in group.members],
        "CreatedTime": group.created,
        "SuspendedProcesses": [
            {"ProcessName": name, "SuspensionReason": "User suspended"} for name in sorted(group.suspended)
        ],
        "EnabledMetrics": [],
        "Status": "Delete in progress" if group.deleting else None,
        "Tags": group_tags.described(group),
        "ServiceLinkedRoleARN": f"arn:{PARTITION}:iam::{ACCOUNT}:role/aws-service-role/autoscaling.amazonaws.com/"
        "AWSServiceRoleForAutoScaling",
        "TrafficSources": [],
    }
