"""Auto Scaling's own doing: it looks after its groups between calls, by the lab's clock.

Auto Scaling User Guide, "Health checks for instances in an Auto Scaling group" (an instance that isn't running is
unhealthy, also within the grace period), "Instance maintenance policies" (without one, a failed health check is
"terminate and launch": both at once), "Suspend and resume Amazon EC2 Auto Scaling processes", "Example: Distribute
instances across Availability Zones" (rebalancing launches before it terminates, and may exceed the maximum by one).

On AWS an unhealthy instance is noticed within a minute or two, and a launch begins some seconds after it is wanted.
Here health is looked at every second (`POST /lab/auto-scaling {"health_ms": …}`), and everything else whenever
somebody looks.
"""

import instrument
from patches.auto_scaling import launch, spread
from patches.auto_scaling.lifecycle import advance, instance_of, leave
from patches.auto_scaling.model import Group, Member, now, store

_BY_EC2 = (
    "an instance was taken out of service in response to an EC2 health check indicating it has been terminated or "
    "stopped."
)
_BY_USER = "an instance was taken out of service in response to a user health-check."
_ALIVE = ("pending", "running")

_every = 1.0


def set_health_interval(milliseconds: int) -> None:
    """How often health is looked at from now on."""
    global _every
    _every = milliseconds / 1000


def settle() -> None:
    """Does what is to be done by now, in all groups; asked for before every call."""
    changed = [name for name, group in list(store().groups.items()) if _look_after(group)]
    if changed:
        instrument.changed()


def _look_after(group: Group) -> bool:
    advanced = [advance(group, member) for member in list(group.members)]
    changed = any(advanced)
    if group.deleting:
        given_up = [_give_up(group, member) for member in group.members]
        changed |= any(given_up)
        if not group.members:
            del store().groups[group.name]
            changed = True
        return changed
    changed |= _check_health(group)
    changed |= _replace_unhealthy(group)
    return changed | _adjust(group) | _rebalance(group)


def _give_up(group: Group, member: Member) -> bool:
    """Of a group that is deleted by force: "does not wait for lifecycle actions"."""
    if member.state in ("Terminating", "Terminating:Proceed", "Detaching"):
        return False
    member.pauses = []
    leave(group, member, "an instance was taken out of service in response to the deletion of its group.")
    member.state = "Terminating"
    return True


def _check_health(group: Group) -> bool:
    if "HealthCheck" in group.suspended or now() < group.looked + _every:
        return False
    group.looked = now()
    ill = [m for m in group.members if m.state == "InService" and m.health == "Healthy" and not _is_alive(m)]
    for member in ill:
        member.health = "Unhealthy"
    return bool(ill)


def _is_alive(member: Member) -> bool:
    instance = instance_of(member)
    return instance is not None and instance.state in _ALIVE


def _replace_unhealthy(group: Group) -> bool:
    if "ReplaceUnhealthy" in group.suspended or "Terminate" in group.suspended:
        return False
    ill = [m for m in group.members if m.state == "InService" and m.health == "Unhealthy"]
    for member in ill:
        leave(group, member, _BY_USER if _is_alive(member) else _BY_EC2)
    return bool(ill)


def _adjust(group: Group) -> bool:
    """Brings the number of members to the desired one."""
    have = len(group.capacity)
    if have < group.desired and "Launch" not in group.suspended and now() >= group.launch_after:
        cause = (
            "an instance was started in response to a difference between desired and actual capacity, "
            f"increasing the capacity from {have} to {group.desired}."
        )
        for _ in range(group.desired - have):
            if not launch.launch_one(group, cause):
                break
        return True
    # One above is a rebalancing that hasn't ended.
    if have > group.desired and "Terminate" not in group.suspended:
        return _shrink(group, have)
    return False


def _shrink(group: Group, have: int) -> bool:
    if _is_rebalancing(group):
        return False
    zones = [zone for _, zone in launch.places(group)]
    surplus = spread.first_to_go([launch.one(m) for m in group.capacity], group.settings["TerminationPolicies"], zones)
    if surplus is None:
        return False
    cause = (
        "an instance was taken out of service in response to a difference between desired and actual capacity, "
        f"shrinking the capacity from {have} to {have - 1}."
    )
    leave(group, next(m for m in group.members if m.instance == surplus.instance), cause)
    return True


def _is_rebalancing(group: Group) -> bool:
    return any(m.state.startswith("Pending") and m.activity.cause.endswith(launch.REBALANCING) for m in group.members)


def _rebalance(group: Group) -> bool:
    members = group.capacity
    if "AZRebalance" in group.suspended or "Launch" in group.suspended or len(members) != group.desired:
        return False
    if any(m.state != "InService" for m in members) or now() < group.launch_after:
        return False
    zones = [zone for _, zone in launch.places(group)]
    if not spread.out_of_balance([launch.one(m) for m in members], zones):
        return False
    return launch.launch_one(group, f"an instance was launched {launch.REBALANCING}")
