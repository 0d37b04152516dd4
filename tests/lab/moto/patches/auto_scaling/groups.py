"""Groups: creation, changes and deletion.

Auto Scaling API reference, "CreateAutoScalingGroup", "UpdateAutoScalingGroup", "DeleteAutoScalingGroup",
"SetDesiredCapacity", "SuspendProcesses", "ResumeProcesses", "InstanceMaintenancePolicy"; User Guide, "Service-linked
roles for Amazon EC2 Auto Scaling" (created with the first group), "How an instance refresh works in an Auto Scaling
group", Update restriction. Each call answers before its work is done.
"""

from typing import Any

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, EmptyResult
from moto.iam.models import iam_backends

import instrument
from constants import ACCOUNT, PARTITION
from patches.auto_scaling import group_tags, hooks, launch, maintenance
from patches.auto_scaling.model import Group, refused, store
from patches.auto_scaling.parameters import flag, only, only_of
from patches.auto_scaling.zone_balance import POLICIES

SERVICE = "autoscaling.amazonaws.com"
ROLE = "AWSServiceRoleForAutoScaling"
_PROCESSES = (
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
)
_SETTINGS: dict[str, Any] = {
    "DefaultCooldown": 300,
    "HealthCheckType": "EC2",
    "HealthCheckGracePeriod": 0,
    "TerminationPolicies": ["Default"],
    "NewInstancesProtectedFromScaleIn": False,
    "DefaultInstanceWarmup": None,
    "InstanceMaintenancePolicy": None,
}
# Clears a setting.
_CLEAR = -1
_REFRESHED = (
    "An active instance refresh with a desired configuration exists. All configuration options derived from the "
    "desired configuration are not available for update while the instance refresh is active."
)
_KNOWN = {"AutoScalingGroupName", "LaunchTemplate", "MinSize", "MaxSize", "DesiredCapacity", "VPCZoneIdentifier"}
_KNOWN_TO_CREATE = {*_KNOWN, *_SETTINGS, "AvailabilityZones", "Tags", "LifecycleHookSpecificationList"}
_KNOWN_TO_UPDATE = {*_KNOWN, *_SETTINGS, "AvailabilityZones"}


def create_auto_scaling_group(self: AutoScalingResponse) -> ActionResult:
    """The action."""
    given = only(self, _KNOWN_TO_CREATE)
    name, groups = given.get("AutoScalingGroupName"), store().groups
    if not name:
        raise refused("1 validation error detected: Value null at 'autoScalingGroupName' must not be null")
    if name in groups:
        waiting = (
            " and is pending delete.  Please wait until Autoscaling completes the deletion process before creating"
        )
        more = f"{waiting} another group with the same name." if groups[name].deleting else ""
        raise refused(
            f"AutoScalingGroup by this name already exists - A group with the name {name} already exists{more}",
            "AlreadyExists",
        )
    if not given.get("LaunchTemplate"):
        raise refused(
            "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or "
            "MixedInstancesPolicy parameter."
        )
    if "MinSize" not in given or "MaxSize" not in given:
        raise refused("1 validation error detected: 'minSize' and 'maxSize' must not be null")
    smallest, largest = int(given["MinSize"]), int(given["MaxSize"])
    group = Group(
        name=name,
        smallest=smallest,
        largest=largest,
        desired=int(given.get("DesiredCapacity", smallest)),
        template=named_template(given["LaunchTemplate"]),
        subnets=_subnets(given),
        settings={key: _setting(key, given.get(key, value)) for key, value in _SETTINGS.items()},
    )
    _check_sizes(group)
    group_tags.put(group, given.get("Tags") or [])
    for specified in given.get("LifecycleHookSpecificationList") or []:
        hook = hooks.read(specified)
        group.hooks[hook.name] = hook
    launch.check(group)
    _make_role()
    groups[name] = group
    return EmptyResult()


def has_role() -> bool:
    """Whether the service-linked role exists."""
    return any(role.name == ROLE for role in iam_backends[ACCOUNT][PARTITION].get_roles())


def _make_role() -> None:
    if not has_role():
        iam_backends[ACCOUNT][PARTITION].create_service_linked_role(SERVICE, "Default Service-Linked Role", "")


def named_template(named: dict[str, str]) -> dict[str, str]:
    """Checks a launch template. Returns its ID and name, and the version as given, which may mean another one later."""
    by = [named.get("LaunchTemplateId"), named.get("LaunchTemplateName")]
    if sum(1 for way in by if way) != 1:
        raise refused("Valid requests must contain either launchTemplateId or LaunchTemplateName")
    try:
        found = launch.template(named).template
    except (ServiceException, ValueError) as error:
        says = getattr(error, "message", f"version '{named.get('Version')}' is not valid")
        raise refused(f"You must use a valid fully-formed launch template. {says}") from error
    known = {"LaunchTemplateId": found.id, "LaunchTemplateName": found.name}
    return {**known, "Version": named["Version"]} if named.get("Version") else known


def _subnets(given: dict[str, Any]) -> list[str]:
    wanted = [subnet.strip() for subnet in (given.get("VPCZoneIdentifier") or "").split(",") if subnet.strip()]
    if not wanted:
        raise refused("At least one Availability Zone or VPC Subnet is required.")
    known = {s.id: s for zone in instrument.ec2().subnets.values() for s in zone.values()}
    for unknown in [subnet for subnet in wanted if subnet not in known]:
        raise refused(f"The subnet ID '{unknown}' does not exist")
    zones = {known[subnet].availability_zone for subnet in wanted}
    if len({known[subnet].vpc_id for subnet in wanted}) > 1:
        raise refused("The specified subnets do not all belong to the same VPC")
    if (named := given.get("AvailabilityZones")) and set(named) != zones:
        raise refused("The availability zones of the specified subnets and the Auto Scaling group do not match")
    return wanted


