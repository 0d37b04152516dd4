"""What calls do to single instances of a group.

Auto Scaling API reference, "TerminateInstanceInAutoScalingGroup", "SetInstanceHealth", "SetInstanceProtection",
"AttachInstances", "DetachInstances"; User Guide, "Detach or attach instances" and "Tag lifecycle" (an attached instance
gets the group's tags; a detached one loses only aws:autoscaling:groupName).
"""

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

import instrument
from patches.auto_scaling import describe, launch
from patches.auto_scaling.lifecycle import detach, join, leave
from patches.auto_scaling.model import GROUP_TAG, Activity, Group, Member, now, refused, store
from patches.auto_scaling.parameters import flag, only

# AttachInstances: "You can specify up to 20 instances".
_MOST = 20
_SMALLEST = (
    "Currently, desiredSize equals minSize ({size}). {doing} instance without replacement will violate group's min "
    "size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size."
)


def _decrement(group: Group, doing: str, count: int = 1) -> str:
    if group.desired - count < group.smallest:
        raise refused(_SMALLEST.format(size=group.smallest, doing=doing))
    group.desired -= count
    return f", shrinking the capacity from {group.desired + count} to {group.desired}"


def terminate_instance_in_auto_scaling_group(self: AutoScalingResponse) -> ActionResult:
    """The action: through the hooks, as any termination; replaced unless the group shrinks."""
    given = only(self, {"InstanceId", "ShouldDecrementDesiredCapacity"})
    group, member = store().managed(given.get("InstanceId"))
    if "ShouldDecrementDesiredCapacity" not in given:
        raise refused("1 validation error detected: 'shouldDecrementDesiredCapacity' must not be null")
    if member.leaves:
        return ActionResult({"Activity": describe.activity(member.activity)})
    shrinking = _decrement(group, "Terminating") if flag(given["ShouldDecrementDesiredCapacity"]) else ""
    cause = f"instance {member.instance} was taken out of service in response to a user request{shrinking}."
    return ActionResult({"Activity": describe.activity(leave(group, member, cause))})


def set_instance_health(self: AutoScalingResponse) -> ActionResult:
    """The action; a new instance is left alone while its grace period lasts, unless the caller says otherwise.

    User Guide, "Health checks": of an instance that is terminating already "you get an error" (its words aren't
    documented).
    """
    given = only(self, {"InstanceId", "HealthStatus", "ShouldRespectGracePeriod"})
    group, member = store().managed(given.get("InstanceId"))
    health = given.get("HealthStatus")
    if health not in ("Healthy", "Unhealthy"):
        raise refused("Valid instance health states are: [Healthy, Unhealthy]")
    if member.leaves:
        raise refused(f"Instance {member.instance} is terminating: its health can't be set")
    grace = group.settings["HealthCheckGracePeriod"] if flag(given.get("ShouldRespectGracePeriod", True)) else 0
    if now() >= member.in_service + grace:
        member.health = health
    return EmptyResult()


def set_instance_protection(self: AutoScalingResponse) -> ActionResult:
    """The action."""
    given = only(self, {"AutoScalingGroupName", "InstanceIds", "ProtectedFromScaleIn"})
    group = store().group(given.get("AutoScalingGroupName"))
    for member in _named(group, given.get("InstanceIds") or []):
        member.protected = flag(given["ProtectedFromScaleIn"])
    return EmptyResult()


def _named(group: Group, ids: list[str]) -> list[Member]:
    known = {member.instance: member for member in group.members}
    for unknown in [i for i in ids if i not in known]:
        raise refused(f"The instance {unknown} is not part of Auto Scaling group {group.name}.")
    return [known[i] for i in ids]


def detach_instances(self: AutoScalingResponse) -> ActionResult:
    """The action: the instance runs on, by itself; replaced unless the group shrinks."""
    given = only(self, {"AutoScalingGroupName", "InstanceIds", "ShouldDecrementDesiredCapacity"})
    group = store().group(given.get("AutoScalingGroupName"))
    leaving = _named(group, given.get("InstanceIds") or [])
    for member in leaving:
        if member.state != "InService":
            raise refused(f"The instance {member.instance} is not in InService or Standby.")
    shrinking = flag(given.get("ShouldDecrementDesiredCapacity", False))
    words = _decrement(group, "Detaching", len(leaving)) if shrinking else ""
    activities = [_detach(group, member, words) for member in leaving]
    return ActionResult({"Activities": [describe.activity(a) for a in activities]})


def _detach(group: Group, member: Member, shrinking: str) -> Activity:
    cause = f"instance {member.instance} was detached in response to a user request{shrinking}."
    return detach(group, member, cause)


def attach_instances(self: AutoScalingResponse) -> ActionResult:
    """The action: running instances of the group's zones become its members, and the group grows by them."""
    given = only(self, {"AutoScalingGroupName", "InstanceIds"})
    group, ids = store().group(given.get("AutoScalingGroupName")), given.get("InstanceIds") or []
    if not 1 <= len(ids) <= _MOST:
        raise refused(f"1 to {_MOST} instances can be attached by a call, not {len(ids)}")
    if group.desired + len(ids) > group.largest:
        instances = "1 instance" if len(ids) == 1 else f"{len(ids)} instances"
        raise refused(
            f"AutoScalingGroup {group.name} has min-size={group.smallest}, max-size={group.largest}, and desired-size="
            f"{group.desired}. To attach {instances}, please update the AutoScalingGroup sizes appropriately."
        )
    zones = [zone for _, zone in launch.places(group)]
    attached = [_attachable(group, instance, zones) for instance in ids]
    group.desired += len(attached)
    for instance in attached:
        launch.tag(instance.id, {**group.launched_tags(), GROUP_TAG: group.name})
        activity = group.begin(
            f"Attaching an existing EC2 instance: {instance.id}",
            f"an instance was attached in response to a user request, increasing the capacity to {group.desired}.",
        )
        join(
            group,
            Member(
                instance=instance.id,
                kind=instance.instance_type,
                zone=instance.placement.zone,
                subnet=instance.subnet_id,
                template=None,
                activity=activity,
                protected=group.settings["NewInstancesProtectedFromScaleIn"],
            ),
        )
    return EmptyResult()


def _attachable(group: Group, instance_id: str, zones: list[str]) -> object:
    instance = instrument.ec2().get_instance_by_id(instance_id)
    if instance is None:
        raise refused(f"Invalid Instance ID(s): [{instance_id}] specified in request.")
    if instance.state != "running":
        raise refused(f"Instance {instance_id} is not in correct state. Instance(s) must be in Running state.")
    if held := store().member(instance_id):
        raise refused(f"Instance {instance_id} is already part of AutoScalingGroup:{held[0].name}")
    if instance.image_id not in instrument.ec2().amis:
        raise refused(f"The AMI {instance.image_id} of instance {instance_id} does not exist")
    if instance.placement.zone not in zones:
        raise refused(f"The instance {instance_id} is not in the Availability Zones of group {group.name}.")
    return instance
