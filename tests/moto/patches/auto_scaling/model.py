"""What Auto Scaling knows: groups, their members, hooks and activities, and what time it is to it.

Plain values that name instances and templates by their ids, so that stale.py can copy them, and nothing of it hangs on
EC2's own objects.
"""

import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.core.exceptions import ServiceException

import instrument
import stale
from constants import ACCOUNT, PARTITION, REGION

LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
GROUP_TAG = "aws:autoscaling:groupName"

_skipped = 0.0


class Refused(ServiceException):
    """An error as Auto Scaling words it."""


def refused(message: str, code: str = "ValidationError") -> Refused:
    """Most of what is wrong with a request is a ValidationError."""
    return Refused(code, message)


def now() -> float:
    """Auto Scaling's own clock, in seconds."""
    return time.monotonic() + _skipped


def skip(seconds: float) -> None:
    """Puts its clock forward: what waits for a time-out needn't be waited for."""
    global _skipped
    _skipped += seconds


def stamp() -> datetime:
    """The time as it is shown."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass
class Hook:
    """A lifecycle hook."""

    name: str
    transition: str
    timeout: int = 3600
    default: str = "ABANDON"
    metadata: str | None = None

    @property
    def longest(self) -> int:
        """LifecycleHook, GlobalTimeout: 48 hours or 100 time-outs, whichever is less."""
        return min(172800, 100 * self.timeout)


@dataclass
class Pause:
    """A lifecycle action that is waited for."""

    hook: str
    timeout: int
    default: str
    until: float
    at_most: float
    token: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Activity:
    """A scaling activity, as DescribeScalingActivities tells of it."""

    group: str
    description: str
    cause: str
    status: str = "InProgress"
    says: str | None = None
    progress: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    start: datetime = field(default_factory=stamp)
    end: datetime | None = None

    def finish(self, status: str = "Successful") -> None:
        """It is over."""
        self.status, self.progress, self.end = status, 100, stamp()


@dataclass
class Member:
    """An instance of a group."""

    instance: str
    kind: str
    zone: str
    subnet: str
    template: dict[str, str] | None
    activity: Activity
    state: str = "Pending"
    health: str = "Healthy"
    protected: bool = False
    in_service: float = 0.0
    detached: float = 0.0
    launched: float = field(default_factory=now)
    pauses: list[Pause] = field(default_factory=list)

    @property
    def leaves(self) -> bool:
        """Whether it no longer counts as capacity."""
        return self.state.startswith(("Terminating", "Detaching"))


@dataclass
class Group:
    """An Auto Scaling group."""

    name: str
    smallest: int
    largest: int
    desired: int
    template: dict[str, str]
    subnets: list[str]
    settings: dict[str, Any]
    tags: dict[str, tuple[str, bool]] = field(default_factory=dict)
    hooks: dict[str, Hook] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)
    suspended: set[str] = field(default_factory=set)
    activities: list[Activity] = field(default_factory=list)
    deleting: bool = False
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: datetime = field(default_factory=stamp)
    looked: float = 0.0
    launch_failures: int = 0
    launch_after: float = 0.0

    @property
    def arn(self) -> str:
        return arn(self.name, self.id)

    @property
    def capacity(self) -> list[Member]:
        """The members that count."""
        return [member for member in self.members if not member.leaves]

    def launched_tags(self) -> dict[str, str]:
        """The tags that go to instances."""
        return {key: value for key, (value, propagate) in self.tags.items() if propagate}

    def begin(self, description: str, cause: str) -> Activity:
        """A new activity; the newest are described first."""
        activity = Activity(self.name, description, f"At {stamp():%Y-%m-%dT%H:%M:%SZ} {cause}")
        self.activities.insert(0, activity)
        return activity


@dataclass
class Store:
    """All of Auto Scaling in the lab's account and Region."""

    groups: dict[str, Group] = field(default_factory=dict)
    # What IMDS tells instances at autoscaling/target-lifecycle-state.
    targets: dict[str, str] = field(default_factory=dict)

    def group(self, name: str | None) -> Group:
        """The group of this name, which must be there and stay."""
        group = self.groups.get(name or "")
        if group is None:
            raise refused(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
        if group.deleting:
            raise refused("The AutoScaling group may not be modified while it is pending delete")
        return group

    def member(self, instance: str) -> tuple[Group, Member] | None:
        """An instance's group and what is known of it there."""
        found = ((g, m) for g in self.groups.values() for m in g.members if m.instance == instance)
        return next(found, None)

    def managed(self, instance: str | None) -> tuple[Group, Member]:
        """The same, for an instance that a call names."""
        found = self.member(instance or "")
        if found is None:
            raise refused(f"Instance Id not found - No managed instance found for instance ID: {instance}")
        return found


def store() -> Store:
    """As it is now."""
    backend = instrument.ec2()
    if not hasattr(backend, "auto_scaling"):
        backend.auto_scaling = Store()
    return backend.auto_scaling


def seen() -> Store:
    """As Describe calls see it: the past, if the lab says so."""
    past = stale.past()
    return getattr(past, "auto_scaling", Store()) if past else store()


def arn(name: str, group_id: str = "*") -> str:
    """A group's ARN; without its id, one as policies write it."""
    return f"arn:{PARTITION}:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:{group_id}:autoScalingGroupName/{name}"