def _setting(name: str, value: Any) -> Any:
    match name:
        case "HealthCheckType" if value != "EC2":
            raise refused(f"The lab's Auto Scaling doesn't support the health check type {value}")
        case "TerminationPolicies" if any(policy not in POLICIES for policy in value):
            raise refused(f"The lab's Auto Scaling supports only these termination policies: {', '.join(POLICIES)}")
        case "DefaultCooldown" | "HealthCheckGracePeriod":
            return int(value)
        case "NewInstancesProtectedFromScaleIn":
            return flag(value)
        case "DefaultInstanceWarmup" if value is not None:
            return None if int(value) == _CLEAR else int(value)
        case "InstanceMaintenancePolicy" if value is not None:
            return _policy(value)
    return value


def _policy(given: dict[str, Any]) -> dict[str, int] | None:
    """Both percentages; -1 for both clears the policy."""
    names = (maintenance.LOWEST, maintenance.HIGHEST)
    given = only_of(given, set(names))
    if len(given) < len(names):
        raise refused(f"InstanceMaintenancePolicy: both {' and '.join(names)} must be specified")
    policy = {name: int(given[name]) for name in names}
    if set(policy.values()) == {_CLEAR}:
        return None
    maintenance.check(*policy.values())
    return policy


def _check_sizes(group: Group) -> None:
    if group.smallest > group.largest:
        raise refused(f"Max bound, {group.largest}, must be greater than or equal to min bound, {group.smallest}")
    if not group.smallest <= group.desired <= group.largest:
        raise refused(
            f"Desired capacity:{group.desired} must be between the specified min size:{group.smallest} and max size:"
            f"{group.largest}"
        )


def update_auto_scaling_group(self: AutoScalingResponse) -> ActionResult:
    """The action; a new minimum or maximum limits the desired capacity."""
    given = only(self, _KNOWN_TO_UPDATE)
    group = store().group(given.get("AutoScalingGroupName"))
    after = Group(**{**vars(group), "settings": dict(group.settings)})
    after.smallest = int(given.get("MinSize", group.smallest))
    after.largest = int(given.get("MaxSize", group.largest))
    after.desired = int(given.get("DesiredCapacity", min(max(group.desired, after.smallest), after.largest)))
    _check_sizes(after)
    if given.get("VPCZoneIdentifier"):
        after.subnets = _subnets(given)
    after.settings.update({key: _setting(key, given[key]) for key in _SETTINGS if key in given})
    if named := given.get("LaunchTemplate"):
        refresh = group.refresh
        if refresh is not None and refresh.desired:
            raise refused(_REFRESHED)
        after.template = named_template(named)
        launch.check(after)
    vars(group).update(vars(after))
    return EmptyResult()


def delete_auto_scaling_group(self: AutoScalingResponse) -> ActionResult:
    """The action. A group with members needs ForceDelete, which skips their hooks; it disappears after them."""
    given = only(self, {"AutoScalingGroupName", "ForceDelete"})
    group = store().group(given.get("AutoScalingGroupName"))
    if group.members and not flag(given.get("ForceDelete", False)):
        if any(member.state != "InService" for member in group.members):
            raise refused(
                "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that group.",
                "ScalingActivityInProgress",
            )
        raise refused(
            "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still "
            "in the group.",
            "ResourceInUse",
        )
    group.deleting = True
    group.desired = group.smallest = group.largest = 0
    return EmptyResult()


def set_desired_capacity(self: AutoScalingResponse) -> ActionResult:
    """The action, without cooldowns."""
    given = only(self, {"AutoScalingGroupName", "DesiredCapacity", "HonorCooldown"})
    if flag(given.get("HonorCooldown", False)):
        raise refused("The lab's Auto Scaling doesn't support cooldowns")
    group, wanted = store().group(given.get("AutoScalingGroupName")), int(given["DesiredCapacity"])
    for bound, is_out, word in (
        (group.largest, wanted > group.largest, "above max"),
        (group.smallest, wanted < group.smallest, "below min"),
    ):
        if is_out:
            raise refused(f"New SetDesiredCapacity value {wanted} is {word} value {bound} for the AutoScalingGroup.")
    group.desired = wanted
    return EmptyResult()


def _processes(self: AutoScalingResponse) -> tuple[Group, set[str]]:
    given = only(self, {"AutoScalingGroupName", "ScalingProcesses"})
    named = given.get("ScalingProcesses") or list(_PROCESSES)
    for unknown in [name for name in named if name not in _PROCESSES]:
        raise refused(f"Unknown Process(es): [{unknown}]")
    return store().group(given.get("AutoScalingGroupName")), set(named)


def suspend_processes(self: AutoScalingResponse) -> ActionResult:
    """The action, for the named processes or all."""
    group, processes = _processes(self)
    group.suspended |= processes
    return EmptyResult()


def resume_processes(self: AutoScalingResponse) -> ActionResult:
    """The action, for the named processes or all."""
    group, processes = _processes(self)
    group.suspended -= processes
    return EmptyResult()
