"""Replaces instances within bounds: which members end now, and how many are launched first.

Auto Scaling User Guide, "Instance maintenance policy for Auto Scaling group" and "How an instance refresh works in an
Auto Scaling group": the lower bound counts members that are in service, healthy and warmed up; the upper bound counts
members in service or pending. Both are percentages of the desired capacity, so the group's maximum size doesn't limit
them. API reference, "RefreshPreferences", MaxHealthyPercentage: without an upper bound a member ends and its
replacement is launched at the same time; where the bounds leave no room, the replacement is launched first.

A replacement that is launched first is a `spare`: it doesn't count towards the group's size until a member ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from patches.auto_scaling import launch, zone_balance
from patches.auto_scaling.lifecycle import leave
from patches.auto_scaling.model import Group, Member, now, refused

_SURPLUS = "an instance was taken out of service in response to a difference between desired and actual capacity."
LOWEST, HIGHEST = "MinHealthyPercentage", "MaxHealthyPercentage"


@dataclass(frozen=True)
class Bounds:
    """The minimum of ready members, and the maximum of members; None: the desired capacity."""

    lowest: int
    highest: int | None

    @staticmethod
    def of(desired: int, lowest: int, highest: int | None) -> "Bounds":
        """From percentages: the lower one is rounded up ("RefreshPreferences"), the upper one down."""
        return Bounds(-(-desired * lowest // 100), None if highest is None else desired * highest // 100)

    def room(self, desired: int, there: int, spares: int) -> int:
        """How many more spares may be launched."""
        if self.highest is None:
            return 0
        leave_no_room = self.lowest >= desired >= self.highest
        return max(self.highest - there, 1 - spares if leave_no_room else 0)


def check(lowest: int, highest: int | None) -> None:
    """Refuses percentages that AWS refuses."""
    if not 0 <= lowest <= 100:
        raise refused(f"{LOWEST} must be between 0 and 100, not {lowest}")
    if highest is None:
        return
    if not 100 <= highest <= 200:
        raise refused(f"{HIGHEST} must be between 100 and 200, not {highest}")
    if highest - lowest > 100:
        raise refused(f"The difference between {LOWEST} and {HIGHEST} cannot be greater than 100: {lowest}, {highest}")


def is_warm(member: Member, warmup: int) -> bool:
    """Whether a member in service has finished its warm-up."""
    return now() >= member.in_service + warmup


def is_ready(member: Member, warmup: int) -> bool:
    """Whether the lower bound counts a member."""
    return member.state == "InService" and member.health == "Healthy" and is_warm(member, warmup)


def replace_members(group: Group, going: list[Member], bounds: Bounds, warmup: int, causes: tuple[str, str]) -> bool:
    """Ends the members that may end now, and launches spares for the others. `causes` are those of an end and of a
    launch. Returns whether anything was done."""
    ended = _end(group, going, bounds, warmup, causes[0])
    return _launch(group, going, bounds, causes[1]) or ended


def _end(group: Group, going: list[Member], bounds: Bounds, warmup: int, cause: str) -> bool:
    ready = sum(1 for member in group.capacity if is_ready(member, warmup))
    all_ready = len(group.capacity) == ready >= group.desired
    ended = False
    for member in _in_order(group, going, warmup):
        counts = is_ready(member, warmup)
        at_least_one = bounds.highest is None and all_ready and not ended
        if ready - counts >= bounds.lowest or at_least_one or (member.spare and not counts):
            leave(group, member, cause)
            _hand_over(group, going)
            ready -= counts
            ended = True
    return ended


def _in_order(group: Group, going: list[Member], warmup: int) -> Iterator[Member]:
    """Members that aren't ready come first. Then, "Control which Auto Scaling instances terminate during scale in",
    Instance refresh: "the termination policy for the Auto Scaling group controls which instances are replaced
    first"."""
    for counts in (False, True):
        left = {m.instance: m for m in going if is_ready(m, warmup) == counts}
        while left:
            ones = [replace(launch.one(m), protected=m.instance not in left) for m in group.capacity]
            first = zone_balance.first_to_go(ones, group.settings["TerminationPolicies"], launch.zones(group))
            if first is None:
                return
            yield left.pop(first.instance)


def _hand_over(group: Group, going: list[Member]) -> None:
    """Makes a spare a full member, if the group now lacks one. Without a spare, a launch follows."""
    named = {member.instance for member in going}
    spares = [m for m in group.capacity if m.spare and m.instance not in named]
    if spares and group.size < group.desired:
        min(spares, key=lambda m: m.state != "InService").spare = False


def _launch(group: Group, going: list[Member], bounds: Bounds, cause: str) -> bool:
    if "Launch" in group.suspended or now() < group.launch_after:
        return False
    named = {member.instance for member in going}
    left = sum(1 for m in group.capacity if m.instance in named and not m.spare)
    spares = sum(1 for m in group.capacity if m.spare and m.instance not in named)
    there = len(group.capacity) + max(0, group.desired - group.size)
    wanted = min(left - spares, bounds.room(group.desired, there, spares))
    for _ in range(wanted):
        if not launch.launch_one(group, cause, spare=True):
            break
    return wanted > 0


def release_spares(group: Group, needed: int) -> bool:
    """Makes unneeded spares full members, or terminates those that aren't in service and that the group doesn't lack.
    Not documented."""
    spares = sorted((m for m in group.capacity if m.spare), key=lambda m: m.state == "InService")[needed:]
    for spare in spares:
        if spare.state == "InService" or group.size < group.desired:
            spare.spare = False
        else:
            leave(group, spare, _SURPLUS)
    return bool(spares)
