"""The progress of an instance refresh between calls.

Auto Scaling User Guide, "How an instance refresh works in an Auto Scaling group" (the group gets the desired
configuration when the refresh succeeds; an hour of failed replacements, or 14 days, end it), "Understand the default
values for an instance refresh" (protected instances), "Undo changes with a manual or auto rollback", "Check the status
of an instance refresh", "Suspend and resume a process for an Auto Scaling group" (a suspended InstanceRefresh pauses
it, a suspended Launch or Terminate replaces nothing); API reference, "InstanceRefresh", "RollbackDetails",
"CancelInstanceRefresh". maintenance.py ends and launches members.

Not documented by AWS and chosen for the lab: a refresh succeeds when the old instances have left the group, through
their hooks. A launch that fails or is abandoned counts as a failed replacement; one that waits doesn't.
"""

from moto.core.exceptions import ServiceException

from patches.auto_scaling import launch, maintenance
from patches.auto_scaling.maintenance import HIGHEST, LOWEST, Bounds, is_ready, is_warm
from patches.auto_scaling.model import Group, Member, Refresh, Rollback, now, stamp

# AWS takes about a minute.
_PENDING = 0.3
_HOUR = 3600
_LONGEST = 14 * 86400
_ENDS = "an instance was taken out of service in response to an instance refresh."
_LAUNCHES = "an instance was launched in response to an instance refresh."
_PAUSING = {"InstanceRefresh", "Launch", "Terminate"}


def turn(group: Group) -> bool:
    """Advances the group's refresh, if due. Returns whether anything changed."""
    refresh = group.refresh
    if refresh is None:
        return False
    before = _shown(refresh)
    acted = False
    match refresh.status:
        case "Pending" if now() >= refresh.asked + _PENDING:
            _begin(group, refresh)
        case "Cancelling":
            _finish_cancelling(group, refresh)
        case "InProgress" | "RollbackInProgress":
            acted = _go_on(group, refresh)
    return acted or before != _shown(refresh)


def _shown(refresh: Refresh) -> tuple[object, ...]:
    return refresh.status, refresh.says, refresh.updated, refresh.end


def going(group: Group) -> list[Member]:
    """The members that the group's refresh has to replace."""
    refresh = group.refresh
    if refresh is None or refresh.status not in ("InProgress", "RollbackInProgress"):
        return []
    waits = refresh.preferences["ScaleInProtectedInstances"] == "Wait"
    outdated = [m for m in group.capacity if m.instance in refresh.outdated]
    return [m for m in outdated if not (waits and m.protected)]


def needed_spares(group: Group) -> int:
    """How many spares a refresh still needs."""
    refresh = group.refresh
    if refresh is not None and refresh.status == "Cancelling":
        return sum(1 for m in group.capacity if m.spare)
    return sum(1 for m in going(group) if not m.spare)


def _begin(group: Group, refresh: Refresh) -> None:
    refresh.status, refresh.start = "InProgress", stamp()
    target = _named(group) if refresh.preferences["SkipMatching"] else None
    ignores = refresh.preferences["ScaleInProtectedInstances"] == "Ignore"
    for member in group.capacity:
        stays = (target is not None and member.template == target) or (ignores and member.protected)
        (refresh.kept if stays else refresh.outdated).add(member.instance)
    refresh.total = len(refresh.outdated)


def _named(group: Group) -> dict[str, str] | None:
    """The current template in a member's format; None if it is deleted, which fails each launch."""
    try:
        return launch.described(launch.template(group.launches_from))
    except ServiceException:
        return None


def _go_on(group: Group, refresh: Refresh) -> bool:
    if now() >= refresh.asked + _LONGEST:
        return _fail(group, refresh, "The instance refresh did not complete within 14 days.")
    if group.suspended & _PAUSING:
        refresh.trouble = None
        return False
    preferences = refresh.preferences
    warmup = preferences["InstanceWarmup"]
    bounds = Bounds.of(group.desired, preferences[LOWEST], preferences.get(HIGHEST))
    acted = maintenance.replace_members(group, going(group), bounds, warmup, (_ENDS, _LAUNCHES))
    _count(group, refresh)
    _explain(group, refresh)
    if _is_done(group, refresh):
        return _succeed(group, refresh)
    _look_for_trouble(group, refresh)
    if refresh.trouble is not None and now() >= refresh.trouble + _HOUR:
        return _fail(group, refresh, f"Replacements failed for an hour. {refresh.says or ''}".strip())
    return acted


def _fresh(group: Group, refresh: Refresh) -> list[Member]:
    return [m for m in group.capacity if m.instance not in refresh.outdated | refresh.kept]


