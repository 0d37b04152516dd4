"""Auto Scaling's work between calls, by the lab's clock.

Auto Scaling User Guide, "Health checks for instances in an Auto Scaling group" (an instance that isn't running is
unhealthy, also within the grace period), "Instance maintenance policy for Auto Scaling group" (without a policy, a
failed health check is "terminate and launch": both at once; with one, so is the loss of an instance that doesn't run
any more, and others are replaced within the policy's bounds), "Suspend and resume Amazon EC2 Auto Scaling processes",
"Example: Distribute instances across Availability Zones" (rebalancing launches before it terminates, and may exceed the
maximum by one).

On AWS an unhealthy instance is noticed within a minute or two, and a launch begins after some seconds. Here health is
checked every second (`POST /lab/auto-scaling {"health_ms": …}`), and everything else at each call.
"""

import instrument
from patches.auto_scaling import launch, maintenance, refresh, zone_balance
from patches.auto_scaling.lifecycle import advance, instance_of, leave
from patches.auto_scaling.model import Group, Member, now, store

_BY_EC2 = (
    "an instance was taken out of service in response to an EC2 health check indicating it has been terminated or "
    "stopped."
)
_BY_USER = "an instance was taken out of service in response to a user health-check."
_FOR_UNHEALTHY = "an instance was launched in response to an unhealthy instance needing to be replaced."
_ALIVE = ("pending", "running")

_every = 1.0


def set_health_interval(milliseconds: int) -> None:
    """Sets how often health is checked."""
    global _every
    _every = milliseconds / 1000


def settle() -> None:
    """Does the due work of all groups. Called before every call."""
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
    changed |= refresh.turn(group)
    changed |= _release_spares(group)
    return changed | _adjust(group) | _rebalance(group)


def _give_up(group: Group, member: Member) -> bool:
    """Ends a member of a group that is force-deleted, which "does not wait for lifecycle actions"."""
    if member.state in ("Terminating", "Terminating:Proceed"):
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
    policy = group.settings["InstanceMaintenancePolicy"]
    ill = _unhealthy(group)
    at_once = [m for m in ill if not (policy and _is_alive(m))]
    for member in at_once:
        leave(group, member, _BY_USER if _is_alive(member) else _BY_EC2)
    if not policy:
        return bool(at_once)
    within = [m for m in ill if not m.leaves]
    bounds = maintenance.Bounds.of(group.desired, policy[maintenance.LOWEST], policy[maintenance.HIGHEST])
    warmup = group.settings["DefaultInstanceWarmup"] or 0
    return maintenance.replace_members(group, within, bounds, warmup, (_BY_USER, _FOR_UNHEALTHY)) or bool(at_once)


def _unhealthy(group: Group) -> list[Member]:
    return [m for m in group.members if m.state == "InService" and m.health == "Unhealthy"]


def _release_spares(group: Group) -> bool:
    within = _unhealthy(group) if group.settings["InstanceMaintenancePolicy"] else []
    needed = refresh.needed_spares(group) + sum(1 for m in within if not m.spare)
    return maintenance.release_spares(group, needed)


def _adjust(group: Group) -> bool:
    """Launches or terminates members to reach the desired capacity."""
    have = group.size
    if have < group.desired and "Launch" not in group.suspended and now() >= group.launch_after:
        cause = (
            "an instance was started in response to a difference between desired and actual capacity, "
            f"increasing the capacity from {have} to {group.desired}."
        )
        for _ in range(group.desired - have):
            if not launch.launch_one(group, cause):
                break
        return True
    # One extra member is a rebalancing that hasn't ended.
    if have > group.desired and "Terminate" not in group.suspended:
        return _shrink(group, have)
    return False


def _shrink(group: Group, have: int) -> bool:
    if _is_rebalancing(group):
        return False
    ones = [launch.one(m) for m in group.capacity if not m.spare]
    surplus = zone_balance.first_to_go(ones, group.settings["TerminationPolicies"], launch.zones(group))
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
    # Not documented: a refresh balances zones by its launches, and rebalancing would undo its work.
    if group.refresh is not None:
        return False
    if any(m.state != "InService" for m in members) or now() < group.launch_after:
        return False
    if not zone_balance.out_of_balance([launch.one(m) for m in members], launch.zones(group)):
        return False
    return launch.launch_one(group, f"an instance was launched {launch.REBALANCING}")
