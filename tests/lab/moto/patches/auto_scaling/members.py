"""Calls on single instances of a group.

Auto Scaling API reference, "TerminateInstanceInAutoScalingGroup", "SetInstanceHealth", "SetInstanceProtection".
"""

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from patches.auto_scaling import describe
from patches.auto_scaling.lifecycle import leave
from patches.auto_scaling.model import Group, Member, now, refused, store
from patches.auto_scaling.parameters import flag, only

_SMALLEST = (
    "Currently, desiredSize equals minSize ({size}). Terminating instance without replacement will violate group's min "
    "size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size."
)


def _decrement(group: Group) -> str:
    if group.desired <= group.smallest:
        raise refused(_SMALLEST.format(size=group.smallest))
    group.desired -= 1
    return f", shrinking the capacity from {group.desired + 1} to {group.desired}"


def terminate_instance_in_auto_scaling_group(self: AutoScalingResponse) -> ActionResult:
    """The action: terminates through the hooks. The instance is replaced unless the group shrinks."""
    given = only(self, {"InstanceId", "ShouldDecrementDesiredCapacity"})
    group, member = store().managed(given.get("InstanceId"))
    if "ShouldDecrementDesiredCapacity" not in given:
        raise refused("1 validation error detected: 'shouldDecrementDesiredCapacity' must not be null")
    if member.leaves:
        return ActionResult({"Activity": describe.activity(member.activity)})
    shrinking = _decrement(group) if flag(given["ShouldDecrementDesiredCapacity"]) else ""
    cause = f"instance {member.instance} was taken out of service in response to a user request{shrinking}."
    return ActionResult({"Activity": describe.activity(leave(group, member, cause))})


def set_instance_health(self: AutoScalingResponse) -> ActionResult:
    """The action; it ignores an instance in its grace period unless the call says otherwise.

    User Guide, "Health checks": for an instance that is already terminating, "you get an error". Its text isn't
    documented.
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