def _count(group: Group, refresh: Refresh) -> None:
    """Counts an instance as updated when its replacement is healthy and warm; a rollback counts down."""
    left = sum(1 for m in group.capacity if m.instance in refresh.outdated)
    if refresh.rollback is not None:
        refresh.updated = min(left, refresh.rollback.updated)
        return
    warmup = refresh.preferences["InstanceWarmup"]
    ready = sum(1 for m in _fresh(group, refresh) if is_ready(m, warmup))
    refresh.updated = max(0, min(ready, refresh.total - left))


def _explain(group: Group, refresh: Refresh) -> None:
    """StatusReason, in AWS's observed wording."""
    fresh, warmup = _fresh(group, refresh), refresh.preferences["InstanceWarmup"]
    warming = [m.instance for m in fresh if m.state == "InService" and not is_warm(m, warmup)]
    coming = [m.instance for m in fresh if m.state.startswith("Pending")]
    protected = [m.instance for m in _protected(group, refresh)]
    remaining = "Waiting for remaining instances to be available. For example:"
    if warming:
        says = f"Waiting for instances to warm up before continuing. For example: {warming[0]} is warming up."
    elif coming:
        says = f"{remaining} {coming[0]} has insufficient data to evaluate its health with Amazon EC2."
    elif protected:
        says = f"{remaining} {protected[0]} is protected from scale in."
    else:
        says = None
    refresh.says = says


def _protected(group: Group, refresh: Refresh) -> list[Member]:
    named = {member.instance for member in going(group)}
    return [m for m in group.capacity if m.instance in refresh.outdated and m.instance not in named]


def _look_for_trouble(group: Group, refresh: Refresh) -> None:
    """The hour begins at the first failed replacement, and again after each updated instance."""
    fresh = {m.instance for m in _fresh(group, refresh)}
    progress = refresh.updated if refresh.rollback is None else -refresh.updated
    if progress > refresh.best:
        refresh.best, refresh.trouble = progress, None
    blocked = bool(_protected(group, refresh)) and not going(group)
    ill = any(m.health == "Unhealthy" for m in _fresh(group, refresh))
    failed = bool(refresh.fresh - fresh) or ill or blocked or group.launch_failures > 0
    if failed and refresh.trouble is None:
        refresh.trouble = now()
    refresh.fresh = fresh


def _is_done(group: Group, refresh: Refresh) -> bool:
    warmup = refresh.preferences["InstanceWarmup"]
    if any(m.instance in refresh.outdated for m in group.members) or group.size < group.desired:
        return False
    return all(is_ready(m, warmup) and not m.spare for m in _fresh(group, refresh))


def _succeed(group: Group, refresh: Refresh) -> bool:
    if refresh.rollback is not None:
        refresh.updated = 0
        return _finish(refresh, "RollbackSuccessful")
    if refresh.desired:
        group.template = refresh.desired
    refresh.updated = refresh.total
    return _finish(refresh, "Successful")


def _fail(group: Group, refresh: Refresh, why: str) -> bool:
    if refresh.rollback is not None:
        return _finish(refresh, "RollbackFailed", why)
    if refresh.preferences["AutoRollback"]:
        roll_back(group, refresh, f"The instance refresh failed, and auto rollback is enabled. {why}")
        return True
    return _finish(refresh, "Failed", why)


def _finish(refresh: Refresh, status: str, says: str | None = None) -> bool:
    refresh.status, refresh.says, refresh.end = status, says, stamp()
    return True


def roll_back(group: Group, refresh: Refresh, why: str) -> None:
    """Begins to replace the refresh's new instances. Instances that it hasn't replaced stay."""
    if refresh.status == "Pending":
        _begin(group, refresh)
    fresh = {m.instance for m in _fresh(group, refresh)}
    refresh.rollback = Rollback(why, refresh.updated, refresh.percentage, refresh.total - refresh.updated)
    refresh.outdated, refresh.fresh = fresh, set()
    refresh.status, refresh.trouble = "RollbackInProgress", None
    refresh.updated = min(len(fresh), refresh.updated)
    refresh.best = -refresh.updated


def cancel(group: Group, refresh: Refresh, waits: bool) -> None:
    """Stops further replacements, and optionally waits for the running ones."""
    refresh.status = "Cancelling"
    changing = [m.instance for m in group.members if m.state != "InService"]
    refresh.awaited = set(changing) if waits else set()


def _finish_cancelling(group: Group, refresh: Refresh) -> None:
    if not any(m.instance in refresh.awaited and m.state != "InService" for m in group.members):
        _finish(refresh, "Cancelled", "Cancelled due to user request.")
