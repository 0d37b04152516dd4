"""Chooses the subnet of the next instance, and the instance to terminate first. Pure.

Auto Scaling User Guide, "Example: Distribute instances across Availability Zones" (launches in the zone with the
fewest instances), "Default termination policy" (the zone with the most instances, then the oldest launch template,
then any) and "Work with termination policies" (OldestInstance, NewestInstance).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

POLICIES = ("Default", "OldestInstance", "NewestInstance", "OldestLaunchTemplate")


@dataclass(frozen=True)
class One:
    """The attributes of an instance that the choice uses."""

    instance: str
    zone: str
    subnet: str
    launched: float
    version: int
    protected: bool = False


def subnet_for_next(ones: Sequence[One], subnets: Sequence[tuple[str, str]]) -> str:
    """The subnet with the fewest instances in the zone with the fewest instances."""
    zones, places = Counter(one.zone for one in ones), Counter(one.subnet for one in ones)
    return min(subnets, key=lambda place: (zones[place[1]], places[place[0]]))[0]


def first_to_go(ones: Sequence[One], policies: Sequence[str], of: Sequence[str]) -> One | None:
    """The instance to terminate if a group in these zones has too many. Protected instances are never chosen; instances
    in other zones come first."""
    candidates = [one for one in ones if not one.protected]
    if not candidates:
        return None
    candidates = [one for one in candidates if one.zone not in of] or candidates
    zones = Counter(one.zone for one in ones)
    most = max(zones[one.zone] for one in candidates)
    candidates = [one for one in candidates if zones[one.zone] == most]
    for policy in policies:
        candidates = _narrow(candidates, policy)
    return candidates[0]


def _narrow(ones: list[One], policy: str) -> list[One]:
    match policy:
        case "OldestInstance":
            return [min(ones, key=lambda one: one.launched)]
        case "NewestInstance":
            return [max(ones, key=lambda one: one.launched)]
        case _:
            oldest = min(one.version for one in ones)
            return [one for one in ones if one.version == oldest]


def out_of_balance(ones: Sequence[One], zones: Sequence[str]) -> bool:
    """Whether moving an instance would balance the zones, or empty a zone that is no longer the group's."""
    counts = Counter(one.zone for one in ones)
    if any(zone not in zones for zone in counts):
        return True
    numbers = [counts[zone] for zone in zones]
    return bool(numbers) and max(numbers) - min(numbers) > 1
