"""The calls that start, cancel, roll back and describe instance refreshes. Their progress is in refresh.py.

Auto Scaling API reference, "StartInstanceRefresh", "RefreshPreferences", "DesiredConfiguration",
"CancelInstanceRefresh", "RollbackInstanceRefresh" (which refreshes can't be rolled back), "DescribeInstanceRefreshes";
User Guide, "Understand the default values for an instance refresh", "Undo changes with a manual or auto rollback".
Two messages that the documentation lacks are quoted from reports: hashicorp/terraform-provider-aws, issue 29830
(AutoRollback without a desired configuration), and "An Instance Refresh is already in progress". Others are the lab's.
"""

from typing import Any

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult

from patches.auto_scaling import describe, launch, maintenance, refresh
from patches.auto_scaling.groups import named_template
from patches.auto_scaling.maintenance import HIGHEST, LOWEST
from patches.auto_scaling.model import Group, Refresh, refused, seen, store
from patches.auto_scaling.parameters import flag, only, only_of
from patches.instances import RESOLVE

_PREFERENCES = {
    LOWEST,
    HIGHEST,
    "InstanceWarmup",
    "SkipMatching",
    "AutoRollback",
    "ScaleInProtectedInstances",
    "StandbyInstances",
}
_CHOICES = {
    "ScaleInProtectedInstances": ("Refresh", "Ignore", "Wait"),
    # No instance is in Standby, because the lab refuses EnterStandby.
    "StandbyInstances": ("Terminate", "Ignore", "Wait"),
}
_NONE = "No in progress or pending Instance Refresh found for Auto Scaling group {name}"


def start_instance_refresh(self: AutoScalingResponse) -> ActionResult:
    """The action: answers at once; the refresh is Pending for a while."""
    given = only(self, {"AutoScalingGroupName", "Strategy", "DesiredConfiguration", "Preferences"})
    group = store().group(given.get("AutoScalingGroupName"))
    if given.get("Strategy", "Rolling") != "Rolling":
        raise refused(f"The lab's Auto Scaling doesn't support the strategy {given['Strategy']}")
    desired = _desired(group, given.get("DesiredConfiguration"))
    preferences = _preferences(group, given.get("Preferences") or {})
    if preferences["AutoRollback"]:
        _check_auto_rollback(group, desired)
    if group.refresh is not None:
        raise refused(
            "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.",
            "InstanceRefreshInProgress",
        )
    started = Refresh(group.name, desired, preferences)
    group.refreshes.insert(0, started)
    return _named(started)


def _named(of: Refresh) -> ActionResult:
    return ActionResult({"InstanceRefreshId": of.id})


def _desired(group: Group, given: dict[str, Any] | None) -> dict[str, str] | None:
    """The launch template of a desired configuration, checked by a dry run."""
    if not given:
        return None
    template = named_template(only_of(given, {"LaunchTemplate"})["LaunchTemplate"])
    launch.check(Group(**{**vars(group), "template": template, "refreshes": []}))
    return template


def _preferences(group: Group, given: dict[str, Any]) -> dict[str, Any]:
    """The preferences, completed with the defaults."""
    only_of(given, _PREFERENCES)
    if HIGHEST in given and LOWEST not in given:
        raise refused(f"If you specify {HIGHEST}, you must also specify {LOWEST}")
    policy = group.settings["InstanceMaintenancePolicy"] or {LOWEST: 90}
    bounds = {**policy, **{name: int(given[name]) for name in (LOWEST, HIGHEST) if name in given}}
    maintenance.check(bounds[LOWEST], bounds.get(HIGHEST))
    default = group.settings["DefaultInstanceWarmup"]
    warmup = int(given.get("InstanceWarmup", group.settings["HealthCheckGracePeriod"] if default is None else default))
    if warmup < 0:
        raise refused(f"InstanceWarmup must not be negative: {warmup}")
    chosen = {name: given.get(name, "Wait") for name in _CHOICES}
    for name, values in _CHOICES.items():
        if chosen[name] not in values:
            raise refused(f"{name} must be one of: [{', '.join(values)}]")
    flags = {name: flag(given.get(name, False)) for name in ("SkipMatching", "AutoRollback")}
    return {**bounds, "InstanceWarmup": warmup, **flags, **chosen}


