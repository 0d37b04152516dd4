"""Which zone gets the next instance, and which instance goes first: pure.

Auto Scaling User Guide, "Example: Distribute instances across Availability Zones" (launches in the zone with the
fewest, and evens out), "Default termination policy" (the zone with the most; then the oldest launch template; then any
of them) and "Work with termination policies" (OldestInstance, NewestInstance).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

POLICIES = ("Default", "OldestInstance", "NewestInstance", "OldestLaunchTemplate")


@dataclass(frozen=True)
class One:
    """What of an instance is looked at."""

    instance: str
    zone: str
    subnet: str
    launched: float
    version: int
    protected: bool = False


def subnet_for_next(ones: Sequence[One], subnets: Sequence[tuple[str, str]]) -> str:
    """The subnet, of these with their zones: in the zone with the fewest instances, the one with the fewest there."""
    zones, places = Counter(one.zone for one in ones), Counter(one.subnet for one in ones)
    return min(subnets, key=lambda place: (zones[place[1]], places[place[0]]))[0]


def first_to_go(ones: Sequence[One], policies: Sequence[str], of: Sequence[str]) -> One | None:
    """Which instance is given up when there are too many in a group of these zones; protected ones never are, and those
    in a zone that isn't the group's any more are first."""
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
    """Whether moving an instance to another zone would even out how many there are in each, or leave a zone that isn't
    the group's any more."""
    counts = Counter(one.zone for one in ones)
    if any(zone not in zones for zone in counts):
        return True
    numbers = [counts[zone] for zone in zones]
    return bool(numbers) and max(numbers) - min(numbers) > 1
