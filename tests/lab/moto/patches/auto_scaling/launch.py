"""Launches a group's instance from its current template, in the zone with the fewest instances.

Auto Scaling User Guide, "Launch templates" (`$Default` and `$Latest` are resolved at each launch), "Tag lifecycle"
(propagated tags, and aws:autoscaling:groupName); API reference, "CreateAutoScalingGroup", Tags (the group's tag
overrides the template's), "Troubleshoot Amazon EC2 Auto Scaling: EC2 instance launch failures" (a failed launch is an
activity with its reason, and is retried).
"""

from typing import Any

from moto.core.exceptions import ServiceException
from moto.ec2.exceptions import DryRunClientError
from moto.ec2.models.tags import TagBackend

import instrument
from patches import instances
from patches.auto_scaling import zone_balance
from patches.auto_scaling.lifecycle import join
from patches.auto_scaling.model import GROUP_TAG, Group, Member, now, refused

REBALANCING = "to balance instances in zones with other zones, before an instance that is there is terminated."


def places(group: Group) -> list[tuple[str, str]]:
    """The group's subnets with their zones."""
    backend = instrument.ec2()
    return [(subnet, backend.get_subnet(subnet).availability_zone) for subnet in group.subnets]


def zones(group: Group) -> list[str]:
    """The zones of the group's subnets."""
    return [zone for _, zone in places(group)]


def template(named: dict[str, str]) -> Any:
    """The launch template's version that a group uses now."""
    return instances.template_of(instrument.ec2(), named).get_version(named.get("Version") or "$Default")


def described(version: Any) -> dict[str, str]:
    """A launch template's version in a member's format."""
    return {
        "LaunchTemplateId": version.template.id,
        "LaunchTemplateName": version.template.name,
        "Version": str(version.number),
    }


def request(group: Group, subnet: str) -> dict[str, Any]:
    """The parameters of RunInstances."""
    version = template(group.launches_from)
    asked: dict[str, Any] = {
        "LaunchTemplate": {"LaunchTemplateId": version.template.id, "Version": str(version.number)},
        "MinCount": 1,
        "MaxCount": 1,
    }
    if interfaces := version.data.get("NetworkInterfaces"):
        first, *rest = interfaces
        asked["NetworkInterfaces"] = [{**first, "SubnetId": subnet}, *rest]
    else:
        asked["SubnetId"] = subnet
    if tags := group.launched_tags():
        tags_as_list = [{"Key": key, "Value": value} for key, value in tags.items()]
        asked["TagSpecifications"] = [{"ResourceType": "instance", "Tags": tags_as_list}]
    return asked


def check(group: Group) -> None:
    """Refuses a group if a dry run of a launch fails."""
    backend = instrument.ec2()
    for subnet in group.subnets:
        try:
            instances.run(backend, request(group, subnet), dry=True)
        except DryRunClientError:
            continue
        except ServiceException as error:
            raise refused(f"You must use a valid fully-formed launch template. {error.message}") from error


def one(member: Member) -> zone_balance.One:
    """A member's attributes for zone_balance.py."""
    version = int((member.template or {}).get("Version", 0))
    return zone_balance.One(member.instance, member.zone, member.subnet, member.launched, version, member.protected)


def tag(instance: str, tags: dict[str, str]) -> None:
    """Sets an instance's tags as AWS does, including reserved ones."""
    TagBackend.create_tags(instrument.ec2(), [instance], tags)


def launch_one(group: Group, cause: str, spare: bool = False) -> bool:
    """Launches an instance. Returns whether that succeeded. The delay before the next attempt grows."""
    activity = group.begin("Launching a new EC2 instance", cause)
    try:
        subnet = zone_balance.subnet_for_next([one(m) for m in group.capacity], places(group))
        asked = request(group, subnet)
        launched = instances.run(instrument.ec2(), asked).instances[0]
    except ServiceException as error:
        activity.description += f".  Status Reason: {error.message}. Launching EC2 instance failed."
        activity.says = f"{error.message}. Launching EC2 instance failed."
        activity.finish("Failed")
        group.launch_failures += 1
        group.launch_after = now() + min(2.0**group.launch_failures, 60)
        return False
    group.launch_failures = 0
    activity.description += f": {launched.id}"
    activity.progress = 30
    tag(launched.id, {GROUP_TAG: group.name})
    join(
        group,
        Member(
            instance=launched.id,
            kind=launched.instance_type,
            zone=launched.placement.zone,
            subnet=subnet,
            template=described(template(group.launches_from)),
            activity=activity,
            protected=group.settings["NewInstancesProtectedFromScaleIn"],
            spare=spare,
        ),
    )
    return True