def _check_auto_rollback(group: Group, desired: dict[str, str] | None) -> None:
    if desired is None:
        raise refused(
            "The request isn't valid. The AutoRollback parameter cannot be set to true when the DesiredConfiguration "
            "parameter is empty. Set AutoRollback to false or specify a desired configuration and try again."
        )
    if why := _irreversible(group):
        raise refused(f"The request isn't valid. The AutoRollback parameter cannot be set to true: {why}")


def _irreversible(group: Group) -> str | None:
    """The reason why a rollback to the group's launch template is impossible, if any."""
    version = group.template.get("Version", "$Default")
    if not version.isdigit():
        return f"the Auto Scaling group uses the launch template version {version}, and not one by its number."
    try:
        image = launch.template(group.template).data.get("ImageId", "")
    except ServiceException as error:
        return error.message
    if image.startswith(RESOLVE):
        return "the Auto Scaling group's launch template uses a Systems Manager parameter instead of an AMI ID."
    return None


def _active(self: AutoScalingResponse, known: set[str], *statuses: str) -> tuple[dict[str, Any], Group, Refresh]:
    given = only(self, {"AutoScalingGroupName", *known})
    group = store().group(given.get("AutoScalingGroupName"))
    active = group.refresh
    if active is None or active.status not in statuses:
        raise refused(_NONE.format(name=group.name), "ActiveInstanceRefreshNotFound")
    return given, group, active


def cancel_instance_refresh(self: AutoScalingResponse) -> ActionResult:
    """The action: undoes nothing. A rollback can be cancelled too."""
    waiting = "WaitForTransitioningInstances"
    given, group, active = _active(self, {waiting}, "Pending", "InProgress", "RollbackInProgress")
    refresh.cancel(group, active, flag(given.get(waiting, True)))
    return _named(active)


def rollback_instance_refresh(self: AutoScalingResponse) -> ActionResult:
    """The action: "immediately begins replacing instances"."""
    _, group, active = _active(self, set(), "Pending", "InProgress")
    if active.desired is None:
        raise refused("The instance refresh has no desired configuration.", "IrreversibleInstanceRefresh")
    if why := _irreversible(group):
        raise refused(f"The instance refresh can't be rolled back: {why}", "IrreversibleInstanceRefresh")
    refresh.roll_back(group, active, "Rollback requested by the user.")
    return _named(active)


def describe_instance_refreshes(self: AutoScalingResponse) -> ActionResult:
    """The action: the newest first."""
    given = only(self, {"AutoScalingGroupName", "InstanceRefreshIds", "NextToken", "MaxRecords"})
    group = seen().described(given.get("AutoScalingGroupName"))
    wanted = given.get("InstanceRefreshIds") or []
    found = [r for r in group.refreshes if not wanted or r.id in wanted]
    shown, token = describe.page(self, found, 100)
    return ActionResult({"InstanceRefreshes": [_described(r) for r in shown], "NextToken": token})


def _described(of: Refresh) -> dict[str, Any]:
    begun = of.start is not None
    undone = of.rollback
    return {
        "InstanceRefreshId": of.id,
        "AutoScalingGroupName": of.group,
        "Strategy": "Rolling",
        "Status": of.status,
        "StatusReason": of.says,
        "StartTime": of.start,
        "EndTime": of.end,
        "PercentageComplete": of.percentage if begun else None,
        "InstancesToUpdate": of.total - of.updated if begun else None,
        "Preferences": of.preferences,
        "DesiredConfiguration": {"LaunchTemplate": of.desired} if of.desired else None,
        "RollbackDetails": undone
        and {
            "RollbackReason": undone.why,
            "RollbackStartTime": undone.start,
            "PercentageCompleteOnRollback": undone.percentage,
            "InstancesToUpdateOnRollback": undone.left,
        },
    }
