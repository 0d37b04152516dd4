"""The permissions that calls to Auto Scaling need.

Service Authorization Reference, "Actions, resources, and condition keys for Amazon EC2 Auto Scaling" (groups by ARN and
tags; Describe calls and calls that aren't listed need `*`); User Guide, "Control Amazon EC2 launch template usage in
Auto Scaling groups" (a caller that names a template must be allowed to launch it: ec2:RunInstances, iam:PassRole,
ec2:CreateTags),
"Troubleshoot Auto Scaling: launch templates" ("You are not authorized to use launch template") and "Service-linked
roles for Amazon EC2 Auto Scaling" (iam:CreateServiceLinkedRole for the first group of an account).
"""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from moto.core.exceptions import ServiceException

import instrument
from constants import ACCOUNT, PARTITION, REGION
from patches import checks
from patches.auto_scaling import groups, launch
from patches.auto_scaling.model import Group, arn, store
from patches.checks import Check
from patches.policy import Context

_BY_INSTANCE = ("TerminateInstanceInAutoScalingGroup", "SetInstanceHealth")
_NUMBERS = {"MinSize": "autoscaling:minsize", "MaxSize": "autoscaling:maxsize"}


def of(call: Any) -> Iterator[Check]:
    """The checks of a call."""
    name = call._get_action()
    action = f"autoscaling:{name}"
    if name.startswith("Describe"):
        yield Check(action, "*")
        return
    context = _request_context(call)
    for group in _groups(call, name):
        yield _on(action, group, context)
    if name == "CreateAutoScalingGroup" and not groups.has_role():
        role = f"arn:{PARTITION}:iam::{ACCOUNT}:role/aws-service-role/{groups.SERVICE}/{groups.ROLE}"
        yield Check("iam:CreateServiceLinkedRole", role, {"iam:awsservicename": [groups.SERVICE]})
    if named := _named_template(call, name):
        yield from _launching(call, named)


def _named_template(call: Any, name: str) -> dict[str, str] | None:
    """The launch template that a call names for the group. The guide says this of creating and updating a group; a
    desired configuration updates it too."""
    if name == "StartInstanceRefresh":
        return (call._get_param("DesiredConfiguration") or {}).get("LaunchTemplate")
    return call._get_param("LaunchTemplate") if name in ("CreateAutoScalingGroup", "UpdateAutoScalingGroup") else None


def _groups(call: Any, name: str) -> list[str | Group]:
    """The groups of a call; names of groups that don't exist."""
    known = store().groups
    if name in _BY_INSTANCE:
        found = store().member(call._get_param("InstanceId") or "")
        return [found[0]] if found else ["*"]
    if name in ("CreateOrUpdateTags", "DeleteTags"):
        names = sorted({tag.get("ResourceId") or "*" for tag in call._get_param("Tags") or []})
    else:
        names = [call._get_param("AutoScalingGroupName") or "*"]
    return [known.get(n, n) for n in names]


def _on(action: str, group: str | Group, context: Context) -> Check:
    if isinstance(group, Group):
        existing = {key: value for key, (value, _) in group.tags.items()}
        return Check(action, group.arn, {**_tags_of_resource(existing), **context})
    return Check(action, "*" if group == "*" else arn(group), context)


def _tags_of_resource(tags: dict[str, str]) -> Context:
    context: Context = {}
    for key, value in tags.items():
        context[f"aws:resourcetag/{key}".lower()] = context[f"autoscaling:resourcetag/{key}".lower()] = [value]
    return context


def _request_context(call: Any) -> Context:
    tags = {tag["Key"]: tag.get("Value", "") for tag in call._get_param("Tags") or []}
    context = dict(checks.tag_context(tags))
    if call._get_action() == "CreateAutoScalingGroup":
        # The guide's example allows the creation of a group by its future tag.
        context.update(_tags_of_resource(tags))
    for parameter, key in _NUMBERS.items():
        if (value := call._get_param(parameter)) is not None:
            context[key] = [str(value)]
    if named := call._get_param("LaunchTemplate"):
        context["autoscaling:launchtemplateversionspecified"] = [str("Version" in named).lower()]
    if subnets := call._get_param("VPCZoneIdentifier"):
        context["autoscaling:vpczoneidentifiers"] = [subnet.strip() for subnet in subnets.split(",")]
    return context


def _launching(call: Any, named: dict[str, str]) -> Iterator[Check]:
    """The checks of the RunInstances calls that the group would make, one for each subnet."""
    called = named.get("LaunchTemplateId") or named.get("LaunchTemplateName")
    says = f"You are not authorized to use launch template: {called}"
    known = store().groups.get(call._get_param("AutoScalingGroupName") or "")
    subnets = call._get_param("VPCZoneIdentifier") or ",".join(known.subnets if known else [])
    for subnet in [subnet.strip() for subnet in subnets.split(",") if subnet.strip()]:
        wanted = Group("", 0, 0, 0, named, [subnet], {})
        try:
            asked = launch.request(wanted, subnet)
        except (ServiceException, ValueError):
            # A caller who may launch gets the template's error.
            asked = {"LaunchTemplate": named, "SubnetId": subnet}
        as_if = SimpleNamespace(
            ec2_backend=instrument.ec2(),
            _get_action=lambda: "RunInstances",
            _get_param=asked.get,
            params=asked,
            partition=PARTITION,
            region=REGION,
            current_account=ACCOUNT,
        )
        yield from (replace(check, says=says) for check in checks.launching(checks.Ec2(as_if)))
